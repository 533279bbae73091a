"""More at the ends of the axes: zeros, a number, or what x itself has there.

The functions serve `Conv` with a padding_mode, too.
"""

from typing import Any, ClassVar

from ..arguments import number, whole
from ..arrays import Array, namespace
from ..module import Module
from .spatial import Spatial
from .windows import Amounts, crop, pad


def padded(x: Array, amounts: Amounts, mode: str, value: float = 0.0) -> Array:
    """x with more at both ends of its last axes; a negative amount cuts off instead.

    Equation  y[before + i] = x[i], and x[came_from(i)] or `value` where i is behind an end of x, along each axis
    Shapes    x (batch, channels, *lengths) -> (batch, channels, *(before + length + after))
    """
    if mode == "constant":
        return pad(x, amounts, value)
    for axis, (before, after) in enumerate(amounts, x.ndim - len(amounts)):
        edges = _edges(x.shape[axis], before, after, mode)
        y = pad(x, _of_one_axis(x, axis, before, after))
        for place, source in edges:
            y[_at(axis, place)] = x[_at(axis, source)]
        x = y
    return x


def unpadded(dy: Array, amounts: Amounts, mode: str) -> Array:
    """The transpose of `padded`: each place of x gathers the gradients of its copies."""
    if mode == "constant":
        return crop(dy, amounts)
    for axis, (before, after) in reversed(list(enumerate(amounts, dy.ndim - len(amounts)))):
        edges = _edges(dy.shape[axis] - before - after, before, after, mode)
        dx = crop(dy, _of_one_axis(dy, axis, before, after))
        if edges:
            dx = namespace(dy).asarray(dx, copy=True)  # crop may have given a view of dy, which is somebody's
        for place, source in edges:
            dx[_at(axis, source)] += dy[_at(axis, place)]
        dy = dx
    return dy


def check_room(module: Module, x: Array, amounts: Amounts, mode: str) -> None:
    """Refuse an x that is too short for so much padding, or for so much to be cut off."""
    for axis, (before, after) in enumerate(amounts, x.ndim - len(amounts)):
        n = x.shape[axis]
        kept = n - max(-before, 0) - max(-after, 0)
        least = {"reflect": 1, "replicate": 1}.get(mode, 0)
        if kept < 0 or n + before + after < least or (mode != "constant" and n < 1):
            module.refuse("forward", f"x must be longer than what ({before}, {after}) cuts off", tuple(x.shape))
        most = {"reflect": n - 1, "circular": kept}.get(mode)
        if most is not None and max(before, after) > most:
            what = "the padding must be shorter than x" if mode == "reflect" else "the padding must be at most once x"
            module.refuse("forward", f"{what} along each axis", f"({before}, {after}) for x {tuple(x.shape)}")


def _edges(n: int, before: int, after: int, mode: str) -> list[tuple[int, int]]:
    """The places of y behind the ends of x, which has n places along this axis; and where in x each comes from."""
    start, kept = max(-before, 0), n - max(-before, 0) - max(-after, 0)

    def came_from(i: int) -> int:
        if mode == "reflect":
            return -i if i < 0 else 2 * (n - 1) - i
        return start + (i - start) % kept if mode == "circular" else min(max(i, 0), n - 1)

    return [(i + before, came_from(i)) for i in (*range(-before, 0), *range(n, n + after))]


def _of_one_axis(x: Array, axis: int, before: int, after: int) -> Amounts:
    return ((before, after), *((0, 0),) * (x.ndim - 1 - axis))


def _at(axis: int, place: int) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, place)


class _Pad(Spatial):
    """More at both ends of every axis.

    Shapes    x (batch, channels, *lengths) -> y (batch, channels, *lengths), each with what is added to it
    Saves     nothing

    Parameters
    ----------
    padding : how much, one number for all ends, or (before, after) of the last axis, then of the one in front of it,
        and so on, as in PyTorch. A negative amount cuts off.

    Raises ValueError for x of the wrong shape, and where it is too short.
    """

    mode: ClassVar[str]

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        ends = padding if isinstance(padding, tuple | list) else (padding,) * (2 * self.axes)
        if len(ends) != 2 * self.axes:
            kind = type(self).__name__
            raise ValueError(f"{kind}: padding must be an integer or {2 * self.axes} of them, got {padding!r}")
        self.padding = tuple(whole(self, "padding", end) for end in ends)

    @property
    def _amounts(self) -> Amounts:
        """(before, after) of each axis, the first one first."""
        pairs = list(zip(self.padding[::2], self.padding[1::2], strict=True))
        return tuple(pairs[::-1])

    def forward(self, x: Array) -> tuple[Array, None]:
        self.look(x)
        check_room(self, x, self._amounts, self.mode)
        return padded(x, self._amounts, self.mode, getattr(self, "value", 0.0)), None

    def backward(self, dy: Array, saved: None = None) -> Array:
        return unpadded(dy, self._amounts, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ZeroPad(_Pad):
    """Zeros at both ends of every axis.

    Equation  y = 0 … 0 x 0 … 0;  dx = dy where x lies
    """

    mode = "constant"


class _ConstantPad(_Pad):
    """A number at both ends of every axis; `value` is that number.

    Equation  y = v … v x v … v, v = value;  dx = dy where x lies
    """

    mode = "constant"

    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        self.value = number(self, "value", value, finite=False)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ReflectionPad(_Pad):
    """What lies before each end, in the mirror; the end itself is not repeated.

    Equation  y[before + i] = x[-i] for i < 0, x[2 (n - 1) - i] for i >= n;  dx[i] = Σ dy over the copies of x[i]
    """

    mode = "reflect"


class _ReplicationPad(_Pad):
    """The last number at each end, over and over.

    Equation  y[before + i] = x[0] for i < 0, x[n - 1] for i >= n;  dx[i] = Σ dy over the copies of x[i]
    """

    mode = "replicate"


class _CircularPad(_Pad):
    """What lies at the other end, as if x went around.

    Equation  y[before + i] = x[i mod n];  dx[i] = Σ dy over the copies of x[i]
    Note      what a negative amount cuts off at one end does not come back at the other; where too little is left to go
              around once, PyTorch gives what lies in its memory, and this is refused
    """

    mode = "circular"


class ZeroPad1d(_ZeroPad):
    """Put zeros around series."""

    axes = 1


class ZeroPad2d(_ZeroPad):
    """Put zeros around images."""

    axes = 2


class ZeroPad3d(_ZeroPad):
    """Put zeros around volumes."""

    axes = 3


class ConstantPad1d(_ConstantPad):
    """Put a number around series."""

    axes = 1


class ConstantPad2d(_ConstantPad):
    """Put a number around images."""

    axes = 2


class ConstantPad3d(_ConstantPad):
    """Put a number around volumes."""

    axes = 3


class ReflectionPad1d(_ReflectionPad):
    """Put what lies at the edges around series in the mirror; the edge itself is not repeated."""

    axes = 1


class ReflectionPad2d(_ReflectionPad):
    """Put what lies at the edges around images in the mirror; the edge itself is not repeated."""

    axes = 2


class ReflectionPad3d(_ReflectionPad):
    """Put what lies at the edges around volumes in the mirror; the edge itself is not repeated."""

    axes = 3


class ReplicationPad1d(_ReplicationPad):
    """Repeat the edges of series."""

    axes = 1


class ReplicationPad2d(_ReplicationPad):
    """Repeat the edges of images."""

    axes = 2


class ReplicationPad3d(_ReplicationPad):
    """Repeat the edges of volumes."""

    axes = 3


class CircularPad1d(_CircularPad):
    """Put what lies at the other edge around series, as if they went around."""

    axes = 1


class CircularPad2d(_CircularPad):
    """Put what lies at the other edge around images, as if they went around."""

    axes = 2


class CircularPad3d(_CircularPad):
    """Put what lies at the other edge around volumes, as if they went around."""

    axes = 3
