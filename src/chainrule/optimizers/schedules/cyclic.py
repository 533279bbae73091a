"""Cycles: up and down between two learning rates, again and again."""

from collections.abc import Callable

from ...arguments import choice, flag, function, number, whole
from .schedule import Schedule


class CyclicLR(Schedule):
    """Up from base_lr to max_lr and down again, in straight lines, again and again; the momentum goes the other way.

    Equation  lr = base_lr + (max_lr - base_lr) h,  momentum = max_momentum - (max_momentum - base_momentum) h
              h from 0 to 1 within step_size_up and back to 0 within step_size_down, times a scale:
              1 for "triangular", 1/2ⁿ in cycle n (from 0) for "triangular2", gammaᵗ for "exp_range"
    Source    Smith 2017, "Cyclical learning rates for training neural networks", section 3
    Note      counts steps, unless every="epoch" makes epochs of them; base_lr and max_lr are no schedules, but a
              CyclicLR may be inside of one

    Parameters
    ----------
    base_lr, max_lr : the learning rate where a cycle begins, and at its peak.
    step_size_up, step_size_down : how many steps it goes up, and down; as many for None.
    mode : "triangular", "triangular2" or "exp_range".
    gamma : of "exp_range", at most 1.
    scale_fn : another scale, a function to 0 … 1 of the number of the cycle, from 1 on, or of t for
        scale_mode="iterations"; `mode` is then ignored. A file cannot keep it, see LambdaLR.
    cycle_momentum, base_momentum, max_momentum : whether the momentum (β1 of the Adam family) is cycled, and between
        what; an optimizer that has none refuses it.
    every : "step" or "epoch", the unit of time.
    """

    def __init__(
        self,
        base_lr: float,
        max_lr: float,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[int], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        *,
        every: str = "step",
    ) -> None:
        super().__init__(number(self, "base_lr", base_lr, least=0), every=every)
        self.max_lr = number(self, "max_lr", max_lr, least=0)
        self.step_size_up = whole(self, "step_size_up", step_size_up, least=1)
        self.step_size_down = None if step_size_down is None else whole(self, "step_size_down", step_size_down, least=1)
        self.mode = choice(self, "mode", mode, ("triangular", "triangular2", "exp_range"))
        self.gamma = number(self, "gamma", gamma, least=0, most=1)
        self.scale_fn = None if scale_fn is None else function(self, "scale_fn", scale_fn)
        self.scale_mode = choice(self, "scale_mode", scale_mode, ("cycle", "iterations"))
        self.cycle_momentum = flag(self, "cycle_momentum", cycle_momentum)
        self.base_momentum = number(self, "base_momentum", base_momentum, least=0, below=1)
        self.max_momentum = number(self, "max_momentum", max_momentum, least=0, below=1)

    @property
    def base_lr(self) -> float:
        """The learning rate where a cycle begins."""
        assert not isinstance(self.lr, Schedule)
        return self.lr

    def after(self, lr: float, t: int) -> float:
        return lr + (self.max_lr - lr) * self._height(t)

    def momentum_at(self, *, steps: int, epochs: int) -> float | None:
        if not self.cycle_momentum:
            return None
        height = self._height(self.time(steps=steps, epochs=epochs))
        return self.max_momentum - (self.max_momentum - self.base_momentum) * height

    def cycles_momentum(self) -> bool:
        return self.cycle_momentum

    def _height(self, t: int) -> float:
        """h, the share of the way up from base_lr to max_lr."""
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        cycle, within = divmod(t, up + down)
        return (within / up if within <= up else (up + down - within) / down) * self._scale(cycle, t)

    def _scale(self, cycle: int, t: int) -> float:
        if self.scale_fn is not None:
            x = cycle + 1 if self.scale_mode == "cycle" else t
            return number(self, f"scale_fn({x})", self.scale_fn(x), least=0, most=1)
        if self.mode == "triangular2":
            return 0.5**cycle
        return float(self.gamma**t) if self.mode == "exp_range" else 1.0
