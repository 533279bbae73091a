"""How well it learns: every cell, trained by chainrule and by PyTorch and tested on other points."""

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...engine import native
from ...many import fit_many
from ...train import evaluate
from . import ours, peer
from .questions import CELL, Cell, Plan
from .store import Row

Task = tuple[str, int, Cell, int, int]  # disk, seed, cell, points, test points


def train_ours(plan: Plan, disk: str, seed: int) -> list[Row]:
    """All cells in one call of `fit_many`.

    Raises KeyboardInterrupt if Ctrl-C ended it.
    """
    train, test = ours.points(disk, seed, plan.points, plan.test_points)
    cells = plan.cells() + plan.tuned()
    results = fit_many(
        ours.build,
        ours.loss_of(cells[0]),
        train,
        configs=[ours.configuration(cell) for cell in cells],
        seeds=[seed],
        epochs=1,  # each configuration has its own
        keep="last",
        progress=False,
    )
    if results.interrupted:
        raise KeyboardInterrupt
    rows = []
    for cell, result in zip(cells, results, strict=True):
        row = _row(disk, "chainrule", seed, cell)
        if result.error or result.model is None or result.history is None:
            row["failed"] = result.error
        else:
            tested = evaluate(result.model, ours.loss_of(cell), test)
            row |= {"train_loss": result.history.losses[-1], "test_loss": tested.loss, "test_error": tested.error_rate}
            row["seconds"] = result.history.total_s
        rows.append(row)
    return rows


def train_peer(task: Task) -> Row:
    """One cell in PyTorch, on one thread."""
    disk, seed, cell, n, n_test = task
    train, test = ours.points(disk, seed, n, n_test)
    row = _row(disk, "torch", seed, cell)
    begin = time.perf_counter()
    network = peer.Peer(cell, ours.built(cell, seed))
    losses = network.train(train.take(slice(0, cell.points)), seed=seed, epochs=cell.epochs)
    row["seconds"] = time.perf_counter() - begin
    test_loss, test_error = network.test(test)
    if math.isfinite(losses[-1]) and math.isfinite(test_loss):
        row |= {"train_loss": losses[-1], "test_loss": test_loss, "test_error": test_error}
    else:
        row["failed"] = f"the loss became {losses[-1]} in epoch {len(losses) - 1}"
    return row


class Workers:
    """A process for each core, in which PyTorch trains on one thread: the fastest way to train many small networks."""

    def __init__(self) -> None:
        self.pool: Any = None

    def __enter__(self) -> "Workers":
        self.pool = multiprocessing.get_context("spawn").Pool(native.cores(), initializer=_one_thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.terminate()
        self.pool.join()

    def train(self, plan: Plan, disk: str, seed: int, seen: Callable[[], None]) -> list[Row]:
        """All cells; `seen` hears of each that is done."""
        tasks: list[Task] = [(disk, seed, cell, plan.points, plan.test_points) for cell in plan.cells()]
        rows = []
        done: Iterator[Row] = self.pool.imap(train_peer, tasks)
        for row in done:
            rows.append(row)
            seen()
        return rows


def _one_thread() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and ends the pool
    peer.torch().set_num_threads(1)


def _row(disk: str, framework: str, seed: int, cell: Cell) -> Row:
    return (
        {"disk": disk, "framework": framework, "seed": seed}
        | {name: getattr(cell, name) for name in CELL}
        | {"steps": cell.steps, "train_loss": math.nan, "test_loss": math.nan, "test_error": math.nan}
        | {"seconds": math.nan, "failed": ""}
    )
