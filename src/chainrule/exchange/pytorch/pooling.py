"""Functions of torch and torch.nn.functional that pool, pad, upsample and shuffle, as our layers of the same names.

Each takes the arguments of the call, in the order of the function, which is not always that of the class, and gives a
Module and what that reads.
"""

from collections.abc import Callable
from typing import Any

from ... import layers

Call = Callable[..., Any]

WINDOWS = ("kernel_size", "stride", "padding")
ORDERS = {  # of the arguments behind the tensor
    "max_pool": (*WINDOWS, "dilation", "ceil_mode", "return_indices"),
    "avg_pool": (*WINDOWS, "ceil_mode", "count_include_pad", "divisor_override"),
    "lp_pool": ("norm_type", "kernel_size", "stride", "ceil_mode"),
    "adaptive_max_pool": ("output_size", "return_indices"),
    "adaptive_avg_pool": ("output_size",),
}
KINDS = {
    "max_pool": "MaxPool",
    "avg_pool": "AvgPool",
    "lp_pool": "LPPool",
    "adaptive_max_pool": "AdaptiveMaxPool",
    "adaptive_avg_pool": "AdaptiveAvgPool",
}
PADS = {"constant": "ConstantPad", "reflect": "ReflectionPad", "replicate": "ReplicationPad", "circular": "CircularPad"}


def _pool(name: str, axes: int, **fixed: Any) -> Call:
    kind: Any = getattr(layers, f"{KINDS[name]}{axes}d")

    def call(x: Any, *options: Any, **more: Any) -> Any:
        return kind(**dict(zip(ORDERS[name], options, strict=False)) | more | fixed), x

    return call


def _unpool(axes: int) -> Call:
    kind: Any = getattr(layers, f"MaxUnpool{axes}d")

    def call(x: Any, indices: Any, *window: Any, output_size: Any = None, **more: Any) -> Any:
        if output_size is not None or len(window) > len(WINDOWS):
            raise ValueError("an output_size is what chainrule takes in a call by hand only")
        return kind(*window, **more), (x, indices)

    return call


def _pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    kind = "ZeroPad" if mode == "constant" and not value else PADS[mode]
    return getattr(layers, f"{kind}{len(pad) // 2}d")(tuple(pad), *([value] if kind == "ConstantPad" else [])), x


def _interpolate(x: Any, *options: Any, antialias: bool = False, **more: Any) -> Any:
    if antialias:
        raise ValueError("antialias=True is what Upsample does not have")
    return layers.Upsample(*options, **more), x


FUNCTIONS: dict[str, Call] = {
    **{f"{name}{axes}d": _pool(name, axes) for name in KINDS for axes in (1, 2, 3)},
    **{
        f"{name}{axes}d_with_indices": _pool(name, axes, return_indices=True)
        for name in ("max_pool", "adaptive_max_pool")
        for axes in (1, 2, 3)
    },
    **{f"max_unpool{axes}d": _unpool(axes) for axes in (1, 2, 3)},
    "pad": _pad,
    "interpolate": _interpolate,
    "pixel_shuffle": lambda x, upscale_factor: (layers.PixelShuffle(upscale_factor), x),
    "pixel_unshuffle": lambda x, downscale_factor: (layers.PixelUnshuffle(downscale_factor), x),
    "channel_shuffle": lambda x, groups: (layers.ChannelShuffle(groups), x),
}
SHARING = {"pixel_shuffle", "pixel_unshuffle", "channel_shuffle"}  # what they give may be a view of what they got
