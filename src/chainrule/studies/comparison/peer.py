"""The network of a Cell in PyTorch: from the same weights, on the same batches, written as its users write it."""

import math
from typing import Any

import numpy as np

from ... import random
from ...data import Dataset
from ...extras import require
from ...layers import Linear, Sequential
from .questions import LOSSES, OPTIMIZERS, Cell


def torch() -> Any:
    """The library."""
    return require("torch", "study")


class Peer:
    """A torch.nn.Sequential with its loss and its optimizer.

    Parameters
    ----------
    cell : how it is trained.
    model : the network in chainrule, whose weights it starts from.
    """

    def __init__(self, cell: Cell, model: Sequential) -> None:
        nn = torch().nn
        stack: list[Any] = []
        for layer in model:
            kind = getattr(nn, type(layer).__name__)
            sizes = (layer.in_features, layer.out_features) if isinstance(layer, Linear) else ()
            stack.append(kind(*sizes))
        self.cell, self.network = cell, nn.Sequential(*stack)
        state = model.state_dict()
        self.network.to(torch().from_numpy(next(iter(state.values()))).dtype)
        self.network.load_state_dict({name: torch().from_numpy(value.copy()) for name, value in state.items()})
        self.loss = getattr(nn, LOSSES[cell.loss])()
        kind, arguments, _ = OPTIMIZERS[cell.optimizer]
        self.optimizer = getattr(torch().optim, kind)(self.network.parameters(), lr=cell.lr, **arguments)

    def train(self, data: Dataset, *, seed: int, first: int = 0, epochs: int) -> list[float]:
        """The mean loss over the samples of each epoch, as the parameters move; ends where a loss is not finite."""
        x, target = torch().from_numpy(data.x), torch().from_numpy(data.target)
        losses = []
        for epoch in range(first, first + epochs):
            order = torch().from_numpy(random.order(len(data), seed=seed, epoch=epoch))
            total = torch().zeros(())
            for index in order.split(self.cell.batch_size):
                value = self.loss(self.network(x[index]), target[index])
                self.optimizer.zero_grad()
                value.backward()
                self.optimizer.step()
                total += len(index) * value.detach()
            losses.append(float(total) / len(data))
            if not math.isfinite(losses[-1]):
                break
        return losses

    def test(self, data: Dataset) -> tuple[float, float]:
        """The loss, and the share of points that are put into the wrong class."""
        x, target = torch().from_numpy(data.x), torch().from_numpy(data.target)
        with torch().no_grad():
            y = self.network(x)
            wrong = (y.argmax(dim=1) != target.argmax(dim=1)).sum()
            return float(self.loss(y, target)), float(wrong) / len(data)

    def parameters(self) -> dict[str, np.ndarray]:
        """By name, as in the state_dict of chainrule's network."""
        return {name: value.numpy().copy() for name, value in self.network.state_dict().items()}
