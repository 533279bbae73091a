"""Upsample: each place of y is a weighted sum of a few of x, axis by axis."""

from typing import Any

import numpy as np

from ... import layers
from ...layers.upsample import AXES
from ...module import first_value
from ...structures import Structure
from .rule import CannotLower, Handle, Lowering, name_of, rule
from .spatial import Along, image, positions, table


@rule(layers.Upsample, layers.UpsamplingNearest2d, layers.UpsamplingBilinear2d)
def _upsample(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    axes = len(lowering.shape(layer, lowering.one(layer, x, any_order=True))) - 1
    if axes not in AXES[layer.mode]:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on images of {axes} axes")
    only, _, lengths = image(lowering, layer, x, axes)
    value = first_value(lowering.modules)
    dtype = np.dtype("float32") if value is None else value.dtype
    try:
        out, taps = layer.out(lengths), layer.taps(lengths, dtype)
    except ValueError:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on images of {lengths}") from None
    each = [
        Along(n_out, n, np.repeat(np.arange(n_out), index.shape[1]), index.reshape(-1), weight.reshape(-1))
        for n, n_out, (index, weight) in zip(lengths, out, taps, strict=True)
    ]
    return positions(lowering, layer, only, out, table(each))
