"""Images of another size: between its pixels, an image is what its neighbours say."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import arrays
from ..arguments import choice, flag, number, positive
from ..arrays import Array
from ..module import Module
from .pooling.adaptive import along
from .spatial import LENGTHS

AXES = {  # of x that the modes are for
    "nearest": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
    "nearest-exact": (1, 2, 3),
}
CUBIC = -0.75  # the slope parameter that PyTorch takes, Keys' a; his own choice is -0.5


class Upsample(Module):
    """Give a series, an image or a volume another size.

    Equation  y = A x along each axis: y[o] = Σ over the taps t of weight[o, t] x[index[o, t]];  dx = Aᵀ dy so, too.
              nearest: index ⌊o s⌋; nearest-exact: ⌊(o + ½) s⌋; linear: u and u + 1 with 1 - f and f, where u + f is the
              place (o + ½) s - ½, or o s with align_corners; bicubic: u - 1 to u + 2 with Keys' cubics of f.
              s is length / size, or 1 / scale_factor, or (length - 1) / (size - 1) with align_corners
    Shapes    x (batch, channels, *lengths) -> y (batch, channels, *lengths), each of `size` or ⌊length scale_factor⌋
    Saves     the lengths of x
    Source    Keys 1981, "Cubic convolution interpolation for digital image processing", equation 4, with a = -0.75
    Note      PyTorch's mode "area" is AdaptiveAvgPool. Where a scale_factor is not quite what becomes of a length, as
              1.3 for 3 to 3, PyTorch's backward pass has shortcuts that its forward pass has not; here both agree

    Parameters
    ----------
    size, scale_factor : of y, or how many times larger it is; one of them, a number or one for each axis.
    mode : "nearest" or "nearest-exact" for any x, "linear" for series, "bilinear" or "bicubic" for images, "trilinear"
        for volumes.
    align_corners : whether the outermost pixels of x and y have the same centres, and not the same outer edges; None is
        False. Not for the modes of nearest pixels.
    recompute_scale_factor : s from the lengths of x and y, which are whole, and not from scale_factor.

    Raises ValueError for arguments that do not fit, and for x of the wrong shape.
    """

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        kind = type(self).__name__
        self.mode = choice(self, "mode", mode, tuple(AXES))
        if (size is None) == (scale_factor is None):
            raise ValueError(f"{kind}: there must be a size or a scale_factor, got {size!r} and {scale_factor!r}")
        self.size = _one_or_several(self, "size", size, positive)
        self.scale_factor = _one_or_several(self, "scale_factor", scale_factor, partial(number, above=0.0))
        if align_corners is not None and mode.startswith("nearest"):
            raise ValueError(f'{kind}: align_corners is not for mode "{mode}", got {align_corners!r}')
        self.align_corners = None if align_corners is None else flag(self, "align_corners", align_corners)
        if recompute_scale_factor is not None:
            recompute_scale_factor = flag(self, "recompute_scale_factor", recompute_scale_factor)
        if recompute_scale_factor and size is not None:
            raise ValueError(f"{kind}: recompute_scale_factor is for a scale_factor, got size={size!r}")
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Array) -> tuple[Array, Any]:
        xp, lengths = self.namespace(x), tuple(x.shape[2:])
        axes = AXES[self.mode]
        if len(lengths) not in axes:
            expected = " or ".join(f"(batch, channels, {LENGTHS[n]})" for n in axes)
            self.refuse_shape(f"must be {expected}", x, one_sample=x.ndim - 1 in axes)
        if not arrays.is_floating(x):
            self.refuse("forward", "x must be a floating-point array", arrays.describe_kind(x), TypeError)
        y = x
        # The last axis first: it costs most, and x is smallest then.
        for axis, (index, weight) in reversed(list(enumerate(self.taps(lengths, x.dtype), 2))):
            parts = [xp.take(y, xp.asarray(i, device=x.device), axis=axis) for i in index.T]
            if len(parts) > 1:  # the nearest pixel counts as it is
                shape = (-1, *(1,) * (y.ndim - 1 - axis))
                weights = [xp.asarray(w, dtype=x.dtype, device=x.device).reshape(shape) for w in weight.T]
                parts = [part * w for part, w in zip(parts, weights, strict=True)]
            y = sum(parts[1:], start=parts[0])
        return y, lengths

    def backward(self, dy: Array, lengths: tuple[int, ...]) -> Array:
        dx = dy
        for axis, (index, weight) in enumerate(self.taps(lengths, dy.dtype), 2):
            transpose = np.zeros((lengths[axis - 2], len(index)))
            np.add.at(transpose, (index, np.arange(len(index))[:, None]), weight)
            dx = along(dx, transpose, axis)
        return dx

    def out(self, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """The lengths of y."""
        each = self.scale_factor if self.size is None else self.size
        each = each if isinstance(each, tuple) else (each,) * len(lengths)
        if len(each) != len(lengths):
            self.refuse("forward", f"x must have as many axes as there are in {each}", lengths)
        out = each if self.size is not None else tuple(int(n * s) for n, s in zip(lengths, each, strict=True))
        if min(*lengths, *out) < 1:
            self.refuse("forward", f"x must have something along each axis, as y, {out}", lengths)
        return out

    def taps(self, lengths: tuple[int, ...], dtype: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each axis, which places of x each place of y is made of, and their weights: (out, taps) both."""
        # PyTorch finds the nearest pixel in the numbers of x, where rounding may decide which one it is.
        real = np.float64 if arrays.dtype_name(dtype) == "float64" else np.float32
        scale, found = self.scale_factor, []
        for axis, (n, out) in enumerate(zip(lengths, self.out(lengths), strict=True)):
            step = real(n) / real(out)
            if scale is not None and not self.recompute_scale_factor:
                step = real(1.0 / (scale[axis] if isinstance(scale, tuple) else scale))
            if self.mode.startswith("nearest"):
                found.append(_nearest(n, out, step, exact=self.mode == "nearest-exact"))
            else:
                if n == out and self.mode != "bicubic":  # as PyTorch does, whatever scale_factor is
                    place = np.arange(out) * 1.0
                elif self.align_corners:
                    place = np.arange(out) * ((n - 1) / (out - 1) if out > 1 else 0.0)
                else:
                    place = (np.arange(out) + 0.5) * float(step) - 0.5
                found.append(_cubic(n, place) if self.mode == "bicubic" else _linear(n, place))
        return found

    def extra_repr(self) -> str:
        told = [f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"]
        told.append(f"mode={self.mode!r}")
        names = ("align_corners", "recompute_scale_factor")
        told += [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) is not None]
        return ", ".join(told)


def _one_or_several(module: Module, name: str, value: Any, checked: Callable[[Module, str, Any], Any]) -> Any:
    """A number or a tuple of them, each checked; None stays."""
    if isinstance(value, tuple | list):
        if not 1 <= len(value) <= max(LENGTHS):
            raise ValueError(f"{type(module).__name__}: {name} must have one entry for each axis, got {value!r}")
        return tuple(checked(module, name, one) for one in value)
    return None if value is None else checked(module, name, value)


def _nearest(n: int, out: int, step: Any, *, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """The nearest pixel of each."""
    place = (np.arange(out) + 0.5 if exact else np.arange(out)).astype(type(step)) * step
    index = np.minimum(np.floor(place.astype(np.float32)).astype(np.int64), n - 1)
    return index[:, None], np.ones((out, 1))


def _linear(n: int, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two neighbours of each place; what is nearer counts more."""
    place = np.maximum(place, 0.0)
    index = np.minimum(np.floor(place).astype(np.int64), n - 1)
    far = np.clip(place - index, 0.0, 1.0)
    return np.stack([index, np.minimum(index + 1, n - 1)], axis=1), np.stack([1 - far, far], axis=1)


def _cubic(n: int, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The four neighbours of each place; behind the ends the last pixel stands for all."""
    first = np.floor(place).astype(np.int64)
    far = place - first
    near = [_keys_near(far), _keys_near(1 - far)]
    weight = np.stack([_keys_far(1 + far), *near, _keys_far(2 - far)], axis=1)
    return np.clip(first[:, None] + np.arange(-1, 3), 0, n - 1), weight


def _keys_near(t: np.ndarray) -> np.ndarray:
    """Keys' cubic at distances of up to 1."""
    weight: np.ndarray = ((CUBIC + 2) * t - (CUBIC + 3)) * t * t + 1
    return weight


def _keys_far(t: np.ndarray) -> np.ndarray:
    """Keys' cubic at distances of 1 to 2."""
    weight: np.ndarray = ((CUBIC * t - 5 * CUBIC) * t + 8 * CUBIC) * t - 4 * CUBIC
    return weight


class UpsamplingNearest2d(Upsample):
    """Upsample with mode="nearest", for images."""

    def __init__(
        self, size: int | tuple[int, ...] | None = None, scale_factor: float | tuple[float, ...] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="nearest")

    def extra_repr(self) -> str:
        return super().extra_repr().partition(", mode")[0]


class UpsamplingBilinear2d(Upsample):
    """Upsample with mode="bilinear" and align_corners=True, for images."""

    def __init__(
        self, size: int | tuple[int, ...] | None = None, scale_factor: float | tuple[float, ...] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)

    def extra_repr(self) -> str:
        return super().extra_repr().partition(", mode")[0]
