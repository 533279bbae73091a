"""Parallel: no op, only its networks."""

from typing import Any

from ... import layers
from ...structures import Structure, is_several
from .rule import CannotLower, Handle, Lowering, Source, rule


@rule(layers.Parallel)
def _parallel(lowering: Lowering, layer: layers.Parallel, x: Structure) -> Structure:
    keys: Any = layer.names or len(layer.networks)
    if isinstance(x, Source) and x.form is None:
        drawn = list(lowering.drawn)
        try:  # one array for all, if they take the same
            return _outputs(lowering, layer, [x.one()] * len(layer.networks))
        except CannotLower:
            x.form, lowering.drawn = None, drawn
            x = x.parts(keys)
    elif isinstance(x, Source):
        x = x.form
    if not is_several(x):
        return _outputs(lowering, layer, [x] * len(layer.networks))
    return _outputs(lowering, layer, lowering.parts(layer, x, keys))


def _outputs(lowering: Lowering, layer: layers.Parallel, parts: list[Handle]) -> Structure:
    pairs = zip(layer.networks, parts, strict=True)
    ys = [lowering.one(layer, lowering.lower(network, part), any_order=True) for network, part in pairs]
    return tuple(ys) if layer.names is None else dict(zip(layer.names, ys, strict=True))
