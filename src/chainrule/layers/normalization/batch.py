"""Batch normalization: each channel has mean 0 and variance 1 over the batch."""

from typing import Any

from ...arrays import Array, namespace
from .running import Kept, Running


class BatchNorm(Running):
    """Give each channel mean 0 and variance 1 over a batch, and then a scale and a shift that are learned.

    Equation  x̂ = (x - mean) s, s = 1/√(var + eps);  y = weight x̂ + bias
              dx = s (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)), dx̂ = weight dy;  dweight = Σ dy x̂, dbias = Σ dy
              with mean and var (which divides by n) of a channel over the batch and all its places, and so all the
              other means and sums (docs/derivations/normalization.md)
              running ← (1 - momentum) running + momentum · that of the batch, for the variance the one that divides by
              n - 1. In evaluation, and in any `model(x)`, mean and var are the running ones, and dx = s dx̂
    Shapes    x (batch, num_features, *lengths) -> y (the same); weight, bias, running_mean, running_var
              (num_features,), num_batches_tracked ()
    Saves     x̂, s, and whether the statistics were the batch's
    Source    Ioffe, Szegedy 2015, "Batch normalization: accelerating deep network training by reducing internal
              covariate shift", algorithms 1 and 2; initial values as in PyTorch: ones and zeros
    Note      rows depend on each other in training: a batch in parts (`fit(accumulate=…)`) has statistics of its parts

    Parameters
    ----------
    num_features : the number of channels.
    eps : what is added to the variance; above 0 for training.
    momentum : the share of the newest batch in the running statistics; None for their plain mean over all batches.
    affine : whether there are weight and bias.
    track_running_stats : whether there are running statistics; without, evaluation takes those of its batch too.
    bias : True, False (none), an array to start from, or a Parameter to share.
    weight : an array to start from, of which a copy is kept, or a Parameter to share.
    dtype : of all numbers, if no weight is given: float32 like PyTorch, float64 or float16.

    Raises ValueError for arguments that do not fit, for x and dy of the wrong shape, and in training for an x that has
    one value per channel only, or eps 0; TypeError for another dtype or library.
    """

    over_batch = True

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: Any = True,
        weight: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias=bias, weight=weight, dtype=dtype
        )

    def _by_this_pass(self, x: Array) -> Kept:
        if not self.eps:
            self.refuse("forward", "eps must be above 0 in training", self.eps)
        return super()._by_this_pass(x)

    def _share(self) -> float:
        count = self.num_batches_tracked.value
        count = self.num_batches_tracked.value = namespace(count).asarray(count + 1)  # NumPy's sum is no array
        return 1 / float(count) if self.momentum is None else self.momentum


class BatchNorm1d(BatchNorm):
    """Normalize rows or series over the batch: x (batch, num_features) or (batch, num_features, length)."""

    axes = 1

    def _require_shape(self, x: Array) -> None:
        self.namespace(x)  # refuses what is no array
        if x.ndim != 2:
            super()._require_shape(x)
        elif x.shape[1] != self.num_features:
            expected = f"must be (batch, {self.num_features}) or (batch, {self.num_features}, length)"
            self.refuse_shape(expected, x, one_sample=x.shape[0] == self.num_features)


class BatchNorm2d(BatchNorm):
    """Normalize images over the batch: x (batch, num_features, height, width)."""

    axes = 2


class BatchNorm3d(BatchNorm):
    """Normalize volumes over the batch: x (batch, num_features, depth, height, width)."""

    axes = 3
