"""Channels as pixels and pixels as channels: layers that only put numbers elsewhere."""

from ..arguments import positive
from ..arrays import Array, namespace
from ..module import Module
from .spatial import Spatial


def shuffled(x: Array, r: int) -> Array:
    """Each r² channels as one, in squares of r by r: (batch, r² channels, h, w) -> (batch, channels, r h, r w)."""
    batch, channels, height, width = x.shape
    apart = x.reshape((batch, channels // r**2, r, r, height, width))
    order = (0, 1, 4, 2, 5, 3)
    return namespace(x).permute_dims(apart, order).reshape((batch, channels // r**2, height * r, width * r))


def unshuffled(x: Array, r: int) -> Array:
    """The way back: (batch, channels, r h, r w) -> (batch, r² channels, h, w)."""
    batch, channels, height, width = x.shape
    apart = x.reshape((batch, channels, height // r, r, width // r, r))
    order = (0, 1, 3, 5, 2, 4)
    return namespace(x).permute_dims(apart, order).reshape((batch, channels * r**2, height // r, width // r))


class PixelShuffle(Spatial):
    """Make an image larger by laying r² channels as squares of r by r pixels, r = upscale_factor.

    Equation  y[c, r h + i, r w + j] = x[r² c + r i + j, h, w];  dx = dy, put back
    Shapes    x (batch, r² channels, height, width) -> y (batch, channels, r height, r width)
    Saves     nothing
    Source    Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel
              convolutional neural network", equation 4

    Raises ValueError for x of the wrong shape, or whose channels r² does not divide.
    """

    axes = 2

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = positive(self, "upscale_factor", upscale_factor)

    def forward(self, x: Array) -> tuple[Array, None]:
        self.look(x)
        if x.shape[1] % self.upscale_factor**2:
            self.refuse("forward", f"x must have a multiple of {self.upscale_factor**2} channels", tuple(x.shape))
        return shuffled(x, self.upscale_factor), None

    def backward(self, dy: Array, saved: None = None) -> Array:
        return unshuffled(dy, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Spatial):
    """Make an image smaller by laying squares of r by r pixels as r² channels, r = downscale_factor.

    Equation  y[r² c + r i + j, h, w] = x[c, r h + i, r w + j];  dx = dy, put back
    Shapes    x (batch, channels, r height, r width) -> y (batch, r² channels, height, width)
    Saves     nothing
    Source    the way back from PixelShuffle

    Raises ValueError for x of the wrong shape, or whose height or width r does not divide.
    """

    axes = 2

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = positive(self, "downscale_factor", downscale_factor)

    def forward(self, x: Array) -> tuple[Array, None]:
        self.look(x)
        if x.shape[2] % self.downscale_factor or x.shape[3] % self.downscale_factor:
            expected = f"x must have a height and a width that are multiples of {self.downscale_factor}"
            self.refuse("forward", expected, tuple(x.shape))
        return unshuffled(x, self.downscale_factor), None

    def backward(self, dy: Array, saved: None = None) -> Array:
        return shuffled(dy, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Deal the channels of each group out to all groups, so that grouped convolutions behind see something of each.

    Equation  y[n i + g] = x[m g + i] for n = groups of m channels;  dx = dy, put back
    Shapes    x (batch, channels, …) -> y (the same)
    Saves     nothing
    Source    Zhang, Zhou, Lin, Sun 2018, "ShuffleNet: An extremely efficient convolutional neural network for mobile
              devices", section 3.1

    Raises ValueError for x whose channels `groups` does not divide.
    """

    def __init__(self, groups: int) -> None:
        self.groups = positive(self, "groups", groups)

    def forward(self, x: Array) -> tuple[Array, None]:
        self.namespace(x)  # refuses what is no array
        if x.ndim < 3 or x.shape[1] % self.groups:
            expected = f"must be (batch, channels, …) with a multiple of {self.groups} channels"
            self.refuse_shape(expected, x, one_sample=x.ndim == 2)
        return _dealt(x, self.groups), None

    def backward(self, dy: Array, saved: None = None) -> Array:
        return _dealt(dy, dy.shape[1] // self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


def _dealt(x: Array, groups: int) -> Array:
    """Channels (groups, m) laid out as (m, groups)."""
    apart = x.reshape((x.shape[0], groups, x.shape[1] // max(groups, 1), *x.shape[2:]))
    return namespace(x).permute_dims(apart, (0, 2, 1, *range(3, apart.ndim))).reshape(x.shape)
