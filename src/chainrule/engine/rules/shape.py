"""Layers that change no numbers: most are no op, only another shape for the same value."""

from math import prod

import numpy as np

from ... import layers
from ...structures import Structure
from .rule import CannotLower, Handle, Lowering, name_of, rule


@rule(layers.Identity)
def _identity(lowering: Lowering, layer: layers.Identity, x: Structure) -> Structure:
    return x


@rule(layers.Flatten)
def _flatten(lowering: Lowering, layer: layers.Flatten, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    if (layer.start_dim, layer.end_dim) == (1, -1):
        if lowering.is_unknown(only):
            return only  # the simplest sample that it takes is a row already
        return only.seen_as((prod(lowering.shape(layer, only)),))
    shape = lowering.shape(layer, only)
    axes = len(shape) + 1  # with that of the samples
    start, end = (dim + axes if dim < 0 else dim for dim in (layer.start_dim, layer.end_dim))
    if not 1 <= start <= end < axes:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    return only.seen_as((*shape[: start - 1], prod(shape[start - 1 : end]), *shape[end:]))


@rule(layers.Reshape)
def _reshape(lowering: Lowering, layer: layers.Reshape, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    if -1 not in layer.shape:
        lowering.expect(only, (prod(layer.shape),))
    shape = lowering.shape(layer, only)
    return only.seen_as(_fitted(layer, layer.shape, prod(shape)))


@rule(layers.Unflatten)
def _unflatten(lowering: Lowering, layer: layers.Unflatten, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    if layer.dim in (1, -1) and -1 not in layer.unflattened_size:
        lowering.expect(only, (prod(layer.unflattened_size),))
    shape = lowering.shape(layer, only)
    axis = layer.dim + len(shape) if layer.dim < 0 else layer.dim - 1
    if not 0 <= axis < len(shape):
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    lengths = _fitted(layer, layer.unflattened_size, shape[axis])
    return only.seen_as((*shape[:axis], *lengths, *shape[axis + 1 :]))


@rule(layers.Permute)
def _permute(lowering: Lowering, layer: layers.Permute, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    shape = lowering.shape(layer, only)
    if len(layer.dims) != len(shape) + 1:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    columns = np.arange(prod(shape)).reshape((1, *shape)).transpose(layer.dims)
    shape = columns.shape[1:]
    places = columns.reshape(-1).tolist()
    if places == sorted(places):  # only axes of length 1 have moved
        return only.seen_as(shape)
    flat = lowering.flat(layer, only)
    return lowering.alike("Permute", layer, flat, columns=places).seen_as(shape)


def _fitted(layer: layers.Reshape | layers.Unflatten, lengths: tuple[int, ...], n: int) -> tuple[int, ...]:
    """The lengths with -1 replaced, if they are those of n numbers."""
    known = prod(length for length in lengths if length != -1)
    found = tuple(n // max(known, 1) if length == -1 else length for length in lengths)
    if prod(found) != n:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on {n} numbers")
    return found
