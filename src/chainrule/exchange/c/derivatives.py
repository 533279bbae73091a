"""What each kind of layer is in C on the way back: the twins of functions.py.

Those of activations turn `dy[0 … n-1]` into dx in place, given the layer's output y, where it suffices, or its input x.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ... import layers
from .functions import SIGMOID_OF_ONE

LINEAR_BACKWARD = """\
/* dW += dy x', db += dy, dx = W' dy. W and dW are stored column by column; db or dx may be null, if nobody asks. */
static void linear_backward(const float *dy, const float *x, float *dx, int n_in, int n_out, const float *weight,
                            float *dweight, float *dbias)
{
    int i, j;
    if (dbias)
        for (i = 0; i < n_out; i++)
            dbias[i] += dy[i];
    for (j = 0; j < n_in; j++)
        for (i = 0; i < n_out; i++)
            dweight[j * n_out + i] += dy[i] * x[j];
    if (!dx)
        return;
    for (j = 0; j < n_in; j++) {
        float sum = 0.0f;
        for (i = 0; i < n_out; i++)
            sum += weight[j * n_out + i] * dy[i];
        dx[j] = sum;
    }
}
"""


def _each(name: str, of: str, equation: str, body: str, arguments: str = "") -> str:
    return f"""\
/* {equation} */
static void {name}_backward(float *dy, const float *{of}, int n{arguments})
{{
    int i;
    for (i = 0; i < n; i++)
        {body}
}}
"""


RELU = _each("relu", "y", "dy where y > 0, else 0", "dy[i] = y[i] > 0.0f ? dy[i] : 0.0f;")
LEAKY_RELU = _each(
    "leakyrelu", "x", "dy where x > 0, else slope dy", "dy[i] *= x[i] > 0.0f ? 1.0f : slope;", ", float slope"
)
ELU = _each(
    "elu",
    "x",
    "dy where x > 0, else dy alpha exp(x)",
    "dy[i] *= x[i] > 0.0f ? 1.0f : alpha * expf(x[i]);",
    ", float alpha",
)
TANH = _each("tanh", "y", "dy (1 - y^2)", "dy[i] *= 1.0f - y[i] * y[i];")
SIGMOID = _each("sigmoid", "y", "dy y (1 - y)", "dy[i] *= y[i] * (1.0f - y[i]);")
SILU = """\
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
GELU = """\
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
GELU_TANH = """\
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
SOFTPLUS = _each(
    "softplus",
    "x",
    "dy / (1 + exp(-beta x)), and dy itself where beta x > threshold",
    "dy[i] *= beta * x[i] > threshold ? 1.0f : sigmoid_of(beta * x[i]);",
    ", float beta, float threshold",
)
SOFTMAX = """\
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


class Derivative(NamedTuple):
    """The functions that a derivative needs, the one that is called, of what (x or y), and its settings."""

    needed: tuple[str, ...]
    function: str
    of: str
    settings: tuple[float, ...] = ()


DERIVATIVES: dict[type, Callable[[Any], Derivative]] = {
    layers.ReLU: lambda layer: Derivative((RELU,), "relu", "y"),
    layers.LeakyReLU: lambda layer: Derivative((LEAKY_RELU,), "leakyrelu", "x", (layer.negative_slope,)),
    layers.ELU: lambda layer: Derivative((ELU,), "elu", "x", (layer.alpha,)),
    layers.Tanh: lambda layer: Derivative((TANH,), "tanh", "y"),
    layers.Sigmoid: lambda layer: Derivative((SIGMOID,), "sigmoid", "y"),
    layers.SiLU: lambda layer: Derivative((SIGMOID_OF_ONE, SILU), "silu", "x"),
    layers.GELU: lambda layer: (
        Derivative((GELU_TANH,), "gelu_tanh", "x") if layer.approximate == "tanh" else Derivative((GELU,), "gelu", "x")
    ),
    layers.Softplus: lambda layer: Derivative(
        (SIGMOID_OF_ONE, SOFTPLUS), "softplus", "x", (layer.beta, layer.threshold)
    ),
    layers.Softmax: lambda layer: Derivative((SOFTMAX,), "softmax", "y"),
    layers.LogSoftmax: lambda layer: Derivative((LOG_SOFTMAX,), "logsoftmax", "y"),
}
