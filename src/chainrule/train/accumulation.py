"""Gradients of several batches, added up for one step: `fit(accumulate=4)`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..arrays import Array, namespace
from ..data.dataset import take
from ..losses import MultiLoss
from ..losses.extra import given
from ..structures import Structure, each, leaves
from .loop import PythonLoop, part_of_epoch, require_finite_loss, summing, sums


class AccumulatingLoop(PythonLoop):
    """Trains by steps of `accumulate` batches each: one batch of all their samples, which passes in parts.

    Equation  the loss of a group of batches is Σᵢ shareᵢ lossᵢ, so its gradient is the sum of theirs, each times its
              share: shareᵢ = dividesᵢ / Σ divides, where dividesᵢ is what the mean over batch i divides by (samples, or
              their weight); 1 for a loss that adds up. Each head of a MultiLoss has shares of its own

    What is said of steps (`History.steps`, schedules, clipping, averages) is said of groups, of which the last one of
    an epoch may be smaller. Each batch is a pass of its own, with a dropout mask of its own.
    """

    def __init__(self, *made_of: Any, batch_size: int, accumulate: int, **how: Any) -> None:
        super().__init__(*made_of, batch_size=batch_size * accumulate, **how)
        self.rows = batch_size  # that pass at a time

    def step(
        self, x: Structure, target: Structure, *sample_weight: Array, extra: Mapping[str, Array]
    ) -> list[tuple[float, float]]:
        """Forward and backward for each batch of a group, and one update.

        Returns   for each head the group's part in the loss of the epoch: a sum, and what divides it
        """
        group, n = (x, target, *sample_weight), len(leaves(x)[0])
        for parameter in self.parameters:
            parameter.grad[...] = 0
        found: list[tuple[float, float]] = []
        whole: list[float] = []  # what the loss of each head divides by, in the group
        for start in range(0, n, self.rows):
            rows = slice(start, start + self.rows)
            x, *shown = (take(part, rows) for part in group)
            beside = {name: take(part, rows) for name, part in extra.items()}
            y, saved = self.model.forward(x)
            value, saved_loss = self.loss.forward(y, *shown, **beside)
            require_finite_loss(float(value))
            heads = _heads(self.loss, value, saved_loss, beside, y, *shown)
            if not whole:
                whole = _divides(self.loss, extra, _rows(y, n), *group[1:])
            self.model.backward_parameters(_gradient(self.loss, heads, whole), saved)
            parts = [head.part() for head in heads]
            sums_so_far = found or [(0.0, 0.0)] * len(parts)
            found = [(a + part, b + by) for (a, b), (part, by) in zip(sums_so_far, parts, strict=True)]
        self.optimizer.step(self.parameters)
        self.steps += 1
        return found


class Head(NamedTuple):
    """The loss of one head on one batch: what it was shown (y, target, weights), its value, and what backward needs.

    extra : what it was given beside, by name.
    """

    loss: Any
    shown: tuple[Any, ...]
    extra: Mapping[str, Array]
    value: float
    saved: Any
    weight: float = 1.0  # in the loss of the network

    def part(self) -> tuple[float, float]:
        """The batch's part in the loss of the epoch, or of a group: a sum, and what divides it."""
        return part_of_epoch(self.loss, self.value, *self.shown, extra=self.extra)

    def gradient(self, whole: float) -> Any:
        """The gradient by y of the group's loss, which divides by `whole` in all."""
        divides = self.part()[1]
        if sums(self.loss) or not whole:  # where nothing of a group counts, its mean is 0
            return self.loss.backward(self.weight, self.saved)
        if divides:
            return self.loss.backward(self.weight * divides / whole, self.saved)
        loss = summing(self.loss)  # of a batch that divides by 0 this may be more than 0, see part_of_epoch
        return loss.backward(self.weight / whole, loss.forward(*self.shown, **self.extra)[1])


def _heads(
    loss: Any,
    value: Any,
    saved: Any,
    extra: Mapping[str, Array],
    y: Structure,
    target: Structure,
    *sample_weight: Array,
) -> list[Head]:
    """Each head's loss after a pass of the network's."""
    if type(loss) is not MultiLoss:
        return [Head(loss, (y, target, *sample_weight), extra, float(value), saved)]
    values, kept = saved
    return [
        Head(head, (part, wanted, *sample_weight), given(head, extra), float(values[key]), kept[key], loss.weights[key])
        for key, head, part, wanted in loss.parts(y, target)
    ]


def _gradient(loss: Any, heads: list[Head], whole: list[float]) -> Structure:
    """The gradient of the group's loss by the outputs of one batch."""
    found = [head.gradient(divides) for head, divides in zip(heads, whole, strict=True)]
    if type(loss) is not MultiLoss:
        return found[0]
    return dict(zip(loss.names, found, strict=True)) if loss.names else tuple(found)


def _divides(
    loss: Any, extra: Mapping[str, Array], y: Structure, target: Structure, *sample_weight: Array
) -> list[float]:
    """What the loss of each head divides by, over all the samples of a group."""
    parts = [(None, loss, y, target)] if type(loss) is not MultiLoss else loss.parts(y, target)
    return [
        part_of_epoch(head, 0.0, part, wanted, *sample_weight, extra=given(head, extra))[1]
        for _, head, part, wanted in parts
    ]


def _rows(y: Structure, n: int) -> Structure:
    """Outputs for n samples of which only the shape counts: views of one row, no memory, no arithmetic."""
    return each(lambda part: namespace(part).broadcast_to(part[:1], (n, *part.shape[1:])), y)
