"""What a filter sees at each of its places, as columns, and columns added up to an image again."""

from math import prod

from ... import arrays
from ...arrays import Array, namespace
from ..spatial import Spatial
from ..windows import Amounts, Lengths, add_windows, crop, each_axis, out_length, pad, windows


class _Windows(Spatial):
    """Where the windows of an image are, and the two directions: each is the transpose of the other."""

    axes = 2

    kernel_size: Lengths
    dilation: Lengths
    padding: Lengths
    stride: Lengths

    @property
    def _amounts(self) -> Amounts:
        return tuple((n, n) for n in self.padding)

    def _places(self, lengths: Lengths) -> Lengths:
        """At how many places a window stands along each axis of an image of these lengths."""
        axes = zip(lengths, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return tuple(out_length(*axis) for axis in axes)

    def _unfold(self, image: Array) -> Array:
        """image (batch, channels, height, width) -> (batch, channels · taps, places)"""
        batch, channels = image.shape[:2]
        seen = windows(pad(image, self._amounts), self.kernel_size, self.stride, self.dilation)
        ordered = namespace(image).permute_dims(seen, (0, 1, 4, 5, 2, 3))
        return ordered.reshape((batch, channels * prod(self.kernel_size), prod(seen.shape[2:4])))

    def _fold(self, columns: Array, lengths: Lengths) -> Array:
        """columns (batch, channels · taps, places) -> (batch, channels, height, width)"""
        xp, batch, channels = namespace(columns), columns.shape[0], columns.shape[1] // prod(self.kernel_size)
        seen = columns.reshape((batch, channels, *self.kernel_size, *self._places(lengths)))
        with_padding = (n + 2 * more for n, more in zip(lengths, self.padding, strict=True))
        image = xp.zeros((batch, channels, *with_padding), dtype=columns.dtype, device=columns.device)
        add_windows(image, xp.permute_dims(seen, (0, 1, 4, 5, 2, 3)), self.stride, self.dilation)
        return crop(image, self._amounts)

    def _require_room(self, lengths: Lengths, name: str) -> None:
        if min(self._places(lengths)) < 1:
            self.refuse("forward", f"{name} with its padding must have room for the kernel", lengths)


class Unfold(_Windows):
    """Cut an image into what a filter sees: a column for each of its places.

    Equation  y[b, (c, *k), p] = x[b, c, *(stride p + dilation k - padding)];  dx gathers dy from every window that x is
              in, which is what Fold does
    Shapes    x (batch, channels, height, width) -> y (batch, channels · taps, places), rows first channel by channel,
              then tap by tap; places row by row
    Saves     the height and width of x
    Source    PyTorch's Unfold; the columns of Chellapilla, Puri, Simard 2006, known as im2col

    Parameters
    ----------
    kernel_size, dilation, padding, stride : an integer for both axes or one for each, as those of Conv2d.

    Raises ValueError for an x in which the kernel has no room.

    >>> import numpy as np
    >>> Unfold(2)(np.arange(6.0).reshape(1, 1, 2, 3))
    array([[[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]]])
    """

    def __init__(
        self,
        kernel_size: int | Lengths,
        dilation: int | Lengths = 1,
        padding: int | Lengths = 0,
        stride: int | Lengths = 1,
    ) -> None:
        self.kernel_size = each_axis(self, "kernel_size", kernel_size, self.axes)
        self.dilation = each_axis(self, "dilation", dilation, self.axes)
        self.padding = each_axis(self, "padding", padding, self.axes, least=0)
        self.stride = each_axis(self, "stride", stride, self.axes)

    def forward(self, x: Array) -> tuple[Array, Lengths]:
        self.look(x)
        lengths = tuple(x.shape[2:])
        self._require_room(lengths, "x")
        return self._unfold(x), lengths

    def backward(self, dy: Array, lengths: Lengths) -> Array:
        return self._fold(dy, lengths)


class Fold(_Windows):
    """Put the columns of Unfold back into an image, and add up where they overlap.

    Equation  y[b, c, *(stride p + dilation k - padding)] += x[b, (c, *k), p];  dx[b, (c, *k), p] = dy there, which is
              what Unfold does
    Shapes    x (batch, channels · taps, places) -> y (batch, channels, *output_size)
    Saves     nothing
    Source    PyTorch's Fold, known as col2im

    Parameters
    ----------
    output_size : height and width of y: an integer for both, or one for each.
    kernel_size, dilation, padding, stride : an integer for both axes or one for each, as those of Conv2d.

    Raises ValueError for an output_size in which the kernel has no room, and for x with other rows or places.

    >>> import numpy as np
    >>> Fold((2, 3), 2)(np.ones((1, 4, 2)))
    array([[[[1., 2., 1.],
             [1., 2., 1.]]]])
    """

    def __init__(
        self,
        output_size: int | Lengths,
        kernel_size: int | Lengths,
        dilation: int | Lengths = 1,
        padding: int | Lengths = 0,
        stride: int | Lengths = 1,
    ) -> None:
        self.output_size = each_axis(self, "output_size", output_size, self.axes)
        self.kernel_size = each_axis(self, "kernel_size", kernel_size, self.axes)
        self.dilation = each_axis(self, "dilation", dilation, self.axes)
        self.padding = each_axis(self, "padding", padding, self.axes, least=0)
        self.stride = each_axis(self, "stride", stride, self.axes)

    def forward(self, x: Array) -> tuple[Array, None]:
        self.namespace(x)  # refuses what is no array
        self._require_room(self.output_size, "output_size")
        taps, places = prod(self.kernel_size), prod(self._places(self.output_size))
        if x.ndim != 3 or x.shape[1] % taps or x.shape[2] != places:
            expected = f"must be (batch, channels · {taps}, {places})"
            self.refuse_shape(expected, x, one_sample=x.ndim == 2 and x.shape[1] == places)
        if not arrays.is_floating(x):
            self.refuse("forward", "x must be a floating-point array", arrays.describe_kind(x), TypeError)
        return self._fold(x, self.output_size), None

    def backward(self, dy: Array, saved: None = None) -> Array:
        return self._unfold(dy)
