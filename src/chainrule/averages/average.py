"""The contract of an average: which weights are in it, and what each of them counts."""

from typing import Any

from .. import signature


class Average:
    """A running mean ā of the weights w that training passes through, for `fit(average=…)`.

    Equation  ā = w for the first weights that are taken in, and then ā ← ā + share · (w - ā)
    Source    torch.optim.swa_utils.AveragedModel, whose numbers these are; see `fit` for what comes of them there
    Note      the weights that training begins with are not in it, as in PyTorch's usual loop, which takes in the first
              weights after the first step

    A subclass says after which updates weights are taken in, and what share they get. It remembers nothing of a run, so
    that one may be given to many; what becomes of the weights is for `Averaged`.
    """

    def takes(self, epoch: int, step: int, steps: int) -> bool:
        """Whether the weights are taken in after this update: number `step` of the `steps` of an epoch, from 0 on."""
        raise NotImplementedError(f"{type(self).__name__} has no takes")

    def share(self, taken: int) -> float:
        """The share of new weights in a mean that holds so many already."""
        raise NotImplementedError(f"{type(self).__name__} has no share")

    def __repr__(self) -> str:
        return signature.call(self)


def require_average(who: str, average: Any) -> Average:
    """average, if it is one.

    Raises TypeError for anything else; a class is not yet an average.
    """
    if not isinstance(average, Average):
        got = f"the class {average.__name__}; call it" if isinstance(average, type) else repr(average)
        raise TypeError(f"{who}: average must be an Average, such as EMA(0.999), got {got}")
    return average
