"""Adadelta."""

from collections.abc import Sequence
from typing import Any

from ..arguments import number
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Optimizer
from .schedules import Schedule


class Adadelta(Optimizer):
    """Steps as large as the recent ones were: it needs no learning rate, but starts slowly.

    Equation  g = grad + weight_decay · w;  v ← ρ v + (1 - ρ) g²
              d = √(u + eps) / √(v + eps) · g;  u ← ρ u + (1 - ρ) d²;  w ← w - lr · d
    Keeps     v ("square_avg"), u ("acc_delta")
    Source    Zeiler 2012, "ADADELTA: an adaptive learning rate method", algorithm 1, where lr is 1

    Parameters
    ----------
    lr : a factor for every step, a number or a schedule.
    rho : ρ, at least 0 and at most 1.
    eps, weight_decay : numbers of at least 0; the first steps are of about √(eps / (1 - ρ)).
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    def __init__(
        self,
        lr: float | Schedule = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_biases: bool = True,
        maximize: bool = False,
        constraint: Constraint | Sequence[Constraint] | None = None,
        groups: Groups = (),
    ) -> None:
        super().__init__(
            lr,
            clip_norm=clip_norm,
            clip_value=clip_value,
            decay_biases=decay_biases,
            maximize=maximize,
            constraint=constraint,
        )
        self.rho = number(self, "rho", rho, least=0, most=1)
        self.eps = number(self, "eps", eps, least=0)
        self.weight_decay = number(self, "weight_decay", weight_decay, least=0)
        self.groups = grouped(self, groups)

    def state_names(self) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp, w, g, rho = namespace(parameter.value), parameter.value, self.gradient(parameter), self.rho
        if not state:
            state |= self.begin(w)
        if decay := self.decay_of(parameter):
            g = g + decay * w
        v, u = state["square_avg"], state["acc_delta"]
        v *= rho
        v += (1 - rho) * (g * g)
        d = xp.sqrt(u + self.eps) / xp.sqrt(v + self.eps) * g
        u *= rho
        u += (1 - rho) * (d * d)
        w -= lr * d
