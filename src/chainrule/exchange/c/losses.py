"""What each loss is in C: one static function of a row that returns its share of the loss, and leaves dy.

`share` is what the row counts: 1 for a sum; for a mean over elements 1 / (rows · outputs), and for one over samples
1 / (what all rows count together). dy is `share` times the slope of the loss by y.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import losses
from ...arrays import to_numpy
from .functions import LARGEST, SIGMOID_OF_ONE
from .spelling import array, short

# For each loss and number of outputs: what it needs, the name of the function that is called, and its settings.
Call = tuple[tuple[str, ...], str, tuple[float, ...]]
Rule = Callable[[Any, int], Call]


def _elements(name: str, equation: str, terms: tuple[str, ...], loss: str, slope: str, arguments: str = "") -> str:
    lines = "".join(f"        const float {term};\n" for term in terms)
    return f"""\
/* {equation} */
static float {name}(const float *y, const float *target, float *dy, int n, float share{arguments})
{{
    float sum = 0.0f;
    int i;
    for (i = 0; i < n; i++) {{
{lines}        sum += {loss};
        dy[i] = share * ({slope});
    }}
    return share * sum;
}}
"""


def _rule(name: str, equation: str, terms: tuple[str, ...], loss: str, slope: str, **arguments: str) -> Rule:
    """Of a loss that is one function in every column; `arguments` are what C calls those of its class."""
    declared = "".join(f", float {argument}" for argument in arguments.values())
    text = _elements(name, equation, terms, loss, slope, declared)
    return lambda loss, n_out: ((text,), name, tuple(getattr(loss, argument) for argument in arguments))


_ERROR = "e = y[i] - target[i]"

MSE = _rule("mse", "l = e^2, e = y - target; its slope is 2 e", (_ERROR,), "e * e", "2.0f * e")
L1 = _rule(
    "l1",
    "l = |e|, e = y - target; its slope is the sign of e",
    (_ERROR,),
    "fabsf(e)",
    "e > 0.0f ? 1.0f : e < 0.0f ? -1.0f : 0.0f",
)
SMOOTH_L1 = _rule(
    "smoothl1",
    "l = e^2 / (2 beta) where |e| < beta, else |e| - beta / 2, e = y - target; its slope is e / beta, cut to -1 ... 1",
    (_ERROR, "size = fabsf(e)"),
    "size < beta ? 0.5f * e * e / beta : size - 0.5f * beta",
    "size < beta ? e / beta : e > 0.0f ? 1.0f : -1.0f",
    beta="beta",
)
HUBER = _rule(
    "huber",
    "l = e^2 / 2 where |e| < delta, else delta (|e| - delta / 2), e = y - target; its slope is e, cut to +-delta",
    (_ERROR, "size = fabsf(e)"),
    "size < delta ? 0.5f * e * e : delta * (size - 0.5f * delta)",
    "size < delta ? e : e > 0.0f ? delta : -delta",
    delta="delta",
)
QUANTILE = _rule(
    "quantile",
    "l = -q e where e < 0, else (1 - q) e, e = y - target; its slope is -q, 1 - q, and 0 where e = 0",
    (_ERROR,),
    "(e < 0.0f ? -q : 1.0f - q) * e",
    "e < 0.0f ? -q : e > 0.0f ? 1.0f - q : 0.0f",
    quantile="q",
)
POISSON_OF_LOG = _rule(
    "poisson_nll",
    "l = exp(y) - target y; its slope is exp(y) - target",
    ("rate = expf(y[i])",),
    "rate - target[i] * y[i]",
    "rate - target[i]",
)
POISSON_OF_RATE = _rule(
    "poisson_nll",
    "l = y - target log(y + eps); its slope is 1 - target / (y + eps)",
    ("rate = y[i] + eps",),
    "y[i] - target[i] * logf(rate)",
    "1.0f - target[i] / rate",
    eps="eps",
)


def _bce(loss: losses.BCEWithLogitsLoss, n_out: int) -> Call:
    """Its weights, where it has any, are constant arrays."""
    arrays: list[str] = []
    equation, also, terms, factor = "c = 1", "", "1.0f", ""
    if loss.pos_weight.value is not None:
        arrays.append(array("pos_weight", np.broadcast_to(to_numpy(loss.pos_weight.value), (1, n_out))))
        equation, terms = "c = 1 + (pos_weight - 1) t", "1.0f + (pos_weight[i] - 1.0f) * t"
    if loss.weight.value is not None:
        arrays.append(array("element_weight", np.broadcast_to(to_numpy(loss.weight.value), (1, n_out))))
        also, factor = ", both times element_weight", "element_weight[i] * "
    name = "bce_with_logits"
    text = _elements(
        name,
        "l = (1 - t) y + c log(1 + exp(-y)), written so that exp never overflows; its slope is\n"
        f" * (1 - t) - c / (1 + exp(y)){also}; t = target, {equation}",
        ("t = target[i]", f"c = {terms}", "softplus = log1pf(expf(-fabsf(y[i]))) + (y[i] < 0.0f ? -y[i] : 0.0f)"),
        f"{factor}((1.0f - t) * y[i] + c * softplus)",
        f"{factor}(1.0f - t - c * sigmoid_of(-y[i]))",
    )
    return (*arrays, SIGMOID_OF_ONE, text), name, ()


CROSS_ENTROPY = """\
/* l = log sum exp(y) - y[target]; its slope is softmax(y) - [target], because softmax and logarithm cancel */
static float cross_entropy(const float *y, int target, float *dy, int n, float share)
{
    const float most = largest(y, n);
    float sum = 0.0f;
    int i;
    for (i = 0; i < n; i++)
        sum += dy[i] = expf(y[i] - most);
    for (i = 0; i < n; i++)
        dy[i] *= share / sum;
    dy[target] -= share;
    return share * (logf(sum) - (y[target] - most));
}
"""

CROSS_ENTROPY_OF_SHARES = """\
/* l = sum q log sum exp(y) - sum q y; its slope is softmax(y) sum q - q */
static float cross_entropy(const float *y, int target, float *dy, int n, float share)
{
    const float most = largest(y, n);
    float sum = 0.0f, mass = 0.0f, product = 0.0f;
    int i;
    for (i = 0; i < n; i++) {
        const float q = q_of(i, target);
        sum += dy[i] = expf(y[i] - most);
        mass += q;
        product += q * (y[i] - most);
    }
    for (i = 0; i < n; i++)
        dy[i] = share * (dy[i] / sum * mass - q_of(i, target));
    return share * (mass * logf(sum) - product);
}
"""


def _cross_entropy(loss: losses.CrossEntropyLoss, n_out: int) -> Call:
    eps, weights = loss.label_smoothing, class_weights(loss)
    if not eps and not weights:
        return (LARGEST, CROSS_ENTROPY), "cross_entropy", ()
    factor = "class_weight[i] * " if weights else ""
    share = f"""\
/* What class i is asked for: {factor}((1 - eps) [i = target] + eps / {n_out}), eps = {eps:g} */
static float q_of(int i, int target)
{{
    return {factor}(i == target ? {short(1 - eps + eps / n_out)} : {short(eps / n_out)});
}}
"""
    return (*weights, LARGEST, share, CROSS_ENTROPY_OF_SHARES), "cross_entropy", ()


def _nll(loss: losses.NLLLoss, n_out: int) -> Call:
    weights = class_weights(loss)
    weight = " * class_weight[target]" if weights else ""
    text = f"""\
/* l = -y[target]{weight}; its slope is {"-class_weight[target]" if weights else "-1"} there, 0 elsewhere */
static float nll(const float *y, int target, float *dy, int n, float share)
{{
    int i;
    for (i = 0; i < n; i++)
        dy[i] = 0.0f;
    dy[target] = -share{weight};
    return dy[target] * y[target];
}}
"""
    return (*weights, text), "nll", ()


def class_weights(loss: Any) -> tuple[str, ...]:
    """The weight of each class as a constant array, if there are any."""
    return () if loss.weight.value is None else (array("class_weight", to_numpy(loss.weight.value)),)


LOSSES: dict[type, Rule] = {
    losses.MSELoss: MSE,
    losses.L1Loss: L1,
    losses.SmoothL1Loss: lambda loss, n_out: (SMOOTH_L1 if loss.beta else L1)(loss, n_out),
    losses.HuberLoss: HUBER,
    losses.QuantileLoss: QUANTILE,
    losses.PoissonNLLLoss: lambda loss, n_out: (POISSON_OF_LOG if loss.log_input else POISSON_OF_RATE)(loss, n_out),
    losses.BCEWithLogitsLoss: _bce,
    losses.CrossEntropyLoss: _cross_entropy,
    losses.NLLLoss: _nll,
}
