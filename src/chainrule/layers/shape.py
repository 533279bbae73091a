"""Layers that change no numbers."""

import math
from typing import Any

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
            one_sample = max(self.start_dim, self.end_dim) == len(shape)
            self.refuse_shape(f"must have axes {self.start_dim} to {self.end_dim}", x, one_sample=one_sample)
        return x.reshape((*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])), shape

    def backward(self, dy: Array, shape: tuple[int, ...]) -> Array:
        return dy.reshape(shape)


class Reshape(Module):
    """Give each sample another shape.

    Equation  y = x in another shape;  dx = dy in the shape of x
    Shapes    x (batch, …) -> y (batch, *shape)
    Saves     the shape of x

    Parameters
    ----------
    shape : of one sample, without the axis of the batch. One length may be -1: as much as there is.
    """

    def __init__(self, *shape: int) -> None:
        self.shape = _lengths(self, "shape", shape)

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        self.namespace(x)  # refuses what is no array
        shape = tuple(x.shape)
        if not shape:
            self.refuse("forward", "x must be (batch, …)", shape)
        lengths = _fitted(self.shape, math.prod(shape[1:]))
        if lengths is None:
            one_sample = _fitted(self.shape, math.prod(shape)) is not None
            self.refuse_shape(f"must have as many numbers in each sample as {self.shape}", x, one_sample=one_sample)
        return x.reshape((shape[0], *lengths)), shape

    def backward(self, dy: Array, shape: tuple[int, ...]) -> Array:
        return dy.reshape(shape)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.shape))


class Unflatten(Module):
    """Lay one axis out as several: the way back from Flatten.

    Equation  y = x in another shape;  dx = dy in the shape of x
    Shapes    x (batch, a·b·…) -> y (batch, a, b, …) for dim 1 and unflattened_size (a, b, …)
    Saves     the shape of x

    Parameters
    ----------
    dim : the axis.
    unflattened_size : the lengths of what it becomes. One may be -1: as much as there is.
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim = whole(self, "dim", dim)
        if not isinstance(unflattened_size, tuple | list) or not unflattened_size:
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of integers, got {unflattened_size!r}")
        self.unflattened_size = _lengths(self, "unflattened_size", tuple(unflattened_size))

    def forward(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        self.namespace(x)  # refuses what is no array
        shape = tuple(x.shape)
        dim = self.dim + len(shape) if self.dim < 0 else self.dim
        lengths = _fitted(self.unflattened_size, shape[dim]) if 0 <= dim < len(shape) else None
        if lengths is None:
            one_sample = 0 < self.dim <= len(shape) and _fitted(self.unflattened_size, shape[self.dim - 1]) is not None
            expected = f"must have an axis {self.dim} that becomes {self.unflattened_size}"
            self.refuse_shape(expected, x, one_sample=one_sample)
        return x.reshape((*shape[:dim], *lengths, *shape[dim + 1 :])), shape

    def backward(self, dy: Array, shape: tuple[int, ...]) -> Array:
        return dy.reshape(shape)


class Permute(Module):
    """Put the axes in another order.

    Equation  y[i_dims[0], i_dims[1], …] = x[i_0, i_1, …];  dx = dy with the axes put back
    Shapes    x (batch, a, b) -> y (batch, b, a) for dims 0, 2, 1
    Saves     nothing

    Parameters
    ----------
    dims : torch.permute's: for each axis of y, which one of x it is. The first is 0, for it counts samples.
    """

    def __init__(self, *dims: int) -> None:
        places = tuple(whole(self, "dims", dim) for dim in dims)
        self.dims = tuple(dim + len(places) if dim < 0 else dim for dim in places)
        if sorted(self.dims) != list(range(len(places))) or self.dims[:1] != (0,):
            raise ValueError(f"Permute: dims must be 0 and then every other axis once, got {dims}")

    def forward(self, x: Array) -> tuple[Array, None]:
        xp = self.namespace(x)
        if x.ndim != len(self.dims):
            self.refuse_shape(f"must have {len(self.dims)} axes", x, one_sample=x.ndim == len(self.dims) - 1)
        return xp.permute_dims(x, self.dims), None

    def backward(self, dy: Array, saved: None = None) -> Array:
        back = sorted(range(len(self.dims)), key=self.dims.__getitem__)
        return self.namespace(dy).permute_dims(dy, tuple(back))

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.dims))


def _lengths(owner: Module, name: str, lengths: tuple[Any, ...]) -> tuple[int, ...]:
    """Lengths of axes, one of which may be -1."""
    found = tuple(whole(owner, name, length, least=-1) for length in lengths)
    if found.count(-1) > 1:
        raise ValueError(f"{type(owner).__name__}: {name} must have at most one -1, got {found}")
    return found


def _fitted(lengths: tuple[int, ...], n: int) -> tuple[int, ...] | None:
    """The lengths with -1 replaced, if they are those of n numbers; an empty batch says nothing of them, n does."""
    known = math.prod(length for length in lengths if length != -1)
    rest = n // known if known else 0
    found = tuple(rest if length == -1 else length for length in lengths)
    return found if math.prod(found) == n else None
