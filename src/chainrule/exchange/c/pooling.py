"""Pools in C: of each window the largest number, or the mean."""

from math import prod
from typing import Any

import numpy as np

from ... import layers
from ...engine.plan import Op
from ...engine.rules.rule import CannotLower, Handle, Lowering, Rule, name_of
from ...layers.pooling.window import window
from ...structures import Structure
from .body import Body, Place
from .kind import UNIT, Bounded
from .spatial import Lengths, Spatial, add, as_images, as_row, image, probe, rows_and_columns

MAX = """\
/* The largest number that each window sees; NaN is larger than any. */
static void max_pool(const float *x, int channels, int height, int width, float *y, int out_height, int out_width,
                     int kernel_height, int kernel_width, int stride_y, int stride_x, int padding_y, int padding_x,
                     int dilation_y, int dilation_x)
{
    int c, i, j, k, l;
    for (c = 0; c < channels; c++, x += height * width)
        for (i = 0; i < out_height; i++)
            for (j = 0; j < out_width; j++, y++) {
                int seen = 0;
                for (k = 0; k < kernel_height; k++)
                    for (l = 0; l < kernel_width; l++) {
                        const int row = i * stride_y + k * dilation_y - padding_y;
                        const int column = j * stride_x + l * dilation_x - padding_x;
                        if (row >= 0 && row < height && column >= 0 && column < width) {
                            const float one = x[row * width + column];
                            *y = !seen || one > *y || one != one ? one : *y;
                            seen = 1;
                        }
                    }
            }
}
"""

AVERAGE = """\
/* The sum of what each window sees, by how many places it has: on x, or with its padding; or by `divisor`, if that is
 * not 0. */
static void avg_pool(const float *x, int channels, int height, int width, float *y, int out_height, int out_width,
                     int kernel_height, int kernel_width, int stride_y, int stride_x, int padding_y, int padding_x,
                     int with_padding, int divisor)
{
    int c, i, j, k, l;
    for (c = 0; c < channels; c++, x += height * width)
        for (i = 0; i < out_height; i++)
            for (j = 0; j < out_width; j++, y++) {
                const int above = i * stride_y - padding_y, before = j * stride_x - padding_x;
                int n = 0, all = 0;
                float sum = 0.0f;
                for (k = above; k < above + kernel_height && k < height + padding_y; k++)
                    for (l = before; l < before + kernel_width && l < width + padding_x; l++, all++)
                        if (k >= 0 && k < height && l >= 0 && l < width) {
                            sum += x[k * width + l];
                            n++;
                        }
                *y = sum / (float)(divisor ? divisor : with_padding ? all : n);
            }
}
"""


def _adaptive_pool(name: str, what: str, begin: str, step: str, end: str) -> str:
    blank = " " * len(f"static void {name}(")
    return f"""\
/* {what} of each of so many windows that cover x: the first begins where x does, and the last ends there. */
static void {name}(const float *x, int channels, int height, int width, float *y, int out_height,
{blank}int out_width)
{{
    int c, i, j, k, l;
    for (c = 0; c < channels; c++, x += height * width)
        for (i = 0; i < out_height; i++)
            for (j = 0; j < out_width; j++) {{
                const int top = i * height / out_height, bottom = ((i + 1) * height + out_height - 1) / out_height;
                const int left = j * width / out_width, right = ((j + 1) * width + out_width - 1) / out_width;
                {begin}
                for (k = top; k < bottom; k++)
                    for (l = left; l < right; l++)
                        {step}
                {end}
            }}
}}
"""


ADAPTIVE_AVERAGE = _adaptive_pool(
    "adaptive_avg_pool",
    "The mean",
    "float sum = 0.0f;",
    "sum += x[k * width + l];",
    "*y++ = sum / (float)((bottom - top) * (right - left));",
)
ADAPTIVE_MAX = _adaptive_pool(
    "adaptive_max_pool",
    "The largest number (NaN is larger than any)",
    "float most = x[top * width + left];",
    "most = x[k * width + l] > most || x[k * width + l] != x[k * width + l] ? x[k * width + l] : most;",
    "*y++ = most;",
)


class Pool(Spatial):
    """A function of windows, whose sizes follow those of x and y."""

    def __init__(self, text: str) -> None:
        self.text = text

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        (channels, *lengths), (_, *out) = op.settings["reads"], op.settings["gives"]
        sizes = channels, *rows_and_columns(lengths), y, *rows_and_columns(out)
        body.call((self.text,), x[0], *sizes, *op.settings["window"])


class Largest(Pool):
    """No error grows: the largest of numbers is off by no more than one of them."""

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        before, error = as_images(op, x[0])
        return as_row(op.layer(before)), as_row(op.layer(error))


class Mean(Pool):
    """The mean of errors, and the roundings of a sum."""

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        before, error = as_images(op, x[0])
        off = op.layer(error) + (op.settings["terms"] + 2) * UNIT * op.layer(np.abs(before) + error)
        return as_row(op.layer(before)), as_row(off)


def _max(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    if layer.return_indices:
        raise CannotLower(f"{name_of(layer)} with return_indices")
    return _pool(lowering, layer, x, layer.dilation)


def _average(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    return _pool(lowering, layer, x, None, int(layer.count_include_pad), layer.divisor_override or 0)


def _pool(lowering: Lowering, layer: Any, x: Structure, dilation: Any, *more: int) -> Handle:
    only, shape = image(lowering, layer, x)
    told = layer.kernel_size, layer.stride, layer.padding, dilation or 1, layer.ceil_mode
    try:
        over = window(layer, probe(shape), *told)
        layer(probe(shape))
    except ValueError:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}") from None
    usual = (over.kernel, 1), (over.stride, 1), (over.padding, 0), *[(over.dilation, 1)] * (dilation is not None)
    numbers = [n for lengths, otherwise in usual for n in (otherwise, *lengths)[-2:]]
    out = shape[0], *over.out
    return add(lowering, layer, only, out, reads=shape, window=[*numbers, *more], terms=prod(over.kernel))


def _adaptive(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    if getattr(layer, "return_indices", False):
        raise CannotLower(f"{name_of(layer)} with return_indices")
    only, shape = image(lowering, layer, x)
    out: Lengths = layer._out(probe(shape))
    terms = prod(n // many + 2 for n, many in zip(shape[1:], out, strict=True))
    return add(lowering, layer, only, (shape[0], *out), reads=shape, window=[], terms=terms)


_RULES: dict[str, tuple[Rule, Pool]] = {
    "MaxPool": (_max, Largest(MAX)),
    "AvgPool": (_average, Mean(AVERAGE)),
    "AdaptiveAvgPool": (_adaptive, Mean(ADAPTIVE_AVERAGE)),
    "AdaptiveMaxPool": (_adaptive, Largest(ADAPTIVE_MAX)),
}
KINDS = {f"{name}{axes}d": kind for name, (_, kind) in _RULES.items() for axes in (1, 2)}
RULES = {getattr(layers, f"{name}{axes}d"): rule for name, (rule, _) in _RULES.items() for axes in (1, 2)}
