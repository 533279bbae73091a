"""Layer normalization: the numbers of each sample have mean 0 and variance 1."""

from typing import Any

from ...arguments import flag, number
from ...arrays import Array
from .elements import OverElements
from .standardize import standardized, standardized_backward


class LayerNorm(OverElements):
    """Give the numbers along the last axes mean 0 and variance 1, and then a scale and a shift that are learned.

    Equation  x̂ = (x - mean) s, s = 1/√(var + eps);  y = weight x̂ + bias
              dx = s (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)), dx̂ = weight dy;  dweight = Σ dy x̂, dbias = Σ dy
              with mean, var (which divides by n) and the means in dx over the last axes, and the sums over all others
              (docs/derivations/normalization.md)
    Shapes    x (batch, …, *normalized_shape) -> y (the same); weight, bias normalized_shape
    Saves     x̂ and s
    Source    Ba, Kiros, Hinton 2016, "Layer normalization"; initial values as in PyTorch: ones and zeros

    Parameters
    ----------
    normalized_shape : the length of the last axis, or those of several last axes.
    eps : what is added to the variance.
    elementwise_affine : whether there are weight and bias.
    bias : True, False (none), an array to start from, or a Parameter to share.
    weight : an array to start from, of which a copy is kept, or a Parameter to share.
    dtype : of weight and bias if no weight is given: float32 like PyTorch, float64 or float16.

    Raises ValueError for arguments that do not fit, and for x and dy of the wrong shape; TypeError for another dtype or
    library.

    >>> LayerNorm(2, eps=0.0, dtype="float64")([[1.0, 3.0], [20.0, 10.0]])
    array([[-1.,  1.],
           [ 1., -1.]])
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: Any = True,
        *,
        weight: Any = None,
        dtype: Any = None,
    ) -> None:
        self._set_shape(normalized_shape)
        self.eps = number(self, "eps", eps, least=0)
        self.elementwise_affine = flag(self, "elementwise_affine", elementwise_affine)
        if self.elementwise_affine:
            self._make_parameters(self.normalized_shape, weight, bias, dtype)
        else:
            self._make_none(weight, bias, dtype)

    def forward(self, x: Array) -> tuple[Array, tuple[Array, Array]]:
        x_hat, s, _, _ = standardized(x, self._last_axes(x), self.eps)
        return self._affine(x_hat), (x_hat, s)

    def backward(self, dy: Array, saved: tuple[Array, Array]) -> Array:
        x_hat, s = saved
        self._gather(dy, x_hat)
        return standardized_backward(self._dx_hat(dy), x_hat, s, self._last_axes(x_hat))

    def backward_parameters(self, dy: Array, saved: tuple[Array, Array]) -> None:
        self._gather(dy, saved[0])

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )
