"""Instance normalization: each channel of each sample has mean 0 and variance 1 over its places."""

from typing import Any

from .running import Running


class _InstanceNorm(Running):
    """Give each channel of each sample mean 0 and variance 1 over its places.

    Equation  x̂ = (x - mean) s, s = 1/√(var + eps);  y = weight x̂ + bias
              dx = s (dx̂ - mean(dx̂) - x̂ mean(dx̂ x̂)), dx̂ = weight dy;  dweight = Σ dy x̂, dbias = Σ dy
              with mean, var and the means in dx of one channel of one sample, over its places; the sums over the
              batch, too (docs/derivations/normalization.md)
    Shapes    x (batch, num_features, *lengths) -> y (the same); weight, bias, running_mean, running_var
              (num_features,), num_batches_tracked ()
    Saves     x̂, s, and whether the statistics were the samples' own
    Source    Ulyanov, Vedaldi, Lempitsky 2016, "Instance normalization: the missing ingredient for fast stylization"
    Note      as in PyTorch, momentum=None leaves running statistics as they are, and num_batches_tracked counts nothing

    Parameters
    ----------
    num_features : the number of channels.
    eps : what is added to the variance.
    momentum : the share of the newest batch in the running statistics, of which samples have equal parts.
    affine : whether there are weight and bias.
    track_running_stats : whether there are running statistics, by which evaluation goes then.
    bias : True, False (none), an array to start from, or a Parameter to share.
    weight : an array to start from, of which a copy is kept, or a Parameter to share.
    dtype : of all numbers, if no weight is given: float32 like PyTorch, float64 or float16.

    Raises ValueError for arguments that do not fit, for x and dy of the wrong shape, and where its own statistics count
    for an x of one place; TypeError for another dtype or library.
    """

    over_batch = False

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: Any = True,
        weight: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias=bias, weight=weight, dtype=dtype
        )

    def _share(self) -> float:
        return self.momentum or 0.0


class InstanceNorm1d(_InstanceNorm):
    """Normalize each channel of each series: x (batch, num_features, length)."""

    axes = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalize each channel of each image: x (batch, num_features, height, width)."""

    axes = 2


class InstanceNorm3d(_InstanceNorm):
    """Normalize each channel of each volume: x (batch, num_features, depth, height, width)."""

    axes = 3
