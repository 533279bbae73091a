"""Signals as matrices, so that a convolution is one product: a column for each place where the kernel stands.

Of g groups each has its own matrix; the products of all go side by side, as matmul does them. The columns of a batch
stand behind each other, N = batch · places of them, so that one product does the whole batch.
"""

from math import prod

from ...arrays import Array, namespace
from ..windows import Lengths, add_windows, windows


def as_matrix(x: Array, groups: int) -> Array:
    """x (batch, channels, *lengths) as (groups, channels / groups, N): a column for each place of x."""
    batch, channels, *lengths = x.shape
    order = (1, 0, *range(2, x.ndim))
    return namespace(x).permute_dims(x, order).reshape((groups, channels // groups, batch * prod(lengths)))


def as_signal(y: Array, batch: int, lengths: Lengths) -> Array:
    """The way back, as a view: y (groups, channels / groups, N) -> (batch, channels, *lengths)."""
    y = y.reshape((y.shape[0] * y.shape[1], batch, *lengths))
    return namespace(y).permute_dims(y, (1, 0, *range(2, y.ndim)))


def columns(x: Array, kernel: Lengths, stride: Lengths, dilation: Lengths, groups: int = 1) -> Array:
    """What the kernel sees at each of its places, as columns.

    Shapes    x (batch, channels, *lengths) -> (groups, channels / groups · taps, N)
    """
    seen, axes = windows(x, kernel, stride, dilation), len(kernel)
    out, taps = range(2, 2 + axes), range(2 + axes, 2 + 2 * axes)
    n = x.shape[0] * prod(seen.shape[2 : 2 + axes])
    ordered = namespace(x).permute_dims(seen, (1, *taps, 0, *out))
    return ordered.reshape((groups, x.shape[1] // groups * prod(kernel), n))


def add_columns(dx: Array, dcolumns: Array, kernel: Lengths, stride: Lengths, dilation: Lengths, out: Lengths) -> None:
    """Add every element of the columns back to where it came from, in place: the transpose of `columns`."""
    (batch, channels), axes = dx.shape[:2], len(kernel)
    dwindows = dcolumns.reshape((channels, *kernel, batch, *out))
    order = (axes + 1, 0, *range(axes + 2, 2 * axes + 2), *range(1, axes + 1))
    add_windows(dx, namespace(dx).permute_dims(dwindows, order), stride, dilation)
