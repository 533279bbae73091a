"""Graph: no op, only its nodes."""

from ... import layers
from ...structures import Structure
from .rule import Lowering, Source, rule


@rule(layers.Graph)
def _graph(lowering: Lowering, network: layers.Graph, x: Structure) -> Structure:
    if isinstance(network.inputs, str):
        values = {network.inputs: x}
    else:
        x = x.parts(network.inputs) if isinstance(x, Source) else x
        values = dict(zip(network.inputs, lowering.parts(network, x, network.inputs), strict=True))
    for name, (module, sources) in network.nodes.items():  # in running order
        if isinstance(sources, str):
            values[name] = lowering.lower(module, values[sources])
        else:
            values[name] = lowering.lower(module, tuple(lowering.one(network, values[source]) for source in sources))
    if isinstance(network.outputs, str):
        return values[network.outputs]
    return {name: lowering.one(network, values[name]) for name in network.outputs}
