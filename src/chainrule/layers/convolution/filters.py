"""What Conv and ConvTranspose have in common: their arguments and their weights."""

from typing import Any

import numpy as np

from ...arguments import positive
from ...arrays import Array, namespace
from ...initializers import Initializer
from ...module import Parameter
from ..spatial import LENGTHS, Spatial
from ..weights import require_kind, weight_and_bias
from ..windows import Lengths, each_axis


class Filters(Spatial):
    """A layer whose weight holds filters, in groups of channels."""

    weight: Parameter
    bias: Parameter | None
    padding: Lengths | str
    padding_mode: str

    def _take(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Lengths,
        stride: int | Lengths,
        dilation: int | Lengths,
        groups: int,
    ) -> None:
        """Keep the arguments that say where the filters are."""
        self.in_channels = positive(self, "in_channels", in_channels)
        self.out_channels = positive(self, "out_channels", out_channels)
        self.kernel_size = each_axis(self, "kernel_size", kernel_size, self.axes)
        self.stride = each_axis(self, "stride", stride, self.axes)
        self.dilation = each_axis(self, "dilation", dilation, self.axes)
        self.groups = positive(self, "groups", groups)
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                expected = f"{name} must be divisible by groups={groups}"
                raise ValueError(f"{type(self).__name__}: {expected}, got {getattr(self, name)}")

    def _draw(
        self,
        channels: tuple[int, int],
        weight: Any,
        bias: Any,
        init: Initializer | None,
        dtype: Any,
        rng: np.random.Generator | int | None,
    ) -> None:
        """Make weight and bias; channels are the first two axes of the weight."""
        self.weight, self.bias = weight_and_bias(
            self,
            f"{type(self).__name__}({self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size})",
            (*channels, *self.kernel_size),
            self.out_channels,
            weight=weight,
            bias=bias,
            init=init,
            dtype=dtype,
            rng=rng,
        )

    def _check(self, x: Array) -> Any:
        """The namespace of x, if it is as the layer takes it."""
        require_kind(self, self.weight.value, "forward", "x", x)
        if x.ndim != self.axes + 2 or x.shape[1] != self.in_channels or 0 in x.shape[2:]:
            one_sample = x.ndim == self.axes + 1 and x.shape[0] == self.in_channels
            self.refuse_shape(f"must be (batch, {self.in_channels}, {LENGTHS[self.axes]})", x, one_sample=one_sample)
        return namespace(x)

    def _check_gradient(self, dy: Array, batch: int, lengths: Lengths) -> None:
        """Refuse a dy that is not as y was."""
        require_kind(self, self.weight.value, "backward", "dy", dy)
        if dy.shape != (shape := (batch, self.out_channels, *lengths)):
            self.refuse("backward", f"dy must be {shape}", tuple(dy.shape))

    def _matrix(self) -> Array:
        """The weight as a matrix for each group, whose rows are along its first axis."""
        weight = self.weight.value
        return weight.reshape((self.groups, weight.shape[0] // self.groups, -1))

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        zeros, ones = (0,) * self.axes, (1,) * self.axes
        usual = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1}
        for name, default in usual.items():
            if (value := getattr(self, name, default)) != default:
                text += f", {name}={value!r}"
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode!r}" if self.padding_mode != "zeros" else "")


def add_product(parameter: Parameter | None, product: Any) -> None:
    """Add what `product()` gives to the gradient; it is not even worked out for a Parameter that is frozen."""
    if parameter is not None and parameter.trainable:
        parameter.grad += product().reshape(parameter.shape)
