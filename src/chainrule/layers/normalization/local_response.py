"""Local response normalization: each channel is divided by what its neighbours say."""

from ... import arrays
from ...arguments import number, positive
from ...arrays import Array, namespace
from ...module import Module


class LocalResponseNorm(Module):
    """Divide each number by a power of the mean square of its neighbours: those at its place in the channels nearby.

    Equation  D = k + alpha/size Σ x²;  y = x D^-beta
              dx = dy D^-beta - 2 alpha beta/size x Σ' (dy y / D)
              Σ over the channels c - ⌊size/2⌋ … c + ⌊(size - 1)/2⌋ as far as there are any, and Σ' over those that have
              c among theirs, c - ⌊(size - 1)/2⌋ … c + ⌊size/2⌋
    Shapes    x (batch, channels, length, …) -> y (the same)
    Saves     x and D
    Source    Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural networks",
              section 3.3; with the mean where they have the sum, as in PyTorch

    Parameters
    ----------
    size : how many channels are neighbours, the channel itself included.
    alpha, beta, k : the numbers of the equation.

    Raises ValueError for arguments that do not fit and for an x without an axis behind the channels; TypeError for what
    is no array of floating-point numbers.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = positive(self, "size", size)
        self.alpha, self.beta, self.k = (
            number(self, name, value) for name, value in (("alpha", alpha), ("beta", beta), ("k", k))
        )

    def forward(self, x: Array) -> tuple[Array, tuple[Array, Array]]:
        if not arrays.is_array(x) or not arrays.is_floating(x):
            self.refuse("forward", "x must be a floating-point array", arrays.describe_kind(x), TypeError)
        if x.ndim < 3:
            self.refuse_shape("must be (batch, channels, length, …)", x, one_sample=x.ndim == 2)
        d = self.k + self.alpha / self.size * _windowed(x * x, self.size // 2, (self.size - 1) // 2)
        return x * d**-self.beta, (x, d)

    def backward(self, dy: Array, saved: tuple[Array, Array]) -> Array:
        x, d = saved
        power = d**-self.beta
        theirs = _windowed(dy * (x * power) / d, (self.size - 1) // 2, self.size // 2)
        return dy * power - 2 * self.alpha * self.beta / self.size * x * theirs

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _windowed(x: Array, before: int, after: int) -> Array:
    """For each channel the sum over so many channels before it, itself, and so many after it.

    The loop runs over the channels of a window; each adds to all the windows that it is in at once.
    """
    total, n = namespace(x).asarray(x, copy=True), x.shape[1]
    for step in range(1, min(before, n - 1) + 1):
        total[:, step:] += x[:, : n - step]
    for step in range(1, min(after, n - 1) + 1):
        total[:, : n - step] += x[:, step:]
    return total
