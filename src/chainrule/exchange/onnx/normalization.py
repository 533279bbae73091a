"""The normalizations as ONNX, and back: a node each, whose numbers besides weights are attributes in float32."""

from math import prod
from typing import Any

import numpy as np

from ... import layers
from ...layers.normalization.batch import BatchNorm
from ...layers.normalization.running import Running
from ...module import Module, Parameter
from .graph import Node
from .written_out import epsilon, joined, named, standardized, weighed

BATCH = (layers.BatchNorm1d, layers.BatchNorm2d, layers.BatchNorm3d)
INSTANCE = (layers.InstanceNorm1d, layers.InstanceNorm2d, layers.InstanceNorm3d)

# -- written


def write_running(writer: Any, layer: Running, name: str, x: Any) -> str:
    """A BatchNormalization by the running statistics, or an InstanceNormalization by those of each sample."""
    mean, var = layer.running_mean, layer.running_var
    scale, bias = _scale_and_bias(writer, layer, name, layer.num_features)
    if mean is not None and var is not None:
        momentum = {} if layer.momentum is None else {"momentum": 1 - layer.momentum}
        running = [named(writer, name, key, b.value) for key, b in (("running_mean", mean), ("running_var", var))]
        return str(writer.add("BatchNormalization", x.name, scale, bias, *running, **_eps(writer, layer), **momentum))
    if isinstance(layer, BatchNorm):
        raise ValueError(f"to_onnx: {writer.place} has no running statistics to go by in predictions")
    return str(writer.add("InstanceNormalization", x.name, scale, bias, **_eps(writer, layer)))


def write_layer_norm(writer: Any, layer: layers.LayerNorm, name: str, x: Any) -> str:
    """A LayerNormalization, if that is asked for, and else what it is made of, which keeps its eps in float64 too."""
    axis = -len(layer.normalized_shape)
    if (writer.asked or 0) < 17 or writer.dtype == np.float64:
        x_hat = standardized(writer, layer, x, centred=True)
        return weighed(writer, layer, name, x_hat, layer.normalized_shape)
    inputs = [_scale(writer, layer, name, layer.normalized_shape)]
    inputs += [] if layer.bias is None else [writer.parameter(layer.bias, joined(name, "bias"))]
    return str(writer.add("LayerNormalization", x.name, *inputs, axis=axis, **_eps(writer, layer)))


def write_rms_norm(writer: Any, layer: layers.RMSNorm, name: str, x: Any) -> str:
    """An RMSNormalization, if that is asked for, and else what it is made of."""
    axis = -len(layer.normalized_shape)
    if (writer.asked or 0) < 23 or writer.dtype == np.float64:
        x_hat = standardized(writer, layer, x, centred=False)
        return weighed(writer, layer, name, x_hat, layer.normalized_shape)
    scale = _scale(writer, layer, name, layer.normalized_shape)
    return str(writer.add("RMSNormalization", x.name, scale, axis=axis, **_eps(writer, layer)))


def write_group_norm(writer: Any, layer: layers.GroupNorm, name: str, x: Any) -> str:
    """A GroupNormalization, if that is asked for in an opset in which each channel has its weight.

    Else an InstanceNormalization between two Reshapes, for which a group is one channel, and weights behind it.
    """
    if (writer.asked or 0) < 21 or writer.dtype == np.float64:
        shape, groups = x.x.shape[1:], layer.num_groups
        ones, zeros = (named(writer, name, key, np.full(groups, n)) for key, n in (("ones", 1), ("zeros", 0)))
        grouped = writer.add("Reshape", x.name, writer.shape(name, (groups, prod(shape) // groups)))
        normal = writer.add("InstanceNormalization", grouped, ones, zeros, **_eps(writer, layer))
        x_hat = writer.add("Reshape", normal, writer.shape(name, shape))
        return weighed(writer, layer, name, x_hat, (layer.num_channels, *(1,) * (len(shape) - 1)))
    scale, bias = _scale_and_bias(writer, layer, name, layer.num_channels)
    how = {"num_groups": layer.num_groups, **_eps(writer, layer)}
    return str(writer.add("GroupNormalization", x.name, scale, bias, **how))


def write_local_response(writer: Any, layer: layers.LocalResponseNorm, name: str, x: Any) -> str:
    """An LRN, whose windows lie as ours where they reach as far to both sides; of images, as evaluators ask for."""
    if layer.size % 2 == 0:
        raise ValueError(
            f"to_onnx: {writer.place} must have an odd size, as windows of {layer.size} lie otherwise in ONNX"
        )
    numbers = {"alpha": layer.alpha, "beta": layer.beta, "bias": layer.k}
    for key, value in numbers.items():
        _require_exact(writer, key, value)
    shape = x.x.shape[1:]
    if len(shape) == 3:
        return str(writer.add("LRN", x.name, size=layer.size, **numbers))
    image = writer.add("Reshape", x.name, writer.shape(name, (shape[0], prod(shape[1:]), 1)))
    y = writer.add("LRN", image, size=layer.size, **numbers)
    return str(writer.add("Reshape", y, writer.shape(name, shape)))


def _eps(writer: Any, layer: Any) -> dict[str, float]:
    eps = float(np.finfo(writer.dtype).eps) if layer.eps is None else layer.eps
    _require_exact(writer, "eps", eps)
    return {"epsilon": eps}


def _require_exact(writer: Any, key: str, value: float) -> None:
    if not writer.fits_attribute(value):
        raise ValueError(
            f"to_onnx: {writer.place} has {key}={value:g}, which ONNX keeps in float32 only, and the model computes in "
            f"{writer.dtype}; model.float() makes it one in float32"
        )


def _scale_and_bias(writer: Any, layer: Any, name: str, shape: Any) -> tuple[str, str]:
    scale = _scale(writer, layer, name, shape)
    if layer.bias is not None:
        return scale, writer.parameter(layer.bias, joined(name, "bias"))
    return scale, named(writer, name, "bias", np.zeros(shape, writer.dtype))


def _scale(writer: Any, layer: Any, name: str, shape: Any) -> str:
    if layer.weight is not None:
        return str(writer.parameter(layer.weight, joined(name, "weight")))
    return named(writer, name, "weight", np.ones(shape, writer.dtype))


# -- read


def read_batch_norm(reader: Any, node: Node) -> Module:
    """A BatchNorm, by how many axes there are."""
    if node.attributes.get("training_mode", 0) or not node.attributes.get("spatial", 1):
        raise reader.error(
            f"{node} must normalize channels by the statistics that it holds, as this is for predictions"
        )
    weight, bias = _channels(reader, node, 1), _channels(reader, node, 2)
    mean, var = (reader._constant(node, place) for place in (3, 4))
    if not mean.shape == var.shape == weight.shape:
        raise reader.error(f"{node} must have statistics {weight.shape} like its scale, got {mean.shape}, {var.shape}")
    kind = BATCH[max(_lengths(reader, node, least=0), 1) - 1]
    momentum = round(1 - float(str(np.float32(node.attributes.get("momentum", 0.9)))), 7)  # as exact as a float32
    made = kind(weight.shape[0], epsilon(reader, node), momentum, weight=weight, bias=bias)
    made.running_mean.value, made.running_var.value = mean.copy(), var.copy()
    return made


def read_instance_norm(reader: Any, node: Node) -> Module:
    """An InstanceNorm, by how many axes there are."""
    weight, bias = _channels(reader, node, 1), _channels(reader, node, 2)
    kind = INSTANCE[_lengths(reader, node, least=1) - 1]
    return kind(weight.shape[0], epsilon(reader, node), affine=True, weight=weight, bias=bias)


def read_group_norm(reader: Any, node: Node) -> Module:
    """A GroupNorm."""
    weight, bias = _channels(reader, node, 1), _channels(reader, node, 2)
    groups = node.attributes["num_groups"]
    return layers.GroupNorm(groups, weight.shape[0], epsilon(reader, node), weight=weight, bias=bias)


def read_layer_norm(reader: Any, node: Node) -> Module:
    """A LayerNorm over the axes from `axis` on."""
    shape = _normalized(reader, node)
    weight = _elements(reader, node, 1, shape)
    bias = _elements(reader, node, 2, shape) if len(node.inputs) > 2 and node.inputs[2] else False
    return layers.LayerNorm(shape, epsilon(reader, node), weight=weight, bias=bias)


def read_rms_norm(reader: Any, node: Node) -> Module:
    """An RMSNorm over the axes from `axis` on."""
    shape, eps = _normalized(reader, node), epsilon(reader, node)
    weight = _elements(reader, node, 1, shape)
    return layers.RMSNorm(shape, None if eps == np.finfo(weight.value.dtype).eps else eps, weight=weight)


def read_local_response(reader: Any, node: Node) -> Module:
    """A LocalResponseNorm."""
    size, told = node.attributes["size"], {**reader._defaults("LRN"), **node.attributes}
    if size % 2 == 0:
        raise reader.error(f"{node} must have an odd size, as windows of {size} lie otherwise than chainrule's")
    alpha, beta, k = (reader._option(told[key], node.inputs[0]) for key in ("alpha", "beta", "bias"))
    return layers.LocalResponseNorm(size, alpha, beta, k)


def _channels(reader: Any, node: Node, place: int) -> Parameter:
    """A number for each channel, or each group of them."""
    value = reader._constant(node, place)
    if value.ndim != 1:
        raise reader.error(f"{node} must have a number for each channel, got {value.shape}")
    made: Parameter = reader._parameter((node.inputs[place], "channels"), value, 1.0)
    return made


def _elements(reader: Any, node: Node, place: int, shape: tuple[int, ...]) -> Parameter:
    """A number for each element, where the node may have one for several."""
    value = np.broadcast_to(reader._constant(node, place), shape)
    made: Parameter = reader._parameter((node.inputs[place], shape), value, 1.0)
    return made


def _lengths(reader: Any, node: Node, *, least: int) -> int:
    """How many axes x has behind its channels."""
    rank = reader.graph.rank(reader._computed(node, 0))
    if rank is None or not least <= rank - 2 <= 3:
        raise reader.error(f"{node} must take (batch, channels, …) with {least} to 3 axes behind, and gets {rank} axes")
    return int(rank - 2)


def _normalized(reader: Any, node: Node) -> tuple[int, ...]:
    """The lengths of the axes that are normalized over: of x where they are known, and else those of the scale."""
    value = reader._computed(node, 0)
    axis, rank = node.attributes.get("axis", -1), reader.graph.rank(value)
    if rank is None and axis >= 0:
        raise reader.error(f"{node} normalizes from axis {axis} on, of which there are nobody knows how many")
    n = -axis if axis < 0 else rank - axis
    if rank is not None and n >= rank:
        raise reader.error(f"{node} must not normalize over the batch axis, got axis={axis}")
    shape = [None] * n if rank is None else reader.graph.shapes[value][rank - n :]
    scale = reader._constant(node, 1).shape
    scale = (1,) * (n - len(scale)) + scale
    return tuple(known if isinstance(known, int) else told for known, told in zip(shape, scale, strict=True))
