"""Dropout: train a random part of the network at a time."""

from collections.abc import Mapping

import numpy as np

from .. import arrays, random
from ..arguments import number, whole
from ..arrays import Array
from ..module import Buffer, Module
from .spatial import Spatial


class Dropout(Module):
    """In training, set each element to zero with probability p and scale up the rest; in evaluation, do nothing.

    Equation  y = mask x;  dx = mask dy;  mask = 0 with probability p, else 1 / (1 - p)
    Shapes    x (batch, …) -> y (the same)
    Saves     mask, or None where x passed unchanged
    Source    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout"
    Note      the mask is a pure function of (seed, layer, pass), in which p counts in steps of 2⁻¹⁶; PyTorch's masks
              come from its own generator

    Parameters
    ----------
    p : the probability of an element to be zeroed, 0 <= p <= 1.
    rng : a generator or a seed for the masks; `fit` gives every Dropout of a network its own place in the sequence
        that belongs to fit's seed.
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        self.p = number(self, "p", p, least=0, most=1)
        self.seed, self.layer = int(random.generator(rng).integers(2**63)), 0
        self.passes = Buffer(0, persistent=False)  # training passes made so far: which mask comes next

    def reseed(self, seed: int, layer: int) -> None:
        """Begin the sequence of masks that belongs to (seed, layer)."""
        self.seed, self.layer, self.passes.value = random.check_seed(seed), layer, 0

    def extra_state(self) -> dict[str, int]:
        return {"seed": self.seed, "layer": self.layer, "passes": self.passes.value}

    def load_extra_state(self, state: Mapping[str, int]) -> None:
        self.reseed(state["seed"], whole(self, "layer", state["layer"], least=0))
        self.passes.value = whole(self, "passes", state["passes"], least=0)

    def forward(self, x: Array) -> tuple[Array, Array | None]:
        if not self.training or self.p == 0:
            return x, None
        if not arrays.is_array(x) or not arrays.is_floating(x):  # integers would cut the mask's 1 / (1 - p) to 1
            self.refuse("forward", "x must be a floating-point array", arrays.describe_kind(x), TypeError)
        shape = self._mask_shape(x)
        mask = random.dropout_mask(shape, self.p, seed=self.seed, layer=self.layer, index=self.passes.value)
        self.passes.value += 1
        mask = arrays.convert_like(mask, x)
        return x * mask, mask

    def backward(self, dy: Array, mask: Array | None) -> Array:
        return dy if mask is None else dy * mask

    def _mask_shape(self, x: Array) -> tuple[int, ...]:
        if x.ndim < 1:
            self.refuse("forward", "x must be (batch, …)", "a single number")
        return tuple(x.shape)


class _DropoutOfChannels(Spatial, Dropout):
    """In training, set whole channels to zero with probability p and scale up the rest; in evaluation, do nothing.

    Equation  y = mask x;  dx = mask dy;  mask = 0 with probability p, else 1 / (1 - p), one for each channel of each
              sample, so that what is beside a dropped number cannot stand in for it
    Shapes    x (batch, channels, *lengths) -> y (the same)
    Saves     mask (batch, channels, 1, …), or None where x passed unchanged
    Source    Tompson, Goroshin, Jain, LeCun, Bregler 2015, "Efficient object localization using convolutional networks"
    Note      the mask is a pure function of (seed, layer, pass): that of Dropout for an x (batch, channels)

    Parameters
    ----------
    p : the probability of a channel to be zeroed, 0 <= p <= 1.
    rng : a generator or a seed for the masks; `fit` gives every Dropout of a network its own place in the sequence
        that belongs to fit's seed.
    """

    def forward(self, x: Array) -> tuple[Array, Array | None]:
        self.look(x)
        return super().forward(x)

    def _mask_shape(self, x: Array) -> tuple[int, ...]:
        return (*x.shape[:2], *(1,) * self.axes)


class Dropout1d(_DropoutOfChannels):
    """Drop whole channels of series: x (batch, channels, length)."""

    axes = 1


class Dropout2d(_DropoutOfChannels):
    """Drop whole channels of images: x (batch, channels, height, width)."""

    axes = 2


class Dropout3d(_DropoutOfChannels):
    """Drop whole channels of volumes: x (batch, channels, depth, height, width)."""

    axes = 3
