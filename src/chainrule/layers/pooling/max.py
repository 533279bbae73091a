"""Max pooling: of each window the largest number, and its gradient goes back to where that was found."""

import math
from typing import Any

from ...arguments import flag
from ...arrays import Array, add_at, namespace
from ..spatial import Spatial
from .window import Window, as_given, half_a_window, window


class Largest(Spatial):
    """What takes the largest number of each window: `places` says where in x they lie.

    With return_indices y is (y, places); no gradient comes back through places, which are integers.
    """

    return_indices: bool

    def places(self, x: Array) -> Array:
        """Where the largest number of each window lies in its image, which is laid out as one row.

        Shapes    x (batch, channels, *lengths) -> (batch, channels, *out) of int64
        """
        raise NotImplementedError

    def forward(self, x: Array) -> tuple[Any, Any]:
        self.look(x)
        places = self.places(x)
        y, at = at_places(x, places)
        return (y, places) if self.return_indices else y, (at, x.shape)

    def backward(self, dy: Any, saved: Any) -> Array:
        at, shape = saved
        return back_to_places(dy[0] if self.return_indices else dy, at, shape)


class _MaxPool(Largest):
    """The largest number of each window.

    Equation  y[o] = max over the taps k of x[stride o + dilation k - padding];  dx[i] = Σ dy over the windows whose
              largest number is x[i], the first of them where several are equal
    Shapes    x (batch, channels, *lengths) -> y (batch, channels, *lengths), each
              ⌊(length + 2 padding - dilation (kernel_size - 1) - 1) / stride⌋ + 1; ⌈…⌉ for ceil_mode, in which no
              window begins behind x. With return_indices (y, indices)
    Saves     where each y comes from
    Note      padding is never largest; NaN is larger than any number, the last one counts. As in PyTorch

    Parameters
    ----------
    kernel_size, stride, padding, dilation : an integer, or one for each axis. stride is kernel_size by default; padding
        is at most half of the window.
    return_indices : y is (y, indices), for MaxUnpool: the place of each y in its image, which is laid out as one row.
    ceil_mode : let a last window hang over the end of x.

    Raises ValueError for arguments that do not fit, and for x of the wrong shape.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = as_given(self, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else as_given(self, "stride", stride)
        self.padding = as_given(self, "padding", padding, least=0)
        self.dilation = as_given(self, "dilation", dilation)
        self.return_indices = flag(self, "return_indices", return_indices)
        self.ceil_mode = flag(self, "ceil_mode", ceil_mode)
        half_a_window(self, self.kernel_size, self.padding, self.dilation)

    def places(self, x: Array) -> Array:
        over = window(self, x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return largest(self, x, over)

    def extra_repr(self) -> str:
        told = [f"{name}={getattr(self, name)}" for name in ("kernel_size", "stride", "padding", "dilation")]
        indices = ["return_indices=True"] if self.return_indices else []
        return ", ".join([*told, *indices, f"ceil_mode={self.ceil_mode}"])


def largest(module: Spatial, x: Array, over: Window) -> Array:
    """Where the largest number of each window lies in its image, which is laid out as one row."""
    xp = namespace(x)
    image = xp.arange(math.prod(over.lengths), dtype=xp.int64, device=x.device).reshape(over.lengths)
    first = xp.full(over.out, -1, dtype=xp.int64, device=x.device)
    for y, seen in reversed(list(over.taps())):
        first[y] = image[seen]
    if xp.any(first < 0):
        module.refuse("forward", "each window must see something of x", tuple(x.shape))
    # From the first place on that is seen, so that a window of nothing but -inf is found there.
    places = xp.zeros((*x.shape[:2], *over.out), dtype=xp.int64, device=x.device) + first
    most = xp.full(places.shape, -math.inf, dtype=x.dtype, device=x.device)
    for y, seen in over.taps():
        candidate, best = xp.asarray(x[seen], copy=True), most[y]  # copied, as it is read several times
        larger = xp.astype((candidate > best) | (candidate != candidate), xp.int64)  # NaN is not itself
        most[y] = xp.maximum(best, candidate)
        places[y] = xp.maximum(places[y], larger * image[seen])  # a window sees later places through later taps
    return places


def at_places(x: Array, places: Array) -> tuple[Array, Array]:
    """The numbers at places of their images; and the same places in the whole batch, laid out as one row."""
    at = in_batch(places, math.prod(x.shape[2:]))
    return namespace(x).take(x.reshape((-1,)), at.reshape((-1,))).reshape(at.shape), at


def back_to_places(dy: Array, at: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of `at_places`; where windows overlap, one place may be largest in several and gathers from all."""
    dx = namespace(dy).zeros((math.prod(shape),), dtype=dy.dtype, device=dy.device)
    add_at(dx, at.reshape((-1,)), dy.reshape((-1,)))
    return dx.reshape(shape)


def in_batch(places: Array, n: int) -> Array:
    """Places in an image of n numbers as places in the whole batch, laid out as one row."""
    xp, planes = namespace(places), math.prod(places.shape[:2])
    begin = n * xp.arange(planes, dtype=xp.int64, device=places.device)
    return places + begin.reshape((*places.shape[:2], *(1,) * (places.ndim - 2)))


class MaxPool1d(_MaxPool):
    """Take the largest number of each window of a series."""

    axes = 1


class MaxPool2d(_MaxPool):
    """Take the largest number of each window of an image."""

    axes = 2


class MaxPool3d(_MaxPool):
    """Take the largest number of each window of a volume."""

    axes = 3
