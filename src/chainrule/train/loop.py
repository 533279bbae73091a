"""Epochs in Python: the loop that the native engine's has to agree with."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import repeat
from operator import setitem
from typing import Any, Protocol

from .. import arrays
from ..arrays import Array, namespace
from ..averages import Average, Averaged
from ..data import Dataset
from ..losses import Loss, MultiLoss
from ..losses.extra import given
from ..module import Buffer, Module, Parameter, UpdateRule, fill, held_copy, set_values
from ..structures import Structure, leaves
from .evaluate import losses_of, outputs, weighted
from .in_files import is_in_files
from .prepare import rehearse, rehearse_one_row
from .watch import Watch


class Diverged(Exception):
    """A loss or a parameter became NaN or infinite; the message says which."""


def require_finite_loss(value: float) -> None:
    """Raise Diverged for a loss that is NaN or infinite."""
    if not math.isfinite(value):
        raise Diverged("the loss became NaN or infinite")  # which of them depends on who looks, and when


def require_same_parameters(model: Module, parameters: list[Parameter]) -> None:
    """Raise ValueError unless the model has just these Parameters: a run trains those that it began with."""
    now = model.param()
    if {id(parameter) for parameter in now} != {id(parameter) for parameter in parameters}:
        raise ValueError(
            f"fit: the model had {len(parameters)} Parameters when the run began, and a callback, or a layer in "
            f"its first pass, gave it others ({len(now)} now); set their values instead, or end the run (run.stop()) "
            f"and call fit again; a layer has to make its Parameters in its constructor"
        )


@dataclass(frozen=True)
class Epoch:
    """What a finished epoch brought; `seconds` since the run began.

    heads, validation_heads : the losses of the heads of a MultiLoss, before their weights; none for other losses.
    """

    loss: float
    validation_loss: float | None
    learning_rate: float
    seconds: float
    heads: tuple[float, ...] = ()
    validation_heads: tuple[float, ...] = ()

    @property
    def monitored(self) -> float:
        """The loss that decides whether the epoch was the best."""
        return self.loss if self.validation_loss is None else self.validation_loss


@dataclass
class Place:
    """How far a run has come: the epoch, the next step in it, and its loss and learning rate so far.

    loss_sum, loss_denominator : for each head what its loss adds up to in this epoch, and what divides it; one of each
        where the loss is no MultiLoss, and none before the first step.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: tuple[float, ...] = ()
    loss_denominator: tuple[float, ...] = ()
    learning_rate: float = math.nan

    def add(self, parts: list[tuple[float, float]]) -> None:
        """Count a step in, given for each head its part of the sum and of what divides it."""
        sums = self.loss_sum or (0.0,) * len(parts)
        denominators = self.loss_denominator or (0.0,) * len(parts)
        self.loss_sum = tuple(a + part for a, (part, _) in zip(sums, parts, strict=True))
        self.loss_denominator = tuple(a + part for a, (_, part) in zip(denominators, parts, strict=True))
        self.step += 1

    def ends(self, epoch: int | None) -> bool:
        """Whether this is where an epoch has just ended; None stands for the beginning of the run."""
        return self.step == 0 and self.epoch == (0 if epoch is None else epoch + 1)


@dataclass
class Memory:
    """What a loop has to be told to go on where another one was: its place, and what is best so far.

    `best` holds the parameters of the best epoch, or those that the run began with, in the order of `model.param()`, as
    does `average`, if there is one, which `taken` weights are in.
    """

    place: Place
    steps: int
    best: list[Array]
    best_epoch: int | None
    best_loss: float
    average: list[Array] | None = None
    taken: int = 0
    buffers: dict[Buffer, Any] = field(default_factory=dict)


class Loop(Protocol):
    """What `fit` drives: PythonLoop or NativeLoop."""

    name: str
    parameters: list[Parameter]  # the model's
    diverged: str  # why the run cannot go on; empty while it can
    average: Averaged | None  # of the parameters

    @property
    def modules(self) -> Sequence[Module]:
        """All of the model."""

    @property
    def steps(self) -> int:
        """Updates made."""

    def rehearse(self, name: str, data: Dataset) -> None:
        """Find what does not fit together, before anything is changed; `name` is what errors call the data."""

    def run(self, first: int, end: int, watch: Watch) -> list[Epoch]:
        """Train from epoch `first` to before `end` at most; returns the epochs that were finished."""

    def outputs(self, x: Structure) -> Structure:
        """The network's outputs, in evaluation mode, by the average of its parameters if there is one."""

    def listens(self) -> bool:
        """Whether the optimizer has to hear of each epoch before the next begins."""

    def keep_what_was_set(self) -> None:
        """If it is the best epoch that has just ended, count what callbacks have set since then as a part of it."""

    def give_back_best(self) -> None:
        """Leave the model at the parameters of its best epoch, or its initial ones if none was finished."""

    def memory(self) -> Memory:
        """What it takes to go on from here; model and optimizer are as the last step made them."""

    def remember(self, memory: Memory) -> None:
        """Go on from there, with the model and the optimizer as they are."""

    def finish(self) -> None:
        """Leave model and optimizer as the last step made them, but the parameters at their average if there is one."""


class Snapshot:
    """A copy of parameters and Buffers, made now and again whenever they are better than before."""

    def __init__(self, parameters: list[Parameter], buffers: Iterable[Buffer]) -> None:
        self.parameters = parameters
        self.values = [arrays.convert(parameter.value) for parameter in parameters]
        self.buffers = {buffer: held_copy(buffer.value) for buffer in buffers}

    def take(self) -> None:
        """Remember them as they are; interrupted, as they were before."""
        held = [held_copy(buffer.value) for buffer in self.buffers]
        also = map(setitem, repeat(self.buffers), list(self.buffers), held)
        fill(self.values, [parameter.value for parameter in self.parameters], also)

    def give_back(self) -> None:
        """Make them what they were."""
        set_values(self.parameters, self.values, self.buffers)


class PythonLoop:
    """Trains a model by its own `forward` and `backward`, whatever it is made of.

    Parameters
    ----------
    model, loss, optimizer : what is trained, by what measure, by what rule.
    data, held_out : prepared samples to learn from, and to look at after each epoch.
    batch_size, seed, shuffle : how they are visited.
    average : of the parameters, by which they are looked at.
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
        average: Average | None = None,
    ) -> None:
        self.model, self.loss, self.optimizer, self.data = model, loss, optimizer, data
        self.held_out = held_out
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.rows = batch_size  # that pass at a time
        self.parameters: list[Parameter] = model.param()
        self.average = None if average is None else Averaged(average, self.parameters)
        self.best, self.best_loss = Snapshot(self.parameters, model.persistent_buffers()), math.inf
        self.best_epoch: int | None = None
        self.place = Place()
        self.diverged = ""
        self.steps = 0

    @property
    def modules(self) -> Sequence[Module]:
        """All of the model; the first pass may have made some."""
        return self.model.modules()

    def rehearse(self, name: str, data: Dataset) -> None:
        """Try one row, and look at all targets."""
        rehearse(self.model, self.loss, data, name)
        if data is self.data:
            rehearse_one_row(self.model, data, self.rows)

    def run(self, first: int, end: int, watch: Watch) -> list[Epoch]:
        """Train for one epoch; the list is empty if `watch` cut it short, or it diverged."""
        require_same_parameters(self.model, self.parameters)
        if self.place.epoch != first or self.place.step == 0:
            rate = float(getattr(self.optimizer, "current_lr", math.nan))
            self.place = Place(first, learning_rate=rate)
        try:
            if not self.epoch(watch):
                return []
            value, heads = self._loss()
            looked, looked_heads = (None, ()) if self.held_out is None else self._look(self.held_out)
            require_finite_loss(value if looked is None else looked)
        except Diverged as why:
            self.diverged = str(why)
            self.steps -= self.place.step  # natively it shows at the end of the epoch: none of its steps counts
            return []
        finished = Epoch(value, looked, self.place.learning_rate, watch.elapsed_s, heads, looked_heads)
        self.place = Place(first + 1)
        if finished.monitored < self.best_loss:
            self.best_loss, self.best_epoch = finished.monitored, first
            self._take_best()
        return [finished]

    def outputs(self, x: Structure) -> Structure:
        """The model's outputs, in evaluation mode, by the average of its parameters if there is one."""
        with self._averaged():
            return outputs(self.model, x)

    def _averaged(self) -> AbstractContextManager[None]:
        """The model with the average of its parameters, if there is one."""
        return nullcontext() if self.average is None else self.average.shown()

    def _take_best(self) -> None:
        with self._averaged():
            self.best.take()

    def listens(self) -> bool:
        """It returns after every epoch anyway."""
        return False

    def keep_what_was_set(self) -> None:
        """If it is the best epoch that has just ended, count what callbacks have set since then as a part of it."""
        if self.place.ends(self.best_epoch):
            self._take_best()

    def give_back_best(self) -> None:
        """Leave the model at the parameters of its best epoch, or its initial ones if none was finished."""
        self.best.give_back()

    def memory(self) -> Memory:
        """What it takes to go on from here."""
        found = Memory(replace(self.place), self.steps, list(self.best.values), self.best_epoch, self.best_loss)
        if self.average is not None:
            found.average, found.taken = list(self.average.values), self.average.taken
        found.buffers = dict(self.best.buffers)
        return found

    def remember(self, memory: Memory) -> None:
        """Go on from there."""
        self.place, self.steps = replace(memory.place), memory.steps
        self.best_epoch, self.best_loss = memory.best_epoch, memory.best_loss
        for kept, value in zip(self.best.values, memory.best, strict=True):
            kept[...] = arrays.convert_like(value, kept)
        self.best.buffers.update(memory.buffers)
        if self.average is not None and memory.average is not None:
            self.average.go_on(memory.average, memory.taken)

    def finish(self) -> None:
        """The model has been trained in place; of one that diverged there is no average worth having."""
        if self.average is not None and not self.diverged:
            self.average.leave()

    def _look(self, data: Dataset) -> tuple[float, tuple[float, ...]]:
        if is_in_files(data):
            return loss_by_parts(self.loss, self.outputs, data.parts())
        return losses_of(self.loss, self.outputs(data.x), data.target, data.sample_weight, data.extra)

    def epoch(self, watch: Watch) -> bool:
        """Make the steps of this epoch that are still to be made; returns whether all are.

        They are not if `watch` ends the run, or it is to pause. Raises Diverged when a loss is not finite, before that
        step's update, or when a parameter is not after the last one.
        """
        place, steps = self.place, -(-len(self.data) // self.batch_size)
        how: dict[str, Any] = {"seed": self.seed, "epoch": place.epoch, "shuffle": self.shuffle}
        for x, target, *rest in self.data.batches(self.batch_size, start=place.step, **how):
            if watch.reason():
                return False
            extra = rest.pop() if self.data.extra else {}
            place.add(self.step(x, target, *rest, extra=extra))
            if self.average is not None:
                self.average.after(place.epoch, place.step - 1, steps)
            if watch.pauses() and place.step * self.batch_size < len(self.data):
                return False
        for parameter in self.parameters:  # after the last update no loss follows that would show it
            if not bool(namespace(parameter.value).all(namespace(parameter.value).isfinite(parameter.value))):
                raise Diverged("a parameter became NaN or infinite")
        return True

    def _loss(self) -> tuple[float, tuple[float, ...]]:
        """The loss over the samples of the epoch, as the parameters moved; of a MultiLoss those of its heads too."""
        return loss_of_sums(self.loss, self.place.loss_sum, self.place.loss_denominator)

    def step(
        self, x: Structure, target: Structure, *sample_weight: Array, extra: Mapping[str, Array]
    ) -> list[tuple[float, float]]:
        """Forward, backward, update.

        Returns   for each head the batch's part in the loss of the epoch: a sum, and what divides it
        """
        y, saved = self.model.forward(x)
        value, saved_loss = self.loss.forward(y, target, *sample_weight, **extra)
        number = float(value)
        require_finite_loss(number)
        for parameter in self.parameters:
            parameter.grad[...] = 0
        self.model.backward_parameters(self.loss.backward(1.0, saved_loss), saved)
        self.optimizer.step(self.parameters)
        self.steps += 1
        if type(self.loss) is not MultiLoss:
            return [part_of_epoch(self.loss, number, y, target, *sample_weight, extra=extra)]
        values = saved_loss[0]
        return [
            part_of_epoch(loss, float(values[key]), part, wanted, *sample_weight, extra=given(loss, extra))
            for key, loss, part, wanted in self.loss.parts(y, target)
        ]


def loss_by_parts(
    loss: Any, outputs: Callable[[Structure], Structure], parts: Iterable[Dataset]
) -> tuple[float, tuple[float, ...]]:
    """The loss over samples that come in parts, given their `outputs`; of a MultiLoss those of its heads too."""
    place = Place()
    for part in parts:
        y, weight = outputs(part.x), () if part.sample_weight is None else (part.sample_weight,)
        heads = loss.parts(y, part.target) if type(loss) is MultiLoss else [(None, loss, y, part.target)]
        place.add(
            [
                part_of_epoch(head, float(head(of, wanted, *weight)), of, wanted, *weight, extra={})
                for _, head, of, wanted in heads
            ]
        )
    return loss_of_sums(loss, place.loss_sum, place.loss_denominator)


def loss_of_sums(loss: Any, totals: Sequence[float], denominators: Sequence[float]) -> tuple[float, tuple[float, ...]]:
    """The loss of what that of each head adds up to, and what divides it; of a MultiLoss those of its heads too."""
    losses = loss.losses if type(loss) is MultiLoss else (loss,)
    found = []
    for head, total, divides in zip(losses, totals, denominators, strict=True):
        found.append(total if sums(head) else total / divides if divides else 0.0)
    return (weighted(loss, found), tuple(found)) if type(loss) is MultiLoss else (found[0], ())


def part_of_epoch(loss: Any, value: float, y: Array, *rest: Any, extra: Mapping[str, Array]) -> tuple[float, float]:
    """What the loss of a batch adds to the loss of the epoch: a sum, and what divides it."""
    if sums(loss):
        return value, 1.0
    total_weight = getattr(loss, "total_weight", _total_weight)
    weight = float(total_weight(y, *rest))
    if isinstance(loss, Loss) and not loss.classes:
        weight *= arrays.size(y) // len(y)  # a mean over elements: the engine counts them too, and may go on from here
    if weight:
        return value * weight, weight
    # A batch that divides by 0, whose mean is 0: with label smoothing its sum may be more than that.
    return float(summing(loss)(y, *rest, **extra)), weight


def _total_weight(y: Structure, target: Any, sample_weight: Array | None = None) -> float:
    """What the samples weigh together, for a loss that does not say how much it divides by."""
    return float(len(leaves(y)[0])) if sample_weight is None else float(sample_weight.sum())


def summing(loss: Any) -> Any:
    """A copy of a loss that adds up over a batch."""
    copied = copy.copy(loss)
    copied.reduction = "sum"
    return copied


def sums(loss: Any) -> bool:
    """Whether a loss adds up over a batch."""
    return bool(getattr(loss, "reduction", "mean") == "sum")
