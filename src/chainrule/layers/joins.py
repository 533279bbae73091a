"""Several arrays become one: where the branches of a network meet.

Each takes a tuple or a dict of arrays; the gradient by x has the same form.
"""

import operator
from functools import reduce
from typing import Any

from ..arguments import whole
from ..arrays import Array, describe_kind, is_array
from ..module import Module
from ..structures import Structure, each, is_several, leaves, names, rebuild
from .networks import described


class Join(Module):
    """A Module whose x is a tuple or a dict of arrays."""

    def arrays(self, x: Structure) -> list[Any]:
        """The arrays of x, which are of one kind."""
        if not is_several(x) or not x:
            self.refuse("forward", "x must be a tuple or dict of arrays", described(x), TypeError)
        found = leaves(x)
        for name, part in zip(names(x), found, strict=True):
            if not is_array(part) or describe_kind(part) != describe_kind(found[0]):
                expected = describe_kind(found[0]) if is_array(found[0]) else "an array"
                self.refuse("forward", f"x{name} must be {expected}", describe_kind(part), TypeError)
        return found

    def same_shapes(self, x: Structure) -> list[Any]:
        """The arrays of x, which are of one shape."""
        found = self.arrays(x)
        for name, part in zip(names(x), found, strict=True):
            if part.shape != found[0].shape:
                first = f"x{names(x)[0]}, {tuple(found[0].shape)}"
                self.refuse("forward", f"x{name} must have the shape of {first}", tuple(part.shape))
        return found


class Concat(Join):
    """Lay arrays behind each other along an axis, so that the next layer sees all of their columns.

    Equation  y = [x_1, x_2, …];  dx_i = the columns of dy that were x_i
    Shapes    x (batch, a, …), (batch, b, …), … -> y (batch, a + b + …, …) with the default
    Saves     the lengths of the x_i along that axis, in the form of x

    Parameters
    ----------
    dim : the axis, which is not the first: that one counts samples.
    """

    def __init__(self, dim: int = 1) -> None:
        self.dim = whole(self, "dim", dim)
        if dim == 0:
            raise ValueError("Concat: dim must be another axis than that of the samples, got 0")

    def forward(self, x: Structure) -> tuple[Array, Structure]:
        found = self.arrays(x)
        shape = tuple(found[0].shape)
        dim = self.dim + len(shape) if self.dim < 0 else self.dim
        if not 0 < dim < len(shape):
            expected = f"must have an axis {self.dim} behind that of the samples"
            one_sample = len(shape) in (self.dim, -self.dim)
            self.refuse_shape(expected, found[0], one_sample=one_sample, name=f"x{names(x)[0]}")
        others = (*shape[:dim], *shape[dim + 1 :])
        for name, part in zip(names(x), found, strict=True):
            if part.ndim != len(shape) or (*part.shape[:dim], *part.shape[dim + 1 :]) != others:
                expected = f"x{name} must be like x{names(x)[0]}, {shape}, but for axis {self.dim}"
                self.refuse("forward", expected, tuple(part.shape))
        return self.namespace(found[0]).concat(found, axis=dim), each(lambda part: part.shape[dim], x)

    def backward(self, dy: Array, lengths: Structure) -> Structure:
        dxs, end = [], 0
        before = (slice(None),) * (self.dim % dy.ndim)  # all of the axes in front
        for length in leaves(lengths):
            start, end = end, end + length
            place = (*before, slice(start, end))
            dxs.append(dy[place])
        return rebuild(lengths, dxs)


class Sum(Join):
    """Add arrays of one shape.

    Equation  y = x_1 + x_2 + …;  dx_i = dy, for each of them
    Shapes    x (batch, …), (the same), … -> y (the same)
    Saves     the form of x
    """

    def forward(self, x: Structure) -> tuple[Array, Structure]:
        return reduce(operator.add, self.same_shapes(x)), each(lambda part: None, x)

    def backward(self, dy: Array, form: Structure) -> Structure:
        return each(lambda part: dy, form)


class Multiply(Join):
    """Multiply arrays of one shape, element by element; a gate lets through as much as it says.

    Equation  y = x_1 x_2 …;  dx_i = dy times all the others
    Shapes    x (batch, …), (the same), … -> y (the same)
    Saves     x
    """

    def forward(self, x: Structure) -> tuple[Array, Structure]:
        return reduce(operator.mul, self.same_shapes(x)), x

    def backward(self, dy: Array, x: Structure) -> Structure:
        found = leaves(x)  # dy · y / x_i would be shorter, and wrong where x_i is 0
        return rebuild(x, [reduce(operator.mul, found[:i] + found[i + 1 :], dy) for i in range(len(found))])
