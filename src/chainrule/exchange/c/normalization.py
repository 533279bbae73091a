"""BatchNorm as in evaluation, and LayerNorm, in C: in place."""

from math import prod
from typing import Any

import numpy as np

from ... import layers
from ...arrays import to_numpy
from ...engine.plan import Op, Value
from ...engine.rules.rule import CannotLower, Handle, Lowering, Rule, name_of
from ...structures import Structure
from .body import Body, Place
from .functions import COPY
from .kind import UNIT, Bounded, Kind
from .spelling import short

SCALE_AND_SHIFT = """\
/* x = scale x + shift, by numbers of each channel */
static void scale_and_shift(float *x, int channels, int n, const float *scale, const float *shift)
{
    int c, i;
    for (c = 0; c < channels; c++)
        for (i = 0; i < n; i++)
            x[c * n + i] = scale[c] * x[c * n + i] + shift[c];
}
"""

LAYER_NORM = """\
/* weight (x - mean) / sqrt(var + eps) + bias; the mean is taken away twice, as the first leaves its rounding behind */
static void layer_norm(float *x, int n, float eps, const float *weight, const float *bias)
{
    float sum = 0.0f, rest = 0.0f, squares = 0.0f, s;
    int i;
    for (i = 0; i < n; i++)
        sum += x[i];
    for (i = 0; i < n; i++)
        rest += x[i] -= sum / (float)n;
    for (i = 0; i < n; i++) {
        x[i] -= rest / (float)n;
        squares += x[i] * x[i];
    }
    s = 1.0f / sqrtf(squares / (float)n + eps);
    for (i = 0; i < n; i++)
        x[i] = x[i] * s * (weight ? weight[i] : 1.0f) + (bias ? bias[i] : 0.0f);
}
"""


class InPlace(Kind):
    """One that works on the numbers where they lie, and in predictions alone."""

    steps = comes_back = False

    def offsets(self, op: Op, values: tuple[Value, ...]) -> list[int | None]:
        return [0]

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        if x[0] != y:
            body.call((COPY,), x[0], y, body.values[op.output].size)
        self.work(body, op, y)

    def work(self, body: Body, op: Op, place: Place) -> None:
        """Add the statements that change these numbers."""
        raise NotImplementedError


class BatchNorm(InPlace):
    """y = scale x + shift, which are its parameters once folding.py has looked at the plan."""

    def work(self, body: Body, op: Op, place: Place) -> None:
        scale, shift = (body.weights(i) for i in op.parameters)
        channels, *lengths = op.settings["reads"]
        body.call((SCALE_AND_SHIFT,), place, channels, prod(lengths), scale, shift)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        shape = op.settings["reads"]
        scale, shift = (numbers.reshape(-1, 1) for numbers in parameters)
        (before, error), form = (part.reshape(-1, shape[0], prod(shape[1:])) for part in x[0]), x[0][0].shape
        stretched = np.abs(scale) * error
        size = np.abs(scale) * (np.abs(before) + error) + np.abs(shift)
        return (scale * before + shift).reshape(form), (stretched + 3 * UNIT * size).reshape(form)


class LayerNorm(InPlace):
    """Row by row, of as many numbers as it is made for."""

    def work(self, body: Body, op: Op, place: Place) -> None:
        value, n = body.values[op.output], op.settings["n"]
        weight, bias = (*(body.weights(i) for i in op.parameters), "0", "0")[:2]
        body.rows(value.size // n, (LAYER_NORM,), (place, n), n, short(op.settings["eps"]), weight, bias)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        """The same.

        Note      what a number is off, the mean may be on average; the root of the variance is off by no more than the
                  root of the mean square of both, as it is a norm. n + 4 roundings go into every sum
        """
        n, eps, form = op.settings["n"], op.settings["eps"], x[0][0].shape
        weight, bias = (*parameters, *[np.ones(n)] * (not parameters), np.zeros(n))[:2]
        before, error = (part.reshape(-1, n) for part in x[0])
        d = before - before.mean(axis=1, keepdims=True)
        error = error + UNIT * 4 * (np.abs(before) + np.abs(before).mean(axis=1, keepdims=True))
        error = error + error.mean(axis=1, keepdims=True)
        deviation, off = (np.sqrt((part**2).mean(axis=1, keepdims=True)) for part in (d, error))
        off = off + UNIT * (n + 4) * deviation
        s = 1 / np.sqrt(deviation**2 + eps)
        most = 1 / np.sqrt(np.maximum(deviation - off, 0) ** 2 + eps)
        size = np.abs(weight) * (np.abs(d) + error) * most
        stretched = np.abs(weight) * (error * most + np.abs(d) * (most - s)) + 8 * UNIT * (size + np.abs(bias))
        return (d * s * weight + bias).reshape(form), stretched.reshape(form)


def scale_and_shift(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNorm does in evaluation, in float64: y = scale x + shift for each channel."""
    mean, var = (to_numpy(buffer.value).astype(np.float64) for buffer in (layer.running_mean, layer.running_var))
    weight = 1.0 if layer.weight is None else layer.weight.value.astype(np.float64)
    bias = 0.0 if layer.bias is None else layer.bias.value.astype(np.float64)
    scale = weight / np.sqrt(var + layer.eps)
    return scale, bias - scale * mean


def _batch_norm(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    if isinstance(layer, layers.BatchNorm1d):
        lowering.expect(only, (layer.num_features,))
    shape, called = lowering.shape(layer, only), f"{name_of(layer)}({layer.extra_repr()})"
    axes = (1, 2) if isinstance(layer, layers.BatchNorm1d) else (3,)
    if len(shape) not in axes or shape[0] != layer.num_features:
        raise CannotLower(f"{called} on samples of shape {shape}")
    if layer.running_mean is None:
        raise CannotLower(f"{called}: it has no running statistics")
    parameters = [parameter for parameter in (layer.weight, layer.bias) if parameter is not None]
    flat = lowering.flat(layer, only)
    return lowering.add(name_of(layer), layer, [flat], lowering.values[flat.number], shape, parameters, reads=shape)


def _layer_norm(lowering: Lowering, layer: layers.LayerNorm, x: Structure) -> Handle:
    only, n = lowering.one(layer, x), len(layer.normalized_shape)
    lowering.expect(only, layer.normalized_shape)
    shape = lowering.shape(layer, only)
    if shape[len(shape) - n :] != layer.normalized_shape:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    parameters = [parameter for parameter in (layer.weight, layer.bias) if parameter is not None]
    flat, told = lowering.flat(layer, only), {"n": prod(layer.normalized_shape), "eps": layer.eps}
    return lowering.add(name_of(layer), layer, [flat], lowering.values[flat.number], shape, parameters, **told)


KINDS: dict[str, Kind] = {"BatchNorm1d": BatchNorm(), "BatchNorm2d": BatchNorm(), "LayerNorm": LayerNorm()}
RULES: dict[type, Rule] = {
    layers.BatchNorm1d: _batch_norm,
    layers.BatchNorm2d: _batch_norm,
    layers.LayerNorm: _layer_norm,
}
