"""The padding layers as ONNX's Pad, and back; the padding_mode of a convolution is written so, too."""

from typing import Any

import numpy as np

from ...layers import padding as layers
from ...module import Module
from .graph import Node

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # ours and ONNX's
PADS = [
    getattr(layers, f"{kind}{axes}d")
    for kind in ("ZeroPad", "ConstantPad", "ReflectionPad", "ReplicationPad", "CircularPad")
    for axes in (1, 2, 3)
]
KINDS = {"reflect": "ReflectionPad", "edge": "ReplicationPad", "wrap": "CircularPad"}  # of ONNX's modes


def add_pad(writer: Any, name: str, x: str, amounts: Any, mode: str, value: float = 0.0) -> str:
    """Add a Pad of the last axes, by (before, after) of each, and return the name of its output."""
    writer.needs(19 if mode == "circular" else 11)  # before 11, the amounts were attributes
    pads = writer.unique(f"{name} pads")
    ends = [(0, 0), (0, 0), *amounts]
    writer.initializers[pads] = np.array([*(before for before, _ in ends), *(after for _, after in ends)], np.int64)
    more = [writer.number(value)] if mode == "constant" else []
    return str(writer.add("Pad", x, pads, *more, mode=MODES[mode]))


def write_pad(writer: Any, layer: Any, name: str, x: Any) -> str:
    """A padding layer."""
    return add_pad(writer, name, x.name, layer._amounts, layer.mode, getattr(layer, "value", 0.0))


def read_pad(reader: Any, node: Node) -> Module:
    """The padding layer that a Pad is."""
    require_floats(reader, node)
    graph, mode = reader.graph, node.attributes.get("mode", "constant")
    value = node.attributes.get("value", 0.0)
    if graph.opset >= 11:
        pads = graph.constants.get(node.inputs[1])
        told = node.inputs[2] if len(node.inputs) > 2 and mode == "constant" else ""
        if pads is None or (told and told not in graph.constants):
            raise reader.error(f"{node} must know how much it adds, but that is computed")
        value = float(graph.constants[told].reshape(())[()]) if told else 0.0
    else:
        pads = np.array(node.attributes["pads"])
    axes = graph.constants.get(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] else None
    rank = graph.rank(node.inputs[0]) or (len(pads) // 2 if axes is None else None)
    if rank not in (3, 4, 5):
        raise reader.error(f"{node} must take series, images or volumes, (batch, channels, …), and gets {rank} axes")
    ends = np.zeros((rank, 2), int)
    ends[slice(None) if axes is None else axes % rank] = pads.reshape(2, -1).T
    if ends[:2].any():
        raise reader.error(f"{node} must leave the batch and the channels as they are, got pads={pads.tolist()}")
    kind = KINDS.get(mode, "ConstantPad" if value else "ZeroPad")
    padding = tuple(ends[:1:-1].ravel().tolist())
    options = {"value": value} if kind == "ConstantPad" else {}
    made: Module = getattr(layers, f"{kind}{rank - 2}d")(padding, **options)
    return made


def require_floats(reader: Any, node: Node) -> None:
    """Refuse a node that takes integers, as these operators may."""
    floats = (getattr(reader.graph.onnx.TensorProto, name) for name in ("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"))
    if reader.graph.types.get(node.inputs[0], 0) not in (0, *floats):
        raise reader.error(f"{node} must take floating-point numbers")
