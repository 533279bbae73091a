"""Warm-up: smaller learning rates at the beginning."""

from ...arguments import number, whole
from .schedule import Schedule


class LinearLR(Schedule):
    """Warm up: a factor that goes in a straight line from start_factor to end_factor, and stays there.

    Equation  lr · (start_factor + (end_factor - start_factor) min(t, total_iters) / total_iters)
    Source    warm-up: Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2
    """

    def __init__(
        self,
        lr: float | Schedule,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        *,
        every: str = "epoch",
    ) -> None:
        super().__init__(lr, every=every)
        self.start_factor = number(self, "start_factor", start_factor, least=0)
        self.end_factor = number(self, "end_factor", end_factor, least=0)
        self.total_iters = whole(self, "total_iters", total_iters, least=1)

    def after(self, lr: float, t: int) -> float:
        progress = min(t, self.total_iters) / self.total_iters
        return lr * (self.start_factor + (self.end_factor - self.start_factor) * progress)


class ConstantLR(Schedule):
    """Warm up at once: a factor for the first total_iters epochs, and none after them.

    Equation  lr · factor for t < total_iters, then lr
    Source    He et al. 2016, "Deep residual learning", section 4.2, who began so with ResNet-110
    """

    def __init__(
        self, lr: float | Schedule, factor: float = 1.0 / 3, total_iters: int = 5, *, every: str = "epoch"
    ) -> None:
        super().__init__(lr, every=every)
        self.factor = number(self, "factor", factor, least=0)
        self.total_iters = whole(self, "total_iters", total_iters, least=1)

    def after(self, lr: float, t: int) -> float:
        return lr * self.factor if t < self.total_iters else lr
