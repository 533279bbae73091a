"""Adafactor."""

import math
from collections.abc import Sequence
from typing import Any

from ..arguments import number
from ..arrays import namespace
from ..constraints import Constraint
from ..module import Parameter
from .groups import Groups, grouped
from .optimizer import Kept, Optimizer
from .schedules import Schedule


class Adafactor(Optimizer):
    """Divide by the root of a mean of squares of which only rows and columns are remembered: it keeps next to nothing.

    Steps are relative to the size of the weights, and at most `lr` of it.

    Equation  b = t^beta2_decay,  ρ = min(lr, 1 / √t),  α = ρ · max(eps2, rms(w)),  t counts the steps from 1
              w ← w (1 - lr · weight_decay)
              matrices: r ← r + b (mean of g² along each row - r),  c ← c + b (mean of g² along each column - c)
                        v = r c / max(mean of r, eps1)
              vectors:  v ← v + b (g² - v)
              u = g / max(√v, eps1);  w ← w - α u / max(1, rms(u) / d)
    Shapes    of more than two axes, the last two make the matrices
    Keeps     r ("row_var") and c ("col_var"), of vectors v ("variance"), t ("step")
    Source    Shazeer, Stern 2018, "Adafactor", algorithms 4 and 5; eps1, lr and weight_decay as in PyTorch
    Note      eps1 = None is the eps of the parameter's own dtype, in PyTorch of the dtype of the first one

    Parameters
    ----------
    lr : the largest relative step, a number or a schedule.
    beta2_decay : the power with which b falls, at most 0.
    eps : eps1 and eps2, numbers of at least 0, or None for eps1.
    d : how large the mean square of a step may be before it is cut, at least 1.
    weight_decay : a number of at least 0.
    clip_norm, clip_value, decay_biases, maximize, constraint, groups : see Optimizer.
    """

    counts_steps = True

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
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
        self.beta2_decay = number(self, "beta2_decay", beta2_decay, most=0)
        if not isinstance(eps, tuple | list) or len(eps) != 2:
            raise TypeError(f"Adafactor: eps must be two numbers, got {eps!r}")
        first = None if eps[0] is None else number(self, "eps[0]", eps[0], least=0)
        self.eps = (first, number(self, "eps[1]", eps[1], least=0))
        self.d = number(self, "d", d, least=1)
        self.weight_decay = number(self, "weight_decay", weight_decay, least=0)
        self.groups = grouped(self, groups)

    def kept(self, shape: tuple[int, ...]) -> Kept:
        if len(shape) > 1:
            return Kept({"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}, counts=True)
        return Kept({"variance": shape}, counts=True)

    def begin(self, value: Any) -> dict[str, Any]:
        xp = namespace(value)
        if value.ndim > 1:
            kept = {"row_var": xp.zeros_like(value[..., :1]), "col_var": xp.zeros_like(value[..., :1, :])}
        else:
            kept = {"variance": xp.zeros_like(value)}
        return {"step": 0} | kept

    def update(self, parameter: Parameter, state: dict[str, Any], lr: float) -> None:
        xp, w, g = namespace(parameter.value), parameter.value, self.gradient(parameter)
        if not state:
            state |= self.begin(w)
        state["step"] += 1
        share, alpha = state["step"] ** self.beta2_decay, min(lr, 1 / math.sqrt(state["step"]))
        alpha *= max(self.eps[1], _rms(w))
        eps = float(xp.finfo(w.dtype).eps) if self.eps[0] is None else self.eps[0]
        if decay := self.decay_of(parameter):
            w *= 1 - lr * decay
        if w.ndim > 1:
            r, c = state["row_var"], state["col_var"]
            r += share * (xp.mean(g * g, axis=-1, keepdims=True) - r)
            c += share * (xp.mean(g * g, axis=-2, keepdims=True) - c)
            v = r * c / xp.mean(r, axis=-2, keepdims=True).clip(min=eps)
        else:
            v = state["variance"]
            v += share * (g * g - v)
        u = g / xp.sqrt(v.clip(min=eps * eps))
        w -= (alpha / max(1.0, _rms(u) / self.d)) * u


def _rms(x: Any) -> float:
    """The root of the mean of squares."""
    return math.sqrt(float((x * x).mean()))
