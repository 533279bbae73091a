"""Numbers with mean 0 and variance 1, and how a gradient comes back through them: what the normalizations share.

docs/derivations/normalization.md has the algebra, with these names.
"""

from typing import NamedTuple

from ...arrays import Array, namespace

Axes = tuple[int, ...]


class Standardized(NamedTuple):
    """Numbers with mean 0 and variance 1 along some axes, and what made them so, with axes of length 1 there."""

    x_hat: Array
    s: Array  # 1/√(var + eps)
    mean: Array
    var: Array


def standardized(x: Array, axes: Axes, eps: float) -> Standardized:
    """x̂ = (x - mean) s with s = 1/√(var + eps), mean and var along the axes.

    The mean is taken away twice. What the first leaves behind is as large as the rounding of x, which is much where the
    mean is far from 0; what the second leaves is as small as the rounding of the differences.

    Source    Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance", the corrected two passes
    """
    xp = namespace(x)
    mean = xp.mean(x, axis=axes, keepdims=True)
    d = x - mean
    rest = xp.mean(d, axis=axes, keepdims=True)
    d = d - rest
    var = xp.mean(d * d, axis=axes, keepdims=True)
    s = 1 / xp.sqrt(var + eps)
    return Standardized(d * s, s, mean + rest, var)


def standardized_backward(dx_hat: Array, x_hat: Array, s: Array, axes: Axes) -> Array:
    """dx = s (dx̂ - mean dx̂ - x̂ mean(dx̂ x̂)), means along the axes.

    Every x moves the mean and the variance of all: the second term is what comes back through the mean, the third what
    comes back through the variance.
    """
    xp = namespace(dx_hat)
    through_mean = xp.mean(dx_hat, axis=axes, keepdims=True)
    through_var = xp.mean(dx_hat * x_hat, axis=axes, keepdims=True)
    return s * (dx_hat - through_mean - x_hat * through_var)
