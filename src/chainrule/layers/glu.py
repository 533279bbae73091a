"""A gate that a layer makes for itself: half of its columns say how much of the other half passes."""

from typing import Any

from ..arguments import whole
from ..arrays import Array, namespace
from ..module import Module
from .activations import sigmoid


class GLU(Module):
    """The gated linear unit: the first half along an axis times the sigmoid of the second.

    Equation  y = a s, s = σ(b), x = [a, b];  dx = [dy s, dy a s (1 - s)]
    Shapes    x (…, 2n, …) -> y (…, n, …) along dim
    Saves     a and s
    Source    Dauphin et al. 2017, "Language modeling with gated convolutional networks", equation 1
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = whole(self, "dim", dim)

    def forward(self, x: Array) -> tuple[Array, Any]:
        self.namespace(x)  # refuses what is no array
        dim = self.dim + x.ndim if self.dim < 0 else self.dim
        if not 0 <= dim < x.ndim or x.shape[dim] % 2:
            self.refuse_shape(f"must have an axis {self.dim} of even length", x, one_sample=self.dim == x.ndim)
        n, before = x.shape[dim] // 2, (slice(None),) * dim  # all of the axes in front
        first, second = (*before, slice(n)), (*before, slice(n, None))
        a, s = x[first], sigmoid(x[second])
        return a * s, (a, s)

    def backward(self, dy: Array, saved: Any) -> Array:
        a, s = saved
        return namespace(dy).concat([dy * s, dy * a * (s * (1 - s))], axis=self.dim)
