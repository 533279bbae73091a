"""RAdam."""

import math
from collections.abc import Sequence
from typing import Any

from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .adam import Adam
from .groups import Groups, grouped
from .schedules import Schedule


class RAdam(Adam):
    """Adam that warms up by itself: as long as it knows too little of the squares, it does not divide by them.

    Equation  m, v, m̂ as in Adam;  ρ(t) = ρ∞ - 2 t β2ᵗ / (1 - β2ᵗ),  ρ∞ = 2 / (1 - β2) - 1;  t counts the steps from 1
              w ← w - lr · m̂ while ρ(t) <= 5, and then w - lr · r m̂ √(1 - β2ᵗ) / (√v + eps)
              r = √((ρ(t) - 4) (ρ(t) - 2) ρ∞ / ((ρ∞ - 4) (ρ∞ - 2) ρ(t)))
    Keeps     m ("exp_avg"), v ("exp_avg_sq"), t ("step")
    Source    Liu et al. 2020, "On the variance of the adaptive learning rate and beyond", algorithm 2
    Note      with β2 of at most 2/3, ρ∞ is at most 5, and it never divides

    Parameters
    ----------
    lr, betas, eps, clip_norm, clip_value, decay_biases, maximize, constraint, groups : as in Adam.
    weight_decay : a number of at least 0; decoupled_weight_decay has it act as in AdamW.
    """

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
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
            betas,
            eps,
            weight_decay,
            clip_norm=clip_norm,
            clip_value=clip_value,
            decay_biases=decay_biases,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
            constraint=constraint,
        )
        self.groups = grouped(self, groups)

    def rectification(self, t: int) -> float | None:
        """r of step t, or None where the variance of v is not known yet."""
        power = self.betas[1] ** t
        most = 2 / (1 - self.betas[1]) - 1
        rho = most - 2 * t * power / (1 - power)
        return math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)) if rho > 5 else None

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp, beta1, beta2 = namespace(parameter.value), self.current_momentum, self.betas[1]
        _, m, v = self.averages(parameter, state, lr)
        t = state["step"]
        change = (lr / (1 - beta1**t)) * m
        if (r := self.rectification(t)) is not None:
            change = (r * math.sqrt(1 - beta2**t)) * change / (xp.sqrt(v) + self.eps)
        parameter.value -= change
