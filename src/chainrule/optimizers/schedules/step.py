"""Learning rates that fall in steps."""

from bisect import bisect_right
from collections.abc import Iterable

from ...arguments import number, whole
from .schedule import Schedule


class StepLR(Schedule):
    """Multiply by gamma every step_size epochs.

    Equation  lr · gamma^⌊t / step_size⌋
    """

    def __init__(self, lr: float | Schedule, step_size: int, gamma: float = 0.1, *, every: str = "epoch") -> None:
        super().__init__(lr, every=every)
        self.step_size = whole(self, "step_size", step_size, least=1)
        self.gamma = number(self, "gamma", gamma, least=0)

    def after(self, lr: float, t: int) -> float:
        return float(lr * self.gamma ** (t // self.step_size))


class MultiStepLR(Schedule):
    """Multiply by gamma at each milestone.

    Equation  lr · gamma^(number of milestones <= t)
    """

    def __init__(
        self, lr: float | Schedule, milestones: Iterable[int], gamma: float = 0.1, *, every: str = "epoch"
    ) -> None:
        super().__init__(lr, every=every)
        if not isinstance(milestones, Iterable) or isinstance(milestones, str | bytes):
            raise TypeError(f"MultiStepLR: milestones must be integers, got {milestones!r}")
        self.milestones = sorted(whole(self, "milestones", milestone, least=0) for milestone in milestones)
        self.gamma = number(self, "gamma", gamma, least=0)

    def after(self, lr: float, t: int) -> float:
        return float(lr * self.gamma ** bisect_right(self.milestones, t))
