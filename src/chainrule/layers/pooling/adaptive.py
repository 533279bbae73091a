"""Adaptive pooling: as many windows as are asked for, of the lengths that cover x."""

import math
from typing import Any

import numpy as np

from ...arguments import flag, positive
from ...arrays import Array, namespace
from ..spatial import Spatial
from .max import Largest


def begins_and_ends(n: int, out: int) -> list[tuple[int, int]]:
    """Which of n places each of `out` windows sees: window o those from ⌊o n / out⌋ to ⌈(o + 1) n / out⌉ - 1."""
    return [(o * n // out, -((o + 1) * n // -out)) for o in range(out)]


def averages(n: int, out: int) -> np.ndarray:
    """The matrix A (out, n) that takes the mean of each of `out` windows over n places: y = A x."""
    matrix = np.zeros((out, n))
    for row, (begin, end) in zip(matrix, begins_and_ends(n, out), strict=True):
        row[begin:end] = 1 / (end - begin)
    return matrix


def along(x: Array, matrix: np.ndarray, axis: int) -> Array:
    """The product of a matrix with x along one axis: y[…, o, …] = Σ over i of matrix[o, i] x[…, i, …]."""
    xp, (before, behind) = namespace(x), (x.shape[:axis], x.shape[axis + 1 :])
    factor = xp.asarray(matrix, dtype=x.dtype, device=x.device)
    rows = x.reshape((math.prod(before), x.shape[axis], math.prod(behind)))
    y = rows[..., 0] @ factor.T if rows.shape[2] == 1 else xp.matmul(factor, rows)
    return y.reshape((*before, matrix.shape[0], *behind))


class _Adaptive(Spatial):
    """What pools to lengths that are asked for, `output_size`."""

    output_size: Any

    def _keep(self, output_size: Any) -> Any:
        """output_size as it came, which is how PyTorch keeps it."""
        several = isinstance(output_size, tuple | list)
        lengths = tuple(output_size) if several else (output_size,)
        if several and len(lengths) != self.axes:
            kind = type(self).__name__
            raise ValueError(f"{kind}: output_size must be an integer or have {self.axes} entries, got {output_size!r}")
        found = tuple(None if n is None else positive(self, "output_size", n) for n in lengths)
        return found if several else found[0]

    def _out(self, x: Array) -> tuple[int, ...]:
        """The lengths of y."""
        asked = self.output_size if isinstance(self.output_size, tuple) else (self.output_size,) * self.axes
        if min(x.shape[2:]) < 1:
            self.refuse("forward", "x must have something along each axis", tuple(x.shape))
        return tuple(n if length is None else length for n, length in zip(x.shape[2:], asked, strict=True))

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPool(_Adaptive):
    """The means of as many windows as are asked for.

    Equation  y = A x along each axis, where A[o, i] = 1 / n[o] for the n[o] places i of window o, from ⌊o length / out⌋
              to ⌈(o + 1) length / out⌉ - 1;  dx = Aᵀ dy along each axis
    Shapes    x (batch, channels, *lengths) -> y (batch, channels, *lengths), output_size
    Saves     the shape of x
    Note      a matrix product adds up all that there is along an axis, so an x that is infinite or NaN makes NaN of
              the y of other windows, too

    Parameters
    ----------
    output_size : the lengths of y, an integer or one for each axis, 1 for the mean of all; None for the length of x.

    Raises ValueError for arguments that do not fit, and for x of the wrong shape.
    """

    def __init__(self, output_size: int | tuple[int | None, ...] | None) -> None:
        self.output_size = self._keep(output_size)

    def forward(self, x: Array) -> tuple[Array, Any]:
        self.look(x)
        y = x
        for axis, out in enumerate(self._out(x), 2):
            y = along(y, averages(x.shape[axis], out), axis)
        return y, tuple(x.shape)

    def backward(self, dy: Array, shape: tuple[int, ...]) -> Array:
        dx = dy
        for axis in range(2, dy.ndim):
            dx = along(dx, averages(shape[axis], dy.shape[axis]).T, axis)
        return dx


class _AdaptiveMaxPool(_Adaptive, Largest):
    """The largest numbers of as many windows as are asked for.

    Equation  y[o] = max of x[i] over the places i of window o, from ⌊o length / out⌋ to ⌈(o + 1) length / out⌉ - 1
              along each axis;  dx[i] = Σ dy over the windows whose largest number is x[i], the first of equal ones
    Shapes    x (batch, channels, *lengths) -> y (batch, channels, *lengths), output_size; or (y, indices)
    Saves     where each y comes from
    Note      NaN is larger than any number. Of several, the first one counts, in PyTorch the last

    Parameters
    ----------
    output_size : the lengths of y, an integer or one for each axis, 1 for the largest of all; None for the length of x.
    return_indices : y is (y, indices): where each y comes from, its place in its image laid out as one row.

    Raises ValueError for arguments that do not fit, and for x of the wrong shape.
    """

    def __init__(self, output_size: int | tuple[int | None, ...] | None, return_indices: bool = False) -> None:
        self.output_size = self._keep(output_size)
        self.return_indices = flag(self, "return_indices", return_indices)

    def places(self, x: Array) -> Array:
        xp, lengths, out = namespace(x), x.shape[2:], self._out(x)
        image = xp.arange(math.prod(lengths), dtype=xp.int64, device=x.device).reshape(lengths)
        seen, places = _windows(x, lengths, out), _windows(image, lengths, out).reshape((-1,))
        taps = seen.shape[-1]
        begin = taps * xp.arange(math.prod(out), dtype=xp.int64, device=x.device).reshape(out)
        return xp.take(places, (begin + xp.argmax(seen, axis=-1)).reshape((-1,))).reshape((*x.shape[:2], *out))

    def extra_repr(self) -> str:
        return super().extra_repr() + (", return_indices=True" if self.return_indices else "")


def _windows(x: Array, lengths: tuple[int, ...], out: tuple[int, ...]) -> Array:
    """What each window sees of x (…, *lengths), row by row: (…, *out, taps).

    A window that is shorter than another sees its last place several times, which changes neither the largest number
    nor where it is first.
    """
    xp, axes = namespace(x), len(lengths)
    front, taps = x.ndim - axes, []
    for axis in range(axes):
        pairs = begins_and_ends(lengths[axis], out[axis])
        most = max(end - begin for begin, end in pairs)
        seen = [min(begin + tap, end - 1) for begin, end in pairs for tap in range(most)]
        x = xp.take(x, xp.asarray(seen, dtype=xp.int64, device=x.device), axis=front + axis)
        taps.append(most)
    apart = x.reshape((*x.shape[:front], *(n for pair in zip(out, taps, strict=True) for n in pair)))
    order = [*range(front), *range(front, front + 2 * axes, 2), *range(front + 1, front + 2 * axes, 2)]
    return xp.permute_dims(apart, tuple(order)).reshape((*x.shape[:front], *out, math.prod(taps)))


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Take the means of as many windows of a series as are asked for."""

    axes = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Take the means of as many windows of an image as are asked for."""

    axes = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Take the means of as many windows of a volume as are asked for."""

    axes = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Take the largest numbers of as many windows of a series as are asked for."""

    axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Take the largest numbers of as many windows of an image as are asked for."""

    axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Take the largest numbers of as many windows of a volume as are asked for."""

    axes = 3
