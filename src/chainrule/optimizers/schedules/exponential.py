"""A learning rate that falls by the same share every epoch."""

from ...arguments import number
from .schedule import Schedule


class ExponentialLR(Schedule):
    """Multiply by gamma every epoch.

    Equation  lr · gammaᵗ
    """

    def __init__(self, lr: float | Schedule, gamma: float, *, every: str = "epoch") -> None:
        super().__init__(lr, every=every)
        self.gamma = number(self, "gamma", gamma, least=0)

    def after(self, lr: float, t: int) -> float:
        return float(lr * self.gamma**t)
