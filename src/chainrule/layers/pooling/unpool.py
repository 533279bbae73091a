"""The way back from max pooling, as far as there is one: the largest numbers where they were, and zeros around."""

import math
from collections.abc import Sequence
from typing import Any

from ...arguments import whole
from ...arrays import Array, is_array, is_integer, namespace
from ..spatial import Spatial
from ..windows import Lengths, each_axis
from .max import in_batch


class _MaxUnpool(Spatial):
    """Put each number where max pooling has found it, and zeros everywhere else.

    Equation  y[indices[o]] = x[o], where y is laid out as one row;  dx[o] = dy[indices[o]]
    Shapes    x and indices (batch, channels, *lengths) -> y (batch, channels, *lengths), each
              stride (length - 1) + kernel_size - 2 padding, or as output_size says
    Saves     the indices, as places in the whole batch
    Source    Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 2.1
    Note      where windows have overlapped, several x may go to one place; one of them is there, as in PyTorch

    In a network, x is the pair (x, indices) that MaxPool with return_indices gives; by hand there may be two arguments,
    and output_size.

    Parameters
    ----------
    kernel_size, stride, padding : those of the MaxPool whose indices come.

    Raises ValueError for x, indices or output_size that do not fit.

    >>> import numpy as np
    >>> from chainrule import MaxPool1d, MaxUnpool1d
    >>> pool, back = MaxPool1d(2, return_indices=True), MaxUnpool1d(2)
    >>> back(pool(np.array([[[1.0, 3.0, 2.0, 0.0]]])))
    array([[[0., 3., 2., 0.]]])
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
    ) -> None:
        self.kernel_size = each_axis(self, "kernel_size", kernel_size, self.axes)
        self.stride = self.kernel_size if stride is None else each_axis(self, "stride", stride, self.axes)
        self.padding = each_axis(self, "padding", padding, self.axes, least=0)

    def forward(self, x: Any, indices: Any = None, output_size: Sequence[int] | None = None) -> tuple[Array, Any]:
        """y; x is one argument or two, see the class. output_size: the lengths of y, or its shape."""
        paired = isinstance(x, tuple | list)
        x, indices = (x if len(x) == 2 else (x, None)) if paired else (x, indices)
        xp = self.look(x)
        if not is_array(indices) or not is_integer(indices) or indices.shape != x.shape:
            got = f"{tuple(indices.shape)}" if is_array(indices) else f"a {type(indices).__name__}"
            self.refuse("forward", f"indices must be integers {tuple(x.shape)} like x", got)
        lengths = self._lengths(tuple(x.shape[2:]), output_size)
        n = math.prod(lengths)
        if xp.any((indices < 0) | (indices >= n)):
            self.refuse("forward", f"indices must be places in y {lengths}, 0 to {n - 1}", "others")
        at = in_batch(xp.astype(indices, xp.int64), n).reshape((-1,))
        y = xp.zeros((math.prod((*x.shape[:2], n)),), dtype=x.dtype, device=x.device)
        y[at] = x.reshape((-1,))
        return y.reshape((*x.shape[:2], *lengths)), (at, indices, paired)

    def backward(self, dy: Array, saved: Any) -> Any:
        at, indices, paired = saved
        xp = namespace(dy)
        dx = xp.take(dy.reshape((-1,)), at).reshape(indices.shape)
        return (dx, xp.zeros_like(indices)) if paired else dx

    def _lengths(self, pooled: Lengths, output_size: Sequence[int] | None) -> Lengths:
        """The lengths of y: as pooling them with the same window would give `pooled`."""
        each = zip(pooled, self.kernel_size, self.stride, self.padding, strict=True)
        usual = tuple((n - 1) * stride + kernel - 2 * padding for n, kernel, stride, padding in each)
        asked = usual
        if output_size is not None:
            asked = tuple(whole(self, "output_size", length) for length in output_size)[-self.axes :]
            off = (abs(a - u) >= s for a, u, s in zip(asked, usual, self.stride, strict=False))
            if len(output_size) not in (self.axes, self.axes + 2) or any(off):
                fitting = f"less than stride {self.stride} away from {usual}"
                self.refuse("forward", f"output_size must be {fitting}", tuple(output_size))
        if min(asked) < 1:
            self.refuse("forward", "y must have room for something", asked)
        return asked

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Undo max pooling of a series, with zeros for all that was not largest."""

    axes = 1


class MaxUnpool2d(_MaxUnpool):
    """Undo max pooling of an image, with zeros for all that was not largest."""

    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """Undo max pooling of a volume, with zeros for all that was not largest."""

    axes = 3
