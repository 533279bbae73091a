"""Conv1d and Conv2d in C: tap by tap, along rows of the image."""

from typing import Any

import numpy as np

from ... import layers
from ...engine.plan import Op
from ...engine.rules.rule import CannotLower, Handle, Lowering, Rule, name_of
from ...structures import Structure
from .body import Body, Place
from .kind import UNIT, Bounded
from .places import around
from .spatial import Spatial, add, as_images, as_row, image, rows_and_columns

FIRST = """\
/* The first of the windows that have a tap on x, along one axis; that of window 0 is at `at`, which may be outside. */
static int first_window(int at, int stride)
{
    return at < 0 ? (stride - 1 - at) / stride : 0;
}
"""
END = """\
/* The one behind the last of them, where x has n places and there are `out` windows. */
static int end_window(int at, int stride, int n, int out)
{
    const int end = at < n ? (n - 1 - at) / stride + 1 : 0;
    return end < out ? end : out;
}
"""
CONVOLUTION = """\
/* y = what each filter sees of the channels of its group, times its weights, plus b. The weights of a tap are stored
 * side by side, those of one channel after the other. Each is met by a row of y at a time. */
static void convolution(const float *x, int channels, int height, int width, float *y, int filters, int out_height,
                        int out_width, int groups, int kernel_height, int kernel_width, int stride_y, int stride_x,
                        int padding_y, int padding_x, int dilation_y, int dilation_x, const float *weight,
                        const float *bias)
{
    const int n = channels / groups;
    int o, c, k, l, i, j;
    for (o = 0; o < filters; o++) {
        float *to = y + o * out_height * out_width;
        for (i = 0; i < out_height * out_width; i++)
            to[i] = bias ? bias[o] : 0.0f;
        for (c = 0; c < n; c++) {
            const float *from = x + (o / (filters / groups) * n + c) * height * width;
            for (k = 0; k < kernel_height; k++)
                for (l = 0; l < kernel_width; l++) {
                    const float w = weight[((l * kernel_height + k) * n + c) * filters + o];
                    const int above = k * dilation_y - padding_y, before = l * dilation_x - padding_x;
                    const int first = first_window(before, stride_x);
                    const int end = end_window(before, stride_x, width, out_width);
                    const int last_row = end_window(above, stride_y, height, out_height);
                    for (i = first_window(above, stride_y); i < last_row; i++)
                        for (j = first; j < end; j++)
                            to[i * out_width + j] += w * from[(i * stride_y + above) * width + j * stride_x + before];
                }
        }
    }
}
"""


class Convolution(Spatial):
    """y = W * x + b."""

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        weight, bias = (*(body.weights(i) for i in op.parameters), "0")[:2]
        (channels, *lengths), (filters, *out) = op.settings["reads"], op.settings["gives"]
        sizes = channels, *rows_and_columns(lengths), y, filters, *rows_and_columns(out), op.settings["groups"]
        body.call((FIRST, END, CONVOLUTION), x[0], *sizes, *op.settings["window"], weight, bias)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        (before, error), layer = as_images(op, x[0]), op.layer

        def conv(x: np.ndarray, weight: np.ndarray, bias: Any = None) -> np.ndarray:
            padding = layer.padding if layer.padding_mode == "zeros" else 0  # which is there already
            sizes = layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, padding
            y: np.ndarray = type(layer)(*sizes, layer.dilation, layer.groups, bias, weight=weight)(x)
            return y

        size = conv(np.abs(before) + error, *map(np.abs, parameters))
        terms = parameters[0][0].size + 2 + op.settings.get("folded", 0)
        stretched = conv(error, np.abs(parameters[0])) + terms * UNIT * size
        return as_row(conv(before, *parameters)), as_row(stretched)


def _conv(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, shape = image(lowering, layer, x, layer.in_channels)
    called = f"{name_of(layer)}({layer.extra_repr()})"
    parameters = [parameter for parameter in (layer.weight, layer.bias) if parameter is not None]
    made = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size), (layer.out_channels,)
    for parameter, expected in zip(parameters, made, strict=False):
        if parameter.shape != expected:  # set to another one since
            raise CannotLower(f"{called} with {parameter!r}")
    amounts = layer._amounts
    if layer.padding_mode != "zeros" and any(map(any, amounts)):
        only = around(lowering, layer, only, shape, amounts, layer._mode)
        shape, amounts = only.shape, ((0, 0),) * layer.axes
    out = layer._out(tuple(n + sum(more) for n, more in zip(shape[1:], amounts, strict=True)))
    if min(out) < 1:
        raise CannotLower(f"{called} on samples of shape {shape}, in which its kernel has no room")
    padding = tuple(front for front, _ in amounts)
    usual = (layer.kernel_size, 1), (layer.stride, 1), (padding, 0), (layer.dilation, 1)
    window = [n for lengths, otherwise in usual for n in (otherwise, *lengths)[-2:]]
    settings = {"reads": shape, "groups": layer.groups, "window": window}
    return add(lowering, layer, only, (layer.out_channels, *out), parameters, **settings)


KINDS = {"Conv1d": Convolution(), "Conv2d": Convolution()}
RULES: dict[type, Rule] = {layers.Conv1d: _conv, layers.Conv2d: _conv}
