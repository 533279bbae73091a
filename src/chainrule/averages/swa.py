"""Stochastic weight averaging."""

from ..arguments import choice, positive, whole
from .average import Average


class SWA(Average):
    """Stochastic weight averaging: the mean of the weights at the ends of epochs, all of the same share.

    Equation  ā ← ā + (w - ā) / (n + 1), where n weights are in ā already
    Source    Izmailov, Podoprikhin, Garipov, Vetrov, Wilson, "Averaging weights leads to wider optima and better
              generalization", UAI 2018; numbers as torch.optim.swa_utils.get_swa_avg_fn()
    Note      a learning rate that stays as it is, or goes round, is what gives a mean something to be taken of: let the
              schedule end where the mean begins. As long as nothing is in it, the weights stand for their mean; `fit`
              warns of a run that ends so

    Parameters
    ----------
    start : the first epoch, counted from 0, whose weights are in the mean.
    every : from there on those of each epoch, of each second one …; or of each so many updates.
    unit : "epoch" or "step", what `every` counts.

    Raises TypeError or ValueError for what are no such numbers, and for another unit.

    >>> SWA(75)  # the ends of epochs 75, 76, 77, …
    SWA(75)
    >>> SWA(75, every=100, unit="step")  # a hundred updates after the beginning of epoch 75, two hundred, …
    SWA(75, every=100, unit='step')
    """

    def __init__(self, start: int, every: int = 1, unit: str = "epoch") -> None:
        self.start = whole(self, "start", start, least=0)
        self.every = positive(self, "every", every)
        self.unit = choice(self, "unit", unit, ("epoch", "step"))

    def takes(self, epoch: int, step: int, steps: int) -> bool:
        since = epoch - self.start
        if self.unit == "step":
            return since >= 0 and (since * steps + step + 1) % self.every == 0
        return since >= 0 and step + 1 == steps and since % self.every == 0

    def share(self, taken: int) -> float:
        return 1 / (taken + 1)
