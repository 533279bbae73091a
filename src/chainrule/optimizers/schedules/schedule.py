"""The contract of a schedule."""

import numbers
from collections.abc import Mapping
from typing import Any

from ... import signature
from ...arguments import choice, number


class Schedule:
    """A learning rate as a function of time, which begins anew for each network that its optimizer trains.

    Subclasses write `after(lr, t)`; those that cycle the momentum too, `momentum_at`.

    Parameters
    ----------
    lr : what to start from, a number or a schedule.
    every : "epoch" or "step", the unit of time.
    """

    def __init__(self, lr: "float | Schedule", *, every: str = "epoch") -> None:
        if isinstance(lr, bool) or not isinstance(lr, Schedule | numbers.Real):
            raise TypeError(f"{type(self).__name__}: lr must be a number or a schedule, got {lr!r}")
        self.lr = lr if isinstance(lr, Schedule) else number(self, "lr", lr, least=0)
        self.every = choice(self, "every", every, ("epoch", "step"))

    def after(self, lr: float, t: int) -> float:
        """The learning rate after t epochs (or steps), where `lr` is what this schedule starts from."""
        raise NotImplementedError(f"{type(self).__name__} has no `after`")

    def at(self, *, steps: int, epochs: int) -> float:
        """The learning rate when so many steps and epochs are over."""
        lr = self.lr.at(steps=steps, epochs=epochs) if isinstance(self.lr, Schedule) else self.lr
        return self.after(lr, self.time(steps=steps, epochs=epochs))

    def momentum_at(self, *, steps: int, epochs: int) -> float | None:
        """The momentum then, in place of the optimizer's own; None where the schedule leaves that alone."""
        return self.lr.momentum_at(steps=steps, epochs=epochs) if isinstance(self.lr, Schedule) else None

    def time(self, *, steps: int, epochs: int) -> int:
        """How much is over of what this schedule counts."""
        return steps if self.every == "step" else epochs

    def inner(self) -> tuple["Schedule", ...]:
        """The schedules that this one is made of."""
        return (self.lr,) if isinstance(self.lr, Schedule) else ()

    def changes_within_epochs(self) -> bool:
        """Whether the learning rate depends on steps."""
        return self.every == "step" or any(inner.changes_within_epochs() for inner in self.inner())

    def cycles_momentum(self) -> bool:
        """Whether `momentum_at` may have anything to say."""
        own = type(self).momentum_at is not Schedule.momentum_at
        return own or any(inner.cycles_momentum() for inner in self.inner())

    def listens(self) -> bool:
        """Whether the learning rate depends on losses, and so is known for one epoch ahead only."""
        return type(self).observe is not Schedule.observe or any(inner.listens() for inner in self.inner())

    def listeners(self) -> list["Schedule"]:
        """This schedule and those that it is made of, as far as they hear losses themselves."""
        own = [self] if type(self).observe is not Schedule.observe else []
        return own + [one for inner in self.inner() for one in inner.listeners()]

    def observe(self, loss: float | None) -> None:
        """Hear the loss of the epoch that has just ended. Only ReduceLROnPlateau listens."""
        for inner in self.inner():
            inner.observe(loss)

    def state(self) -> dict[str, Any]:
        """What this schedule has learned from losses."""
        return {name: value for inner in self.inner() for name, value in inner.state().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        for inner in self.inner():
            inner.load_state(state)

    def forget(self) -> None:
        """Start again."""
        for inner in self.inner():
            inner.forget()

    def __repr__(self) -> str:
        return signature.call(self)
