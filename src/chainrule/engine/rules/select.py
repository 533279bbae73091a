"""Select: no op, only one of the values."""

from ... import layers
from ...structures import Structure, is_several
from .rule import CannotLower, Handle, Lowering, Source, name_of, rule


@rule(layers.Select)
def _select(lowering: Lowering, layer: layers.Select, x: Structure) -> Handle:
    x = x.form if isinstance(x, Source) else x
    if x is None:
        raise CannotLower(f"how many arrays {name_of(layer)} gets; sample_shape=… says it")
    there = isinstance(x, dict) if isinstance(layer.key, str) else isinstance(x, tuple)
    if not is_several(x) or not there:
        raise CannotLower(f"{name_of(layer)}({layer.key!r}) on what has no such part")
    try:
        return lowering.one(layer, x[layer.key])
    except LookupError:
        raise CannotLower(f"{name_of(layer)}({layer.key!r}) on what has no such part") from None
