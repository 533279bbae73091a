"""What each activation is in C, forward and on the way back.

Forward a function works in place on `x[0 … n-1]`; its twin turns `dy[0 … n-1]` into dx in place, given the output y,
where that suffices, or else the input x. Their arguments behind n are those of the class in Python, by name.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...engine.plan import Op, Value
from .body import Body, Place, Way
from .functions import COPY
from .kind import LIBRARY, UNIT, Bounded, Kind
from .spelling import arguments_of


def _forward(name: str, equation: str, body: str, arguments: str = "") -> str:
    return f"""\
/* {equation} */
static void {name}(float *x, int n{arguments})
{{
    int i;
    for (i = 0; i < n; i++)
        {body}
}}
"""


def _backward(name: str, of: str, equation: str, body: str, arguments: str = "") -> str:
    return f"""\
/* {equation} */
static void {name}_backward(float *dy, const float *{of}, int n{arguments})
{{
    int i;
    for (i = 0; i < n; i++)
        {body}
}}
"""


RELU = _forward("relu", "max(0, x)", "x[i] = x[i] <= 0.0f ? 0.0f : x[i];")
RELU_BACKWARD = _backward("relu", "y", "dy where y > 0, else 0", "dy[i] = y[i] > 0.0f ? dy[i] : 0.0f;")

LEAKY_RELU = _forward(
    "leakyrelu",
    "x where x > 0, else negative_slope x",
    "x[i] = x[i] > 0.0f ? x[i] : negative_slope * x[i];",
    ", float negative_slope",
)
LEAKY_RELU_BACKWARD = _backward(
    "leakyrelu",
    "x",
    "dy where x > 0, else negative_slope dy",
    "dy[i] *= x[i] > 0.0f ? 1.0f : negative_slope;",
    ", float negative_slope",
)

ELU = _forward(
    "elu",
    "x where x > 0, else alpha (exp(x) - 1)",
    "x[i] = x[i] > 0.0f ? x[i] : alpha * expm1f(x[i]);",
    ", float alpha",
)
ELU_BACKWARD = _backward(
    "elu",
    "x",
    "dy where x > 0, else dy alpha exp(x)",
    "dy[i] *= x[i] > 0.0f ? 1.0f : alpha * expf(x[i]);",
    ", float alpha",
)

TANH = _forward("tanh_", "tanh x", "x[i] = tanhf(x[i]);")
TANH_BACKWARD = _backward("tanh", "y", "dy (1 - y^2)", "dy[i] *= 1.0f - y[i] * y[i];")

SIGMOID_OF_ONE = """\
/* 1 / (1 + exp(-x)), written so that exp never overflows */
static float sigmoid_of(float x)
{
    const float tail = expf(-fabsf(x));
    return (x < 0.0f ? tail : 1.0f) / (1.0f + tail);
}
"""

SIGMOID = _forward("sigmoid", "1 / (1 + exp(-x))", "x[i] = sigmoid_of(x[i]);")
SIGMOID_BACKWARD = _backward("sigmoid", "y", "dy y (1 - y)", "dy[i] *= y[i] * (1.0f - y[i]);")

SILU = _forward("silu", "x / (1 + exp(-x))", "x[i] *= sigmoid_of(x[i]);")
SILU_BACKWARD = """\
/* dy s (1 + x (1 - s)), s = 1 / (1 + exp(-x)) */
static void silu_backward(float *dy, const float *x, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float s = sigmoid_of(x[i]);
        dy[i] *= s * (1.0f + x[i] * (1.0f - s));
    }
}
"""

GELU = _forward("gelu", "x (1 + erf(x / sqrt 2)) / 2", "x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.707106781f));")
GELU_BACKWARD = """\
/* dy (P(x) + x p(x)), P(x) = (1 + erf(x / sqrt 2)) / 2, p(x) = exp(-x^2 / 2) / sqrt(2 pi) */
static void gelu_backward(float *dy, const float *x, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float below = 0.5f * (1.0f + erff(x[i] * 0.707106781f));
        const float density = expf(-0.5f * x[i] * x[i]) * 0.398942280f;
        dy[i] *= below + x[i] * density;
    }
}
"""

GELU_TANH = _forward(
    "gelu_tanh",
    "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
    "x[i] = 0.5f * x[i] * (1.0f + tanhf(0.797884561f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));",
)
GELU_TANH_BACKWARD = """\
/* dy (1 + t + x (1 - t^2) du) / 2, t = tanh u, u = sqrt(2 / pi) (x + 0.044715 x^3) */
static void gelu_tanh_backward(float *dy, const float *x, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float t = tanhf(0.797884561f * (x[i] + 0.044715f * x[i] * x[i] * x[i]));
        const float du = 0.797884561f * (1.0f + 3.0f * 0.044715f * x[i] * x[i]);
        dy[i] *= 0.5f * (1.0f + t + x[i] * (1.0f - t * t) * du);
    }
}
"""

SOFTPLUS = _forward(
    "softplus",
    "log(1 + exp(beta x)) / beta, and x itself where beta x > threshold",
    "x[i] = beta * x[i] > threshold ? x[i] : log1pf(expf(beta * x[i])) / beta;",
    ", float beta, float threshold",
)
SOFTPLUS_BACKWARD = _backward(
    "softplus",
    "x",
    "dy / (1 + exp(-beta x)), and dy itself where beta x > threshold",
    "dy[i] *= beta * x[i] > threshold ? 1.0f : sigmoid_of(beta * x[i]);",
    ", float beta, float threshold",
)

TANH_SOFTPLUS_OF_ONE = """\
/* tanh(log(1 + exp(x))), written so that exp never overflows */
static float tanh_softplus_of(float x)
{
    const float tail = expf(-fabsf(x));
    const float above = 2.0f * tail + (x < 0.0f ? tail * tail : 1.0f);
    return above / (above + 2.0f * (x < 0.0f ? 1.0f : tail * tail));
}
"""

MISH = _forward("mish", "x tanh(log(1 + exp(x)))", "x[i] *= tanh_softplus_of(x[i]);")
MISH_BACKWARD = """\
/* dy (t + x s (1 - t^2)), t = tanh(log(1 + exp(x))), s = 1 / (1 + exp(-x)) */
static void mish_backward(float *dy, const float *x, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float t = tanh_softplus_of(x[i]);
        dy[i] *= t + x[i] * sigmoid_of(x[i]) * (1.0f - t * t);
    }
}
"""

SOFTSIGN = _forward("softsign", "x / (1 + |x|)", "x[i] /= 1.0f + fabsf(x[i]);")
SOFTSIGN_BACKWARD = """\
/* dy / (1 + |x|)^2, written so that the square never overflows */
static void softsign_backward(float *dy, const float *x, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float slope = 1.0f / (1.0f + fabsf(x[i]));
        dy[i] *= slope * slope;
    }
}
"""

LARGEST = """\
static float largest(const float *x, int n)
{
    float most = x[0];
    int i;
    for (i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}
"""

SOFTMAX = """\
/* exp(x) / sum exp(x), shifted by the largest x so that exp never overflows */
static void softmax(float *x, int n)
{
    const float most = largest(x, n);
    float sum = 0.0f;
    int i;
    for (i = 0; i < n; i++)
        sum += x[i] = expf(x[i] - most);
    for (i = 0; i < n; i++)
        x[i] /= sum;
}
"""
SOFTMAX_BACKWARD = """\
/* y (dy - sum dy y) */
static void softmax_backward(float *dy, const float *y, int n)
{
    float sum = 0.0f;
    int i;
    for (i = 0; i < n; i++)
        sum += dy[i] * y[i];
    for (i = 0; i < n; i++)
        dy[i] = y[i] * (dy[i] - sum);
}
"""

LOG_SOFTMAX = """\
/* x - log sum exp(x), shifted by the largest x so that exp never overflows */
static void logsoftmax(float *x, int n)
{
    const float most = largest(x, n);
    float sum = 0.0f;
    int i;
    for (i = 0; i < n; i++)
        sum += expf(x[i] - most);
    for (i = 0; i < n; i++)
        x[i] = x[i] - most - logf(sum);
}
"""
LOG_SOFTMAX_BACKWARD = """\
/* dy - exp(y) sum dy */
static void logsoftmax_backward(float *dy, const float *y, int n)
{
    float sum = 0.0f;
    int i;
    for (i = 0; i < n; i++)
        sum += dy[i];
    for (i = 0; i < n; i++)
        dy[i] -= expf(y[i]) * sum;
}
"""


class Activation(NamedTuple):
    """The functions of one, those that they need first; and how much it can stretch an error at most.

    together : whether every number of a row reaches every other.
    """

    forward: tuple[str, ...]
    backward: tuple[str, ...]
    steepest: Callable[[Mapping[str, Any]], float] = lambda settings: 1.0  # given the settings
    together: bool = False


# By the kind of the op, and behind it the words among its settings.
ACTIVATIONS = {
    "ReLU": Activation((RELU,), (RELU_BACKWARD,)),
    "LeakyReLU": Activation(
        (LEAKY_RELU,), (LEAKY_RELU_BACKWARD,), lambda settings: max(1.0, abs(settings["negative_slope"]))
    ),
    "ELU": Activation((ELU,), (ELU_BACKWARD,), lambda settings: max(1.0, abs(settings["alpha"]))),
    "Tanh": Activation((TANH,), (TANH_BACKWARD,)),
    "Sigmoid": Activation((SIGMOID_OF_ONE, SIGMOID), (SIGMOID_BACKWARD,)),
    "SiLU": Activation((SIGMOID_OF_ONE, SILU), (SIGMOID_OF_ONE, SILU_BACKWARD), lambda settings: 1.1),
    "GELU none": Activation((GELU,), (GELU_BACKWARD,), lambda settings: 1.13),
    "GELU tanh": Activation((GELU_TANH,), (GELU_TANH_BACKWARD,), lambda settings: 1.13),
    "Softplus": Activation((SOFTPLUS,), (SIGMOID_OF_ONE, SOFTPLUS_BACKWARD)),
    "Mish": Activation(
        (TANH_SOFTPLUS_OF_ONE, MISH), (TANH_SOFTPLUS_OF_ONE, SIGMOID_OF_ONE, MISH_BACKWARD), lambda settings: 1.09
    ),
    "Softsign": Activation((SOFTSIGN,), (SOFTSIGN_BACKWARD,)),
    "Softmax": Activation((LARGEST, SOFTMAX), (SOFTMAX_BACKWARD,), together=True),
    "LogSoftmax": Activation((LARGEST, LOG_SOFTMAX), (LOG_SOFTMAX_BACKWARD,), lambda settings: 2.0, together=True),
}


def activation_of(op: Op) -> Activation:
    """What the table says of an op."""
    words = [value for value in op.settings.values() if isinstance(value, str)]
    return ACTIVATIONS[" ".join([op.kind, *words])]


class Elementwise(Kind):
    """An activation: in place, number by number, or row by row."""

    def offsets(self, op: Op, values: tuple[Value, ...]) -> list[int | None]:
        return [0]

    def asks(self, op: Op, trained: list[bool], own: list[bool]) -> tuple[set[int], bool]:
        of_x = arguments_of(activation_of(op).backward[-1])[1] == "x"
        return ({0}, False) if of_x else (set(), True)

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        value = body.values[op.output]
        if x[0] != y:
            body.call((COPY,), x[0], y, value.size)
        rows, n = (value.positions, value.columns) if activation_of(op).together else (1, value.size)
        body.rows(rows, activation_of(op).forward, (y, n), n, settings=op.settings)

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        value, texts = way.values[op.output], activation_of(op).backward
        rows, n = (value.positions, value.columns) if activation_of(op).together else (1, value.size)
        of = x[0] if arguments_of(texts[-1])[1] == "x" else y
        way.rows(rows, texts, (way.dy, n), (of, n), n, settings=op.settings)
        way.hand(0)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        (before, error), about = x[0], activation_of(op)
        stretched = about.steepest(op.settings) * (error.max(axis=-1, keepdims=True) if about.together else error)
        layer = type(op.layer)(-1) if about.together else op.layer  # the axis of the columns, which is the last here
        y, size = layer(before), np.abs(before)
        beside = size + before.shape[-1] if about.together else np.minimum(size, 1.0)
        return y, stretched + LIBRARY * UNIT * np.maximum(np.abs(y), beside)


KINDS = dict.fromkeys((name.split()[0] for name in ACTIVATIONS), Elementwise())
