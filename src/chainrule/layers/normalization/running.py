"""Channels with mean 0 and variance 1, whose statistics training may follow: what BatchNorm and InstanceNorm share."""

from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ... import arrays
from ...arguments import flag, number, positive
from ...arrays import Array, namespace
from ...module import Buffer
from ..spatial import LENGTHS, Spatial
from ..weights import floating_dtype
from .affine import Affine
from .standardize import Axes, standardized, standardized_backward


class Kept(NamedTuple):
    """What backward needs: x̂, s = 1/√(var + eps), and the axes along which mean and var were taken.

    There are none if these were the running ones, which no x of this pass moves.
    """

    x_hat: Array
    s: Array
    axes: Axes


class Running(Spatial, Affine):
    """Standardize each channel by its mean and variance in this pass, or by those that training has followed."""

    running_mean: Any  # a Buffer, or None without track_running_stats; so are the other two
    running_var: Any
    num_batches_tracked: Any
    over_batch: ClassVar[bool]  # whether the samples of a batch share their mean and variance

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        *,
        bias: Any,
        weight: Any,
        dtype: Any,
    ) -> None:
        self.num_features = positive(self, "num_features", num_features)
        self.eps = number(self, "eps", eps, least=0)
        self.momentum = None if momentum is None else number(self, "momentum", momentum, least=0, most=1)
        self.affine = flag(self, "affine", affine)
        self.track_running_stats = flag(self, "track_running_stats", track_running_stats)
        shape = (self.num_features,)
        if self.affine:
            self._make_parameters(shape, weight, bias, dtype)
        else:
            self._make_none(weight, bias, dtype)
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if self.track_running_stats:
            like = np.zeros(shape, floating_dtype(self, dtype)) if self.weight is None else self.weight.value
            self.running_mean, self.running_var, self.num_batches_tracked = Buffer(like), Buffer(like), Buffer(0)
            self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """Forget what training has seen: mean 0, variance 1, no batches."""
        if self.running_mean is None:
            return
        like = self.running_mean.value
        xp = namespace(like)
        self.running_mean.value, self.running_var.value = xp.zeros_like(like), xp.ones_like(like)
        self.num_batches_tracked.value = xp.zeros((), dtype=xp.int64, device=like.device)

    def forward(self, x: Array) -> tuple[Array, Kept]:
        self._require_shape(x)
        self._require_kind(x)
        kept = self._by_this_pass(x) if self.training or self.running_mean is None else self._by_running(x)
        return self._affine(kept.x_hat), kept

    def backward(self, dy: Array, kept: Kept) -> Array:
        x_hat, s, axes = kept
        self._gather(dy, x_hat)
        dx_hat = self._dx_hat(dy)
        return standardized_backward(dx_hat, x_hat, s, axes) if axes else dx_hat * s

    def backward_parameters(self, dy: Array, kept: Kept) -> None:
        self._gather(dy, kept.x_hat)

    def _by_this_pass(self, x: Array) -> Kept:
        axes = (0, *range(2, x.ndim)) if self.over_batch else tuple(range(2, x.ndim))
        n = prod(x.shape[axis] for axis in axes)
        if n < 2:
            self.refuse("forward", "x must have more than one value per channel in training", tuple(x.shape))
        x_hat, s, mean, var = standardized(x, axes, self.eps)
        if not self.eps:  # a channel of equal numbers is 0 then, and so is what comes back through it, as in PyTorch
            x_hat, s = (namespace(x).where(var == 0, namespace(x).zeros_like(each), each) for each in (x_hat, s))
        if self.training and self.running_mean is not None:
            self._follow(mean, var * (n / (n - 1)))  # the estimate of the variance that no bias makes smaller
        return Kept(x_hat, s, axes)

    def _by_running(self, x: Array) -> Kept:
        mean, var = (self._spread(arrays.following(b.value, x), x) for b in (self.running_mean, self.running_var))
        s = 1 / namespace(x).sqrt(var + self.eps)
        return Kept((x - mean) * s, s, ())

    def _follow(self, mean: Array, var: Array) -> None:
        """running ← (1 - momentum) running + momentum · that of this pass, averaged over its samples."""
        share, xp = self._share(), namespace(mean)
        for buffer, new in ((self.running_mean, mean), (self.running_var, var)):
            new = arrays.following(xp.mean(new, axis=0).reshape((-1,)), buffer.value)
            buffer.value = (1 - share) * buffer.value + share * new

    def _share(self) -> float:
        """The share of a pass in the running statistics."""
        raise NotImplementedError

    def _require_shape(self, x: Array) -> None:
        self.look(x)
        if x.shape[1] != self.num_features:
            expected = f"must be (batch, {self.num_features}, {LENGTHS[self.axes]})"
            self.refuse_shape(expected, x, one_sample=False)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )
