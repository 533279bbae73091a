"""ASGD."""

from collections.abc import Sequence
from typing import Any

from ..arguments import number
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Optimizer
from .schedules import Schedule


class ASGD(Optimizer):
    """SGD whose steps become smaller, and which keeps the mean of the weights beside them.

    Equation  g = grad + weight_decay · w;  t counts the steps from 1
              w ← w (1 - lambd · η) - η g,  η = lr / (1 + lambd · lr · (t - 1))^alpha
              a ← a + μ (w - a),  μ = 1 / max(1, t - 1 - t0)
    Keeps     a ("ax"), t ("step")
    Source    Polyak, Juditsky 1992, "Acceleration of stochastic approximation by averaging"; η as in Xu 2011,
              "Towards optimal one pass large scale learning with averaged stochastic gradient descent"
    Note      the network goes on with w; the mean is `optimizer.state[parameter]["ax"]`.
              PyTorch keeps η for the next step: where a schedule changes lr, it follows one step later there

    Parameters
    ----------
    lr : the learning rate, a number or a schedule.
    lambd, alpha : how much weights decay and by which power steps shrink, numbers of at least 0.
    t0 : after how many steps the mean begins; until then a is w.
    weight_decay : a number of at least 0.
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    counts_steps = True

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
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
        self.lambd = number(self, "lambd", lambd, least=0)
        self.alpha = number(self, "alpha", alpha, least=0)
        self.t0 = number(self, "t0", t0, least=0)
        self.weight_decay = number(self, "weight_decay", weight_decay, least=0)
        self.groups = grouped(self, groups)

    def state_names(self) -> tuple[str, ...]:
        return ("ax",)

    def eta(self, t: int, lr: float) -> float:
        """The size of step t."""
        return float(lr / (1 + self.lambd * lr * (t - 1)) ** self.alpha)

    def mu(self, t: int) -> float:
        """The share of the weights of step t in their mean."""
        return 1 / max(1.0, t - 1 - self.t0)

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        w, g = parameter.value, self.gradient(parameter)
        if not state:
            state |= self.begin(w)
        state["step"] += 1
        eta, mu = self.eta(state["step"], lr), self.mu(state["step"])
        if decay := self.decay_of(parameter):
            g = g + decay * w
        w *= 1 - self.lambd * eta
        w -= eta * g
        a = state["ax"]
        if mu == 1:
            a[...] = w
        else:
            a += mu * (w - a)
