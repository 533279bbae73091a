"""A learning rate that falls to zero along a power."""

from ...arguments import number, whole
from .schedule import Schedule


class PolynomialLR(Schedule):
    """Down to 0 within total_iters epochs, in a straight line or along another power of what is left; and stay there.

    Equation  lr · (1 - min(t, total_iters) / total_iters)^power
    Source    Chen et al. 2018, "DeepLab", section 4.1.1, who took power 0.9
    """

    def __init__(self, lr: float | Schedule, total_iters: int = 5, power: float = 1.0, *, every: str = "epoch") -> None:
        super().__init__(lr, every=every)
        self.total_iters = whole(self, "total_iters", total_iters, least=1)
        self.power = number(self, "power", power, least=0)

    def after(self, lr: float, t: int) -> float:
        return float(lr * (1 - min(t, self.total_iters) / self.total_iters) ** self.power)
