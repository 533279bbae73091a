"""Conv, ConvTranspose and Fold as ONNX, and back. Their padding is where the two sides differ most.

ONNX has amounts of its own for both ends of each axis, or works them out itself (auto_pad). Where they are not what a
layer of ours can have, a ZeroPad stands in front of it (or, cutting off, behind the transpose).
"""

from typing import Any

import numpy as np

from ... import layers
from ...layers import padding as padding_layers
from ...layers.convolution.conv import _Conv
from ...layers.convolution.transposed import _ConvTranspose
from ...module import Module
from .graph import Node
from .padding import add_pad

Lengths = tuple[int, ...]
Amounts = list[tuple[int, int]]  # before and after each axis


def write_conv(writer: Any, layer: _Conv, name: str, x: Any) -> str:
    """A Conv, behind a Pad if something else than zeros is added."""
    amounts, value = layer._amounts, x.name
    if layer.padding_mode != "zeros" and any(map(any, amounts)):
        value, amounts = add_pad(writer, name, x.name, amounts, layer.padding_mode), ((0, 0),) * layer.axes
    return _write(writer, "Conv", layer, name, value, list(amounts))


def write_conv_transpose(writer: Any, layer: _ConvTranspose, name: str, x: Any) -> str:
    """A ConvTranspose."""
    return _write(
        writer, "ConvTranspose", layer, name, x.name, list(layer._amounts), output_padding=layer.output_padding
    )


def _write(writer: Any, op: str, layer: Any, name: str, x: str, amounts: Amounts, **more: Lengths) -> str:
    prefix = f"{name}." if name else ""
    inputs = [x, writer.parameter(layer.weight, f"{prefix}weight")]
    if layer.bias is not None:
        inputs.append(writer.parameter(layer.bias, f"{prefix}bias"))
    return str(
        writer.add(
            op,
            *inputs,
            kernel_shape=layer.kernel_size,
            strides=layer.stride,
            pads=[*(before for before, _ in amounts), *(after for _, after in amounts)],
            dilations=layer.dilation,
            group=layer.groups,
            **more,
        )
    )


def write_fold(writer: Any, layer: layers.Fold, name: str, x: Any) -> str:
    """A Col2Im."""
    writer.needs(18)
    sizes = []
    for what, lengths in (("output_size", layer.output_size), ("kernel_size", layer.kernel_size)):
        sizes.append(writer.unique(f"{name} {what}"))
        writer.initializers[sizes[-1]] = np.array(lengths, np.int64)
    pads = [*layer.padding, *layer.padding]
    return str(writer.add("Col2Im", x.name, *sizes, dilations=layer.dilation, pads=pads, strides=layer.stride))


def read_conv(reader: Any, node: Node) -> Module:
    """A Conv, behind a ZeroPad where only that can say what is added."""
    weight, bias = _weights(reader, node)
    axes, groups = len(weight.shape) - 2, node.attributes.get("group", 1)
    kernel, stride, dilation = _geometry(reader, node, weight.shape[2:])
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    told = node.attributes.get("auto_pad", "NOTSET")
    if told in ("SAME_UPPER", "SAME_LOWER"):
        room = [r - 1 if s == 1 else None for r, s in zip(reach, stride, strict=True)]
        if None in room:  # then it depends on the length, for y is to be ⌈length / stride⌉ long
            lengths = _lengths(reader, node)
            room = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(lengths, stride, reach, strict=True)]
        amounts = _shared(told, room)
    else:
        amounts = _amounts(node, axes)
    same = [(r - 1) // 2 for r in reach], [r - 1 - (r - 1) // 2 for r in reach]
    padding: Any = 0
    before = []
    if all(start == end for start, end in amounts):
        padding = tuple(start for start, _ in amounts)
    elif set(stride) == {1} and amounts == list(zip(*same, strict=True)):
        padding = "same"
    else:
        before.append(_zero_pad(amounts))
    channels = weight.shape[1] * groups, weight.shape[0]
    kind = (layers.Conv1d, layers.Conv2d, layers.Conv3d)[axes - 1]
    return _one([*before, kind(*channels, kernel, stride, padding, dilation, groups, bias, weight=weight)])


def read_conv_transpose(reader: Any, node: Node) -> Module:
    """A ConvTranspose, in front of a ZeroPad that cuts off where only that can say what is."""
    weight, bias = _weights(reader, node)
    axes, groups = len(weight.shape) - 2, node.attributes.get("group", 1)
    kernel, stride, dilation = _geometry(reader, node, weight.shape[2:])
    more = tuple(node.attributes.get("output_padding", (0,) * axes))
    told, wanted = node.attributes.get("auto_pad", "NOTSET"), node.attributes.get("output_shape")
    reach = [d * (k - 1) + 1 + m for d, k, m in zip(dilation, kernel, more, strict=True)]
    if wanted is not None:
        whole = [(n - 1) * s + r for n, s, r in zip(_lengths(reader, node), stride, reach, strict=True)]
        amounts = _shared(told, [n - w for n, w in zip(whole, wanted[-axes:], strict=True)])
    elif told in ("SAME_UPPER", "SAME_LOWER"):  # y is to be length · stride long
        amounts = _shared(told, [r - s for r, s in zip(reach, stride, strict=True)])
    else:
        amounts = _amounts(node, axes)
    # What is cut off in front is cut off behind as well, and what is not to be there is put back by output_padding.
    padding = tuple(start for start, _ in amounts)
    longer = tuple(m + start - end for m, (start, end) in zip(more, amounts, strict=True))
    behind = []
    if all(n >= 0 <= m < max(s, d) for n, m, s, d in zip(padding, longer, stride, dilation, strict=True)):
        more = longer
    elif min(min(pair) for pair in amounts) < 0:
        raise reader.error(f"{node} must cut off of what it makes, and not add to it, got pads={amounts}")
    else:
        padding = (0,) * axes
        behind.append(_zero_pad([(-start, -end) for start, end in amounts]))
    channels = weight.shape[0], weight.shape[1] * groups
    kind = (layers.ConvTranspose1d, layers.ConvTranspose2d, layers.ConvTranspose3d)[axes - 1]
    made = kind(*channels, kernel, stride, padding, more, groups, bias, dilation, weight=weight)
    return _one([made, *behind])


def read_fold(reader: Any, node: Node) -> Module:
    """A Fold."""
    size, kernel = (reader.graph.constants.get(name) for name in node.inputs[1:3])
    if size is None or kernel is None or len(size) != 2:
        raise reader.error(f"{node} must make images whose size is known")
    amounts = _amounts(node, 2)
    if any(start != end for start, end in amounts):
        raise reader.error(f"{node} must have the same padding on both sides, got {amounts}")
    dilation, stride = (tuple(node.attributes.get(name, (1, 1))) for name in ("dilations", "strides"))
    return layers.Fold(tuple(size.tolist()), tuple(kernel.tolist()), dilation, tuple(s for s, _ in amounts), stride)


def _weights(reader: Any, node: Node) -> tuple[Any, Any]:
    """The filters and the bias, which may be False."""
    reader._computed(node, 0)
    weight = reader._constant(node, 1)
    if weight.ndim not in (3, 4, 5) or 0 in weight.shape:
        raise reader.error(f"{node} must have filters for one to three axes, got a weight {weight.shape}")
    bias = reader._constant(node, 2) if len(node.inputs) > 2 and node.inputs[2] else None
    names = node.inputs[1], node.inputs[2] if bias is not None else ""
    made = reader._parameter((names[0], "filters"), weight, 1.0)
    return made, False if bias is None else reader._parameter((names[1], "bias"), bias, 1.0)


def _geometry(reader: Any, node: Node, kernel: Lengths) -> tuple[Lengths, Lengths, Lengths]:
    """kernel, stride and dilation of each axis."""
    ones = (1,) * len(kernel)
    if tuple(node.attributes.get("kernel_shape", kernel)) != tuple(kernel):
        raise reader.error(
            f"{node} must have the kernel of its weight, {kernel}, got {node.attributes['kernel_shape']}"
        )
    return kernel, tuple(node.attributes.get("strides", ones)), tuple(node.attributes.get("dilations", ones))


def _amounts(node: Node, axes: int) -> Amounts:
    pads = list(node.attributes.get("pads", ())) or [0] * (2 * axes)
    return list(zip(pads[:axes], pads[axes:], strict=True))


def _shared(told: str, room: list[Any]) -> Amounts:
    """So much on both ends together; of an odd number the larger part is behind for SAME_UPPER, and else in front."""
    halves = [(n // 2, n - n // 2) for n in room]
    return halves if told == "SAME_UPPER" else [(end, start) for start, end in halves]


def _lengths(reader: Any, node: Node) -> Lengths:
    shape = reader.graph.shapes.get(node.inputs[0], ())[2:]
    if not shape or not all(isinstance(length, int) for length in shape):
        raise reader.error(f"{node} works out its padding from the length of what comes, which is not known")
    return tuple(shape)


def _zero_pad(amounts: Amounts) -> Module:
    kind = (padding_layers.ZeroPad1d, padding_layers.ZeroPad2d, padding_layers.ZeroPad3d)[len(amounts) - 1]
    return kind(tuple(end for pair in reversed(amounts) for end in pair))


def _one(made: list[Module]) -> Module:
    return made[0] if len(made) == 1 else layers.Sequential(*made)
