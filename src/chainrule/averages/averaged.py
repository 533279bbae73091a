"""The average of a run: the numbers themselves, and the model with them in the place of its weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .. import arrays
from ..arrays import Array
from ..module import Parameter, fill, set_values
from ..optimizers.half import widened
from .average import Average


class Averaged:
    """The running mean of some Parameters while they are trained: `run.average` for a callback of `fit`.

    Parameters
    ----------
    average : which weights are in it.
    parameters : of which it is the mean.

    values : the mean of each Parameter, in float32 at least; its value as long as no weights are in it.
    taken : how many weights are in it.
    """

    def __init__(self, average: Average, parameters: Sequence[Parameter]) -> None:
        self.average, self.parameters = average, list(parameters)
        self.values: list[Array] = [arrays.convert(widened(parameter).value) for parameter in parameters]
        self.taken = 0

    def after(self, epoch: int, step: int, steps: int) -> None:
        """Take in the weights after this update, if the average asks for them; see `Average.takes`."""
        if not self.average.takes(epoch, step, steps):
            return
        if self.taken:
            share = self.average.share(self.taken)
            for mean, parameter in zip(self.values, self.parameters, strict=True):
                mean += share * (parameter.value - mean)
        else:
            fill(self.values, [parameter.value for parameter in self.parameters])
        self.taken += 1

    def turn_to(self, parameters: Sequence[Parameter]) -> None:
        """Go on with the same Parameters in another order."""
        means = dict(zip(self.parameters, self.values, strict=True))
        self.parameters, self.values = list(parameters), [means[parameter] for parameter in parameters]

    def go_on(self, values: Sequence[Array], taken: int) -> None:
        """Go on from the mean of an earlier part of the run."""
        fill(self.values, [arrays.convert_like(value, mean) for value, mean in zip(values, self.values, strict=True)])
        self.taken = taken

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block the Parameters hold their mean, after it what is trained.

        As long as no weights are in the mean, they stay what they are.
        """
        if not self.taken:
            yield
            return
        trained = [arrays.convert(parameter.value) for parameter in self.parameters]
        try:
            self.leave()
            yield
        finally:
            set_values(self.parameters, trained)

    def leave(self) -> None:
        """Make the Parameters their mean, if anything is in it."""
        if self.taken:
            set_values(self.parameters, self.values)

    def __repr__(self) -> str:
        return f"Averaged({self.average!r}, {self.taken:,} taken)"
