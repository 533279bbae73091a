"""GLU, along the last axis."""

from math import prod

from ... import layers
from ...structures import Structure
from ..plan import Value
from .rule import CannotLower, Handle, Lowering, name_of, rule


@rule(layers.GLU)
def _glu(lowering: Lowering, layer: layers.GLU, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    shape = lowering.shape(layer, only)
    if not shape or layer.dim not in (-1, len(shape)):
        raise CannotLower(f"{name_of(layer)} along dim {layer.dim} of samples of shape {shape}")
    if shape[-1] % 2:
        raise CannotLower(f"{name_of(layer)} on {shape[-1]} numbers, which has no halves")
    value = Value(shape[-1] // 2, prod(shape[:-1]))
    return lowering.add(name_of(layer), layer, [lowering.rows(layer, only)], value, (*shape[:-1], shape[-1] // 2))
