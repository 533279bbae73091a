"""Adam and AdamW."""

import math
from collections.abc import Sequence
from typing import Any

from ..arguments import flag, number, several
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Optimizer
from .schedules import Schedule


class Adam(Optimizer):
    """Steps of about lr in each coordinate, whatever the scale of its gradient.

    Equation  g = grad + weight_decay · w
              m ← β1 m + (1 - β1) g,  v ← β2 v + (1 - β2) g²,  t counts the steps from 1
              w ← w - lr · m̂ / (√v̂ + eps),  m̂ = m / (1 - β1ᵗ),  v̂ = v / (1 - β2ᵗ);  amsgrad: the largest v so far
    Keeps     m ("exp_avg"), v ("exp_avg_sq"), t ("step"), with amsgrad the largest v ("max_exp_avg_sq")
    Source    Kingma, Ba 2015, "Adam", algorithm 1; amsgrad: Reddi, Kale, Kumar 2018, algorithm 2

    Parameters
    ----------
    lr : the learning rate, a number or a schedule.
    betas : β1 and β2, at least 0 and below 1.
    eps, weight_decay : numbers of at least 0.
    amsgrad : never let the step grow again.
    decoupled_weight_decay : shrink the weights by lr · weight_decay instead, as AdamW does.
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    counts_steps = True
    momentum_may_cycle = True

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        decay_biases: bool = True,
        decoupled_weight_decay: bool = False,
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
        self.amsgrad = flag(self, "amsgrad", amsgrad)
        self.decoupled_weight_decay = flag(self, "decoupled_weight_decay", decoupled_weight_decay)
        self.groups = grouped(self, groups)

    @property
    def own_momentum(self) -> float:
        return self.betas[0]

    def state_names(self) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * self.amsgrad)

    def decay(self, parameter: Parameter, lr: float) -> Any:
        """Shrink the weights, or give the gradient with the decay as a term of the loss, (weight_decay / 2) ‖w‖²."""
        decay, g = self.decay_of(parameter), self.gradient(parameter)
        if self.decoupled_weight_decay:
            parameter.value *= 1 - lr * decay
            return g
        return g + decay * parameter.value if decay else g

    def averages(self, parameter: Parameter, state: dict[str, Any], lr: float) -> tuple[Any, Any, Any]:
        """The gradient after weight decay, and m and v with it in them; the step is counted."""
        if not state:
            state |= self.begin(parameter.value)
        g = self.decay(parameter, lr)
        m, v, beta1, beta2 = state["exp_avg"], state["exp_avg_sq"], self.current_momentum, self.betas[1]
        state["step"] += 1
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        return g, m, v

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp, beta1, beta2 = namespace(parameter.value), self.current_momentum, self.betas[1]
        _, m, v = self.averages(parameter, state, lr)
        if self.amsgrad:
            if "max_exp_avg_sq" not in state:  # the option may be set later
                state["max_exp_avg_sq"] = xp.zeros_like(v)
            v = state["max_exp_avg_sq"]
            v[...] = xp.maximum(v, state["exp_avg_sq"])
        bias1, bias2 = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
        parameter.value -= (lr / bias1) * m / (xp.sqrt(v) / math.sqrt(bias2) + self.eps)


class AdamW(Adam):
    """Adam whose weight decay acts on the weights directly, not through the moments.

    Equation  w ← w (1 - lr · weight_decay), then Adam's step with g = grad
    Keeps     as Adam
    Source    Loshchilov, Hutter 2019, "Decoupled weight decay regularization", algorithm 2

    Parameters
    ----------
    lr, betas, eps, amsgrad, clip_norm, clip_value, decay_biases, maximize, constraint, groups : as in Adam.
    weight_decay : 0.01 unless given.
    """

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
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
            amsgrad,
            clip_norm=clip_norm,
            clip_value=clip_value,
            decay_biases=decay_biases,
            decoupled_weight_decay=True,
            maximize=maximize,
            constraint=constraint,
            groups=groups,
        )
