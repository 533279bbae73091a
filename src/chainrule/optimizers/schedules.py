"""Learning rates that change: each is a function of the number of epochs (or of steps) that are over.

    SGD(lr=StepLR(0.1, step_size=30))                                 0.1, and a tenth of it every 30 epochs
    Adam(lr=LinearLR(CosineAnnealingLR(1e-3, T_max=100)))             5 epochs of warm-up, then a cosine

`lr`, what a schedule starts from, is a number or again a schedule, which is how they are combined. PyTorch's names,
arguments and numbers; where PyTorch advances a schedule by `scheduler.step()`, `fit` advances it after every epoch, and
loops written by hand call `optimizer.end_epoch(loss)`. With `every="step"` a schedule counts updates instead.

A schedule begins when it is set as the `lr` of an optimizer, and counts for each network by itself: a new one begins
it anew, training the same one further goes on, in another run, from a checkpoint or after another network. So it is as
if each network had an optimizer and a scheduler of PyTorch's. `repr(optimizer)` shows where it is. (Loops written by
hand say `optimizer.turn_to(model.param())` when they begin with another network.) A schedule belongs to one optimizer.
"""

import math
import numbers
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from .. import signature
from ..arguments import choice, number, whole


class Schedule:
    """A learning rate as a function of time, which begins for each network that its optimizer trains (see above).

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


class ExponentialLR(Schedule):
    """Multiply by gamma every epoch.

    Equation  lr · gammaᵗ
    """

    def __init__(self, lr: float | Schedule, gamma: float, *, every: str = "epoch") -> None:
        super().__init__(lr, every=every)
        self.gamma = number(self, "gamma", gamma, least=0)

    def after(self, lr: float, t: int) -> float:
        return float(lr * self.gamma**t)


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


class ReduceLROnPlateau(Schedule):
    """Multiply by factor when the loss has not become better for more than `patience` epochs.

    Better means lower than the best so far by the share `threshold` of it ("rel") or by that much ("abs"); for
    mode="max", higher. `cooldown` epochs after a reduction do not count. Reductions of eps or less are left out.

    Note      listens to the validation loss, where `fit` has one, else to the training loss; for losses below 0 the
              share is one of their size, where PyTorch's best · (1 - threshold) would take a worse loss for a better
    """

    def __init__(
        self,
        lr: float | Schedule,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(lr)
        self.mode = choice(self, "mode", mode, ("min", "max"))
        self.threshold_mode = choice(self, "threshold_mode", threshold_mode, ("rel", "abs"))
        self.factor = number(self, "factor", factor, least=0, below=1)
        self.patience, self.cooldown = (
            whole(self, "patience", patience, least=0),
            whole(self, "cooldown", cooldown, least=0),
        )
        self.threshold = number(self, "threshold", threshold, least=0)
        self.min_lr, self.eps = number(self, "min_lr", min_lr, least=0), number(self, "eps", eps, least=0)
        self.best: float
        self.bad_epochs: int
        self.cooling: int
        self.reductions: int
        self.forget()

    def after(self, lr: float, t: int) -> float:
        for _ in range(self.reductions):
            reduced = max(lr * self.factor, self.min_lr)
            if lr - reduced <= self.eps:  # nor would any later one change it
                break
            lr = reduced
        return lr

    def observe(self, loss: float | None) -> None:
        super().observe(loss)
        if loss is None:
            raise ValueError("ReduceLROnPlateau needs the loss: optimizer.end_epoch(loss)")
        if self._better(loss):
            self.best, self.bad_epochs = loss, 0
        else:
            self.bad_epochs += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad_epochs = 0
        if self.bad_epochs > self.patience:
            self.reductions += 1
            self.cooling, self.bad_epochs = self.cooldown, 0

    def _better(self, loss: float) -> bool:
        sign = 1.0 if self.mode == "min" else -1.0
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1.0)
        if math.isinf(self.best):
            return sign * (self.best - loss) > 0  # any finite loss; NaN and infinity are none
        return sign * (self.best - loss) > margin

    def state(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("best", "bad_epochs", "cooling", "reductions")}
        return super().state() | own

    def load_state(self, state: Mapping[str, Any]) -> None:
        best = number(self, "best", state["best"], finite=False)
        counts = [whole(self, name, state[name], least=0) for name in ("bad_epochs", "cooling", "reductions")]
        super().load_state(state)
        self.best, (self.bad_epochs, self.cooling, self.reductions) = best, counts

    def forget(self) -> None:
        super().forget()
        self.best = math.inf if self.mode == "min" else -math.inf
        self.bad_epochs = self.cooling = self.reductions = 0
