"""The network of a Cell, and the points that it learns from."""

import functools
from typing import Any

from ... import layers, losses, optimizers, random
from ...data import Dataset, disk
from ...layers import Linear, Sequential
from ...losses import Loss
from ...optimizers import Optimizer
from ...train import History, fit
from .questions import LOSSES, OPTIMIZERS, Cell


@functools.lru_cache(maxsize=2)
def points(radius: str, seed: int, n: int, n_test: int) -> tuple[Dataset, Dataset]:
    """What the networks of a seed learn from, each from the first of them, and what they are tested on."""
    return disk(n, seed=2 * seed, radius=radius), disk(n_test, seed=2 * seed + 1, radius=radius)


def build(activation: str, width: int, depth: int) -> Sequential:
    """2 - width - … - width - 2."""
    model, n_in = Sequential(), 2
    for _ in range(depth):
        model.append(Linear(n_in, width)).append(getattr(layers, activation)())
        n_in = width
    return model.append(Linear(n_in, 2))


def built(cell: Cell, seed: int) -> Sequential:
    """The same, with the initial weights of a seed: those that `fit_many` gives it."""
    with random.seeded(seed):
        return build(cell.activation, cell.width, cell.depth)


def rule(cell: Cell) -> Optimizer:
    """The optimizer."""
    kind, arguments, _ = OPTIMIZERS[cell.optimizer]
    made: Optimizer = getattr(optimizers, kind)(lr=cell.lr, **arguments)
    return made


def loss_of(cell: Cell) -> Loss:
    """The loss; all of them take one-hot targets."""
    made: Loss = getattr(losses, LOSSES[cell.loss])()
    return made


def train(model: Sequential, cell: Cell, data: Dataset, *, epochs: int, seed: int, **how: Any) -> History:
    """Train it as the cell says; `how` are further arguments of `fit`.

    Raises KeyboardInterrupt for Ctrl-C, because figures of a part would pass for those of the whole.
    """
    how |= {"batch_size": cell.batch_size, "optimizer": rule(cell), "keep": "last", "progress": False}
    history = fit(model, loss_of(cell), data, epochs=epochs, seed=seed, **how)
    if history.interrupted:
        raise KeyboardInterrupt
    return history


def configuration(cell: Cell) -> dict[str, Any]:
    """The cell as `fit_many` is asked for it."""
    return {
        "activation": cell.activation,
        "width": cell.width,
        "depth": cell.depth,
        "train_size": cell.points,
        "epochs": cell.epochs,
        "batch_size": cell.batch_size,
        "optimizer": rule(cell),
        "loss": loss_of(cell),
    }
