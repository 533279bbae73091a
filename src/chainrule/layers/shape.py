"""Layers that change no numbers."""

import math

from ..arguments import whole
from ..arrays import Array
from ..module import Module


class Identity(Module):
    """Hand on what comes.

    Equation  y = x;  dx = dy
    Shapes    x (any) -> y (the same)
    Saves     nothing
    """

    def forward(self, x: Array) -> tuple[Array, None]:
        return x, None

    def backward(self, dy: Array, saved: None = None) -> Array:
        return dy


class Flatten(Module):
    """Lay the axes from start_dim to end_dim out as one, so that an image becomes a row.

    Equation  y = x in another shape;  dx = dy in the shape of x
    Shapes    x (batch, a, b, …) -> y (batch, a·b·…) with the defaults
    Saves     the shape of x
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = whole(self, "start_dim", start_dim), whole(self, "end_dim", end_dim)

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        self.namespace(x)  # refuses what is no array
        shape = tuple(x.shape)
        start, end = (dim + len(shape) if dim < 0 else dim for dim in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < len(shape):
            if shape[1:] == () and self.start_dim == 1:  # a batch of plain numbers becomes rows of one
                return x.reshape((shape[0], 1)) if shape else x, shape
            self.refuse("forward", f"x must have axes {self.start_dim} to {self.end_dim}", shape)
        return x.reshape((*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])), shape

    def backward(self, dy: Array, shape: tuple[int, ...]) -> Array:
        return dy.reshape(shape)
