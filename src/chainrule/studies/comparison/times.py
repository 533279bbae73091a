"""What it takes: every cell, timed in chainrule and in PyTorch, on one thread and on as many as they choose.

All run in turn, alone in this process, so that a slow minute of the machine falls on all of them. Runs of more steps
than the plan times are timed over whole epochs up to that many steps, and their time is that of an epoch times epochs.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ...data import Dataset
from ...train import evaluate
from . import ours, peer
from .questions import CELL, Cell, Plan
from .store import Row

DISK = "report"  # which of the two makes no difference to the clock


def measure(plan: Plan, number: int, frameworks: list[str], seen: Callable[[], None]) -> list[Row]:
    """A round: every cell once by everyone; `seen` hears of each cell that is done."""
    variants = [(framework, threads) for framework in frameworks for threads in ("1", "default")]
    draw = np.random.default_rng(number)
    rows = []
    for cell in plan.cells():
        # By chance, because who comes after PyTorch finds its threads still spinning, and its data in the caches.
        rows += [_timed(plan, cell, number, *variants[i]) for i in draw.permutation(len(variants))]
        seen()
    return rows


def _timed(plan: Plan, cell: Cell, number: int, framework: str, threads: str) -> Row:
    train = ours.points(DISK, number, plan.points, plan.test_points)[0].take(slice(0, cell.points))
    epochs = min(cell.epochs, max(1, plan.timed_steps // cell.steps_per_epoch))
    clock = _ours if framework == "chainrule" else _peer
    clock(cell, train.take(slice(0, 10 * cell.batch_size)), 1, number, threads)  # to warm up
    train_s, test_s = clock(cell, train, epochs, number, threads)
    return (
        {"round": number, "framework": framework, "threads": threads}
        | {name: getattr(cell, name) for name in CELL}
        | {"steps": cell.steps, "timed_steps": epochs * cell.steps_per_epoch}
        | {"train_s": train_s / epochs * cell.epochs, "test_s": test_s}
    )


def _ours(cell: Cell, train: Dataset, epochs: int, seed: int, threads: str) -> tuple[float, float]:
    """Seconds of training, and of testing as many points."""
    model, loss = ours.built(cell, seed), ours.loss_of(cell)
    begin = time.perf_counter()
    try:
        ours.train(model, cell, train, epochs=epochs, seed=seed, threads=1 if threads == "1" else None)
    except FloatingPointError:  # the time of a run that diverges is that of the others, up to there
        return float("nan"), float("nan")
    middle = time.perf_counter()
    _ = evaluate(model, loss, train).error_rate
    return middle - begin, time.perf_counter() - middle


def _peer(cell: Cell, train: Dataset, epochs: int, seed: int, threads: str) -> tuple[float, float]:
    network = peer.Peer(cell, ours.built(cell, seed))
    with peer_threads(1 if threads == "1" else None):
        begin = time.perf_counter()
        losses = network.train(train, seed=seed, epochs=epochs)
        middle = time.perf_counter()
        if len(losses) < epochs:
            return float("nan"), float("nan")
        network.test(train)
        return middle - begin, time.perf_counter() - middle


@contextmanager
def peer_threads(n: int | None) -> Iterator[None]:
    """PyTorch with so many threads; None leaves its own choice."""
    before = peer.torch().get_num_threads()
    try:
        peer.torch().set_num_threads(before if n is None else n)
        yield
    finally:
        peer.torch().set_num_threads(before)
