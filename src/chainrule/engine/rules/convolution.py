"""Convolution: an op whose windows slide over x, or over y; padding is an op of its own."""

from math import prod
from typing import Any

import numpy as np

from ... import layers
from ...layers.windows import Lengths
from ...structures import Structure
from ..plan import Value
from .padding import around
from .rule import CannotLower, Handle, Lowering, name_of, rule
from .spatial import Along, at, image, positions, table

MOST_OF_A_GROUP = 64  # channels; depthwise.cpp has room for so many values


@rule(layers.Conv1d, layers.Conv2d, layers.Conv3d)
def _convolution(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, parameters = _look(lowering, layer, x, (layer.out_channels, layer.in_channels // layer.groups))
    only = around(lowering, layer, only, only.shape[1:], layer._amounts, layer._mode)
    lengths = only.shape[1:]
    out = layer._out(lengths)
    if min(out) < 1:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on images of {lengths}")
    told = _sliding(layer, out, lengths)
    value, shape = Value(layer.out_channels, prod(out)), (layer.out_channels, *out)
    if layer.groups == 1:
        return lowering.add("Convolution", layer, [only], value, shape, parameters, is_image=True, **told)
    seen = _of_groups(lowering, layer, only)
    return lowering.add("Depthwise", layer, seen, value, shape, parameters, is_image=True, **told)


@rule(layers.ConvTranspose1d, layers.ConvTranspose2d, layers.ConvTranspose3d)
def _transposed(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, parameters = _look(lowering, layer, x, (layer.in_channels, layer.out_channels // layer.groups))
    lengths = only.shape[1:]
    if min(layer._out(lengths)) < 1:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on images of {lengths}")
    if layer.groups > 1:
        return _transposed_of_each(lowering, layer, only, parameters)
    whole = tuple(n + more for n, more in zip(layer._reached(lengths), layer.output_padding, strict=True))
    y = lowering.add(
        "ConvolutionTransposed",
        layer,
        [only],
        Value(layer.out_channels, prod(whole)),
        (layer.out_channels, *whole),
        parameters,
        is_image=True,
        **_sliding(layer, lengths, whole),
    )
    cut = tuple((-before, -after) for before, after in layer._amounts)
    return around(lowering, layer, y, whole, cut, "constant")


def _transposed_of_each(lowering: Lowering, layer: Any, x: Handle, parameters: list[Any]) -> Handle:
    """Where each channel has a filter of its own: the filter, from its end, slides over x with zeros between."""
    if not layer.groups == layer.in_channels == layer.out_channels:
        raise CannotLower(f"{name_of(layer)} with groups of several channels")
    out, each, taps = layer._out(x.shape[1:]), [], []
    for axis, (n, n_out) in enumerate(zip(x.shape[1:], out, strict=True)):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        place = np.arange(n_out + reach) + layer.padding[axis] - reach  # of x, in steps of the stride
        (target,) = np.nonzero((place % layer.stride[axis] == 0) & (place >= 0) & (place < n * layer.stride[axis]))
        each.append(Along(n_out + reach, n, target, place[target] // layer.stride[axis], np.ones(len(target))))
        taps.append(reach - layer.dilation[axis] * np.arange(layer.kernel_size[axis]))
    lengths = tuple(along.n_out for along in each)
    apart = positions(lowering, layer, x, lengths, table(each))
    told = {"windows": at([np.arange(n) for n in out], lengths), "taps": at(taps, lengths)}
    value, shape = Value(layer.out_channels, prod(out)), (layer.out_channels, *out)
    return lowering.add("Depthwise", layer, [apart], value, shape, parameters, is_image=True, **told)


@rule(layers.Unfold)
def _unfold(lowering: Lowering, layer: layers.Unfold, x: Structure) -> Handle:
    """What each tap sees, side by side: the channels of a tap, tap after tap; and then the taps of each channel."""
    only, channels, lengths = image(lowering, layer, x, layer.axes)
    out = layer._places(lengths)
    if min(out) < 1:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on images of {lengths}")
    only = around(lowering, layer, only, lengths, layer._amounts, "constant")
    seen = []
    for tap in np.ndindex(*layer.kernel_size):
        each = []
        for axis, (n, n_out) in enumerate(zip(only.shape[1:], out, strict=True)):
            target = np.arange(n_out)
            source = target * layer.stride[axis] + tap[axis] * layer.dilation[axis]
            each.append(Along(n_out, n, target, source, np.ones(n_out)))
        seen.append(positions(lowering, layer, only, out, table(each)))
    if len(seen) == 1:
        return Handle(seen[0].number, (channels, prod(out)), is_image=True)
    value, shape = Value(channels * len(seen), prod(out)), (channels * len(seen), prod(out))
    by_tap = lowering.add("Concat", layer, seen, value, shape, is_image=True)
    if channels == 1:
        return by_tap
    sources = np.arange(value.columns).reshape((len(seen), channels)).T.reshape(-1).tolist()
    return lowering.add("Columns", layer, [by_tap], value, shape, is_image=True, sources=sources)


def _look(lowering: Lowering, layer: Any, x: Structure, channels: tuple[int, int]) -> tuple[Handle, list[Any]]:
    """x as an image, and the parameters, if they are what the layer was made with."""
    only, found, _ = image(lowering, layer, x, layer.axes)
    if found != layer.in_channels:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of {found} channels")
    parameters = [parameter for parameter in (layer.weight, layer.bias) if parameter is not None]
    expected = ((*channels, *layer.kernel_size), (layer.out_channels,))
    for parameter, made in zip(parameters, expected, strict=False):
        if parameter.shape != made:  # set to another one since
            raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) with {parameter!r}")
    return only, parameters


def _sliding(layer: Any, places: Lengths, lengths: Lengths) -> dict[str, list[int]]:
    """Where in an image of these lengths the window of each place begins, and where from there its taps lie."""
    begins = [np.arange(n) * stride for n, stride in zip(places, layer.stride, strict=True)]
    taps = [np.arange(n) * dilation for n, dilation in zip(layer.kernel_size, layer.dilation, strict=True)]
    return {"windows": at(begins, lengths), "taps": at(taps, lengths)}


def _of_groups(lowering: Lowering, layer: Any, x: Handle) -> list[Handle]:
    """For each channel that a group sees, a value that has it in the column of each of the group's outputs."""
    of_group = layer.in_channels // layer.groups
    if of_group > MOST_OF_A_GROUP:
        raise CannotLower(f"{name_of(layer)} with groups of more than {MOST_OF_A_GROUP} channels")
    first = np.arange(layer.out_channels) // (layer.out_channels // layer.groups) * of_group
    if of_group == 1 and layer.out_channels == layer.in_channels:
        return [x]
    value = lowering.values[x.number]._replace(columns=layer.out_channels)
    shape = (layer.out_channels, *x.shape[1:])
    sources = [(first + j).tolist() for j in range(of_group)]
    return [lowering.add("Columns", layer, [x], value, shape, is_image=True, sources=one) for one in sources]
