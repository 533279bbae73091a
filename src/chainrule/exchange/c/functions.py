"""What each kind of layer is in C: one static function of floats, and the call that stands for the layer.

Activations work in place on `x[0 … n-1]`.
"""

from collections.abc import Callable
from typing import Any

from ... import layers

LINEAR = """\
/* y = W x + b. W is stored column by column, so that the inner loop runs along y and can be vectorized. */
static void linear(const float *x, float *y, int n_in, int n_out, const float *weight, const float *bias)
{
    int i, j;
    for (i = 0; i < n_out; i++)
        y[i] = bias ? bias[i] : 0.0f;
    for (j = 0; j < n_in; j++)
        for (i = 0; i < n_out; i++)
            y[i] += weight[j * n_out + i] * x[j];
}
"""

COPY = """\
static void copy(const float *from, float *to, int n)
{
    int i;
    for (i = 0; i < n; i++)
        to[i] = from[i];
}
"""


def _each(name: str, equation: str, body: str, arguments: str = "") -> str:
    return f"""\
/* {equation} */
static void {name}(float *x, int n{arguments})
{{
    int i;
    for (i = 0; i < n; i++)
        {body}
}}
"""


RELU = _each("relu", "max(0, x)", "x[i] = x[i] <= 0.0f ? 0.0f : x[i];")
LEAKY_RELU = _each(
    "leakyrelu", "x where x > 0, else slope x", "x[i] = x[i] > 0.0f ? x[i] : slope * x[i];", ", float slope"
)
ELU = _each(
    "elu",
    "x where x > 0, else alpha (exp(x) - 1)",
    "x[i] = x[i] > 0.0f ? x[i] : alpha * expm1f(x[i]);",
    ", float alpha",
)
TANH = _each("tanh_", "tanh x", "x[i] = tanhf(x[i]);")
SIGMOID_OF_ONE = """\
/* 1 / (1 + exp(-x)), written so that exp never overflows */
static float sigmoid_of(float x)
{
    const float tail = expf(-fabsf(x));
    return (x < 0.0f ? tail : 1.0f) / (1.0f + tail);
}
"""
SIGMOID = _each("sigmoid", "1 / (1 + exp(-x))", "x[i] = sigmoid_of(x[i]);")
SILU = _each("silu", "x / (1 + exp(-x))", "x[i] *= sigmoid_of(x[i]);")
GELU = _each("gelu", "x (1 + erf(x / sqrt 2)) / 2", "x[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.707106781f));")
GELU_TANH = _each(
    "gelu_tanh",
    "x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2",
    "x[i] = 0.5f * x[i] * (1.0f + tanhf(0.797884561f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));",
)
SOFTPLUS = _each(
    "softplus",
    "log(1 + exp(beta x)) / beta, and x itself where beta x > threshold",
    "x[i] = beta * x[i] > threshold ? x[i] : log1pf(expf(beta * x[i])) / beta;",
    ", float beta, float threshold",
)
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

# For each activation: the functions that it needs, the name of the one that is called, and what it is called with.
Rule = Callable[[Any], tuple[tuple[str, ...], str, tuple[float, ...]]]

ACTIVATIONS: dict[type, Rule] = {
    layers.ReLU: lambda layer: ((RELU,), "relu", ()),
    layers.LeakyReLU: lambda layer: ((LEAKY_RELU,), "leakyrelu", (layer.negative_slope,)),
    layers.ELU: lambda layer: ((ELU,), "elu", (layer.alpha,)),
    layers.Tanh: lambda layer: ((TANH,), "tanh_", ()),
    layers.Sigmoid: lambda layer: ((SIGMOID_OF_ONE, SIGMOID), "sigmoid", ()),
    layers.SiLU: lambda layer: ((SIGMOID_OF_ONE, SILU), "silu", ()),
    layers.GELU: lambda layer: (
        ((GELU_TANH,), "gelu_tanh", ()) if layer.approximate == "tanh" else ((GELU,), "gelu", ())
    ),
    layers.Softplus: lambda layer: ((SOFTPLUS,), "softplus", (layer.beta, layer.threshold)),
    layers.Softmax: lambda layer: ((LARGEST, SOFTMAX), "softmax", ()),
    layers.LogSoftmax: lambda layer: ((LARGEST, LOG_SOFTMAX), "logsoftmax", ()),
}
