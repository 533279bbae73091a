"""A learning rate that falls along a cosine."""

import math

from ...arguments import number, whole
from .schedule import Schedule


class CosineAnnealingLR(Schedule):
    """Half a cosine from lr down to eta_min within T_max epochs, and back up after that, as in PyTorch.

    Equation  eta_min + (lr - eta_min) (1 + cos(π t / T_max)) / 2
    Source    Loshchilov, Hutter 2017, "SGDR", equation 5
    """

    def __init__(self, lr: float | Schedule, T_max: int, eta_min: float = 0.0, *, every: str = "epoch") -> None:
        super().__init__(lr, every=every)
        self.T_max = whole(self, "T_max", T_max, least=1)
        self.eta_min = number(self, "eta_min", eta_min, least=0)

    def after(self, lr: float, t: int) -> float:
        return self.eta_min + (lr - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2
