"""Softmax and LogSoftmax, along the last axis."""

from ... import layers
from ...structures import Structure
from .rule import CannotLower, Handle, Lowering, name_of, rule


@rule(layers.Softmax, layers.LogSoftmax)
def _softmax(lowering: Lowering, layer: layers.Softmax | layers.LogSoftmax, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    if lowering.is_unknown(only):  # which the next layer then says
        return lowering.alike(name_of(layer), layer, only)
    shape = lowering.shape(layer, only)
    if not shape or layer.dim not in (-1, len(shape)):
        raise CannotLower(f"{name_of(layer)} along dim {layer.dim} of samples of shape {shape}")
    return lowering.alike(name_of(layer), layer, lowering.rows(layer, only))
