"""Pooling, Upsample and the shuffles as ONNX, and back.

ONNX has amounts of padding for both ends of each axis. So ceil_mode is written as padding at the end alone, which every
opset and every program understands alike; and read, where a layer of ours has no such padding, a Pad stands in front.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import layers
from ...layers.padding import padded
from ...layers.pooling.window import Window, window
from ...layers.windows import out_length
from ...module import Module
from .convolution import _amounts, _lengths, _one, _shared
from .graph import Node
from .padding import add_pad, require_floats

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}  # what PyTorch calls the mode for so many axes


def _kinds(name: str) -> list[type[Module]]:
    return [getattr(layers, f"{name}{axes}d") for axes in (1, 2, 3)]


# -- written


def write_max_pool(writer: Any, layer: Any, name: str, x: Any) -> str:
    """A MaxPool."""
    over = window(layer, x.x, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)
    if set(over.dilation) == {1}:
        return _pool(writer, "MaxPool", x.name, over)
    writer.needs(10)
    value, amounts = x.name, tuple(zip(over.padding, _ends(over), strict=True))
    if any(max(pair) >= k for pair, k in zip(amounts, over.kernel, strict=True)):  # which onnxruntime refuses
        value = add_pad(writer, name, x.name, amounts, "constant", -math.inf)
        over = window(layer, padded(x.x, amounts, "constant"), over.kernel, over.stride, 0, over.dilation)
    return _pool(writer, "MaxPool", value, over, dilations=over.dilation)


def write_avg_pool(writer: Any, layer: Any, name: str, x: Any) -> str:
    """An AveragePool; behind a Pad, if zeros count and there are others at the end that do not."""
    over = window(layer, x.x, layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
    if layer.divisor_override is not None:
        raise ValueError(f"to_onnx: there is no ONNX for {writer.place} with a divisor_override")
    value, hangs = x.name, any(end > p for end, p in zip(_ends(over), over.padding, strict=True))
    if layer.count_include_pad and hangs and any(over.padding):
        amounts = tuple((p, p) for p in over.padding)
        value = add_pad(writer, name, x.name, amounts, "constant")
        over = window(layer, padded(x.x, amounts, "constant"), over.kernel, over.stride, ceil_mode=True)
    return _pool(writer, "AveragePool", value, over, count_include_pad=int(layer.count_include_pad and not hangs))


def write_lp_pool(writer: Any, layer: Any, name: str, x: Any) -> str:
    """An LpPool, whose norm is of absolute values."""
    p = layer.norm_type
    stride = layer.kernel_size if layer.stride is None else layer.stride
    over = window(layer, x.x, layer.kernel_size, stride, ceil_mode=layer.ceil_mode)
    if p % 2 != 0 or p < 0:
        raise ValueError(f"to_onnx: there is no ONNX for {writer.place} with norm_type={p}, which must be even")
    if any(_ends(over)):
        raise ValueError(f"to_onnx: there is no ONNX for {writer.place} with a window that hangs over the end")
    writer.needs(11)
    return _pool(writer, "LpPool", x.name, over, p=int(p))


def write_adaptive_pool(writer: Any, layer: Any, name: str, x: Any) -> str:
    """A pool of all there is, or of windows of one length."""
    op = "AveragePool" if type(layer) in _kinds("AdaptiveAvgPool") else "MaxPool"
    lengths, out = x.x.shape[2:], layer._out(x.x)
    if set(out) == {1}:
        return str(writer.add(f"Global{op}", x.name))
    if any(n % o for n, o in zip(lengths, out, strict=True)):
        raise ValueError(f"to_onnx: there is no ONNX for {writer.place} of {lengths}, which {out} do not divide")
    kernel = tuple(n // o for n, o in zip(lengths, out, strict=True))
    return _pool(writer, op, x.name, window(layer, x.x, kernel, kernel))


def _pool(writer: Any, op: str, x: str, over: Window, **more: Any) -> str:
    pads = [*over.padding, *_ends(over)]
    return str(writer.add(op, x, kernel_shape=over.kernel, strides=over.stride, pads=pads, **more))


def _ends(over: Window) -> list[int]:
    """How much there is behind the end of each axis, with the window that may hang over it."""
    each = zip(over.lengths, over.kernel, over.stride, over.padding, over.dilation, over.out, strict=True)
    return [max(p, (out - 1) * s + d * (k - 1) + 1 - n - p) for n, k, s, p, d, out in each]


def write_upsample(writer: Any, layer: layers.Upsample, name: str, x: Any) -> str:
    """A Resize: by scales where they say it exactly, or else by sizes."""
    lengths = x.x.shape[2:]
    out = layer.out(lengths)
    scales = [o / n for n, o in zip(lengths, out, strict=True)]
    if layer.scale_factor is not None and not layer.recompute_scale_factor and not layer.align_corners:
        each = layer.scale_factor
        told = each if isinstance(each, tuple) else (each,) * len(lengths)
        copied = [n == o and not layer.mode.startswith("nearest") for n, o in zip(lengths, out, strict=True)]
        scales = [1.0 if same and layer.mode != "bicubic" else s for same, s in zip(copied, told, strict=True)]
    # Programs find the lengths from a scale in float32, in more digits or fewer.
    rounded = [(n * np.float32(s), n * float(np.float32(s))) for n, s in zip(lengths, scales, strict=True)]
    exact = all(int(one) == int(other) == o for (one, other), o in zip(rounded, out, strict=True))
    exact = exact and all(float(str(np.float32(s))) == s for s in scales)
    modes = {"nearest": "nearest", "nearest-exact": "nearest", "bicubic": "cubic"}
    told_modes = {"coordinate_transformation_mode": "align_corners" if layer.align_corners else "half_pixel"}
    if layer.mode.startswith("nearest"):
        told_modes["nearest_mode"] = "round_prefer_ceil"
        if layer.mode == "nearest":
            told_modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    attributes: dict[str, Any] = {"mode": modes.get(layer.mode, "linear"), **told_modes}
    place = writer.unique(f"{name} sizes" if not exact else f"{name} scales")
    if exact:
        writer.needs(11)
        writer.initializers[place] = np.array([1.0, 1.0, *scales], np.float32)
        roi = writer.unique(f"{name} roi")  # of nothing, but before opset 13 it had to be there
        writer.initializers[roi] = np.zeros(0, np.float32)
        return str(writer.add("Resize", x.name, roi, place, **attributes))
    if scales != [o / n for n, o in zip(lengths, out, strict=True)]:
        raise ValueError(f"to_onnx: there is no ONNX for {writer.place} with a scale_factor that float32 does not hold")
    writer.needs(18)  # before, there had to be sizes of the batch too
    writer.initializers[place] = np.array(out, np.int64)
    return str(writer.add("Resize", x.name, "", "", place, axes=list(range(2, x.ndim)), **attributes))


def write_pixel_shuffle(writer: Any, layer: layers.PixelShuffle, name: str, x: Any) -> str:
    """A DepthToSpace."""
    writer.needs(11)  # before, channels came in another order
    return str(writer.add("DepthToSpace", x.name, blocksize=layer.upscale_factor, mode="CRD"))


def write_pixel_unshuffle(writer: Any, layer: layers.PixelUnshuffle, name: str, x: Any) -> str:
    """Its axes apart, in another order; SpaceToDepth's is not PyTorch's."""
    r, (_, channels, height, width) = layer.downscale_factor, x.x.shape
    apart, order = (channels, height // r, r, width // r, r), [0, 1, 3, 5, 2, 4]
    return _in_order(writer, name, x.name, apart, order, (channels * r * r, height // r, width // r))


def write_channel_shuffle(writer: Any, layer: layers.ChannelShuffle, name: str, x: Any) -> str:
    """The channels of groups, in another order."""
    _, channels, *lengths = x.x.shape
    apart = (layer.groups, channels // layer.groups, *lengths)
    return _in_order(writer, name, x.name, apart, [0, 2, 1, *range(3, 3 + len(lengths))], (channels, *lengths))


def _in_order(writer: Any, name: str, x: str, apart: Any, order: list[int], together: Any) -> str:
    value = writer.add("Reshape", x, writer.shape(name, apart))
    return str(writer.add("Reshape", writer.add("Transpose", value, perm=order), writer.shape(name, together)))


RULES: dict[type[Module], Any] = {
    **dict.fromkeys(_kinds("MaxPool"), write_max_pool),
    **dict.fromkeys(_kinds("AvgPool"), write_avg_pool),
    **dict.fromkeys(_kinds("LPPool"), write_lp_pool),
    **dict.fromkeys([*_kinds("AdaptiveAvgPool"), *_kinds("AdaptiveMaxPool")], write_adaptive_pool),
    **dict.fromkeys([layers.Upsample, layers.UpsamplingNearest2d, layers.UpsamplingBilinear2d], write_upsample),
    layers.PixelShuffle: write_pixel_shuffle,
    layers.PixelUnshuffle: write_pixel_unshuffle,
    layers.ChannelShuffle: write_channel_shuffle,
}

# -- read


def read_max_pool(reader: Any, node: Node) -> Module:
    """A MaxPool, behind padding with -∞ where only that can say what lies around x."""
    at = _Geometry(reader, node)
    kind, around = _of("MaxPool", at.axes), _of("ConstantPad", at.axes)
    if (fitting := at.padding(over_the_end=True)) is not None:
        padding, ceil_mode = fitting
        return kind(*map(_short, (at.kernel, at.stride, padding, at.dilation)), ceil_mode=ceil_mode)
    inside = kind(*map(_short, (at.kernel, at.stride, (0,), at.dilation)), ceil_mode=at.ceil_mode)
    return _one([around(at.ends(), -math.inf), inside])


def read_avg_pool(reader: Any, node: Node) -> Module:
    """An AvgPool, behind a ZeroPad where only that can say which zeros count."""
    at, counts = _Geometry(reader, node), bool(node.attributes.get("count_include_pad", 0))
    kind = _of("AvgPool", at.axes)
    if set(at.dilation) != {1}:
        raise reader.error(f"{node} must have no dilations, got {at.dilation}")
    if (fitting := at.padding(over_the_end=not counts)) is not None:
        padding, ceil_mode = fitting
        return kind(*map(_short, (at.kernel, at.stride, padding)), ceil_mode, counts)
    if not counts:
        raise reader.error(f"{node} must count its padding or have as much on both sides, got {at.amounts}")
    return _one([_of("ZeroPad", at.axes)(at.ends()), kind(_short(at.kernel), _short(at.stride), 0, at.ceil_mode)])


def read_lp_pool(reader: Any, node: Node) -> Module:
    """An LPPool, behind a ZeroPad if there is padding, which adds nothing."""
    at, p = _Geometry(reader, node), node.attributes.get("p", 2)
    if p % 2 or set(at.dilation) != {1} or at.ceil_mode:
        raise reader.error(f"{node} must have an even p, no dilations and ceil_mode=0, got {node.attributes}")
    around = [_of("ZeroPad", at.axes)(at.ends())] if any(map(any, at.amounts)) else []
    stride = None if at.stride == at.kernel else _short(at.stride)
    return _one([*around, _of("LPPool", at.axes)(p, _short(at.kernel), stride)])


def read_global_pool(reader: Any, node: Node) -> Module:
    """The mean, or the largest number, of all there is."""
    name = "AdaptiveAvgPool" if node.op == "GlobalAveragePool" else "AdaptiveMaxPool"
    return _of(name, _rank(reader, node) - 2)(1)


class _Geometry:
    """How a pool's window goes over x."""

    def __init__(self, reader: Any, node: Node) -> None:
        self.error, told = reader.error, node.attributes
        self.kernel = tuple(told["kernel_shape"])
        self.axes = len(self.kernel)
        self.stride, self.dilation = (tuple(told.get(name, (1,) * self.axes)) for name in ("strides", "dilations"))
        self.ceil_mode = bool(told.get("ceil_mode", 0))
        self.reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        shape = reader.graph.shapes.get(node.inputs[0], [])
        if len(shape) not in (0, self.axes + 2) or self.axes > 3:
            raise reader.error(f"{node} must go over one to three axes, (batch, channels, …), and gets {shape}")
        known = bool(shape) and all(isinstance(length, int) for length in shape[2:])
        self.lengths = tuple(shape[2:]) if known else None
        auto = told.get("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):  # y is to be ⌈length / stride⌉ long
            each = zip(_lengths(reader, node), self.stride, self.reach, strict=True)
            self.amounts = _shared(auto, [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in each])
        else:
            self.amounts = [(0, 0)] * self.axes if auto == "VALID" else _amounts(node, self.axes)
        require_floats(reader, node)

    def ends(self) -> tuple[int, ...]:
        """The amounts as our padding layers take them."""
        return tuple(end for pair in reversed(self.amounts) for end in pair)

    def padding(self, *, over_the_end: bool) -> tuple[tuple[int, ...], bool] | None:
        """The padding and ceil_mode of ours with which the window stands at the same places, if there are such.

        over_the_end : whether what is at the end may be no padding, but be where a last window hangs over.
        """
        starts = tuple(start for start, _ in self.amounts)
        if any(2 * start > reach for start, reach in zip(starts, self.reach, strict=True)):
            return None
        if all(start == end for start, end in self.amounts):
            return starts, self.ceil_mode
        if not over_the_end or self.lengths is None or self.ceil_mode:
            return None
        each = list(zip(self.lengths, self.kernel, self.stride, starts, self.dilation, strict=True))
        hanging = [out_length(*one, ceil_mode=True) for one in each]
        rooms = [n + sum(pair) - r for n, pair, r in zip(self.lengths, self.amounts, self.reach, strict=True)]
        same = hanging == [room // s + 1 for room, s in zip(rooms, self.stride, strict=True)]
        return (starts, True) if same else None


def read_resize(reader: Any, node: Node) -> Module:
    """An Upsample, if a Resize (or the Upsample that ONNX once had) is one."""
    require_floats(reader, node)
    rank, told = _rank(reader, node), dict(node.attributes)
    names = [*node.inputs, "", "", ""]
    if node.op == "Upsample" or reader.graph.opset < 11:  # the attributes that it would have today
        told |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        names = ["", "", names[1], ""]
    scales, sizes = reader.graph.constants.get(names[2], told.get("scales")), _sizes(reader, names[3])
    given = scales if sizes is None else sizes
    places = [axis % rank for axis in told.get("axes", range(rank))]
    if given is None or len(given) != len(places):
        raise reader.error(f"{node} must be told scales or sizes of its axes that are known")
    shape = reader.graph.shapes[node.inputs[0]]
    whole = dict(zip(places, given, strict=True))
    if any(whole.get(axis, stay) != stay for axis, stay in ((0, 1), (1, 1)) if sizes is None) or (
        sizes is not None and any(whole.get(axis, shape[axis]) != shape[axis] for axis in (0, 1))
    ):
        raise reader.error(f"{node} must leave the batch and the channels as they are")
    each = [whole.get(axis, 1 if sizes is None else shape[axis]) for axis in range(2, rank)]
    if sizes is None:
        each = [float(str(np.float32(scale))) for scale in each]
    elif not all(isinstance(length, int) for length in each):
        raise reader.error(f"{node} must make something of a size that is known, got {each}")
    known = all(isinstance(length, int) for length in shape[2:])
    option = {"scale_factor" if sizes is None else "size": _short(tuple(each))}
    for mode, align_corners in _modes(told, rank - 2):
        made = layers.Upsample(**option, mode=mode, align_corners=align_corners)
        if _means(told, made, tuple(shape[2:]) if known else None):
            return made
    raise reader.error(f"{node} must be one of Upsample's modes, got {told}")


def _sizes(reader: Any, name: str) -> Any:
    """The sizes that a Resize is told, as whole numbers or free axes; None for none, or such as are computed."""
    found = reader.graph.constants.get(name, reader.graph.sizes.get(name))
    return None if found is None else [n if not isinstance(n, np.integer) else int(n) for n in found.tolist()]


def _modes(told: dict[str, Any], axes: int) -> list[tuple[str, bool | None]]:
    """The modes of Upsample that a Resize may be, and whether they align corners."""
    usual = {"antialias": 0, "exclude_outside": 0, "keep_aspect_ratio_policy": "stretch", "cubic_coeff_a": -0.75}
    if any(told.get(name, value) != value for name, value in usual.items()):
        return []
    mode, aligned = told.get("mode", "nearest"), told.get("coordinate_transformation_mode") == "align_corners"
    if mode == "nearest":
        return [("nearest", None), ("nearest-exact", None)]
    return [(LINEAR[axes], aligned or None)] if mode == "linear" else [("bicubic", aligned or None)] * (axes == 2)


def _means(told: dict[str, Any], layer: layers.Upsample, lengths: tuple[int, ...] | None) -> bool:
    """Whether the pixels of a Resize lie where the layer takes them, for images of these lengths, or of any."""
    where = told.get("coordinate_transformation_mode", "half_pixel")
    rounds = told.get("nearest_mode", "round_prefer_floor")
    if not layer.mode.startswith("nearest"):
        return _between(where, layer, lengths)
    always = {"nearest": ("asymmetric", "floor"), "nearest-exact": ("half_pixel", "round_prefer_ceil")}
    if always[layer.mode] == (where, rounds):
        return True
    if lengths is None:
        return False
    out, found = layer.out(lengths), [index[:, 0] for index, _ in layer.taps(lengths, np.float32)]
    scales = _each(layer.scale_factor, len(lengths))
    theirs = [_nearest(n, o, s or o / n, where, rounds) for n, o, s in zip(lengths, out, scales, strict=True)]
    return all(one is not None and np.array_equal(one, other) for one, other in zip(theirs, found, strict=True))


def _between(where: str, layer: layers.Upsample, lengths: tuple[int, ...] | None) -> bool:
    """The same of modes that take several pixels."""
    if where not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return False
    if where == "pytorch_half_pixel":  # which has a rule of its own for a single pixel
        out = layer.out(lengths) if lengths is not None else _each(layer.size, 1)
        if None in out or min(out) < 2:
            return False
    if layer.size is not None:
        return True
    # A scale that makes no whole lengths is no scale of the corners; and where it leaves a length, the layer copies.
    scales = _each(layer.scale_factor, 1 if lengths is None else len(lengths))
    if lengths is None:
        return all(scale == int(scale) for scale in scales)
    each = list(zip(lengths, scales, layer.out(lengths), strict=True))
    if where == "align_corners":
        return all(abs(n * scale - o) < 1e-6 * o for n, scale, o in each)
    return layer.mode == "bicubic" or not any(n == o and scale != 1 for n, scale, o in each)


def _each(value: Any, axes: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,) * axes


def _nearest(n: int, out: int, scale: float, where: str, rounds: str) -> np.ndarray | None:
    """Which of n pixels each of `out` is by ONNX's rules; None for rules that are left out here."""
    o = np.arange(out)
    place = {
        "half_pixel": (o + 0.5) / scale - 0.5,
        "asymmetric": o / scale,
        "align_corners": o * ((n - 1) / max(out - 1, 1)),
    }.get(where)
    if place is None:
        return None
    up, down = np.floor(place + 0.5), np.ceil(place - 0.5)
    whole = {"round_prefer_ceil": up, "round_prefer_floor": down, "floor": np.floor(place), "ceil": np.ceil(place)}
    index: np.ndarray = np.clip(whole[rounds], 0, n - 1)
    return index


def read_depth_to_space(reader: Any, node: Node) -> Module:
    """A PixelShuffle, with the channels dealt out in front where they come in ONNX's older order."""
    r = node.attributes["blocksize"]
    dealt = [] if node.attributes.get("mode", "DCR") == "CRD" else [layers.ChannelShuffle(r * r)]
    return _one([*dealt, layers.PixelShuffle(r)])


def read_space_to_depth(reader: Any, node: Node) -> Module:
    """A PixelUnshuffle, and the channels dealt out in ONNX's order."""
    if node.attributes.get("mode", "DCR") == "CRD":
        return layers.PixelUnshuffle(node.attributes["blocksize"])
    channels = reader.graph.shapes.get(node.inputs[0], [0, None])[1]
    if not isinstance(channels, int):
        raise reader.error(f"{node} must take images with a known number of channels")
    dealt = [layers.ChannelShuffle(channels)] if channels > 1 else []
    return _one([layers.PixelUnshuffle(node.attributes["blocksize"]), *dealt])


def _of(name: str, axes: int) -> Callable[..., Module]:
    kind: type[Module] = getattr(layers, f"{name}{axes}d")
    return kind


def _short(values: tuple[Any, ...]) -> Any:
    """One number where it is the same for each axis."""
    return values[0] if len(set(values)) == 1 else values


def _rank(reader: Any, node: Node) -> int:
    rank = reader.graph.rank(node.inputs[0])
    if rank not in (3, 4, 5):
        raise reader.error(f"{node} must take series, images or volumes, (batch, channels, …), and gets {rank} axes")
    return int(rank)


READERS = {
    "MaxPool": read_max_pool,
    "AveragePool": read_avg_pool,
    "LpPool": read_lp_pool,
    "GlobalAveragePool": read_global_pool,
    "GlobalMaxPool": read_global_pool,
    "Resize": read_resize,
    "Upsample": read_resize,
    "DepthToSpace": read_depth_to_space,
    "SpaceToDepth": read_space_to_depth,
}
