"""Epochs in Python: the loop that the native engine's has to agree with."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from .. import arrays
from ..arrays import Array, namespace
from ..data import Dataset
from ..module import Module, Parameter, UpdateRule
from .evaluate import loss_of, outputs
from .prepare import rehearse
from .watch import Watch


class Diverged(Exception):
    """A loss or a parameter became NaN or infinite; the message says which."""


def require_finite_loss(value: float) -> None:
    """Raise Diverged for a loss that is NaN or infinite."""
    if not math.isfinite(value):
        raise Diverged("the loss became NaN or infinite")  # which of them depends on who looks, and when


@dataclass(frozen=True)
class Epoch:
    """What a finished epoch brought; `seconds` since the run began."""

    loss: float
    validation_loss: float | None
    learning_rate: float
    seconds: float

    @property
    def monitored(self) -> float:
        """The loss that decides whether the epoch was the best."""
        return self.loss if self.validation_loss is None else self.validation_loss


class Loop(Protocol):
    """What `fit` drives: PythonLoop or NativeLoop."""

    name: str
    diverged: str  # why the run cannot go on; empty while it can

    @property
    def steps(self) -> int:
        """Updates made."""

    def rehearse(self, data: Dataset) -> None:
        """Find what does not fit together, before anything is changed."""

    def run(self, first: int, end: int, watch: Watch) -> list[Epoch]:
        """Train from epoch `first` to before `end` at most; returns the epochs that were finished."""

    def outputs(self, x: Array) -> Array:
        """The network's outputs, in evaluation mode."""

    def listens(self) -> bool:
        """Whether the optimizer has to hear of each epoch before the next begins."""

    def give_back_best(self) -> None:
        """Leave the model at the parameters of its best epoch, or its initial ones if none was finished."""

    def finish(self) -> None:
        """Leave model and optimizer as the last step made them."""


class Snapshot:
    """A copy of parameters, made now and again whenever they are better than before."""

    def __init__(self, parameters: list[Parameter]) -> None:
        self.parameters = parameters
        self.values = [arrays.convert(parameter.value) for parameter in parameters]

    def take(self) -> None:
        """Remember the parameters as they are."""
        for kept, parameter in zip(self.values, self.parameters, strict=True):
            kept[...] = parameter.value

    def give_back(self) -> None:
        """Make the parameters what they were."""
        for kept, parameter in zip(self.values, self.parameters, strict=True):
            parameter.value[...] = kept


class PythonLoop:
    """Trains a model by its own `forward` and `backward`, whatever it is made of.

    Parameters
    ----------
    model, loss, optimizer : what is trained, by what measure, by what rule.
    data, held_out : prepared samples to learn from, and to look at after each epoch.
    batch_size, seed, shuffle : how they are visited.
    """

    name = "python"

    def __init__(
        self,
        model: Module,
        loss: Module,
        optimizer: UpdateRule,
        data: Dataset,
        held_out: Dataset | None = None,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
    ) -> None:
        self.model, self.loss, self.optimizer, self.data = model, loss, optimizer, data
        self.held_out = held_out
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.parameters: list[Parameter] = model.param()
        self.best, self.best_loss = Snapshot(self.parameters), math.inf
        self.diverged = ""
        self.sums = getattr(loss, "reduction", "mean") == "sum"
        self.steps = 0

    def rehearse(self, data: Dataset) -> None:
        """Try one row, and look at all targets."""
        rehearse(self.model, self.loss, data)

    def run(self, first: int, end: int, watch: Watch) -> list[Epoch]:
        """Train for one epoch; the list is empty if `watch` ended the run before it was over, or it diverged."""
        learning_rate = float(getattr(self.optimizer, "current_lr", math.nan))
        try:
            value = self.epoch(first, watch)
            if value is None:
                return []
            looked = None if self.held_out is None else self._look(self.held_out)
            require_finite_loss(value if looked is None else looked)
        except Diverged as why:
            self.diverged = str(why)
            return []
        finished = Epoch(value, looked, learning_rate, watch.elapsed_s)
        if finished.monitored < self.best_loss:
            self.best_loss = finished.monitored
            self.best.take()
        return [finished]

    def outputs(self, x: Array) -> Array:
        """The model's outputs, in evaluation mode."""
        return outputs(self.model, x)

    def listens(self) -> bool:
        """It returns after every epoch anyway."""
        return True

    def give_back_best(self) -> None:
        """Leave the model at the parameters of its best epoch, or its initial ones if none was finished."""
        self.best.give_back()

    def finish(self) -> None:
        """The model has been trained in place."""

    def _look(self, data: Dataset) -> float:
        return loss_of(self.loss, self.outputs(data.x), data.target, data.sample_weight)

    def epoch(self, epoch: int, watch: Watch) -> float | None:
        """Make the steps of one epoch; returns the loss over its samples, as the parameters moved.

        Returns None if `watch` ended the run before the epoch was over. Raises Diverged when a loss is not finite,
        before that step's update, or when a parameter is not after the last one.
        """
        total = weights = 0.0
        for batch in self.data.batches(self.batch_size, seed=self.seed, epoch=epoch, shuffle=self.shuffle):
            if watch.reason():
                return None
            value, weight = self.step(*batch)
            total += value * weight
            weights += weight
        for parameter in self.parameters:  # after the last update no loss follows that would show it
            if not bool(namespace(parameter.value).all(namespace(parameter.value).isfinite(parameter.value))):
                raise Diverged("a parameter became NaN or infinite")
        if self.sums:
            return total
        return total / weights if weights else 0.0

    def step(self, x: Array, target: Array, *sample_weight: Array) -> tuple[float, float]:
        """Forward, backward, update; returns the loss, and what it counts in that of the epoch."""
        y, saved = self.model.forward(x)
        value, saved_loss = self.loss.forward(y, target, *sample_weight)
        number = float(value)
        require_finite_loss(number)
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
