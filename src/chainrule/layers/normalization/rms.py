"""Root mean square normalization: LayerNorm without its mean."""

from typing import Any

from ...arguments import flag, number
from ...arrays import Array, namespace
from .elements import OverElements


class RMSNorm(OverElements):
    """Divide the numbers along the last axes by the root of their mean square, and scale them by what is learned.

    Equation  x̂ = x s, s = 1/√(mean(x²) + eps);  y = weight x̂
              dx = s (dx̂ - x̂ mean(dx̂ x̂)), dx̂ = weight dy;  dweight = Σ dy x̂
              with the means over the last axes, and the sum over all others (docs/derivations/normalization.md)
    Shapes    x (batch, …, *normalized_shape) -> y (the same); weight normalized_shape
    Saves     x̂ and s
    Source    Zhang, Sennrich 2019, "Root mean square layer normalization"; initial values as in PyTorch: ones

    Parameters
    ----------
    normalized_shape : the length of the last axis, or those of several last axes.
    eps : what is added to the mean square; None for the eps of the dtype that comes.
    elementwise_affine : whether there is a weight.
    weight : an array to start from, of which a copy is kept, or a Parameter to share.
    dtype : of the weight if none is given: float32 like PyTorch, float64 or float16.

    Raises ValueError for arguments that do not fit, and for x and dy of the wrong shape; TypeError for another dtype or
    library.

    >>> RMSNorm(2, eps=0.0, dtype="float64")([[1.0, 7.0]])
    array([[0.2, 1.4]])
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        weight: Any = None,
        dtype: Any = None,
    ) -> None:
        self._set_shape(normalized_shape)
        self.eps = None if eps is None else number(self, "eps", eps, least=0)
        self.elementwise_affine = flag(self, "elementwise_affine", elementwise_affine)
        if self.elementwise_affine:
            self._make_parameters(self.normalized_shape, weight, False, dtype)
        else:
            self._make_none(weight, False, dtype)

    def forward(self, x: Array) -> tuple[Array, tuple[Array, Array]]:
        axes, xp = self._last_axes(x), namespace(x)
        eps = float(xp.finfo(x.dtype).eps) if self.eps is None else self.eps
        s = 1 / xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True) + eps)
        x_hat = x * s
        return self._affine(x_hat), (x_hat, s)

    def backward(self, dy: Array, saved: tuple[Array, Array]) -> Array:
        x_hat, s = saved
        self._gather(dy, x_hat)
        dx_hat, axes = self._dx_hat(dy), self._last_axes(x_hat)
        return s * (dx_hat - x_hat * namespace(dy).mean(dx_hat * x_hat, axis=axes, keepdims=True))

    def backward_parameters(self, dy: Array, saved: tuple[Array, Array]) -> None:
        self._gather(dy, saved[0])

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
