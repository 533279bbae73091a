"""Learning rates that fall along a cosine."""

import math

from ...arguments import number, whole
from .schedule import Schedule


class CosineAnnealingLR(Schedule):
    """Half a cosine from lr down to eta_min within T_max epochs, and back up after that, as in PyTorch.

    Equation  eta_min + (lr - eta_min) (1 + cos(π t / T_max)) / 2
    Source    Loshchilov, Hutter 2017, "SGDR", equation 5
    Note      PyTorch's is a recursion, from the rate of the epoch before. Alone it comes to the same; in a chain it
              forgets after T_max what others have made of lr until then. From 0.1, behind an ExponentialLR with
              gamma=0.9 and with T_max=4, epoch 6 has 0.045 there, and by the equation, with 0.1 · 0.9⁶ for lr, 0.02657

    >>> import chainrule as cr
    >>> round(cr.CosineAnnealingLR(cr.ExponentialLR(0.1, gamma=0.9), T_max=4).at(steps=0, epochs=6), 5)
    0.02657
    """

    def __init__(self, lr: float | Schedule, T_max: int, eta_min: float = 0.0, *, every: str = "epoch") -> None:
        super().__init__(lr, every=every)
        self.T_max = whole(self, "T_max", T_max, least=1)
        self.eta_min = number(self, "eta_min", eta_min, least=0)

    def after(self, lr: float, t: int) -> float:
        return self.eta_min + (lr - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(Schedule):
    """Half a cosine from lr down to eta_min, again and again: T_0 epochs long at first, then each T_mult times as long.

    Equation  eta_min + (lr - eta_min) (1 + cos(π s / T_i)) / 2, s of the T_i = T_0 · T_multⁱ epochs of half i over
    Source    Loshchilov, Hutter 2017, "SGDR", section 3
    Note      PyTorch's goes by the first rate, whatever a chain has made of it, see LambdaLR
    """

    def __init__(
        self, lr: float | Schedule, T_0: int, T_mult: int = 1, eta_min: float = 0.0, *, every: str = "epoch"
    ) -> None:
        super().__init__(lr, every=every)
        self.T_0 = whole(self, "T_0", T_0, least=1)
        self.T_mult = whole(self, "T_mult", T_mult, least=1)
        self.eta_min = number(self, "eta_min", eta_min, least=0)

    def after(self, lr: float, t: int) -> float:
        T_i = self.T_0
        if self.T_mult == 1:
            t %= T_i
        while t >= T_i:
            t -= T_i
            T_i *= self.T_mult
        return self.eta_min + (lr - self.eta_min) * (1 + math.cos(math.pi * t / T_i)) / 2
