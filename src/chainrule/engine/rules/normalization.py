"""Normalization along rows, down the places of a sample's channels, and down those of a whole batch."""

from math import prod
from typing import Any

import numpy as np

from ... import layers
from ...module import first_value
from ...structures import Structure
from ..plan import Value
from ..statistics import Statistics
from .rule import CannotLower, Handle, Lowering, name_of, options, rule


@rule(layers.LayerNorm, layers.RMSNorm)
def _along_rows(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    lowering.expect(only, layer.normalized_shape)
    shape, last = lowering.shape(layer, only), layer.normalized_shape
    if shape[len(shape) - len(last) :] != last:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    value = Value(prod(last), prod(shape[: len(shape) - len(last)]))
    like = first_value(lowering.modules)
    eps = (
        layer.eps if layer.eps is not None else float(np.finfo(np.dtype("float32") if like is None else like.dtype).eps)
    )
    return _normalized(name_of(layer), lowering, layer, lowering.laid_out(layer, only, value), shape, last, eps=eps)


@rule(layers.GroupNorm)
def _of_groups(lowering: Lowering, layer: layers.GroupNorm, x: Structure) -> Handle:
    return _down_places(lowering, layer, x, layer.num_channels, layer.num_channels // layer.num_groups)


@rule(layers.InstanceNorm1d, layers.InstanceNorm2d, layers.InstanceNorm3d)
def _of_channels(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    if layer.running_mean is not None:
        raise CannotLower(f"{name_of(layer)} with running statistics")
    if not layer.eps:
        raise CannotLower(f"{name_of(layer)} with eps=0")
    return _down_places(lowering, layer, x, layer.num_features, 1)


@rule(layers.LocalResponseNorm)
def _by_neighbours(lowering: Lowering, layer: layers.LocalResponseNorm, x: Structure) -> Handle:
    only = lowering.one(layer, x, any_order=True)
    if len(lowering.shape(layer, only)) < 2:
        raise CannotLower(f"{name_of(layer)} on samples of shape {lowering.shape(layer, only)}")
    return lowering.alike("LocalResponseNorm", layer, lowering.image(layer, only), any_order=True, **options(layer))


@rule(layers.BatchNorm1d, layers.BatchNorm2d, layers.BatchNorm3d)
def _of_batch(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    if not layer.track_running_stats or None in (layer.running_mean, layer.running_var, layer.num_batches_tracked):
        raise CannotLower(f"{name_of(layer)} without running statistics")
    if not layer.eps:
        raise CannotLower(f"{name_of(layer)} with eps=0")
    only = lowering.one(layer, x, any_order=True)
    if layer.axes == 1:
        lowering.expect(only, (layer.num_features,))
    shape = lowering.shape(layer, only)
    if shape[:1] != (layer.num_features,) or (len(shape) != 1 + layer.axes and not layer.axes == len(shape) == 1):
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    told = {
        "eps": layer.eps,
        "momentum": -1.0 if layer.momentum is None else layer.momentum,
        "follows": layer.training or not lowering.in_mode,
        "is_image": True,
        "statistics": Statistics(layer.running_mean, layer.running_var, layer.num_batches_tracked),
    }
    return _normalized("BatchNorm", lowering, layer, lowering.image(layer, only), shape, shape[:1], **told)


def _down_places(lowering: Lowering, layer: Any, x: Structure, channels: int, of_group: int) -> Handle:
    only = lowering.one(layer, x, any_order=True)
    lowering.expect(only, (channels,))
    shape = lowering.shape(layer, only)
    if not shape or shape[0] != channels or of_group * prod(shape[1:]) < 2:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    only = lowering.image(layer, only)
    told = {"eps": layer.eps, "of_group": of_group, "is_image": True}
    return _normalized("GroupNorm", lowering, layer, only, shape, (channels,), **told)


def _normalized(
    kind: str, lowering: Lowering, layer: Any, x: Handle, shape: Any, of: tuple[int, ...], **told: Any
) -> Handle:
    """The op, with a weight and a bias if the layer has them."""
    both = {"weight": layer.weight, "bias": getattr(layer, "bias", None)}
    parameters = [parameter for parameter in both.values() if parameter is not None]
    for parameter in parameters:
        if parameter.shape != of:  # set to another one since
            raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) with {parameter!r}")
    has = {name: parameter is not None for name, parameter in both.items()}
    lowering.rows_of_numbers.update(parameters)
    return lowering.add(kind, layer, [x], lowering.values[x.number], shape, parameters, **told, **has)
