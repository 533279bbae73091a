"""The contract of a schedule."""

import numbers
from collections.abc import Mapping
from typing import Any

from ... import signature
from ...arguments import choice, number


class Schedule:
    """A learning rate as a function of time, which begins for each network that its optimizer trains: see the top of this room.

    Subclasses write `after(lr, t)`.

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
        return self.after(lr, steps if self.every == "step" else epochs)

    def changes_within_epochs(self) -> bool:
        """Whether the learning rate depends on steps."""
        return self.every == "step" or (isinstance(self.lr, Schedule) and self.lr.changes_within_epochs())

    def observe(self, loss: float | None) -> None:
        """Hear the loss of the epoch that has just ended. Only ReduceLROnPlateau listens."""
        if isinstance(self.lr, Schedule):
            self.lr.observe(loss)

    def state(self) -> dict[str, Any]:
        """What this schedule has learned from losses."""
        return self.lr.state() if isinstance(self.lr, Schedule) else {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        if isinstance(self.lr, Schedule):
            self.lr.load_state(state)

    def forget(self) -> None:
        """Start again."""
        if isinstance(self.lr, Schedule):
            self.lr.forget()

    def __repr__(self) -> str:
        return signature.call(self)
