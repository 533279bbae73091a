"""What holds for parameters after every update: bounds, norms, zeros that stay.

    Adam(lr=1e-3, constraint=MaxNorm(2.0))                                        for all parameters
    Adam(lr=1e-3, groups=[{"parameters": [layer.weight], "constraint": L1(0.01)}])    for some

An optimizer applies them to each parameter that it has just updated, with the learning rate of that step. Of several
the first comes first. `strength` is that of a penalty: L1 and L2 make a proximal step (Parikh, Boyd 2014, "Proximal
algorithms", chapter 6) for the term strength · Σ|w| of the loss, or strength / 2 · Σ w².
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import arrays, signature
from .arguments import as_array, number
from .arrays import Array, namespace
from .module import Parameter


class Constraint:
    """Changes a parameter's value after its update. Subclasses write `apply`.

    What a constraint is made of does not change: give the optimizer another one instead.
    """

    def apply(self, value: Array, lr: float) -> None:
        """Change `value` in place, after an update with this learning rate."""
        raise NotImplementedError(f"{type(self).__name__} has no apply")

    def check(self, parameter: Parameter) -> None:
        """Raise ValueError for a parameter that it cannot be for."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AttributeError(f"{type(self).__name__}.{name}: set another constraint instead of changing this one")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return signature.call(self)


class L1(Constraint):
    """Draw all numbers towards 0, and hold there those that come to it: weights that do not matter are exactly 0.

    Equation  w ← sign(w) max(|w| - lr · strength, 0)

    Parameters
    ----------
    strength : of the penalty, at least 0.
    """

    def __init__(self, strength: float) -> None:
        self.strength = number(self, "strength", strength, least=0)

    def apply(self, value: Array, lr: float) -> None:
        reach = lr * self.strength
        value -= value.clip(-reach, reach)  # what is closer to 0 than that takes itself away


class L2(Constraint):
    """Shrink all numbers by the same share.

    Equation  w ← w / (1 + lr · strength)
    Note      an optimizer's weight_decay is the same penalty as a term of the gradient, or of AdamW's update

    Parameters
    ----------
    strength : of the penalty, at least 0.
    """

    def __init__(self, strength: float) -> None:
        self.strength = number(self, "strength", strength, least=0)

    def apply(self, value: Array, lr: float) -> None:
        value /= 1 + lr * self.strength


class MaxNorm(Constraint):
    """Keep the weights of each unit within a ball: a row that is longer is scaled to its surface.

    Equation  row ← row · max_norm / max(‖row‖, max_norm)
    Note      a row is what has one index of the first axis: of a Linear the weights of one output. Parameters with
              fewer than two axes, such as biases, stay as they are
    Source    Srivastava, Hinton et al. 2014, "Dropout", section 5.1

    Parameters
    ----------
    max_norm : the radius, above 0.
    """

    def __init__(self, max_norm: float) -> None:
        self.max_norm = number(self, "max_norm", max_norm, above=0)

    def apply(self, value: Array, lr: float) -> None:
        if value.ndim > 1:
            value *= self.max_norm / _row_norms(value).clip(min=self.max_norm)


class UnitNorm(Constraint):
    """Give the weights of each unit the length 1; a row of zeros, which has no direction, stays.

    Equation  row ← row / ‖row‖
    Note      rows are those of MaxNorm
    """

    def apply(self, value: Array, lr: float) -> None:
        if value.ndim > 1:
            norms, xp = _row_norms(value), namespace(value)
            value /= xp.where(norms > 0, norms, xp.ones_like(norms))


class NonNegative(Constraint):
    """No number is below 0: a network of such weights and rising activations rises in each of its inputs.

    Equation  w ← max(w, 0)
    """

    def apply(self, value: Array, lr: float) -> None:
        value[...] = value.clip(min=0)


class Mask(Constraint):
    """Keep some numbers at 0: connections that are pruned.

    Equation  w ← w where the mask is True, else 0

    Parameters
    ----------
    mask : booleans, or zeros and ones, in the shape of the parameter; a copy is kept.

    Raises ValueError for other numbers and, from the optimizer, for a parameter of another shape.

    >>> value = np.array([[0.5, -2.0]])
    >>> Mask([[1, 0]]).apply(value, lr=0.1)
    >>> value
    array([[0.5, 0. ]])
    """

    def __init__(self, mask: Any) -> None:
        found = arrays.to_numpy(as_array(self, "mask", mask))
        self.mask = found.astype(bool)
        self.mask.flags.writeable = False
        if not np.array_equal(found, self.mask):
            raise ValueError("Mask: mask must hold True and False, or ones and zeros, and holds other numbers")

    def check(self, parameter: Parameter) -> None:
        if parameter.shape != self.mask.shape:
            raise ValueError(f"Mask: a parameter must be {self.mask.shape} like the mask, got {parameter.shape}")

    def apply(self, value: Array, lr: float) -> None:
        xp = namespace(value)
        value[...] = xp.where(arrays.bring(self.mask, value, dtype="bool"), value, xp.zeros_like(value))


def checked(owner: object, constraint: Any) -> "Constraint | tuple[Constraint, ...] | None":
    """The argument `constraint` of an optimizer: one, several as a tuple, or None."""
    several = isinstance(constraint, Sequence) and not isinstance(constraint, str)
    for one in constraint if several else () if constraint is None else (constraint,):
        if not isinstance(one, Constraint):
            hint = " (call the class)" if isinstance(one, type) else ""
            raise TypeError(
                f"{type(owner).__name__}: constraint must be one or more of chainrule.constraints, got {one!r}{hint}"
            )
    known: Constraint | tuple[Constraint, ...] | None = tuple(constraint) if several else constraint
    return known


def _row_norms(value: Array) -> Array:
    """The 2-norm of each row, as a column, with an axis of length 1 for each that was added up."""
    xp = namespace(value)
    return xp.sqrt(xp.sum(value * value, axis=tuple(range(1, value.ndim)), keepdims=True))
