"""Stochastic gradient descent."""

from collections.abc import Sequence
from typing import Any

from ..arguments import flag, number
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Optimizer
from .schedules import Schedule


class SGD(Optimizer):
    """Go a little way downhill, with or without momentum.

    Equation  g = grad + weight_decay · w
              v ← momentum · v + (1 - dampening) g, at the first step v = g
              w ← w - lr · g without momentum, w - lr · v with it, w - lr (g + momentum · v) with nesterov
    Keeps     v ("momentum_buffer"), if there is momentum
    Source    Robbins, Monro 1951; momentum: Polyak 1964; nesterov: Sutskever, Martens, Dahl, Hinton 2013
    Note      numbers as in PyTorch, where lr multiplies v (in Sutskever et al. it stands inside v)

    Parameters
    ----------
    lr : the learning rate, a number or a schedule.
    momentum, dampening, weight_decay : numbers of at least 0, momentum below 1.
    nesterov : look ahead; needs momentum and no dampening.
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    momentum_may_cycle = True

    def __init__(
        self,
        lr: float | Schedule = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
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
        self.momentum = number(self, "momentum", momentum, least=0, below=1)
        self.dampening = number(self, "dampening", dampening, least=0)
        self.weight_decay = number(self, "weight_decay", weight_decay, least=0)
        self.nesterov = flag(self, "nesterov", nesterov)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                f"SGD: nesterov needs momentum above 0 and dampening of 0, got {momentum=} and {dampening=}"
            )
        self.groups = grouped(self, groups)

    @property
    def own_momentum(self) -> float:
        return self.momentum

    def state_names(self) -> tuple[str, ...]:
        return ("momentum_buffer",) * self.keeps_momentum()

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        w, g = parameter.value, self.gradient(parameter)
        if decay := self.decay_of(parameter):
            g = g + decay * w
        if momentum := self.current_momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = v = g + 0  # a copy: the gradient itself is set to zero later
            else:
                v = state["momentum_buffer"]
                v *= momentum
                v += (1 - self.dampening) * g
            g = g + momentum * v if self.nesterov else v
        w -= lr * g
