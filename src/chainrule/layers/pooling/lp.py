"""Power-average pooling: of each window the p-norm, between the sum (p = 1) and the largest number (p = ∞)."""

import math
from typing import Any

from ...arguments import flag, number
from ...arrays import Array, namespace
from ..spatial import Spatial
from .average import counts, spread, sums
from .max import at_places, back_to_places, largest
from .window import as_given, window


class _LPPool(Spatial):
    """The p-norm of each window, for p = norm_type.

    Equation  y[o] = (w[o] Σ over the taps k of x[stride o + k]ᵖ)^(1/p);
              dx[i] = x[i]ᵖ⁻¹ Σ dy[o] w[o] y[o]¹⁻ᵖ over the windows that see x[i]
    Shapes    x (batch, channels, *lengths) -> y (batch, channels, *lengths), each
              ⌊(length - kernel_size) / stride⌋ + 1; ⌈…⌉ for ceil_mode
    Saves     x, y, the window, and what the sums are weighed with; for p = ±∞ x and where y comes from
    Source    Gulcehre, Cho, Pascanu, Bengio 2014, "Learned-norm pooling for deep feedforward and recurrent networks"
    Note      as in PyTorch: w is 1, but for a window that hangs over the end all its taps / those on x; x keeps its
              sign, so that an odd p is no norm, and of a sum below 0 the root is NaN; where a sum is 0, so is its slope

    Parameters
    ----------
    norm_type : p, any number but 0; the largest |x| for ∞, the smallest for -∞.
    kernel_size, stride : an integer, or one for each axis. stride is kernel_size by default.
    ceil_mode : let a last window hang over the end of x.

    Raises ValueError for arguments that do not fit, and for x of the wrong shape.
    """

    def __init__(
        self,
        norm_type: float,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        ceil_mode: bool = False,
    ) -> None:
        number(self, "norm_type", norm_type, finite=False)
        if norm_type == 0:
            raise ValueError(f"{type(self).__name__}: norm_type must not be 0, got {norm_type!r}")
        self.norm_type = norm_type
        self.kernel_size = as_given(self, "kernel_size", kernel_size)
        self.stride = None if stride is None else as_given(self, "stride", stride)
        self.ceil_mode = flag(self, "ceil_mode", ceil_mode)

    def forward(self, x: Array) -> tuple[Array, Any]:
        xp = self.look(x)
        stride = self.kernel_size if self.stride is None else self.stride
        over = window(self, x, self.kernel_size, stride, ceil_mode=self.ceil_mode)
        if math.isinf(self.norm_type):
            y, at = at_places(xp.abs(x), largest(self, xp.abs(x) if self.norm_type > 0 else -xp.abs(x), over))
            return y, (x, at)
        weight = math.prod(over.kernel) / counts(over, x, count_include_pad=False)
        y = (weight * sums(x**self.norm_type, over)) ** (1.0 / self.norm_type)
        return y, (x, y, over, weight)

    def backward(self, dy: Array, saved: Any) -> Array:
        xp, p = namespace(dy), self.norm_type
        if math.isinf(p):
            x, at = saved
            return xp.sign(x) * back_to_places(dy, at, x.shape)
        x, y, over, weight = saved
        zero = y == 0
        slope = xp.where(zero, xp.zeros_like(y), weight * xp.where(zero, xp.ones_like(y), y) ** (1 - p))
        return x ** (p - 1) * spread(dy * slope, over)

    def extra_repr(self) -> str:
        names = ("norm_type", "kernel_size", "stride", "ceil_mode")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class LPPool1d(_LPPool):
    """Take the p-norm of each window of a series."""

    axes = 1


class LPPool2d(_LPPool):
    """Take the p-norm of each window of an image."""

    axes = 2


class LPPool3d(_LPPool):
    """Take the p-norm of each window of a volume."""

    axes = 3
