"""Dropout: an op with its own stream of random numbers, but where it does nothing."""

from ... import layers
from ...structures import Structure
from .rule import CannotLower, Handle, Lowering, rule


@rule(layers.Dropout)
def _dropout(lowering: Lowering, layer: layers.Dropout, x: Structure) -> Handle:
    if any(layer is known for known in lowering.drawn):  # each pass would draw a mask of its own
        raise CannotLower("a Dropout that stands twice in the network")
    lowering.drawn.append(layer)
    if layer.p == 0 or (lowering.in_mode and not layer.training):
        return lowering.one(layer, x)
    return lowering.alike("Dropout", layer, x, p=layer.p, stream=lowering.stream(layer))
