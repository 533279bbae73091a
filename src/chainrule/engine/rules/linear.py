"""Linear: an op with a weight, and a bias if there is one."""

from ... import layers
from ...structures import Structure
from ..plan import Value
from .rule import CannotLower, Handle, Lowering, name_of, rule


@rule(layers.Linear)
def _linear(lowering: Lowering, layer: layers.Linear, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    lowering.expect(only, (layer.in_features,))
    shape = lowering.shape(layer, only)
    if not shape or shape[-1] != layer.in_features:
        of = f"{shape[0]} numbers" if len(shape) == 1 else f"shape {shape}"
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of {of}")
    parameters = [parameter for parameter in (layer.weight, layer.bias) if parameter is not None]
    expected = ((layer.out_features, layer.in_features), (layer.out_features,))
    for parameter, made in zip(parameters, expected, strict=False):
        if parameter.shape != made:  # set to another one since
            raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) with {parameter!r}")
    only = lowering.rows(layer, only)
    value = Value(layer.out_features, lowering.values[only.number].positions)
    return lowering.add("Linear", layer, [only], value, (*shape[:-1], layer.out_features), parameters)
