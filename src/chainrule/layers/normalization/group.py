"""Group normalization: the channels of each sample have mean 0 and variance 1 together, in groups."""

from math import prod
from typing import Any

from ...arguments import flag, number, positive
from ...arrays import Array
from .affine import Affine
from .standardize import standardized, standardized_backward


class GroupNorm(Affine):
    """Give the channels of each sample mean 0 and variance 1, so many together, over all their places.

    Equation  x̂ = (x - mean) s, s = 1/√(var + eps);  y = weight x̂ + bias
              dx = s (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)), dx̂ = weight dy;  dweight = Σ dy x̂, dbias = Σ dy
              with mean, var (which divides by n) and the means in dx over the channels of a group and their places,
              and the sums over the batch and all places (docs/derivations/normalization.md)
    Shapes    x (batch, num_channels, …) -> y (the same); weight, bias (num_channels,)
    Saves     x̂ and s
    Source    Wu, He 2018, "Group normalization"; initial values as in PyTorch: ones and zeros

    Parameters
    ----------
    num_groups : how many groups the channels are in: 1 is LayerNorm over all channels, num_channels is InstanceNorm.
    num_channels : the number of channels, of which each group has the same number.
    eps : what is added to the variance.
    affine : whether there are weight and bias.
    bias : True, False (none), an array to start from, or a Parameter to share.
    weight : an array to start from, of which a copy is kept, or a Parameter to share.
    dtype : of weight and bias if no weight is given: float32 like PyTorch, float64 or float16.

    Raises ValueError for arguments that do not fit, for x and dy of the wrong shape, and for an x of one sample that
    has one value per group; TypeError for another dtype or library.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: Any = True,
        weight: Any = None,
        dtype: Any = None,
    ) -> None:
        self.num_groups = positive(self, "num_groups", num_groups)
        self.num_channels = positive(self, "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"GroupNorm: num_channels must be divisible by num_groups={num_groups}, got {num_channels}"
            )
        self.eps = number(self, "eps", eps, least=0)
        self.affine = flag(self, "affine", affine)
        if self.affine:
            self._make_parameters((self.num_channels,), weight, bias, dtype)
        else:
            self._make_none(weight, bias, dtype)

    def forward(self, x: Array) -> tuple[Array, tuple[Array, Array]]:
        self._require_kind(x)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            one_sample = x.ndim > 1 and x.shape[0] == self.num_channels
            self.refuse_shape(f"must be (batch, {self.num_channels}, …)", x, one_sample=one_sample)
        if prod(x.shape) == self.num_groups:  # as PyTorch, which lets more samples pass
            self.refuse("forward", "x must have more than one value per group", tuple(x.shape))
        x_hat, s, _, _ = standardized(self._grouped(x), (2,), self.eps)
        x_hat = x_hat.reshape(x.shape)
        return self._affine(x_hat), (x_hat, s)

    def backward(self, dy: Array, saved: tuple[Array, Array]) -> Array:
        x_hat, s = saved
        self._gather(dy, x_hat)
        dx = standardized_backward(self._grouped(self._dx_hat(dy)), self._grouped(x_hat), s, (2,))
        return dx.reshape(dy.shape)

    def backward_parameters(self, dy: Array, saved: tuple[Array, Array]) -> None:
        self._gather(dy, saved[0])

    def _grouped(self, x: Array) -> Array:
        """x as (batch, num_groups, what a group holds)."""
        return x.reshape((x.shape[0], self.num_groups, prod(x.shape[1:]) // self.num_groups))

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
