"""One epoch in Python: the loop that a native engine has to agree with."""

import math
from typing import Any

from ..arrays import Array
from ..data import Dataset
from ..module import Module, Parameter, UpdateRule
from .watch import Watch


class Diverged(Exception):
    """A loss was NaN or infinite."""

    def __init__(self, value: float) -> None:
        super().__init__(f"the loss was {value}")
        self.value = value


class PythonLoop:
    """Trains a model by its own `forward` and `backward`, whatever it is made of.

    Parameters
    ----------
    model, loss, optimizer : what is trained, by what measure, by what rule.
    data : prepared samples.
    batch_size, seed, shuffle : how they are visited.
    """

    name = "python"

    def __init__(
        self,
        model: Module,
        loss: Module,
        optimizer: UpdateRule,
        data: Dataset,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
    ) -> None:
        self.model, self.loss, self.optimizer, self.data = model, loss, optimizer, data
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.parameters: list[Parameter] = model.param()
        self.sums = getattr(loss, "reduction", "mean") == "sum"
        self.steps = 0

    def epoch(self, epoch: int, watch: Watch) -> float | None:
        """Make the steps of one epoch; returns the loss over its samples, as the parameters moved.

        Returns None if `watch` ended the run before the epoch was over. Raises Diverged when a loss is not finite,
        before that step's update.
        """
        total = weights = 0.0
        for batch in self.data.batches(self.batch_size, seed=self.seed, epoch=epoch, shuffle=self.shuffle):
            if watch.reason():
                return None
            value, weight = self.step(*batch)
            total += value * weight
            weights += weight
        if self.sums:
            return total
        return total / weights if weights else 0.0

    def step(self, x: Array, target: Array, *sample_weight: Array) -> tuple[float, float]:
        """Forward, backward, update; returns the loss, and what it counts in that of the epoch."""
        y, saved = self.model.forward(x)
        value, saved_loss = self.loss.forward(y, target, *sample_weight)
        number = float(value)
        if not math.isfinite(number):
            raise Diverged(number)
        for parameter in self.parameters:
            parameter.grad[...] = 0
        self.model.backward(self.loss.backward(1.0, saved_loss), saved)
        self.optimizer.step(self.parameters)
        self.steps += 1
        return number, self._weight(y, target, *sample_weight)

    def _weight(self, y: Array, *rest: Any) -> float:
        if self.sums:
            return 1.0
        total_weight = getattr(self.loss, "total_weight", None)
        return float(len(y)) if total_weight is None else float(total_weight(y, *rest))
