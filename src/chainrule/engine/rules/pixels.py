"""Channels as pixels and pixels as channels: the same numbers elsewhere."""

from math import prod

import numpy as np

from ... import layers
from ...structures import Structure
from .rule import CannotLower, Handle, Lowering, name_of, rule


@rule(layers.PixelShuffle, layers.PixelUnshuffle)
def _pixels(lowering: Lowering, layer: layers.PixelShuffle | layers.PixelUnshuffle, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    shape = lowering.shape(layer, only)
    numbers = np.arange(prod(shape), dtype=np.float64).reshape((1, *shape))  # the layer itself says where they go
    try:
        moved = layer.forward(numbers)[0]
    except ValueError:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}") from None
    columns = [int(number) for number in moved.reshape(-1)]
    return lowering.alike("Permute", layer, lowering.flat(layer, only), columns=columns).seen_as(moved.shape[1:])


@rule(layers.ChannelShuffle)
def _channels(lowering: Lowering, layer: layers.ChannelShuffle, x: Structure) -> Handle:
    only = lowering.one(layer, x, any_order=True)
    shape = lowering.shape(layer, only)
    if len(shape) < 2 or shape[0] % layer.groups:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    only = lowering.image(layer, only)
    sources = np.arange(shape[0]).reshape((layer.groups, -1)).T.reshape(-1).tolist()
    return lowering.add("Columns", layer, [only], lowering.values[only.number], shape, is_image=True, sources=sources)
