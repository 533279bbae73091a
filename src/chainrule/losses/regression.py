"""Losses for targets that are numbers: each compares y and target, of any one shape, element by element."""

import math
from typing import Any

from ..arguments import flag, number
from ..arrays import Array, namespace
from .loss import Loss


class MSELoss(Loss):
    """The mean squared error.

    Equation  l = (y - target)²;  dl/dy = 2 (y - target)
    Shapes    y, target (batch, …); sample_weight (batch,); the mean is per element
    Saves     the error y - target, and the share of each element
    """

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        y, target, share = self.compared(y, target, sample_weight)
        error = y - target
        return self.reduce(error * error * share), (error, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        error, share = saved
        return dvalue * (2 * error * share)


class L1Loss(Loss):
    """The mean absolute error.

    Equation  l = |y - target|;  dl/dy = sign(y - target), 0 at the kink
    Shapes    y, target (batch, …); sample_weight (batch,); the mean is per element
    Saves     the error y - target, and the share of each element
    """

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        y, target, share = self.compared(y, target, sample_weight)
        error = y - target
        return self.reduce(namespace(y).abs(error) * share), (error, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        error, share = saved
        return dvalue * (namespace(error).sign(error) * share)


class HuberLoss(Loss):
    """A parabola near zero, straight lines beyond δ, so that far outliers pull no harder than near ones.

    Equation  l = e²/2 where |e| < δ, else δ (|e| - δ/2), e = y - target;  dl/dy = e, cut to ±δ
    Shapes    y, target (batch, …); sample_weight (batch,); the mean is per element
    Saves     the error e, and the share of each element
    Source    Huber 1964, "Robust estimation of a location parameter"
    """

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0, missing: str = "error") -> None:
        super().__init__(reduction=reduction, missing=missing)
        self.delta = number(self, "delta", delta, above=0)

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        y, target, share = self.compared(y, target, sample_weight)
        xp, error = namespace(y), y - target
        size = xp.abs(error)
        losses = xp.where(size < self.delta, 0.5 * error * error, self.delta * (size - 0.5 * self.delta))
        return self.reduce(losses * share), (error, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        error, share = saved
        return dvalue * (namespace(error).clip(error, -self.delta, self.delta) * share)


class SmoothL1Loss(Loss):
    """The Huber loss divided by its width, which tends to the absolute error as β goes to 0.

    Equation  l = e²/(2β) where |e| < β, else |e| - β/2, e = y - target;  dl/dy = e/β, cut to ±1
    Shapes    y, target (batch, …); sample_weight (batch,); the mean is per element
    Saves     the error e, and the share of each element
    Source    Girshick 2015, "Fast R-CNN", equation 3, with β = 1; β = 0 is L1Loss
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0, missing: str = "error") -> None:
        super().__init__(reduction=reduction, missing=missing)
        self.beta = number(self, "beta", beta, least=0)

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        y, target, share = self.compared(y, target, sample_weight)
        xp, error = namespace(y), y - target
        size, beta = xp.abs(error), self.beta
        losses = xp.where(size < beta, 0.5 * error * error / beta, size - 0.5 * beta) if beta else size
        return self.reduce(losses * share), (error, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        error, share = saved
        xp = namespace(error)
        slope = xp.clip(error / self.beta, -1, 1) if self.beta else xp.sign(error)
        return dvalue * (slope * share)


class QuantileLoss(Loss):
    """The loss whose best constant answer is a quantile of the targets, also called pinball loss.

    Equation  l = q e where e > 0, else (q - 1) e, e = target - y;  dl/dy = -q where e > 0, 1 - q where e < 0, else 0
    Shapes    y, target (batch, …); sample_weight (batch,); the mean is per element
    Saves     the error y - target, and the share of each element
    Source    Koenker, Bassett 1978, "Regression quantiles"; q = 1/2 is half of L1Loss

    Parameters
    ----------
    quantile : q, 0 < q < 1: the share of targets that is to lie below y.
    """

    def __init__(self, quantile: float = 0.5, *, reduction: str = "mean", missing: str = "error") -> None:
        super().__init__(reduction=reduction, missing=missing)
        self.quantile = number(self, "quantile", quantile, above=0, below=1)

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        y, target, share = self.compared(y, target, sample_weight)
        error = y - target
        losses = namespace(y).where(error < 0, -self.quantile * error, (1 - self.quantile) * error)
        return self.reduce(losses * share), (error, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        error, share = saved
        xp = namespace(error)
        slope = xp.where(error < 0, -self.quantile, (1 - self.quantile) * xp.sign(error))
        return dvalue * (slope * share)


class PoissonNLLLoss(Loss):
    """The negative log-likelihood of counts, where y is the logarithm of their rate, or the rate itself.

    Equation  l = exp(y) - target y;  dl/dy = exp(y) - target
              without log_input: l = y - target log(y + eps);  dl/dy = 1 - target / (y + eps)
              with full: + target log target - target + log(2π target) / 2 where target > 1, which no y changes
    Shapes    y, target (batch, …); sample_weight (batch,); the mean is per element
    Saves     y, target, and the share of each element
    Source    as torch.nn.PoissonNLLLoss; the term of full is Stirling's approximation of log target!

    Parameters
    ----------
    log_input : whether y is the logarithm of the rate.
    full : whether the term is added.
    eps : keeps the logarithm finite where a rate is 0.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        *,
        reduction: str = "mean",
        missing: str = "error",
    ) -> None:
        super().__init__(reduction=reduction, missing=missing)
        self.log_input, self.full = flag(self, "log_input", log_input), flag(self, "full", full)
        self.eps = number(self, "eps", eps, least=0)

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        y, target, share = self.compared(y, target, sample_weight)
        xp = namespace(y)
        losses = xp.exp(y) - target * y if self.log_input else y - target * xp.log(y + self.eps)
        if self.full:
            t = xp.where(target > 1, target, 1)
            stirling = t * xp.log(t) - t + 0.5 * xp.log(2 * math.pi * t)
            losses = losses + xp.where(target > 1, stirling, 0)
        return self.reduce(losses * share), (y, target, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        y, target, share = saved
        slope = namespace(y).exp(y) - target if self.log_input else 1 - target / (y + self.eps)
        return dvalue * (slope * share)
