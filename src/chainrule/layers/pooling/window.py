"""A pooling window on its way over x: which places of y look at which places of x, tap by tap."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..spatial import Spatial
from ..windows import Lengths, each_axis, out_length

Places = tuple[Any, ...]  # an index: ... and a slice for each axis


@dataclass(frozen=True)
class Window:
    """A kernel that stands at `out` places along each axis of x; taps that are not on x see nothing.

    Equation  place o of y looks through tap k at place stride o + dilation k - padding of x, along each axis
    """

    lengths: Lengths
    kernel: Lengths
    stride: Lengths
    padding: Lengths
    dilation: Lengths
    out: Lengths

    def taps(self) -> Iterator[tuple[Places, Places]]:
        """For each tap of the kernel, row by row: the places of y that see something through it, and what of x."""
        for taps in product(*(list(self._along(axis)) for axis in range(len(self.kernel)))):
            yield (..., *(y for y, _ in taps)), (..., *(x for _, x in taps))

    def _along(self, axis: int) -> Iterator[tuple[slice, slice]]:
        """The same along one axis."""
        stride, last = self.stride[axis], self.lengths[axis] - 1
        for tap in range(self.kernel[axis]):
            shift = self.dilation[axis] * tap - self.padding[axis]
            first, end = max(0, -(shift // stride)), min(self.out[axis], (last - shift) // stride + 1)
            if first < end:
                yield slice(first, end), slice(first * stride + shift, (end - 1) * stride + shift + 1, stride)


def window(
    module: Spatial, x: Any, kernel: Any, stride: Any, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Window:
    """The window over x; refuses an x in which it stands nowhere.

    kernel, stride, padding, dilation : as `each_axis` takes them.
    """
    lengths, axes = tuple(x.shape[2:]), module.axes
    kernel, stride = each_axis(module, "kernel_size", kernel, axes), each_axis(module, "stride", stride, axes)
    padding = each_axis(module, "padding", padding, axes, least=0)
    dilation = each_axis(module, "dilation", dilation, axes)
    each = zip(lengths, kernel, stride, padding, dilation, strict=True)
    out = tuple(out_length(*one, ceil_mode=ceil_mode) for one in each)
    if min(out) < 1:
        module.refuse("forward", f"x must be as long as the window, {kernel}", tuple(x.shape))
    return Window(lengths, kernel, stride, padding, dilation, out)


def as_given(module: Spatial, name: str, value: Any, *, least: int = 1) -> Any:
    """An argument as it came, which is how PyTorch keeps it: an integer, or a tuple with one for each axis."""
    found = each_axis(module, name, value, module.axes, least=least)
    return found if isinstance(value, tuple | list) else found[0]


def half_a_window(module: Spatial, kernel: Any, padding: Any, dilation: Any = 1) -> None:
    """Refuse more padding than half a window, as PyTorch does: some windows would see nothing but padding."""
    told = {"kernel_size": kernel, "padding": padding, "dilation": dilation}
    each = [each_axis(module, name, value, module.axes, least=0) for name, value in told.items()]
    for k, p, d in zip(*each, strict=True):
        if 2 * p > d * (k - 1) + 1:
            kind = type(module).__name__
            raise ValueError(f"{kind}: padding must be at most half of the window, {(d * (k - 1) + 1) // 2}, got {p}")
