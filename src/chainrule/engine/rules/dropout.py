"""Dropout, of numbers or of whole channels: an op with its own stream of random numbers, but where it does nothing."""

from typing import Any

from ... import layers
from ...structures import Structure
from .rule import CannotLower, Handle, Lowering, name_of, rule
from .spatial import image


@rule(layers.Dropout)
def _dropout(lowering: Lowering, layer: layers.Dropout, x: Structure) -> Handle:
    if not _draws(lowering, layer):
        return lowering.one(layer, x)
    return lowering.alike("Dropout", layer, x, p=layer.p, stream=lowering.stream(layer))


@rule(layers.Dropout1d, layers.Dropout2d, layers.Dropout3d)
def _dropout_of_channels(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, _, _ = image(lowering, layer, x, layer.axes)
    if not _draws(lowering, layer):
        return only
    return lowering.alike("DropoutOfChannels", layer, only, any_order=True, p=layer.p, stream=lowering.stream(layer))


def _draws(lowering: Lowering, layer: layers.Dropout) -> bool:
    """Whether it drops anything."""
    if any(layer is known for known in lowering.drawn):  # each pass would draw a mask of its own
        raise CannotLower(f"a {name_of(layer)} that stands twice in the network")
    lowering.drawn.append(layer)
    return layer.p > 0 and (layer.training or not lowering.in_mode)
