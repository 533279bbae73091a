"""Pools: the greatest of the places that a window sees, or their mean."""

from math import prod
from typing import Any

import numpy as np

from ... import layers
from ...layers.pooling.adaptive import begins_and_ends
from ...layers.pooling.window import Window, window
from ...structures import Structure
from .rule import CannotLower, Handle, Lowering, name_of, rule
from .spatial import Along, Lengths, image, positions, probe, table


@rule(layers.MaxPool1d, layers.MaxPool2d, layers.MaxPool3d)
def _max(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, _, lengths = image(lowering, layer, x, layer.axes)
    over = _window(layer, lengths, layer.dilation)
    return _greatest(lowering, layer, only, over.out, table(_each(over)))


@rule(layers.AvgPool1d, layers.AvgPool2d, layers.AvgPool3d)
def _average(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, _, lengths = image(lowering, layer, x, layer.axes)
    over = _window(layer, lengths)
    told = table(_each(over))
    divisor = np.broadcast_to(layer._divisor(over, np.zeros(1)), over.out).reshape(-1)
    told["weights"] = np.repeat(1 / divisor, np.diff(told["begins"])).tolist()
    return positions(lowering, layer, only, over.out, told)


@rule(layers.AdaptiveAvgPool1d, layers.AdaptiveAvgPool2d, layers.AdaptiveAvgPool3d)
def _adaptive_average(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, _, lengths = image(lowering, layer, x, layer.axes)
    out = layer._out(probe((1, 1, *lengths)))
    each = [_cover(n, n_out) for n, n_out in zip(lengths, out, strict=True)]
    return positions(lowering, layer, only, out, table(each))


@rule(layers.AdaptiveMaxPool1d, layers.AdaptiveMaxPool2d, layers.AdaptiveMaxPool3d)
def _adaptive_max(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, _, lengths = image(lowering, layer, x, layer.axes)
    out = layer._out(probe((1, 1, *lengths)))
    each = [_cover(n, n_out) for n, n_out in zip(lengths, out, strict=True)]
    return _greatest(lowering, layer, only, out, table(each))


def _window(layer: Any, lengths: Lengths, dilation: Any = 1) -> Window:
    told = (layer.kernel_size, layer.stride, layer.padding, dilation, layer.ceil_mode)
    try:
        return window(layer, probe((1, 1, *lengths)), *told)
    except ValueError:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on images of {lengths}") from None


def _each(over: Window) -> list[Along]:
    """Along each axis, what its windows see of x."""
    found = []
    for axis, (n, n_out) in enumerate(zip(over.lengths, over.out, strict=True)):
        begins = np.arange(n_out) * over.stride[axis] - over.padding[axis]
        places = begins[:, None] + np.arange(over.kernel[axis]) * over.dilation[axis]
        target, tap = np.nonzero((places >= 0) & (places < n))
        found.append(Along(n_out, n, target, places[target, tap], np.ones(len(target))))
    return found


def _cover(n: int, n_out: int) -> Along:
    """So many windows that cover n places, and their means."""
    spans = begins_and_ends(n, n_out)
    target = np.repeat(np.arange(n_out), [end - begin for begin, end in spans])
    source = np.concatenate([np.arange(begin, end) for begin, end in spans])
    return Along(n_out, n, target, source, 1 / np.bincount(target)[target])


def _greatest(lowering: Lowering, layer: Any, x: Handle, out: Lengths, told: dict[str, list[Any]]) -> Handle:
    if layer.return_indices:
        raise CannotLower(f"{name_of(layer)} with return_indices")
    if min(np.diff(told["begins"])) < 1:
        raise CannotLower(f"{name_of(layer)} with windows that see nothing")
    value = lowering.values[x.number]._replace(positions=prod(out))
    told = {name: told[name] for name in ("begins", "sources")}
    return lowering.add("MaxPool", layer, [x], value, (value.columns, *out), is_image=True, **told)
