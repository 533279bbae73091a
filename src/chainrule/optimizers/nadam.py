"""NAdam."""

import math
from collections.abc import Sequence
from typing import Any

from ..arguments import number
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .adam import Adam
from .groups import Groups, grouped
from .schedules import Schedule


class NAdam(Adam):
    """Adam with Nesterov's momentum: it steps along the mean as the next step will see it.

    Equation  m, v as in Adam;  μ(t) = β1 (1 - 0.96^(t · momentum_decay) / 2),  Πμ = μ(1) ··· μ(t)
              w ← w - lr · (μ(t + 1) m / (1 - Πμ · μ(t + 1)) + (1 - μ(t)) g / (1 - Πμ)) / (√v̂ + eps)
              v̂ = v / (1 - β2ᵗ);  t counts the steps from 1
    Keeps     m ("exp_avg"), v ("exp_avg_sq"), t ("step")
    Source    Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 2, with its schedule of μ
    Note      PyTorch keeps Πμ, in float32 unless that is not the default; here it follows from t, in float64

    Parameters
    ----------
    lr, betas, eps, clip_norm, clip_value, decay_biases, maximize, constraint, groups : as in Adam.
    weight_decay : a number of at least 0; decoupled_weight_decay has it act as in AdamW.
    momentum_decay : how fast μ rises from β1 / 2 to β1, at least 0.
    """

    momentum_may_cycle = False  # Πμ follows from t

    def __init__(
        self,
        lr: float | Schedule = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
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
        self.momentum_decay = number(self, "momentum_decay", momentum_decay, least=0)
        self.groups = grouped(self, groups)

    def mu(self, t: int) -> float:
        """The momentum of step t."""
        return float(self.betas[0] * (1.0 - 0.5 * 0.96 ** (t * self.momentum_decay)))

    def mu_product(self, t: int) -> float:
        """The product of all momenta until step t; 0 once it makes no difference to 1."""
        product = 1.0
        for i in range(1, t + 1):
            product *= self.mu(i)
            if 1.0 - product == 1.0:
                return 0.0
        return product

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp = namespace(parameter.value)
        g, m, v = self.averages(parameter, state, lr)
        t = state["step"]
        product, now, following = self.mu_product(t), self.mu(t), self.mu(t + 1)
        of_g, of_m = lr * (1 - now) / (1 - product), lr * following / (1 - product * following)
        parameter.value -= (of_g * g + of_m * m) / (xp.sqrt(v) / math.sqrt(1 - self.betas[1] ** t) + self.eps)
