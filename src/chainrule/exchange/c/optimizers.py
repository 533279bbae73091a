"""What each optimizer is in C: the equations of one weight.

In them `w, g` are the weight and its gradient, decay included; `state->steps`, `t`, counts the updates from 1. They
stand on their own, as the update computes each of them twice: to see what would come of it, and to keep it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ... import optimizers
from .spelling import short, words


class Rule(NamedTuple):
    """One optimizer.

    equation : what the comment says.
    letters : what the arrays of the state are called in the equations, in the order of the optimizer's state_names().
    once : what is computed once in a step.
    each : what happens to one number.
    decays_first : weight decay is no part of the gradient, but happens to the weight before.
    functions : what it calls.
    """

    equation: tuple[str, ...]
    letters: tuple[str, ...]
    once: tuple[str, ...]
    each: tuple[str, ...]
    decays_first: bool = False
    functions: tuple[str, ...] = ()


def _sgd(rule: optimizers.SGD) -> Rule:
    momentum = short(rule.momentum)
    if not rule.momentum:
        return Rule(("w = w - lr g",), (), (), ("w -= lr * g;",))
    first, share = "", ""
    once: tuple[str, ...] = ()
    if rule.dampening:
        first, share = f" + {words(1 - rule.dampening)} g, at the first step v = g", "fresh * "
        once = (f"const float fresh = state->steps == 1 ? 1.0f : {short(1 - rule.dampening)};",)
    new = f"v = {momentum} * v + {share}g;"
    equation = f"v = {words(rule.momentum)} v{first or ' + g'}"
    if rule.nesterov:
        return Rule(
            (equation, f"w = w - lr (g + {words(rule.momentum)} v)"),
            ("v",),
            once,
            (new, f"w -= lr * (g + {momentum} * v);"),
        )
    return Rule((equation, "w = w - lr v"), ("v",), once, (new, "w -= lr * v;"))


def _means(rule: optimizers.Adam) -> tuple[str, tuple[str, ...]]:
    """What Adam and its kin remember, in words and in C."""
    beta1, beta2 = rule.betas
    return f"m = {words(beta1)} m + {words(1 - beta1)} g, v = {words(beta2)} v + {words(1 - beta2)} g^2", (
        f"m = {short(beta1)} * m + {short(1 - beta1)} * g;",
        f"v = {short(beta2)} * v + {short(1 - beta2)} * (g * g);",
    )


def _adam(rule: optimizers.Adam) -> Rule:
    beta1, beta2 = rule.betas
    means, each = _means(rule)
    largest = "v"
    if rule.amsgrad:
        largest = "most"
        each += ("most = v > most ? v : most;",)
    return Rule(
        (
            means + ", most = the largest v so far" * rule.amsgrad,
            f"w = w - lr (m / bias1) / (sqrt({largest} / bias2) + eps), where bias = 1 - beta^t makes good that m",
            "and v began with 0; it is written -expm1(t log(beta)), which keeps its digits where beta is close to 1",
        ),
        ("m", "v", *[largest] * rule.amsgrad),
        (
            *["const float t = (float)state->steps;"] * (max(rule.betas) > 0),
            f"const float rate = lr / {_bias(beta1)}, root2 = sqrtf({_bias(beta2)});",
        ),
        (*each, f"w -= rate * m / (sqrtf({largest}) / root2 + {short(rule.eps)});"),
        decays_first=rule.decoupled_weight_decay,
    )


def _bias(beta: float) -> str:
    """1 - betaᵗ."""
    return f"-expm1f(t * {short(math.log(beta))})" if beta else "1.0f"


def _rmsprop(rule: optimizers.RMSprop) -> Rule:
    old, new = short(rule.alpha), short(1 - rule.alpha)
    shares = f"{words(rule.alpha)} {{0}} + {words(1 - rule.alpha)}"
    letters: tuple[str, ...] = ("v",)
    equation = f"v = {shares.format('v')} g^2"
    each: tuple[str, ...] = (f"v = {old} * v + {new} * (g * g);",)
    spread = "v"
    change = "u, u = g / (sqrt(v) + eps)"
    if rule.centered:
        letters += ("a",)
        each += (
            f"a = {old} * a + {new} * g;",
            "const float variance = v - a * a; /* rounding may make it negative */",
        )
        spread = "variance > 0.0f ? variance : 0.0f"
        equation += f", a = {shares.format('a')} g"
        change = "u, u = g / (sqrt(v - a^2) + eps)"
    quotient = f"g / (sqrtf({spread}) + {short(rule.eps)})"
    if not rule.momentum:
        return Rule((equation, f"w = w - lr {change}"), letters, (), (*each, f"w -= lr * ({quotient});"))
    each += (f"b = {short(rule.momentum)} * b + {quotient};", "w -= lr * b;")
    change = f"b, b = {words(rule.momentum)} b + u{change[1:]}"
    return Rule((equation, f"w = w - lr {change}"), (*letters, "b"), (), each)


def _adagrad(rule: optimizers.Adagrad) -> Rule:
    rate, words_of_rate = "lr", "lr"
    once: tuple[str, ...] = ()
    if rule.lr_decay:
        rate, words_of_rate = "rate", f"lr / (1 + {words(rule.lr_decay)} (t - 1))"
        once = (f"const float rate = lr / (1.0f + {short(rule.lr_decay)} * (float)(state->steps - 1));",)
    return Rule(
        ("s = s + g^2", f"w = w - {words_of_rate} g / (sqrt(s) + eps)"),
        ("s",),
        once,
        ("s += g * g;", f"w -= {rate} * g / (sqrtf(s) + {short(rule.eps)});"),
    )


def _nadam(rule: optimizers.NAdam) -> Rule:
    beta1, beta2 = rule.betas
    means, each = _means(rule)
    fading = short(rule.momentum_decay * math.log(0.96))
    momentum = f"""\
/* What becomes of the momentum, {words(beta1)}, at step t. */
static float momentum(uint32_t t)
{{
    return {short(beta1)} * (1.0f - 0.5f * expf((float)t * {fading}));
}}
"""
    product = """\
/* The product of the momenta of all steps until t; what is less makes no difference to 1. */
static float mu_product(uint32_t t)
{
    float product = 1.0f;
    uint32_t i;
    for (i = 1; i <= t && product > 1e-9f; i++)
        product *= momentum(i);
    return product;
}
"""
    return Rule(
        (
            means,
            "w = w - lr (next m / (1 - product next) + (1 - mu) g / (1 - product)) / (sqrt(v / bias2) + eps)",
            "where mu and next are the momenta of this step and the next, and bias2 = 1 - beta^t as for Adam",
        ),
        ("m", "v"),
        (
            *["const float t = (float)state->steps;"] * (beta2 > 0),
            "const float mu = momentum(state->steps), next = momentum(state->steps + 1);",
            "const float product = mu_product(state->steps);",
            "const float of_g = lr * (1.0f - mu) / (1.0f - product), of_m = lr * next / (1.0f - product * next);",
            f"const float root2 = sqrtf({_bias(beta2)});",
        ),
        (*each, f"w -= (of_g * g + of_m * m) / (sqrtf(v) / root2 + {short(rule.eps)});"),
        decays_first=rule.decoupled_weight_decay,
        functions=(momentum, product),
    )


def _radam(rule: optimizers.RAdam) -> Rule:
    beta1, beta2 = rule.betas
    means, each = _means(rule)
    count, plain = "const float t = (float)state->steps;", f"lr / {_bias(beta1)}"
    most = 2 / (1 - beta2) - 1
    if most <= 5:  # it never knows enough of v
        return Rule(
            (means, "w = w - lr m / bias1, where bias1 = 1 - beta^t"),
            ("m", "v"),
            (*[count] * (beta1 > 0), f"const float rate = {plain};"),
            (*each, "w -= rate * m;"),
            decays_first=rule.decoupled_weight_decay,
        )
    speed = -math.log(beta2)  # with which beta2^t falls
    known = f"""\
/* How many steps v knows of: {words(most)} - 2 t beta^t / (1 - beta^t). While beta^t is close to 1, that is a
 * difference of large numbers, and better t + h(x / t) - t h(x), where h(x) = coth(x) - 1 / x
 * = x / 3 - x^3 / 45 + 2 x^5 / 945 - x^7 / 4725 + ... */
static float known_steps(float t)
{{
    const float x = {short(speed / 2)} * t, xx = x * x;
    if (x > 0.5f)
        return {short(most)} - 2.0f * t / expm1f(2.0f * x);
    return t + {short(1 / math.tanh(speed / 2) - 2 / speed)}
           - t * x * (1.0f / 3.0f - xx * (1.0f / 45.0f - xx * (2.0f / 945.0f - xx / 4725.0f)));
}}
"""
    return Rule(
        (
            means,
            "w = w - lr m / bias1 while v knows of at most five steps, and then",
            "w = w - lr r (m / bias1) / (sqrt(v / bias2) + eps / sqrt(bias2)), where bias = 1 - beta^t,",
            f"r = sqrt((known - 4) (known - 2) most / ((most - 4) (most - 2) known)), most = {words(most)}",
        ),
        ("m", "v"),
        (
            count,
            f"const float plain = {plain}, known = known_steps(t);",
            f"const float share = {short(most / ((most - 4) * (most - 2)))} * (known - 4.0f) * (known - 2.0f) / known;",
            f"const float rate = known > 5.0f ? plain * sqrtf(share * {_bias(beta2)}) : plain;",
        ),
        (*each, f"w -= known > 5.0f ? rate * m / (sqrtf(v) + {short(rule.eps)}) : rate * m;"),
        decays_first=rule.decoupled_weight_decay,
        functions=(known,),
    )


def _adamax(rule: optimizers.Adamax) -> Rule:
    beta1, beta2 = rule.betas
    return Rule(
        (
            f"m = {words(beta1)} m + {words(1 - beta1)} g, most = the larger of {words(beta2)} most and |g| + eps",
            "w = w - lr (m / bias1) / most, where bias1 = 1 - beta^t",
        ),
        ("m", "most"),
        (*["const float t = (float)state->steps;"] * (beta1 > 0), f"const float rate = lr / {_bias(beta1)};"),
        (
            f"const float size = (g < 0.0f ? -g : g) + {short(rule.eps)};",
            f"m = {short(beta1)} * m + {short(1 - beta1)} * g;",
            f"most *= {short(beta2)};",
            "most = most > size ? most : size;",
            "w -= rate * m / most;",
        ),
    )


def _adadelta(rule: optimizers.Adadelta) -> Rule:
    old, new, eps = short(rule.rho), short(1 - rule.rho), short(rule.eps)
    shares = f"{words(rule.rho)} {{0}} + {words(1 - rule.rho)}"
    return Rule(
        (
            f"v = {shares.format('v')} g^2, d = sqrt(u + eps) / sqrt(v + eps) g, u = {shares.format('u')} d^2",
            "w = w - lr d",
        ),
        ("v", "u"),
        (),
        (
            "float d;",
            f"v = {old} * v + {new} * (g * g);",
            f"d = sqrtf(u + {eps}) / sqrtf(v + {eps}) * g;",
            f"u = {old} * u + {new} * (d * d);",
            "w -= lr * d;",
        ),
    )


def _rprop(rule: optimizers.Rprop) -> Rule:
    (shrink, grow), (least, most) = rule.etas, rule.step_sizes
    return Rule(
        (
            f"where g has the sign of old: s = {words(grow)} s, at most {words(most)}; old = g",
            f"where it has the other sign: s = {words(shrink)} s, at least {words(least)}; old = 0; else old = g",
            "w = w - s sign(old)",
        ),
        ("old", "s"),
        (),
        (
            "const int same = (g > 0.0f && old > 0.0f) || (g < 0.0f && old < 0.0f);",
            "const int other = (g > 0.0f && old < 0.0f) || (g < 0.0f && old > 0.0f);",
            "if (state->steps == 1)",
            "    s = lr;",
            f"s = same ? {short(grow)} * s : other ? {short(shrink)} * s : s;",
            f"s = s < {short(least)} ? {short(least)} : s > {short(most)} ? {short(most)} : s;",
            "old = other ? 0.0f : g;",
            "w -= old > 0.0f ? s : old < 0.0f ? -s : old;",
        ),
    )


def _asgd(rule: optimizers.ASGD) -> Rule:
    lambd, of_words = short(rule.lambd), words(rule.lambd)
    return Rule(
        (
            f"w = w (1 - {of_words} eta) - eta g, eta = lr / (1 + {of_words} lr (t - 1))^{words(rule.alpha)}",
            f"a = a + mu (w - a), mu = 1 / max(1, t - 1 - {words(rule.t0)})",
        ),
        ("a",),
        (
            "const float before = (float)(state->steps - 1);",
            f"const float eta = lr / powf(1.0f + {lambd} * lr * before, {short(rule.alpha)});",
            f"const float kept = 1.0f - {lambd} * eta, since = before - {short(rule.t0)};",
        ),
        ("w = w * kept - eta * g;", "a = since > 1.0f ? a + (w - a) / since : w;"),
    )


RULES: dict[type, Callable[[Any], Rule]] = {
    optimizers.SGD: _sgd,
    optimizers.Adam: _adam,
    optimizers.AdamW: _adam,
    optimizers.RMSprop: _rmsprop,
    optimizers.Adagrad: _adagrad,
    optimizers.NAdam: _nadam,
    optimizers.RAdam: _radam,
    optimizers.Adamax: _adamax,
    optimizers.Adadelta: _adadelta,
    optimizers.Rprop: _rprop,
    optimizers.ASGD: _asgd,
}


def rule_of(optimizer: Any) -> Rule:
    """The rule of an optimizer.

    Raises ValueError for one that has none, as a subclass of one that has.
    """
    if type(optimizer) not in RULES:
        raise ValueError(f"to_c: there is no C for {type(optimizer).__name__}")
    return RULES[type(optimizer)](optimizer)


def kept(optimizer: Any) -> dict[str, str]:
    """The arrays of the state, by their names in Python, and what they are called in the equations."""
    return dict(zip(optimizer.state_names(), rule_of(optimizer).letters, strict=True))


CLIP_VALUE = """\
/* Cut each gradient to +-most. */
static void clip_value(float *g, int n, float most)
{
    int i;
    for (i = 0; i < n; i++)
        g[i] = g[i] > most ? most : g[i] < -most ? -most : g[i];
}
"""

CLIP_NORM = """\
/* Scale all gradients so that their norm, sqrt(sum g^2), is at most this. */
static void clip_norm(float *g, int n, float most)
{
    float sum = 0.0f, scale;
    int i;
    for (i = 0; i < n; i++)
        sum += g[i] * g[i];
    scale = most / (sqrtf(sum) + 1e-6f);
    for (i = 0; scale < 1.0f && i < n; i++)
        g[i] *= scale;
}
"""
