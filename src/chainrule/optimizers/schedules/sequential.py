"""One schedule after another."""

from bisect import bisect_right
from collections.abc import Iterable

from ...arguments import whole
from .schedule import Schedule


class SequentialLR(Schedule):
    """One schedule after another: each begins, from its own first rate, at the milestone before it.

    Equation  schedulers[i] after t - milestones[i - 1], for milestones[i - 1] <= t < milestones[i]
    Note      each schedule brings its lr along, where PyTorch's share one. The momentum is what the schedule whose turn
              it is says of it, or else the optimizer's own, where PyTorch's leaves it where a cycle has brought it.
              PyTorch's MultiplicativeLR goes on from the rate that it finds; here it begins like the others

    Parameters
    ----------
    schedulers : the schedules, all by epochs or all by steps, as this one; no ReduceLROnPlateau, which hears losses.
    milestones : when each but the first begins, in increasing order.
    every : "epoch" or "step", the unit of time.

    >>> import chainrule as cr
    >>> warm_up, cosine = cr.LinearLR(0.1, total_iters=2), cr.CosineAnnealingLR(0.1, T_max=4)
    >>> schedule = cr.SequentialLR([warm_up, cosine], milestones=[2])
    >>> [round(schedule.at(steps=0, epochs=epoch), 3) for epoch in range(7)]
    [0.033, 0.067, 0.1, 0.085, 0.05, 0.015, 0.0]
    """

    def __init__(self, schedulers: Iterable[Schedule], milestones: Iterable[int], *, every: str = "epoch") -> None:
        self.schedulers = _several(schedulers)
        super().__init__(self.schedulers[0], every=every)
        if not isinstance(milestones, Iterable) or isinstance(milestones, str | bytes):
            raise TypeError(f"SequentialLR: milestones must be integers, got {milestones!r}")
        self.milestones = [whole(self, "milestones", milestone, least=0) for milestone in milestones]
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"SequentialLR: milestones must be in increasing order, got {self.milestones}")
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"SequentialLR: milestones must be one fewer than schedulers, got {len(self.milestones)} for "
                f"{len(self.schedulers)}"
            )
        for schedule in self.schedulers:
            if _units(schedule) != {self.every}:
                raise ValueError(
                    f'SequentialLR: schedulers must all count as it does, every="{self.every}", got {schedule!r}'
                )

    def inner(self) -> tuple[Schedule, ...]:
        return tuple(self.schedulers)

    def at(self, *, steps: int, epochs: int) -> float:
        schedule, steps, epochs = self._turn(steps, epochs)
        return schedule.at(steps=steps, epochs=epochs)

    def momentum_at(self, *, steps: int, epochs: int) -> float | None:
        schedule, steps, epochs = self._turn(steps, epochs)
        return schedule.momentum_at(steps=steps, epochs=epochs)

    def cycles_momentum(self) -> bool:
        return any(schedule.cycles_momentum() for schedule in self.schedulers)

    def _turn(self, steps: int, epochs: int) -> tuple[Schedule, int, int]:
        """The schedule whose turn it is, and how many steps and epochs are over for it."""
        i = bisect_right(self.milestones, self.time(steps=steps, epochs=epochs))
        since = self.milestones[i - 1] if i else 0
        by_step = self.every == "step"
        return self.schedulers[i], steps - since * by_step, epochs - since * (not by_step)


def _several(schedulers: Iterable[Schedule]) -> list[Schedule]:
    """At least one schedule, each a function of time."""
    several = list(schedulers) if isinstance(schedulers, Iterable) else []
    if not several or not all(isinstance(schedule, Schedule) for schedule in several):
        raise TypeError(f"SequentialLR: schedulers must be a list of schedules, got {schedulers!r}")
    for schedule in several:
        if schedule.listens():
            raise ValueError(
                f"SequentialLR: schedulers must be functions of time, got {schedule!r}, which hears losses"
            )
    return several


def _units(schedule: Schedule) -> set[str]:
    """What a schedule counts, and those inside of it."""
    return {schedule.every}.union(*map(_units, schedule.inner()))
