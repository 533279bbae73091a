"""Activations that work on each element by itself. Every one maps x (any shape) to y of the same shape.

Each derivative is written with what is at hand: the output y where it suffices (Tanh, Sigmoid), else the input x.
"""

import math

from .. import arrays
from ..arguments import choice, number
from ..arrays import Array, namespace
from ..module import Module


class ReLU(Module):
    """Let the positive part through.

    Equation  y = max(0, x);  dx = dy where x > 0, else 0 (0 at the kink, as in PyTorch)
    Saves     y
    Source    Nair, Hinton 2010, "Rectified linear units improve restricted Boltzmann machines"
    """

    def forward(self, x: Array) -> tuple[Array, Array]:
        y = self.namespace(x).where(x <= 0, 0, x)  # in this order NaN passes through; max or x > 0 might hide it
        return y, y

    def backward(self, dy: Array, y: Array) -> Array:
        return namespace(y).where(y <= 0, 0, dy)  # in this order the gradient of a NaN is not lost


class LeakyReLU(Module):
    """ReLU with a small slope on the negative side, so that no unit is ever cut off for good.

    Equation  y = x where x > 0, else slope · x
    Saves     x
    Source    Maas, Hannun, Ng 2013, "Rectifier nonlinearities improve neural network acoustic models"
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number(self, "negative_slope", negative_slope)

    def forward(self, x: Array) -> tuple[Array, Array]:
        return self.namespace(x).where(x > 0, x, self.negative_slope * x), x

    def backward(self, dy: Array, x: Array) -> Array:
        return namespace(x).where(x > 0, dy, self.negative_slope * dy)


class ELU(Module):
    """Like ReLU, but smoothly down to -α, which brings the mean of the outputs closer to zero.

    Equation  y = x where x > 0, else α (exp(x) - 1);  dx = dy where x > 0, else dy · α exp(x)
    Saves     x
    Source    Clevert, Unterthiner, Hochreiter 2016, "Fast and accurate deep network learning by ELUs", equation 15
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number(self, "alpha", alpha)

    def forward(self, x: Array) -> tuple[Array, Array]:
        xp = self.namespace(x)
        negative = xp.where(x > 0, 0, x)  # exp of a large x would overflow, though `where` drops it
        return xp.where(x > 0, x, self.alpha * xp.expm1(negative)), x

    def backward(self, dy: Array, x: Array) -> Array:
        xp = namespace(x)
        return xp.where(x > 0, dy, dy * (self.alpha * xp.exp(xp.where(x > 0, 0, x))))


class Tanh(Module):
    """Squash into (-1, 1).

    Equation  y = tanh(x);  dx = dy (1 - y²)
    Saves     y
    """

    def forward(self, x: Array) -> tuple[Array, Array]:
        y = self.namespace(x).tanh(x)
        return y, y

    def backward(self, dy: Array, y: Array) -> Array:
        return dy * (1 - y * y)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that exp never overflows and both tails keep their digits."""
    xp = namespace(x)
    tail = xp.exp(-xp.abs(x))
    return xp.where(x < 0, tail, 1) / (1 + tail)


class Sigmoid(Module):
    """Squash into (0, 1).

    Equation  y = 1 / (1 + exp(-x));  dx = dy y (1 - y)
    Saves     y
    """

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.namespace(x)  # refuses what is no array
        y = sigmoid(x)
        return y, y

    def backward(self, dy: Array, y: Array) -> Array:
        return dy * (y * (1 - y))


class SiLU(Module):
    """The input times its own sigmoid, also called swish.

    Equation  y = x σ(x);  dx = dy σ(x) (1 + x (1 - σ(x)))
    Saves     x
    Source    Elfwing, Uchibe, Doya 2018, "Sigmoid-weighted linear units", equations 5 and 6
    """

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.namespace(x)  # refuses what is no array
        return x * sigmoid(x), x

    def backward(self, dy: Array, x: Array) -> Array:
        s = sigmoid(x)
        return dy * (s * (1 + x * (1 - s)))


class GELU(Module):
    """The input times the probability that a standard normal variable lies below it.

    Equation  "none": y = x Φ(x), Φ(x) = (1 + erf(x/√2)) / 2;  dx = dy (Φ(x) + x φ(x)), φ(x) = exp(-x²/2) / √(2π)
              "tanh": y = x (1 + tanh u) / 2, u = √(2/π) (x + 0.044715 x³)
    Saves     x
    Source    Hendrycks, Gimpel 2016, "Gaussian error linear units", section 2, whence the constant
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice(self, "approximate", approximate, ("none", "tanh"))

    def forward(self, x: Array) -> tuple[Array, Array]:
        xp = self.namespace(x)
        if self.approximate == "tanh":
            return 0.5 * x * (1 + xp.tanh(_gelu_argument(x))), x
        return x * _normal_cdf(x), x

    def backward(self, dy: Array, x: Array) -> Array:
        xp = namespace(x)
        if self.approximate == "tanh":
            t = xp.tanh(_gelu_argument(x))
            du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
            return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du)
        density = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return dy * (_normal_cdf(x) + x * density)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1 + arrays.erf(x * math.sqrt(0.5)))


def _gelu_argument(x: Array) -> Array:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)


class Softplus(Module):
    """A smooth ReLU, always positive.

    Equation  y = log(1 + exp(β x)) / β, and x itself where β x > threshold;  dx = dy σ(β x), there dy
    Saves     x
    Source    Dugas et al. 2001, "Incorporating second-order functional knowledge"; the threshold is PyTorch's
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = number(self, "beta", beta, above=0)
        self.threshold = number(self, "threshold", threshold)

    def forward(self, x: Array) -> tuple[Array, Array]:
        xp = self.namespace(x)
        scaled = self.beta * x
        bent = xp.where(scaled > self.threshold, 0, scaled)  # exp of a large x would overflow, though `where` drops it
        return xp.where(scaled > self.threshold, x, xp.log1p(xp.exp(bent)) / self.beta), x

    def backward(self, dy: Array, x: Array) -> Array:
        scaled = self.beta * x
        return namespace(x).where(scaled > self.threshold, dy, dy * sigmoid(scaled))


class Mish(Module):
    """The input times the tanh of its softplus: near to SiLU, and steeper at 0.

    Equation  y = x t, t = tanh(log(1 + exp(x)));  dx = dy (t + x σ(x) (1 - t²))
    Saves     x
    Source    Misra 2020, "Mish: a self regularized non-monotonic activation function", equation 1
    """

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.namespace(x)  # refuses what is no array
        return x * _tanh_softplus(x), x

    def backward(self, dy: Array, x: Array) -> Array:
        t = _tanh_softplus(x)
        return dy * (t + x * sigmoid(x) * (1 - t * t))


def _tanh_softplus(x: Array) -> Array:
    """((1 + e)² - 1) / ((1 + e)² + 1) with e = exp(x), and both divided by e² where that might overflow."""
    xp = namespace(x)
    tail = xp.exp(-xp.abs(x))
    above = 2 * tail + xp.where(x < 0, tail * tail, 1)
    return above / (above + 2 * xp.where(x < 0, 1, tail * tail))


class Softsign(Module):
    """Squash into (-1, 1) like Tanh, but with tails that end slowly.

    Equation  y = x / (1 + |x|);  dx = dy / (1 + |x|)²
    Saves     x
    Source    Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"
    Note      where x is infinite, dx is 0; PyTorch's is NaN
    """

    def forward(self, x: Array) -> tuple[Array, Array]:
        return x / (1 + self.namespace(x).abs(x)), x

    def backward(self, dy: Array, x: Array) -> Array:
        slope = 1 / (1 + namespace(x).abs(x))  # not by its square, which might overflow
        return dy * slope * slope
