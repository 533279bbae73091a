"""Adamax."""

from collections.abc import Sequence
from typing import Any

from ..arguments import number, several
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Optimizer
from .schedules import Schedule


class Adamax(Optimizer):
    """Adam that divides by the largest recent gradient instead of the root of the mean of squares.

    Equation  g = grad + weight_decay · w
              m ← β1 m + (1 - β1) g,  u ← max(β2 u, |g| + eps),  t counts the steps from 1
              w ← w - lr / (1 - β1ᵗ) · m / u
    Keeps     m ("exp_avg"), u ("exp_inf"), t ("step")
    Source    Kingma, Ba 2015, "Adam", algorithm 2; eps is PyTorch's

    Parameters
    ----------
    lr : the learning rate, a number or a schedule.
    betas : β1 and β2, at least 0 and below 1.
    eps, weight_decay : numbers of at least 0.
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    counts_steps = True

    def __init__(
        self,
        lr: float | Schedule = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
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
        self.betas = several(self, "betas", betas, 2, least=0, below=1)
        self.eps = number(self, "eps", eps, least=0)
        self.weight_decay = number(self, "weight_decay", weight_decay, least=0)
        self.groups = grouped(self, groups)

    def state_names(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_inf")

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp, w, g, (beta1, beta2) = namespace(parameter.value), parameter.value, self.gradient(parameter), self.betas
        if not state:
            state |= self.begin(w)
        state["step"] += 1
        if decay := self.decay_of(parameter):
            g = g + decay * w
        m, u = state["exp_avg"], state["exp_inf"]
        m *= beta1
        m += (1 - beta1) * g
        u[...] = xp.maximum(beta2 * u, xp.abs(g) + self.eps)
        w -= (lr / (1 - beta1 ** state["step"])) * m / u
