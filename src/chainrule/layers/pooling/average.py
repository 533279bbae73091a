"""Average pooling: of each window the mean, and every number in it has the same share of the gradient."""

from functools import reduce
from operator import mul
from typing import Any

from ...arguments import flag, whole
from ...arrays import Array, namespace
from ..spatial import Spatial
from ..windows import each_axis
from .window import Window, as_given, half_a_window, window


def sums(x: Array, over: Window) -> Array:
    """The sum of each window: y[o] = Σ over the taps k of x[stride o + k - padding]."""
    y = namespace(x).zeros((*x.shape[:2], *over.out), dtype=x.dtype, device=x.device)
    for places, seen in over.taps():
        y[places] += x[seen]
    return y


def spread(dy: Array, over: Window) -> Array:
    """The transpose of `sums`: dx[i] = Σ dy[o] over the windows that see x[i]."""
    dx = namespace(dy).zeros((*dy.shape[:2], *over.lengths), dtype=dy.dtype, device=dy.device)
    for places, seen in over.taps():
        dx[seen] += dy[places]
    return dx


def counts(over: Window, like: Array, *, count_include_pad: bool) -> Array:
    """How many numbers each window has, (*out): what hangs over the end of x and its padding never counts."""
    xp, each = namespace(like), []
    for axis, n in enumerate(over.lengths):
        padding, kernel = over.padding[axis], over.kernel[axis]
        first, end = (-padding, n + padding) if count_include_pad else (0, n)
        begins = [over.stride[axis] * o - padding for o in range(over.out[axis])]
        along = [min(begin + kernel, end) - max(begin, first) for begin in begins]
        shape = [1] * len(over.lengths)
        shape[axis] = len(along)
        each.append(xp.asarray(along, dtype=like.dtype, device=like.device).reshape(tuple(shape)))
    return reduce(mul, each)


class _AvgPool(Spatial):
    """The mean of each window.

    Equation  y[o] = Σ over the taps k of x[stride o + k - padding] / n[o];
              dx[i] = Σ dy[o] / n[o] over the windows that see x[i]
    Shapes    x (batch, channels, *lengths) -> y (batch, channels, *lengths), each
              ⌊(length + 2 padding - kernel_size) / stride⌋ + 1; ⌈…⌉ for ceil_mode, in which no window begins behind x
    Saves     the window
    Note      n is the number of taps on x, and with count_include_pad on its padding too, but never of those that hang
              over the end in ceil_mode; or else divisor_override. As in PyTorch

    Parameters
    ----------
    kernel_size, stride, padding : an integer, or one for each axis. stride is kernel_size by default; padding, with
        zeros, is at most half of the window.
    ceil_mode : let a last window hang over the end of x.
    count_include_pad : whether the padding counts.
    divisor_override : what the sums are divided by, not 0; there is none for series.

    Raises ValueError for arguments that do not fit, and for x of the wrong shape.
    """

    divisor_override: int | None = None

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self.kernel_size = as_given(self, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else as_given(self, "stride", stride)
        self.padding = as_given(self, "padding", padding, least=0)
        self.ceil_mode = flag(self, "ceil_mode", ceil_mode)
        self.count_include_pad = flag(self, "count_include_pad", count_include_pad)
        if divisor_override is not None:
            self.divisor_override = whole(self, "divisor_override", divisor_override)
        if self.divisor_override == 0:
            raise ValueError(f"{type(self).__name__}: divisor_override must not be 0, got {divisor_override}")
        half_a_window(self, self.kernel_size, self.padding)

    def forward(self, x: Array) -> tuple[Array, Any]:
        self.look(x)
        over = window(self, x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)
        return sums(x, over) / self._divisor(over, x), over

    def backward(self, dy: Array, over: Window) -> Array:
        return spread(dy / self._divisor(over, dy), over)

    def _divisor(self, over: Window, like: Array) -> Any:
        return self.divisor_override or counts(over, like, count_include_pad=self.count_include_pad)

    def extra_repr(self) -> str:
        told = [f"{name}={getattr(self, name)}" for name in ("kernel_size", "stride", "padding")]
        defaults = {"ceil_mode": False, "count_include_pad": True, "divisor_override": None}
        others = [f"{name}={getattr(self, name)}" for name, usual in defaults.items() if getattr(self, name) != usual]
        return ", ".join([*told, *others])


class AvgPool1d(_AvgPool):
    """Take the mean of each window of a series."""

    axes = 1

    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        for name in ("kernel_size", "stride", "padding"):  # tuples, as PyTorch keeps them
            setattr(self, name, each_axis(self, name, getattr(self, name), 1, least=0))


class AvgPool2d(_AvgPool):
    """Take the mean of each window of an image."""

    axes = 2


class AvgPool3d(_AvgPool):
    """Take the mean of each window of a volume."""

    axes = 3
