"""Normalizations in C, as in evaluation: in place."""

from math import prod
from typing import Any

import numpy as np

from ... import layers
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

RMS_NORM = """\
/* weight x / sqrt(mean x^2 + eps) */
static void rms_norm(float *x, int n, float eps, const float *weight)
{
    float squares = 0.0f, s;
    int i;
    for (i = 0; i < n; i++)
        squares += x[i] * x[i];
    s = 1.0f / sqrtf(squares / (float)n + eps);
    for (i = 0; i < n; i++)
        x[i] = x[i] * s * (weight ? weight[i] : 1.0f);
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


class Channels(InPlace):
    """x = scale x + shift, by numbers of each channel, its parameters."""

    def work(self, body: Body, op: Op, place: Place) -> None:
        channels, *lengths = op.settings["reads"]
        body.call((SCALE_AND_SHIFT,), place, channels, prod(lengths), *(body.weights(i) for i in op.parameters))

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        channels, *lengths = op.settings["reads"]
        scale, shift = (numbers.reshape(-1, 1) for numbers in parameters)
        (before, error), form = (part.reshape(-1, channels, prod(lengths)) for part in x[0]), x[0][0].shape
        size = np.abs(scale) * (np.abs(before) + error) + np.abs(shift)
        off = np.abs(scale) * error + 3 * UNIT * size
        return (scale * before + shift).reshape(form), off.reshape(form)


class BatchNorm(Channels):
    """By the running statistics; folding.py makes the scale and the shift of all that it knows."""


class GroupNorm(Channels):
    """The channels of each group together as LayerNorm has a row; then a scale and a shift, if there are any."""

    def work(self, body: Body, op: Op, place: Place) -> None:
        n = body.values[op.output].size // op.settings["groups"]
        rest = n, short(op.settings["eps"]), "0", "0"
        body.rows(op.settings["groups"], (LAYER_NORM,), (place, n), *rest)
        if op.parameters:
            super().work(body, op, place)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        form = x[0][0].shape
        n = x[0][0][0].size // op.settings["groups"]
        y, off = (part.reshape(form) for part in standard(x[0], n, op.settings["eps"]))
        return super().bounded(op, parameters, [(y, off)]) if parameters else (y, off)


class LayerNorm(InPlace):
    """Row by row, of as many numbers as it is made for."""

    def work(self, body: Body, op: Op, place: Place) -> None:
        n, eps = op.settings["n"], short(op.settings["eps"])
        weight, bias = (*(body.weights(i) for i in op.parameters), "0", "0")[:2]
        body.rows(body.values[op.output].size // n, (LAYER_NORM,), (place, n), n, eps, weight, bias)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        n, form = op.settings["n"], x[0][0].shape
        weight, bias = (*parameters, *[np.ones(n)] * (not parameters), np.zeros(n))[:2]
        y, off = standard(x[0], n, op.settings["eps"])
        stretched = np.abs(weight) * off + 2 * UNIT * (np.abs(weight * y) + np.abs(bias))
        return (weight * y + bias).reshape(form), stretched.reshape(form)


class RMSNorm(InPlace):
    """Row by row, as LayerNorm without its mean."""

    def work(self, body: Body, op: Op, place: Place) -> None:
        n, eps = op.settings["n"], short(op.settings["eps"])
        weight = (*(body.weights(i) for i in op.parameters), "0")[0]
        body.rows(body.values[op.output].size // n, (RMS_NORM,), (place, n), n, eps, weight)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        """The same.

        Note      without an eps of its own C takes that of float32, as Python does for such numbers; float64 has a
                  smaller one, and what that makes of y is added to the bound
        """
        n, form = op.settings["n"], x[0][0].shape
        weight = parameters[0] if parameters else np.ones(n)
        (y, off), (exact, _) = (standard(x[0], n, op.settings[eps], 0.0) for eps in ("eps", "exact_eps"))
        stretched = np.abs(weight) * (off + np.abs(exact - y)) + UNIT * np.abs(weight * y)
        return (weight * y).reshape(form), stretched.reshape(form)


def standard(x: Bounded, n: int, eps: float, centred: float = 1.0) -> Bounded:
    """Rows of n numbers less their mean (or not: 0), by their deviation; and how far float32 may be from that.

    What a number is off, the mean may be on average; the root of the variance is off by no more than the root of the
    mean square of both, as it is a norm. n + 4 roundings go into every sum.
    """
    before, error = (part.reshape(-1, n) for part in x)
    d = before - centred * before.mean(axis=1, keepdims=True)
    error = error + centred * UNIT * 4 * (np.abs(before) + np.abs(before).mean(axis=1, keepdims=True))
    error = error + centred * error.mean(axis=1, keepdims=True)
    deviation, off = (np.sqrt((part**2).mean(axis=1, keepdims=True)) for part in (d, error))
    off = off + UNIT * (n + 4) * deviation
    s = 1 / np.sqrt(deviation**2 + eps)
    most = 1 / np.sqrt(np.maximum(deviation - off, 0) ** 2 + eps)
    return d * s, error * most + np.abs(d) * (most - s) + 8 * UNIT * (np.abs(d) + error) * most


def _batch_norm(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    if isinstance(layer, layers.BatchNorm1d):
        lowering.expect(only, (layer.num_features,))
    if layer.running_mean is None:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}): it has no running statistics")
    return _of_channels(lowering, layer, only, layer.num_features, name_of(layer))


def _instance_norm(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    """With running statistics it is a BatchNorm in evaluation, and else a GroupNorm whose groups have one channel."""
    only, n = lowering.one(layer, x), layer.num_features
    if layer.running_mean is not None:
        return _of_channels(lowering, layer, only, n, f"BatchNorm{layer.axes}d")
    return _of_channels(lowering, layer, only, n, name_of(layer), groups=n, eps=layer.eps)


def _group_norm(lowering: Lowering, layer: layers.GroupNorm, x: Structure) -> Handle:
    told = {"groups": layer.num_groups, "eps": layer.eps}
    return _of_channels(lowering, layer, lowering.one(layer, x), layer.num_channels, name_of(layer), **told)


def _of_channels(lowering: Lowering, layer: Any, x: Handle, n: int, kind: str, **told: Any) -> Handle:
    shape = lowering.shape(layer, x)
    axes = (2, 3) if isinstance(layer, layers.BatchNorm1d) else (getattr(layer, "axes", len(shape) - 1) + 2,)
    alone = prod(shape) == told.get("groups")  # a number that is its own mean
    if len(shape) + 1 not in axes or shape[:1] != (n,) or alone:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    return _in_place(lowering, layer, x, kind, reads=shape, **told)


def _of_elements(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, n = lowering.one(layer, x), len(layer.normalized_shape)
    lowering.expect(only, layer.normalized_shape)
    shape = lowering.shape(layer, only)
    if shape[len(shape) - n :] != layer.normalized_shape:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    eps, exact = (float(np.finfo(dtype).eps) if layer.eps is None else layer.eps for dtype in ("float32", "float64"))
    told = {"n": prod(layer.normalized_shape), "eps": eps, "exact_eps": exact}
    return _in_place(lowering, layer, only, name_of(layer), **told)


def _in_place(lowering: Lowering, layer: Any, x: Handle, kind: str, **told: Any) -> Handle:
    flat, parameters = lowering.flat(layer, x), [one for one in (layer.weight, layer.bias) if one is not None]
    return lowering.add(kind, layer, [flat], lowering.values[flat.number], x.shape, parameters, **told)


KINDS: dict[str, Kind] = {
    **{f"BatchNorm{axes}d": BatchNorm() for axes in (1, 2)},
    **{f"InstanceNorm{axes}d": GroupNorm() for axes in (1, 2)},
    "GroupNorm": GroupNorm(),
    "LayerNorm": LayerNorm(),
    "RMSNorm": RMSNorm(),
}
RULES: dict[type, Rule] = {
    layers.BatchNorm1d: _batch_norm,
    layers.BatchNorm2d: _batch_norm,
    layers.InstanceNorm1d: _instance_norm,
    layers.InstanceNorm2d: _instance_norm,
    layers.GroupNorm: _group_norm,
    layers.LayerNorm: _of_elements,
    layers.RMSNorm: _of_elements,
}
