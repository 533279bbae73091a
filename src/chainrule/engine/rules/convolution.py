"""Convolution: an op whose windows slide over x, and one before it for the padding."""

from math import prod

import numpy as np

from ... import layers
from ...structures import Structure
from ..plan import Value
from .padding import around
from .rule import CannotLower, Handle, Lowering, name_of, rule
from .spatial import at, image


@rule(layers.Conv1d, layers.Conv2d, layers.Conv3d)
def _convolution(lowering: Lowering, layer: layers.Conv2d, x: Structure) -> Handle:
    only, channels, lengths = image(lowering, layer, x, layer.axes)
    if channels != layer.in_channels:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of {channels} channels")
    if layer.groups > 1:
        raise CannotLower(f"{name_of(layer)} with groups")
    parameters = [parameter for parameter in (layer.weight, layer.bias) if parameter is not None]
    expected = ((layer.out_channels, layer.in_channels, *layer.kernel_size), (layer.out_channels,))
    for parameter, made in zip(parameters, expected, strict=False):
        if parameter.shape != made:  # set to another one since
            raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) with {parameter!r}")
    only = around(lowering, layer, only, lengths, layer._amounts, layer._mode)
    lengths = only.shape[1:]
    out = layer._out(lengths)
    if min(out) < 1:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on images of {lengths}")
    begins = [np.arange(n) * stride for n, stride in zip(out, layer.stride, strict=True)]
    taps = [np.arange(n) * dilation for n, dilation in zip(layer.kernel_size, layer.dilation, strict=True)]
    return lowering.add(
        "Convolution",
        layer,
        [only],
        Value(layer.out_channels, prod(out)),
        (layer.out_channels, *out),
        parameters,
        is_image=True,
        windows=at(begins, lengths),
        taps=at(taps, lengths),
    )
