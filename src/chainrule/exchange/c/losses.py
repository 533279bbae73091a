"""What each loss is in C: one static function of a row that returns its share of the loss, and leaves dy.

`share` is what the row counts: 1 for a sum; for a mean over elements 1 / (rows · outputs), and for one over samples
1 / (what all rows count together). dy is `share` times the slope of the loss by y.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ...engine.plan import Plan
from .activations import LARGEST, SIGMOID_OF_ONE
from .spelling import apart, array, short, statics

Settings = Mapping[str, Any]


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


_ERROR = "e = y[i] - target[i]"

MSE = _elements("mse", "l = e^2, e = y - target; its slope is 2 e", (_ERROR,), "e * e", "2.0f * e")
L1 = _elements(
    "l1",
    "l = |e|, e = y - target; its slope is the sign of e",
    (_ERROR,),
    "fabsf(e)",
    "e > 0.0f ? 1.0f : e < 0.0f ? -1.0f : 0.0f",
)
SMOOTH_L1 = _elements(
    "smoothl1",
    "l = e^2 / (2 beta) where |e| < beta, else |e| - beta / 2, e = y - target; its slope is e / beta, cut to -1 ... 1",
    (_ERROR, "size = fabsf(e)"),
    "size < beta ? 0.5f * e * e / beta : size - 0.5f * beta",
    "size < beta ? e / beta : e > 0.0f ? 1.0f : -1.0f",
    ", float beta",
)
HUBER = _elements(
    "huber",
    "l = e^2 / 2 where |e| < delta, else delta (|e| - delta / 2), e = y - target; its slope is e, cut to +-delta",
    (_ERROR, "size = fabsf(e)"),
    "size < delta ? 0.5f * e * e : delta * (size - 0.5f * delta)",
    "size < delta ? e : e > 0.0f ? delta : -delta",
    ", float delta",
)
QUANTILE = _elements(
    "quantile_loss",
    "l = -q e where e < 0, else (1 - q) e, e = y - target, q = quantile; its slope is -q, 1 - q, and 0 where e = 0",
    (_ERROR,),
    "(e < 0.0f ? -quantile : 1.0f - quantile) * e",
    "e < 0.0f ? -quantile : e > 0.0f ? 1.0f - quantile : 0.0f",
    ", float quantile",
)
POISSON_OF_LOG = _elements(
    "poisson_nll",
    "l = exp(y) - target y; its slope is exp(y) - target",
    ("rate = expf(y[i])",),
    "rate - target[i] * y[i]",
    "rate - target[i]",
)
POISSON_OF_RATE = _elements(
    "poisson_nll",
    "l = y - target log(y + eps); its slope is 1 - target / (y + eps)",
    ("rate = y[i] + eps",),
    "y[i] - target[i] * logf(rate)",
    "1.0f - target[i] / rate",
    ", float eps",
)

SOFT_MARGIN = _elements(
    "soft_margin",
    "l = log(1 + exp(m)), m = -target y, written so that exp never overflows; its slope is -target / (1 + exp(-m))",
    ("m = -target[i] * y[i]",),
    "log1pf(expf(-fabsf(m))) + (m < 0.0f ? 0.0f : m)",
    "-target[i] * sigmoid_of(m)",
)


def _bce(settings: Settings, n: int) -> tuple[str, ...]:
    """With its weights, where it has any, as constant arrays."""
    arrays: list[str] = []
    equation, also, terms, factor = "c = 1", "", "1.0f", ""
    if settings["pos_weight"]:
        arrays.append(array("pos_weight", np.broadcast_to(settings["pos_weight"], n)))
        equation, terms = "c = 1 + (pos_weight - 1) t", "1.0f + (pos_weight[i] - 1.0f) * t"
    if settings["weight"]:
        arrays.append(array("element_weight", np.broadcast_to(settings["weight"], n)))
        also, factor = ", both times element_weight", "element_weight[i] * "
    text = _elements(
        "bce_with_logits",
        "l = (1 - t) y + c log(1 + exp(-y)), written so that exp never overflows; its slope is\n"
        f" * (1 - t) - c / (1 + exp(y)){also}; t = target, {equation}",
        ("t = target[i]", f"c = {terms}", "softplus = log1pf(expf(-fabsf(y[i]))) + (y[i] < 0.0f ? -y[i] : 0.0f)"),
        f"{factor}((1.0f - t) * y[i] + c * softplus)",
        f"{factor}(1.0f - t - c * sigmoid_of(-y[i]))",
    )
    return (*arrays, SIGMOID_OF_ONE, text)


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


def _cross_entropy(settings: Settings, n: int) -> tuple[str, ...]:
    eps, weights = settings["label_smoothing"], _class_weights(settings)
    if not eps and not weights:
        return LARGEST, CROSS_ENTROPY
    factor = "class_weight[i] * " if weights else ""
    share = f"""\
/* What class i is asked for: {factor}((1 - eps) [i = target] + eps / {n}), eps = {eps:g} */
static float q_of(int i, int target)
{{
    return {factor}(i == target ? {short(1 - eps + eps / n)} : {short(eps / n)});
}}
"""
    return (*weights, LARGEST, share, CROSS_ENTROPY_OF_SHARES)


def _nll(settings: Settings, n: int) -> tuple[str, ...]:
    weights = _class_weights(settings)
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
    return (*weights, text)


def _class_weights(settings: Settings) -> tuple[str, ...]:
    """The weight of each class as a constant array, if there are any."""
    return (array("class_weight", settings["weight"]),) if settings["weight"] else ()


# By the class in Python: the functions, those that are needed first, given the settings and the number of outputs.
LOSSES: dict[str, Callable[[Settings, int], tuple[str, ...]]] = {
    "MSELoss": lambda settings, n: (MSE,),
    "L1Loss": lambda settings, n: (L1,),
    "SmoothL1Loss": lambda settings, n: (SMOOTH_L1 if settings["beta"] else L1,),
    "HuberLoss": lambda settings, n: (HUBER,),
    "QuantileLoss": lambda settings, n: (QUANTILE,),
    "PoissonNLLLoss": lambda settings, n: (POISSON_OF_LOG if settings["log_input"] else POISSON_OF_RATE,),
    "BCEWithLogitsLoss": _bce,
    "SoftMarginLoss": lambda settings, n: (SIGMOID_OF_ONE, SOFT_MARGIN),
    "CrossEntropyLoss": _cross_entropy,
    "NLLLoss": _nll,
}


class LossInC(NamedTuple):
    """The loss of a head: its functions, of which the last is called, and its settings."""

    texts: tuple[str, ...]
    settings: Settings

    @property
    def class_weight(self) -> str:
        """The name of the array with the weight of each class; empty if there is none."""
        names = [name for text in self.texts for name in statics(text) if name.startswith("class_weight")]
        return names[0] if names else ""


def losses_of(plan: Plan) -> list[LossInC]:
    """The loss of each head; where two say different things by one name, the second says it by a name with a number.

    Raises ValueError for one that C does not know.
    """
    found: list[LossInC] = []
    for i, (head, shape) in enumerate(zip(plan.heads, plan.y_shapes, strict=True)):
        if type(head.loss).__name__ not in LOSSES:
            raise ValueError(f"to_c: there is no C for {type(head.loss).__name__}")
        said = head.settings
        if "missing" in said:
            raise ValueError(f'to_c: there is no C for {said["kind"]} with missing="{said["missing"]}"')
        texts = LOSSES[said["kind"]](said, prod(shape))
        found.append(LossInC(apart(texts, [text for loss in found for text in loss.texts], i), said))
    return found
