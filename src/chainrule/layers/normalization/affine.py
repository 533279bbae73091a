"""What follows a normalization: a weight and a bias, for each channel or for each element."""

from typing import Any

import numpy as np

from ... import arrays
from ...arrays import Array, namespace
from ...module import Module, Parameter
from ..weights import floating_dtype, parameter, require_kind
from .standardize import Axes


class Affine(Module):
    """A layer that makes x̂ of x, and then y = weight x̂ + bias, each of which may be missing.

    Equation  y = weight x̂ + bias;  dweight = Σ dy x̂, dbias = Σ dy, over all x̂ that share a weight;  dx̂ = weight dy

    Both have a number for each channel, and channels are the axis behind that of the batch; a subclass may say else.
    """

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: tuple[int, ...], weight: Any, bias: Any, dtype: Any) -> None:
        """Make weight and bias: of arrays, of Parameters to share, or by default of ones and zeros."""
        kind = type(self).__name__
        weight = np.ones(shape, floating_dtype(self, dtype)) if weight is None else weight
        self.weight = parameter(kind, "weight", weight, shape)
        bias = namespace(self.weight.value).zeros_like(self.weight.value) if bias is True else bias
        self.bias = None if bias is None or bias is False else parameter(kind, "bias", bias, shape)

    def _make_none(self, weight: Any, bias: Any, dtype: Any) -> None:
        """Be a layer without them, which therefore must not be given."""
        floating_dtype(self, dtype)
        for name, value in (("weight", weight), ("bias", bias)):
            if value is not None and not isinstance(value, bool):
                raise ValueError(
                    f"{type(self).__name__}: {name} must not be given to a layer without parameters, got {value!r}"
                )
        self.weight = self.bias = None

    def _require_kind(self, x: Array, method: str = "forward", name: str = "x") -> None:
        """Refuse what is no array like the weight, or at least of floating-point numbers."""
        if self.weight is not None:
            require_kind(self, self.weight.value, method, name, x)
        elif not arrays.is_array(x) or not arrays.is_floating(x):
            self.refuse(method, f"{name} must be a floating-point array", arrays.describe_kind(x), TypeError)

    def _affine(self, x_hat: Array) -> Array:
        """weight x̂ + bias."""
        y = x_hat if self.weight is None else x_hat * self._spread(self.weight.value, x_hat)
        return y if self.bias is None else y + self._spread(self.bias.value, x_hat)

    def _gather(self, dy: Array, x_hat: Array) -> None:
        """Add the gradients of the parameters: each reaches all x̂ that share it, and its gradient gathers them."""
        self._require_kind(dy, "backward", "dy")
        if dy.shape != x_hat.shape:
            self.refuse("backward", f"dy must be {tuple(x_hat.shape)} like x", tuple(dy.shape))
        xp = namespace(dy)
        if self.weight is not None and self.weight.trainable:
            self.weight.grad += xp.sum(dy * x_hat, axis=self._shared(dy))
        if self.bias is not None and self.bias.trainable:
            self.bias.grad += xp.sum(dy, axis=self._shared(dy))

    def _dx_hat(self, dy: Array) -> Array:
        return dy if self.weight is None else dy * self._spread(self.weight.value, dy)

    def _spread(self, value: Array, x: Array) -> Array:
        """A number for each channel as it stands next to x."""
        return value.reshape((-1, *(1,) * (x.ndim - 2)))

    def _shared(self, x: Array) -> Axes:
        """The axes along which x̂ share their weight."""
        return (0, *range(2, x.ndim))
