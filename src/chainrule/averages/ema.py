"""The exponential moving average."""

from ..arguments import number
from .average import Average


class EMA(Average):
    """The exponential moving average of the weights after every update: the last 1 / (1 - decay) of them, roughly.

    Equation  ā = w after the first update, and then ā ← decay · ā + (1 - decay) · w after each
    Source    Polyak, Juditsky 1992, "Acceleration of stochastic approximation by averaging"; numbers as
              torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    Note      there is no correction of a bias, as there is none: the mean begins with weights, not with 0

    Parameters
    ----------
    decay : how much of the mean is kept, 0 … 1. With 0 it is the weights themselves.

    Raises TypeError or ValueError for what is no such number.

    >>> EMA(0.99)
    EMA(decay=0.99)
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = number(self, "decay", decay, least=0, most=1)

    def takes(self, epoch: int, step: int, steps: int) -> bool:
        return True

    def share(self, taken: int) -> float:
        return 1 - self.decay
