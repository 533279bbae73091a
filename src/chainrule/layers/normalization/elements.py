"""What LayerNorm and RMSNorm share: samples are normalized over their last axes, with a weight for each element."""

from typing import Any

from ...arguments import positive
from ...arrays import Array
from .affine import Affine
from .standardize import Axes


class OverElements(Affine):
    """A normalization over the last axes of x, whose lengths it knows."""

    def _set_shape(self, normalized_shape: int | tuple[int, ...]) -> None:
        several = isinstance(normalized_shape, tuple | list)
        lengths: Any = normalized_shape if several else (normalized_shape,)
        self.normalized_shape = tuple(positive(self, "normalized_shape", length) for length in lengths)
        if not self.normalized_shape:
            raise ValueError(f"{type(self).__name__}: normalized_shape must have at least one length, got ()")

    def _last_axes(self, x: Array) -> Axes:
        """The axes that are normalized over; refuses an x that does not have them behind that of the batch."""
        self._require_kind(x)
        shape, n = self.normalized_shape, len(self.normalized_shape)
        if x.ndim <= n or tuple(x.shape[-n:]) != shape:
            expected = f"must be (batch, …, {', '.join(map(str, shape))})"
            self.refuse_shape(expected, x, one_sample=tuple(x.shape) == shape)
        return tuple(range(x.ndim - n, x.ndim))

    def _spread(self, value: Array, x: Array) -> Array:
        return value

    def _shared(self, x: Array) -> Axes:
        return tuple(range(x.ndim - len(self.normalized_shape)))
