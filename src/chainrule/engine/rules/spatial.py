"""Where places lie: windows, and sums over places, as the engine is told of them, along any number of axes."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ...structures import Structure
from .rule import CannotLower, Handle, Lowering, name_of

Lengths = tuple[int, ...]


class Along(NamedTuple):
    """Along one axis, entry by entry: which place of y gathers, from which place of x, with which weight."""

    n_out: int
    n_in: int
    target: np.ndarray
    source: np.ndarray
    weight: np.ndarray


def image(lowering: Lowering, layer: Any, x: Structure, axes: int) -> tuple[Handle, int, Lengths]:
    """x as an image, with its channels and its lengths."""
    only = lowering.one(layer, x, any_order=True)
    shape = lowering.shape(layer, only)
    if len(shape) != axes + 1:
        raise CannotLower(f"{name_of(layer)} on samples of shape {shape}")
    return lowering.image(layer, only), shape[0], shape[1:]


def probe(shape: Sequence[int]) -> np.ndarray:
    """An array of this shape that takes no memory, for functions that look at its shape alone."""
    return np.broadcast_to(np.float64(0), tuple(shape))


def at(places: Sequence[np.ndarray], lengths: Lengths) -> list[int]:
    """The numbers of all combinations of places along each axis, the last axis fastest."""
    numbers = np.zeros(1, np.int64)
    for along, length in zip(places, lengths, strict=True):
        numbers = (numbers[:, None] * length + along).reshape(-1)
    found: list[int] = numbers.tolist()
    return found


def table(each: Sequence[Along]) -> dict[str, list[Any]]:
    """Sums along every axis as one sum over places: for each place of y where its entries begin, and all entries."""
    target, source, weight = np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1)
    for along in each:
        target = (target[:, None] * along.n_out + along.target).reshape(-1)
        source = (source[:, None] * along.n_in + along.source).reshape(-1)
        weight = (weight[:, None] * along.weight).reshape(-1)
    order = np.argsort(target, kind="stable")
    begins = np.searchsorted(target[order], np.arange(prod(along.n_out for along in each) + 1))
    return {"begins": begins.tolist(), "sources": source[order].tolist(), "weights": weight[order].tolist()}


def positions(
    lowering: Lowering, layer: Any, x: Handle, lengths: Lengths, table: dict[str, list[Any]], elsewhere: float = 0.0
) -> Handle:
    """An op that makes each place of y a weighted sum of places of x."""
    value = lowering.values[x.number]._replace(positions=prod(lengths))
    shape = (value.columns, *lengths)
    return lowering.add("Positions", layer, [x], value, shape, is_image=True, elsewhere=float(elsewhere), **table)
