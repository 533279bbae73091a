"""Sequential: no op, only what its layers amount to."""

from ... import layers
from ...structures import Structure
from .rule import Lowering, rule


@rule(layers.Sequential)
def _sequential(lowering: Lowering, network: layers.Sequential, x: Structure) -> Structure:
    for layer in network.chain():
        x = lowering.lower(layer, x)
    return x
