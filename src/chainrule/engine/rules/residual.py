"""Residual: its shortcut, its body, and a Sum."""

from ... import layers
from ...structures import Structure
from .joins import joined
from .rule import Handle, Lowering, rule


@rule(layers.Residual)
def _residual(lowering: Lowering, layer: layers.Residual, x: Structure) -> Handle:
    around = x if layer.shortcut is None else lowering.lower(layer.shortcut, x)
    y = lowering.lower(layer.body, x)
    parts = [lowering.one(layer, part, any_order=True) for part in (around, y)]
    return joined("Sum", lowering, layer, parts)
