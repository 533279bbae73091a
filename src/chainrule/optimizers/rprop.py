"""Rprop."""

from collections.abc import Sequence
from typing import Any

from ..arguments import number, several
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Optimizer
from .schedules import Schedule


class Rprop(Optimizer):
    """A step size for each weight, which grows while the gradient keeps its sign; its size does not matter.

    For gradients of all data at once (`batch_size` of the whole Dataset): those of small batches change their signs at
    random.

    Equation  where grad keeps the sign of g:      s ← min(s · grow, most),    g ← grad
              where it has the other sign:         s ← max(s · shrink, least), g ← 0
              where either is 0:                   g ← grad
              w ← w - s · sign(g)
    Keeps     g ("prev"), s ("step_size", lr at the first step), the number of steps ("step")
    Source    Riedmiller, Braun 1993, "A direct adaptive method for faster backpropagation learning: the RPROP
              algorithm"; g ← 0 instead of its way back: iRprop- of Igel, Hüsken 2000, "Improving the Rprop learning
              algorithm"
    Note      signs are compared; PyTorch takes the sign of the product, which small gradients make 0. A gradient that
              is NaN makes w NaN, as with every rule; PyTorch's Rprop takes its sign for 0

    Parameters
    ----------
    lr : the step size of the first step, a number or a schedule; what it is later does not matter.
    etas : shrink and grow, above 0 and below 1, and above 1.
    step_sizes : least and most, numbers of at least 0.
    clip_norm, clip_value, maximize, constraint, groups : see Optimizer.
    """

    counts_steps = True

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        maximize: bool = False,
        constraint: Constraint | Sequence[Constraint] | None = None,
        groups: Groups = (),
    ) -> None:
        super().__init__(lr, clip_norm=clip_norm, clip_value=clip_value, maximize=maximize, constraint=constraint)
        shrink, grow = several(self, "etas", etas, 2)
        self.etas = (number(self, "etas[0]", shrink, above=0, below=1), number(self, "etas[1]", grow, above=1))
        least, most = several(self, "step_sizes", step_sizes, 2, least=0)
        self.step_sizes = (least, number(self, "step_sizes[1]", most, least=least))
        self.groups = grouped(self, groups)

    def state_names(self) -> tuple[str, ...]:
        return ("prev", "step_size")

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp, w, grad = namespace(parameter.value), parameter.value, self.gradient(parameter)
        if not state:
            state |= self.begin(w)
        state["step"] += 1
        g, s = state["prev"], state["step_size"]
        if state["step"] == 1:
            s[...] = lr
        turn = xp.sign(grad) * xp.sign(g)  # 1: the same sign, -1: the other one
        s[turn < 0] *= self.etas[0]
        s[turn > 0] *= self.etas[1]
        s[...] = xp.clip(s, *self.step_sizes)
        g[...] = grad
        g[turn < 0] = 0
        w -= s * xp.sign(g)
