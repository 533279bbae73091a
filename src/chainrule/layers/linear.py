"""The fully connected layer."""

from typing import Any

import numpy as np

from .. import initializers
from ..arguments import positive
from ..arrays import Array
from ..module import Module, Parameter
from .weights import require_kind, weight_and_bias


class Linear(Module):
    """Map every row through the same affine function.

    Equation  y = x Wᵀ + b
    Shapes    x (batch, …, in_features) -> y (batch, …, out_features);
              weight W (out_features, in_features), bias b (out_features,)
    Saves     x
    Source    initial values as in PyTorch: uniform on ±1/√in_features (LeCun et al. 1998, sec. 4.6, up to the constant)

    Parameters
    ----------
    in_features, out_features : the lengths of a row of x and of y.
    bias : True, False (no b), an array to start from, or a Parameter to share.
    weight : an array to start from, of which a copy is kept, or a Parameter to share: its gradients then add up over
        all layers that hold it, and it is updated once.
    init : a function of `chainrule.initializers` for the weight; the bias then starts from zero.
    dtype : of weight and bias if neither is given: float32 like PyTorch, float64 or float16.
    rng : a generator or a seed for the initial values; by default the one that `chainrule.seed` sets.

    Raises ValueError for given values of the wrong shape, and in `forward` and `backward` for x and dy of the wrong
    shape; TypeError for another dtype or library.

    >>> layer = Linear(2, 1, weight=[[1.0, 2.0]], bias=[0.5])
    >>> layer(np.array([[10.0, 1.0]], dtype="float32"))
    array([[12.5]], dtype=float32)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: Any = True,
        *,
        weight: Any = None,
        init: initializers.Initializer | None = None,
        dtype: Any = None,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self.in_features = positive(self, "in_features", in_features)
        self.out_features = positive(self, "out_features", out_features)
        self.weight, self.bias = weight_and_bias(
            self,
            f"Linear({in_features}, {out_features})",
            (self.out_features, self.in_features),
            self.out_features,
            weight=weight,
            bias=bias,
            init=init,
            dtype=dtype,
            rng=rng,
        )

    def forward(self, x: Array) -> tuple[Array, Array]:
        weight = self.weight.value
        if type(x) is not type(weight) or x.dtype != weight.dtype:
            require_kind(self, weight, "forward", "x", x)
        if x.ndim < 2 or x.shape[-1] != self.in_features:
            self.refuse_shape(f"must be (batch, {self.in_features})", x, one_sample=x.shape == (self.in_features,))
        y = x @ weight.T
        return y if self.bias is None else y + self.bias.value, x

    def backward(self, dy: Array, x: Array) -> Array:
        self._gather(dy, x)
        return dy @ self.weight.value

    def backward_parameters(self, dy: Array, x: Array) -> None:
        self._gather(dy, x)

    def _gather(self, dy: Array, x: Array) -> None:
        """Add the gradients of the parameters."""
        weight, shape = self.weight.value, (*x.shape[:-1], self.out_features)
        if type(dy) is not type(weight) or dy.dtype != weight.dtype:
            require_kind(self, weight, "backward", "dy", dy)
        if dy.shape != shape:
            self.refuse("backward", f"dy must be {shape} for x {tuple(x.shape)}", tuple(dy.shape))
        dy_rows, x_rows = _rows(dy), _rows(x)
        if self.weight.trainable:
            self.weight.grad += dy_rows.T @ x_rows
        if self.bias is not None and self.bias.trainable:
            self.bias.grad += dy_rows.sum(axis=0)  # the bias reaches every row, so its gradient gathers them

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + (", bias=False" if self.bias is None else "")


def _rows(x: Array) -> Array:
    """x (…, features) as (rows, features)."""
    return x if x.ndim == 2 else x.reshape((-1, x.shape[-1]))
