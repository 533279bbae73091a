"""One cycle: up to a large learning rate, and down to almost none."""

import math
from collections.abc import Sequence

from ...arguments import choice, flag, number, whole
from .schedule import Schedule


class OneCycleLR(Schedule):
    """Up to max_lr and down to almost nothing, once; the momentum goes down and up again meanwhile.

    Equation  lr from max_lr / div_factor up to max_lr, and down to max_lr / (div_factor · final_div_factor)
              momentum from max_momentum down to base_momentum, and up to max_momentum again
              a + (b - a) (1 - cos(π s)) / 2 from a to b, of which the share s is over; "linear": a + (b - a) s
              at step 0 it begins, at pct_start · total_steps - 1 is the peak, at total_steps - 1 the end
              three_phase: as long down as up, to where it began, and from there to the end
    Source    Smith, Topin 2018, "Super-convergence"; the cosine and two phases: fastai
    Note      counts steps, unless every="epoch" makes epochs of all that are called steps here; goes on at the last
              rate after total_steps, where PyTorch's raises an error; max_lr is no schedule, but may be inside of one

    Parameters
    ----------
    max_lr : the learning rate at the peak.
    total_steps : of the whole cycle; or epochs and steps_per_epoch, whose product it is.
    pct_start : which share of total_steps the way up takes.
    anneal_strategy : "cos" or "linear".
    cycle_momentum, base_momentum, max_momentum : whether the momentum (β1 of the Adam family) is cycled, and between
        what; an optimizer that has none refuses it.
    div_factor, final_div_factor : the first rate is max_lr / div_factor, and the last that one / final_div_factor.
    three_phase : whether the way down has two parts.
    every : "step" or "epoch", the unit of time.
    """

    def __init__(
        self,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        *,
        every: str = "step",
    ) -> None:
        super().__init__(number(self, "max_lr", max_lr, least=0), every=every)
        self.epochs = None if epochs is None else whole(self, "epochs", epochs, least=1)
        self.steps_per_epoch = (
            None if steps_per_epoch is None else whole(self, "steps_per_epoch", steps_per_epoch, least=1)
        )
        if total_steps is not None:
            self.total_steps = whole(self, "total_steps", total_steps, least=1)
        elif self.epochs is not None and self.steps_per_epoch is not None:
            self.total_steps = self.epochs * self.steps_per_epoch
        else:
            raise ValueError(
                f"OneCycleLR: total_steps must be given, or epochs and steps_per_epoch, "
                f"got {total_steps=}, {epochs=}, {steps_per_epoch=}"
            )
        self.pct_start = number(self, "pct_start", pct_start, least=0, most=1)
        self.anneal_strategy = choice(self, "anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.cycle_momentum = flag(self, "cycle_momentum", cycle_momentum)
        self.base_momentum = number(self, "base_momentum", base_momentum, least=0, below=1)
        self.max_momentum = number(self, "max_momentum", max_momentum, least=0, below=1)
        self.div_factor = number(self, "div_factor", div_factor, above=0)
        self.final_div_factor = number(self, "final_div_factor", final_div_factor, above=0)
        self.three_phase = flag(self, "three_phase", three_phase)

    @property
    def max_lr(self) -> float:
        """The learning rate at the peak, which the others follow from."""
        assert not isinstance(self.lr, Schedule)
        return self.lr

    def after(self, lr: float, t: int) -> float:
        first = lr / self.div_factor
        return self._between(t, [first, lr, *[first] * self.three_phase, first / self.final_div_factor])

    def momentum_at(self, *, steps: int, epochs: int) -> float | None:
        if not self.cycle_momentum:
            return None
        low, high = self.base_momentum, self.max_momentum
        return self._between(self.time(steps=steps, epochs=epochs), [high, low, high, *[high] * self.three_phase])

    def cycles_momentum(self) -> bool:
        return self.cycle_momentum

    def _between(self, t: int, corners: Sequence[float]) -> float:
        """Where the way through these corners is at t, a phase from each to the next."""
        t = min(t, self.total_steps - 1)
        peak = self.pct_start * self.total_steps - 1
        back = [2 * self.pct_start * self.total_steps - 2] * self.three_phase
        ends = [0.0, peak, *back, self.total_steps - 1]
        i = next(i for i, end in enumerate(ends) if i and t <= end)
        (start, stop), (begin, end) = corners[i - 1 : i + 1], ends[i - 1 : i + 1]
        share = (t - begin) / (end - begin) if end > begin else 1.0  # a way up of one step is over at once
        if self.anneal_strategy == "linear":
            return (stop - start) * share + start
        return stop + (start - stop) / 2 * (math.cos(math.pi * share) + 1)
