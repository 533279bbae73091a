"""The fully connected layer."""

import math
from typing import Any

import numpy as np

from .. import arrays, initializers
from ..arguments import as_array, positive
from ..arrays import Array
from ..module import Module, Parameter
from ..random import generator


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
        shape = (self.out_features, self.in_features)
        rng = generator(rng)
        if init is not None and not callable(init):
            raise TypeError(f"Linear: init must be a function of chainrule.initializers, got {init!r}")
        if weight is None:
            weight = arrays.convert((init or initializers.torch_default)(shape, rng), dtype=_floating_dtype(dtype))
        self.weight = self._parameter("weight", weight, shape)
        if bias is True:
            bound = 0.0 if init else 1.0 / math.sqrt(self.in_features)
            bias = arrays.convert_like(rng.uniform(-bound, bound, shape[:1]), self.weight.value)
        self.bias = None if bias is None or bias is False else self._parameter("bias", bias, shape[:1])

    def forward(self, x: Array) -> tuple[Array, Array]:
        weight = self.weight.value
        if type(x) is not type(weight) or x.dtype != weight.dtype:
            self._require_kind("forward", "x", x)
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
            self._require_kind("backward", "dy", dy)
        if dy.shape != shape:
            self.refuse("backward", f"dy must be {shape} for x {tuple(x.shape)}", tuple(dy.shape))
        dy_rows, x_rows = _rows(dy), _rows(x)
        if self.weight.trainable:
            self.weight.grad += dy_rows.T @ x_rows
        if self.bias is not None and self.bias.trainable:
            self.bias.grad += dy_rows.sum(axis=0)  # the bias reaches every row, so its gradient gathers them

    def _require_kind(self, method: str, name: str, x: Any) -> None:
        """Refuse what is no array of the weight's library and dtype."""
        weight, expected = self.weight.value, arrays.describe_kind(self.weight.value)
        if not arrays.is_array(x) or arrays.describe_kind(x) != expected:
            both = isinstance(x, np.ndarray) and isinstance(weight, np.ndarray)  # NumPy makes float64 unless told to
            advice = f'; {name}.astype("{weight.dtype}") converts it' if both else ""
            got = f"{arrays.describe_kind(x)}{advice}"
            self.refuse(method, f"{name} must be {expected} like the weight", got, TypeError)

    def _parameter(self, name: str, value: Any, shape: tuple[int, ...]) -> Parameter:
        parameter = value if isinstance(value, Parameter) else Parameter(_floating(name, value))
        if parameter.shape != shape:
            raise ValueError(
                f"Linear({self.in_features}, {self.out_features}): {name} must be {shape}, got {parameter.shape}"
            )
        return parameter

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + (", bias=False" if self.bias is None else "")


def _rows(x: Array) -> Array:
    """x (…, features) as (rows, features)."""
    return x if x.ndim == 2 else x.reshape((-1, x.shape[-1]))


def _floating(name: str, value: Any) -> Array:
    """Given initial values as an array; arrays keep their dtype, lists and everything else become float32."""
    array = as_array("Linear", name, value)
    return array if arrays.is_array(value) else array.astype("float32")


def _floating_dtype(dtype: Any) -> str:
    """The name of a dtype, by default float32."""
    try:
        name = arrays.dtype_name("float32" if dtype is None else dtype)
    except TypeError:  # what can be no dtype of any library
        name = ""
    if name == "bfloat16":
        raise TypeError(
            "Linear: dtype must be one that NumPy has, got bfloat16; "
            'make the layer in float32 and move it: .to("torch", dtype="bfloat16")'
        )
    if name not in arrays.FLOATING:
        raise TypeError(f"Linear: dtype must be float16, float32 or float64, got {dtype!r}")
    return name
