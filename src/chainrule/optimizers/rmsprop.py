"""RMSprop."""

from collections.abc import Sequence
from typing import Any

from ..arguments import flag, number
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Optimizer
from .schedules import Schedule


class RMSprop(Optimizer):
    """Divide each gradient by the root of the mean of its recent squares.

    Equation  g = grad + weight_decay · w
              v ← α v + (1 - α) g²;  centered: a ← α a + (1 - α) g, and v - a² instead of v below
              u = g / (√v + eps);  with momentum: b ← momentum · b + u, and b instead of u
              w ← w - lr · u
    Keeps     v ("square_avg"), a ("grad_avg") if centered, b ("momentum_buffer") if there is momentum
    Note      PyTorch takes the root of v - a² as it is, and gives NaN where rounding makes it negative; here it is 0
    Source    Hinton 2012, lecture 6e of "Neural networks for machine learning"; centered: Graves 2013, equation 38

    Parameters
    ----------
    lr : the learning rate, a number or a schedule.
    alpha : α, at least 0 and below 1.
    eps, weight_decay, momentum : numbers of at least 0.
    centered : divide by the standard deviation instead.
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    momentum_may_cycle = True

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
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
        self.alpha = number(self, "alpha", alpha, least=0, below=1)
        self.eps = number(self, "eps", eps, least=0)
        self.weight_decay = number(self, "weight_decay", weight_decay, least=0)
        self.momentum = number(self, "momentum", momentum, least=0, below=1)
        self.centered = flag(self, "centered", centered)
        self.groups = grouped(self, groups)

    @property
    def own_momentum(self) -> float:
        return self.momentum

    def state_names(self) -> tuple[str, ...]:
        return ("square_avg", *["grad_avg"] * self.centered, *["momentum_buffer"] * self.keeps_momentum())

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp, w, g, alpha = namespace(parameter.value), parameter.value, self.gradient(parameter), self.alpha
        if not state:
            state |= self.begin(w)
        if decay := self.decay_of(parameter):
            g = g + decay * w
        v = state["square_avg"]
        v *= alpha
        v += (1 - alpha) * (g * g)
        if self.centered:
            if "grad_avg" not in state:  # the option may be set later
                state["grad_avg"] = xp.zeros_like(w)
            a = state["grad_avg"]
            a *= alpha
            a += (1 - alpha) * g
            v = (v - a * a).clip(min=0)  # the variance of a constant gradient is 0, and rounding may say less
        u = g / (xp.sqrt(v) + self.eps)
        if momentum := self.current_momentum:
            if "momentum_buffer" not in state:  # a schedule may bring momentum later
                state["momentum_buffer"] = xp.zeros_like(w)
            b = state["momentum_buffer"]
            b *= momentum
            b += u
            u = b
        w -= lr * u
