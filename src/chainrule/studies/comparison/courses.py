"""How the two go the same way: losses and parameters of the base cell, epoch by epoch, from the same start."""

import numpy as np

from ...data import Dataset
from ...train import Run
from . import ours
from .peer import Peer
from .questions import BASE
from .store import Row
from .times import peer_threads

DTYPES = ("float32", "float64")
SEED = 0


def follow(disk: str, dtype: str, n: int) -> list[Row]:
    """A row for each epoch: the losses, and the largest difference between two parameters of the same place."""
    data = ours.points(disk, SEED, n, 1)[0].take(slice(0, BASE.points))
    train = Dataset(data.x.astype(dtype), data.target.astype(dtype))
    model = ours.built(BASE, SEED).to(dtype=dtype)
    with peer_threads(1):
        torch, torch_course = _peer(Peer(BASE, model), train)
    _, default_course = _peer(Peer(BASE, model), train)
    course: list[dict[str, np.ndarray]] = []

    def remember(run: Run) -> None:
        course.append({name: value.copy() for name, value in run.model.state_dict().items()})

    history = ours.train(model, BASE, train, epochs=BASE.epochs, seed=SEED, callbacks=[remember])
    return [
        {
            "disk": disk,
            "dtype": dtype,
            "epoch": epoch + 1,
            "chainrule": history.losses[epoch],
            "torch": torch[epoch],
            "difference": _difference(course[epoch], torch_course[epoch]),
            "difference_default_threads": _difference(course[epoch], default_course[epoch]),
        }
        for epoch in range(BASE.epochs)
    ]


def _peer(network: Peer, train: Dataset) -> tuple[list[float], list[dict[str, np.ndarray]]]:
    losses: list[float] = []
    course = []
    for epoch in range(BASE.epochs):
        losses += network.train(train, seed=SEED, first=epoch, epochs=1)
        course.append(network.parameters())
    return losses, course


def _difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(one[name].astype(float) - other[name].astype(float)).max()) for name in one)
