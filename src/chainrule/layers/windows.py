"""Windows that slide over the last axes of x: what convolution, pooling, Unfold and Fold have in common.

x is (batch, channels, *lengths), with one length for each axis of an image or a series. Everything that is said of an
axis is a tuple with an entry for each of them: kernel, stride, dilation, amounts.
"""

from itertools import product
from typing import Any

from .. import arrays
from ..arguments import whole
from ..arrays import Array
from ..module import Module

Lengths = tuple[int, ...]
Amounts = tuple[tuple[int, int], ...]  # for each axis: how much before its first place, how much after its last


def windows(x: Array, kernel: Lengths, stride: Lengths, dilation: Lengths) -> Array:
    """What the kernel sees at each of its places: a view of x, without a copy, which nobody may write to.

    Equation  windows[b, c, *o, *k] = x[b, c, *(stride o + dilation k)]
    Shapes    x (batch, channels, *lengths) -> (batch, channels, *out, *kernel), out as by `out_length`
    """
    axes = zip(x.shape[2:], kernel, stride, dilation, strict=True)
    out = [out_length(length, k, s, 0, d) for length, k, s, d in axes]
    steps = arrays.steps(x)
    at = [s * step for s, step in zip(stride, steps[2:], strict=True)]
    within = [d * step for d, step in zip(dilation, steps[2:], strict=True)]
    return arrays.strided(x, (*x.shape[:2], *out, *kernel), (*steps[:2], *at, *within))


def add_windows(dx: Array, dwindows: Array, stride: Lengths, dilation: Lengths) -> None:
    """Add every element of a window back to where it came from, in place: the transpose of `windows`.

    Equation  dx[b, c, *(stride o + dilation k)] += dwindows[b, c, *o, *k]
    Shapes    dx (batch, channels, *lengths); dwindows (batch, channels, *out, *kernel)

    The loop runs over the taps of the kernel; each adds to all the places that it has seen at once.
    """
    axes = dx.ndim - 2
    out, kernel = dwindows.shape[2 : 2 + axes], dwindows.shape[2 + axes :]
    for taps in product(*map(range, kernel)):
        axes_of = zip(taps, out, stride, dilation, strict=True)
        seen = (..., *(slice(d * tap, d * tap + s * (n - 1) + 1, s) for tap, n, s, d in axes_of))
        tap_of_each = (..., *taps)
        dx[seen] += dwindows[tap_of_each]


def out_length(length: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False) -> int:
    """At how many places a window stands along one axis, with `padding` on both of its sides; below 1, at none.

    Equation  out = ⌊(length + 2 padding - dilation (kernel - 1) - 1) / stride⌋ + 1; ⌈…⌉ for ceil_mode, but no window
              begins behind x and its padding in front (PyTorch's rule for pooling)
    """
    room = length + 2 * padding - dilation * (kernel - 1) - 1
    out = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    return out - 1 if ceil_mode and (out - 1) * stride >= length + padding else out


def each_axis(module: Module, name: str, value: Any, axes: int, *, least: int = 1) -> Lengths:
    """An argument that is one integer for all of the axes or a tuple with one for each, as such a tuple."""
    if not isinstance(value, tuple | list):
        return (whole(module, name, value, least=least),) * axes
    if len(value) != axes:
        entries = "one entry" if axes == 1 else f"{axes} entries"
        raise ValueError(f"{type(module).__name__}: {name} must be an integer or have {entries}, got {value!r}")
    return tuple(whole(module, f"{name}[{i}]", entry, least=least) for i, entry in enumerate(value))


def pad(x: Array, amounts: Amounts, value: float = 0.0) -> Array:
    """x with `value` around it along its last axes; a negative amount cuts off instead. x itself if there is none.

    Shapes    x (batch, channels, *lengths) -> (batch, channels, *(before + length + after))
    """
    if not any(map(any, amounts)):
        return x
    first = x.ndim - len(amounts)
    axes = list(zip(x.shape[first:], amounts, strict=True))
    kept = (..., *(slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in axes))
    if not any(max(pair) > 0 for pair in amounts):
        return x[kept]
    shape = (*x.shape[:first], *(before + n + after for n, (before, after) in axes))
    y = arrays.namespace(x).full(shape, value, dtype=x.dtype, device=x.device)
    inside = (..., *(slice(max(b, 0), n - max(a, 0)) for n, (b, a) in zip(shape[first:], amounts, strict=True)))
    y[inside] = x[kept]
    return y


def crop(dy: Array, amounts: Amounts) -> Array:
    """The way back from `pad`, and its transpose: what lay inside; zeros where x was cut off."""
    return pad(dy, tuple((-before, -after) for before, after in amounts))
