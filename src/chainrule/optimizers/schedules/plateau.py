"""A learning rate that falls when the loss does no longer."""

import math
from collections.abc import Mapping
from typing import Any

from ...arguments import choice, number, whole
from .schedule import Schedule


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
        inner = super().state()  # by itself, for it may be that of another plateau
        return own | ({"lr": inner} if inner else {})

    def load_state(self, state: Mapping[str, Any]) -> None:
        best = number(self, "best", state["best"], finite=False)
        counts = [whole(self, name, state[name], least=0) for name in ("bad_epochs", "cooling", "reductions")]
        super().load_state(state.get("lr", state))  # older states have both in one
        self.best, (self.bad_epochs, self.cooling, self.reductions) = best, counts

    def forget(self) -> None:
        super().forget()
        self.best = math.inf if self.mode == "min" else -math.inf
        self.bad_epochs = self.cooling = self.reductions = 0
