"""Normalizations written out in operators that every opset has, and known again, also as exporters write them."""

from math import prod
from typing import Any

import numpy as np

from ... import layers
from ...module import Module, Parameter
from .graph import Node

# -- written


def standardized(writer: Any, layer: Any, x: Any, *, centred: bool) -> str:
    """x̂ along the last axes, in operators that every opset has."""
    axes = list(range(x.ndim - len(layer.normalized_shape), x.ndim))
    d = writer.add("Sub", x.name, _mean(writer, x.name, axes)) if centred else x.name
    var = _mean(writer, writer.add("Mul", d, d), axes)
    eps = float(np.finfo(writer.dtype).eps) if layer.eps is None else layer.eps
    return str(writer.add("Div", d, writer.add("Sqrt", writer.add("Add", var, writer.number(eps)))))


def _mean(writer: Any, x: str, axes: list[int]) -> str:
    if (writer.asked or 0) < 18:
        return str(writer.add("ReduceMean", x, axes=axes))
    named: str = writer.unique("axes")  # which became an input then
    writer.initializers[named] = np.array(axes, np.int64)
    return str(writer.add("ReduceMean", x, named))


def weighed(writer: Any, layer: Any, name: str, x_hat: str, shape: tuple[int, ...]) -> str:
    """weight x̂ + bias, as far as there are any, which stand there in a shape that spreads over x̂."""
    for op, key in (("Mul", "weight"), ("Add", "bias")):
        parameter = getattr(layer, key)
        if parameter is not None and parameter.shape == shape:
            x_hat = writer.add(op, x_hat, writer.parameter(parameter, joined(name, key)))
        elif parameter is not None:
            x_hat = writer.add(op, x_hat, named(writer, name, key, parameter.value.reshape(shape)))
    return x_hat


def named(writer: Any, name: str, key: str, value: np.ndarray) -> str:
    """The name of an initializer that holds what is no Parameter."""
    made: str = writer.unique(joined(name, key))
    writer.initializers[made] = np.asarray(value, writer.dtype)
    return made


def joined(prefix: str, name: str) -> str:
    """The name of what is inside."""
    return f"{prefix}.{name}" if prefix else name


# -- read


def read_written_out(reader: Any, node: Node) -> tuple[Module, str] | None:
    """The layer that ends in this node, and what it reads; None if it is none of these."""
    weight = bias = None
    inner: Node | None = node
    if inner is not None and inner.op == "Add":
        bias, inner = _peeled(reader, inner)
    if inner is not None and inner.op == "Mul":
        weight, inner = _peeled(reader, inner)
    if inner is None or (weight is None and bias is not None):
        return None
    if inner.op == "Div":
        return _over_elements(reader, inner, weight, bias)
    return _in_groups(reader, inner, weight, bias) if inner.op == "Reshape" and weight is not None else None


def _peeled(reader: Any, node: Node) -> tuple[str | None, Node | None]:
    """The constant of a node of two inputs, and the node that the other comes from."""
    constants = [name for name in node.inputs if name in reader.graph.constants]
    others = [reader.graph.producers.get(name) for name in node.inputs if name not in reader.graph.constants]
    return (constants[0], others[0]) if len(constants) == len(others) == 1 else (None, None)


def _over_elements(reader: Any, div: Node, weight: str | None, bias: str | None) -> tuple[Module, str] | None:
    """d / √(mean(d²) + eps), which is RMSNorm, or LayerNorm if d is x without its mean."""
    producers, constants, d = reader.graph.producers, reader.graph.constants, div.inputs[0]
    root = producers.get(div.inputs[1])
    inside = producers.get(root.inputs[0]) if root is not None and root.op == "Sqrt" else None
    eps, mean = _peeled(reader, inside) if inside is not None and inside.op == "Add" else (None, None)
    square = producers.get(mean.inputs[0]) if mean is not None and mean.op == "ReduceMean" else None
    if eps is None or square is None or square.op not in ("Mul", "Pow") or square.inputs[0] != d:
        return None
    exponent = constants.get(square.inputs[1])
    if square.inputs[1] != d if square.op == "Mul" else exponent is None or exponent.size != 1 or exponent.item() != 2:
        return None
    without = producers.get(d)
    taken = producers.get(without.inputs[1]) if without is not None and without.op == "Sub" else None
    centred = taken is not None and taken.op == "ReduceMean" and taken.inputs[0] == without.inputs[0]
    source = without.inputs[0] if centred else d
    rank = reader.graph.rank(source)
    axes = _mean_axes(reader, mean, rank)
    if not axes or (centred and _mean_axes(reader, taken, rank) != axes) or (bias is not None and not centred):
        return None
    shape = tuple(reader.graph.shapes[source][-len(axes) :])
    if weight is not None and not all(isinstance(n, int) for n in shape):
        shape = constants[weight].shape
    if constants[eps].size != 1 or not all(isinstance(n, int) for n in shape) or len(shape) != len(axes):
        return None
    w, b = (None if name is None else _spread_out(reader, name, shape) for name in (weight, bias))
    number = float(str(constants[eps].reshape(())[()]))
    if centred:
        return layers.LayerNorm(shape, number, weight is not None, weight=w, bias=False if b is None else b), source
    eps_of_dtype = float(np.finfo(constants[eps].dtype).eps)
    number_or_none = None if float(constants[eps].reshape(())[()]) == eps_of_dtype else number
    return layers.RMSNorm(shape, number_or_none, weight is not None, weight=w), source


def _mean_axes(reader: Any, node: Any, rank: int | None) -> list[int]:
    """The axes of a ReduceMean that keeps them, if they are the last ones and not that of the batch; else none."""
    told = node.attributes.get("axes")
    if len(node.inputs) > 1:
        constant = reader.graph.constants.get(node.inputs[1])
        told = None if constant is None else constant.ravel().tolist()
    if told is None or rank is None or not node.attributes.get("keepdims", 1):
        return []
    axes = sorted(int(axis) % rank for axis in told)
    return axes if 0 not in axes and axes == list(range(rank - len(axes), rank)) else []


def _spread_out(reader: Any, name: str, shape: tuple[int, ...]) -> Parameter:
    made: Parameter = reader._parameter((name, shape), np.broadcast_to(reader.graph.constants[name], shape), 1.0)
    return made


def _in_groups(reader: Any, back: Node, weight: str, bias: str | None) -> tuple[Module, str] | None:
    """An InstanceNormalization of groups, between two Reshapes, and weights for each channel."""
    graph = reader.graph
    normal = graph.producers.get(back.inputs[0])
    if normal is None or normal.op != "InstanceNormalization":
        return None
    there = graph.producers.get(normal.inputs[0])
    if there is None or there.op != "Reshape":
        return None
    source = there.inputs[0]
    shape, ones, zeros = graph.shapes.get(source, []), graph.constants.get(normal.inputs[1]), normal.inputs[2]
    told, again = (graph.constants.get(n.inputs[1], graph.sizes.get(n.inputs[1])) for n in (there, back))
    if any(one is None for one in (ones, graph.constants.get(zeros), told, again)) or len(shape) < 2:
        return None
    groups = ones.size
    channels = shape[1] if isinstance(shape[1], int) else graph.constants[weight].size
    lengths = shape[1:]
    each = prod(lengths) // groups if all(isinstance(n, int) for n in lengths) else None
    parted = list(told) in ([0, groups, -1], [0, groups, each], [-1, groups, each])
    same = parted and list(again[1:]) == lengths and again[0] in (0, -1, shape[0])
    wide = [graph.constants[name].shape for name in (weight, bias) if name is not None]
    fits = all(w[-(len(shape) - 1) :] == (channels, *(1,) * (len(shape) - 2)) and prod(w) == channels for w in wide)
    if not same or not fits or (ones != 1).any() or graph.constants[zeros].any():
        return None
    rows = [None if name is None else (name, graph.constants[name].ravel()) for name in (weight, bias)]
    w, b = (None if one is None else reader._parameter((one[0], "rows"), one[1], 1.0) for one in rows)
    made = layers.GroupNorm(groups, channels, epsilon(reader, normal), weight=w, bias=False if b is None else b)
    return made, source


def epsilon(reader: Any, node: Node) -> float:
    """The eps of a normalization that is one node."""
    value: float = reader._option(node.attributes.get("epsilon", 1e-5), node.inputs[0])
    return value
