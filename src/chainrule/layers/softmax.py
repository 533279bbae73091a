"""Activations that turn the numbers along one axis into probabilities, or their logarithms."""

from ..arguments import whole
from ..arrays import Array, namespace
from ..module import Module


def log_softmax(x: Array, axis: int) -> Array:
    """x - log Σ exp(x) along `axis`, shifted by the largest x so that exp never overflows."""
    xp = namespace(x)
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


def softmax(x: Array, axis: int) -> Array:
    """exp(x) / Σ exp(x) along `axis`, shifted by the largest x so that exp never overflows."""
    xp = namespace(x)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


class _AlongOneAxis(Module):
    def __init__(self, dim: int = -1) -> None:
        self.dim = whole(self, "dim", dim)

    def check(self, x: Array) -> None:
        """Refuse what has no axis `dim`."""
        self.namespace(x)
        if not -x.ndim <= self.dim < x.ndim:
            self.refuse_shape(f"must have an axis {self.dim}", x, one_sample=x.ndim == self.dim)


class Softmax(_AlongOneAxis):
    """Positive numbers along one axis that add up to one.

    Equation  y = exp(x) / Σ exp(x);  dx = y (dy - Σ dy y), sums along dim
    Shapes    x (any) -> y (the same)
    Saves     y
    Source    Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"
    Note      dim is -1 unless given; PyTorch guesses it from the number of axes and warns
    """

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.check(x)
        y = softmax(x, self.dim)
        return y, y

    def backward(self, dy: Array, y: Array) -> Array:
        return y * (dy - namespace(y).sum(dy * y, axis=self.dim, keepdims=True))


class LogSoftmax(_AlongOneAxis):
    """The logarithm of Softmax, computed without leaving the logarithms.

    Equation  y = x - log Σ exp(x);  dx = dy - exp(y) Σ dy, sums along dim
    Shapes    x (any) -> y (the same)
    Saves     y
    Note      dim is -1 unless given; PyTorch guesses it from the number of axes and warns
    """

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.check(x)
        y = log_softmax(x, self.dim)
        return y, y

    def backward(self, dy: Array, y: Array) -> Array:
        xp = namespace(y)
        return dy - xp.exp(y) * xp.sum(dy, axis=self.dim, keepdims=True)
