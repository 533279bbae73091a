"""Adagrad."""

from collections.abc import Sequence
from typing import Any

from ..arguments import number
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Optimizer
from .schedules import Schedule


class Adagrad(Optimizer):
    """Divide each gradient by the root of the sum of all its squares so far: often-seen features learn slowly.

    Equation  g = grad + weight_decay · w;  s ← s + g²;  t counts the steps from 1
              w ← w - lr / (1 + (t - 1) lr_decay) · g / (√s + eps)
    Keeps     s ("sum"), t ("step")
    Note      a group may start its sums from a value of its own, which PyTorch's groups do not
    Source    Duchi, Hazan, Singer 2011, "Adaptive subgradient methods", figure 1, with the diagonal matrix

    Parameters
    ----------
    lr : the learning rate, a number or a schedule.
    lr_decay, weight_decay, eps : numbers of at least 0.
    initial_accumulator_value : what s starts from.
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    counts_steps = True

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
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
        self.lr_decay = number(self, "lr_decay", lr_decay, least=0)
        self.weight_decay = number(self, "weight_decay", weight_decay, least=0)
        self.initial_accumulator_value = number(self, "initial_accumulator_value", initial_accumulator_value, least=0)
        self.eps = number(self, "eps", eps, least=0)
        self.groups = grouped(self, groups)

    def state_names(self) -> tuple[str, ...]:
        return ("sum",)

    def initial_value(self, name: str) -> float:
        return self.initial_accumulator_value

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp, w, g = namespace(parameter.value), parameter.value, self.gradient(parameter)
        if not state:
            state |= self.begin(w)
        state["step"] += 1
        if decay := self.decay_of(parameter):
            g = g + decay * w
        s = state["sum"]
        s += g * g
        w -= (lr / (1 + (state["step"] - 1) * self.lr_decay)) * g / (xp.sqrt(s) + self.eps)
