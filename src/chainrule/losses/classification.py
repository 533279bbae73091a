"""Losses for targets that are classes or probabilities."""

import math
from typing import Any

import numpy as np

from .. import arrays
from ..arguments import choice, number, whole
from ..arrays import Array, namespace
from ..layers.activations import sigmoid
from ..layers.softmax import log_softmax, softmax
from .loss import MISSING, Loss, of_rows, weight_buffer


class ClassLoss(Loss):
    """What CrossEntropyLoss and NLLLoss share: class weights, an index to ignore, and checked indices."""

    classes = True

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.weight = weight_buffer(type(self).__name__, "weight", weight)
        self.ignore_index = whole(self, "ignore_index", ignore_index)

    def class_weight(self, y: Array) -> Array:
        """The weight of each class, shaped to go along axis 1 of y; 1 if none was given."""
        weight = self.weight.value
        if weight is None:
            return 1.0
        if tuple(weight.shape) != (y.shape[1],):
            self.refuse("forward", f"weight must hold {y.shape[1]} numbers, one for each class", tuple(weight.shape))
        if type(weight) is not type(y) or weight.dtype != y.dtype:
            weight = arrays.convert_like(weight, y)
        return weight.reshape((1, -1) + (1,) * (y.ndim - 2))

    def used(self, target: Array) -> Array:
        """Where class indices are not to be ignored; any class may be."""
        xp = namespace(target)
        return xp.astype(target, xp.int64) != self.ignore_index  # 8 bits hold no -100

    def one_hot(self, y: Array, target: Array) -> Array:
        """The target as one-hot rows, all zeros where it is to be ignored."""
        xp = namespace(y)
        return arrays.one_hot(xp.where(self.used(target), xp.astype(target, xp.int64), -1), y.shape[1], like=y)

    def counts(self, target: Array) -> Array | None:
        used = self.there(target) if arrays.is_floating(target) else self.used(target)
        return None if used is None else of_rows(used)

    def probabilities(self, y: Array) -> Array:
        return softmax(y, axis=1)  # of log-probabilities it makes the probabilities, of logits too

    def share_of_rows(self, y: Array, target: Array, sample_weight: Array | None) -> tuple[Array, Array]:
        """For class indices: the target as one-hot rows, and what each of them counts, both broadcast against y."""
        ones = self.one_hot(y, target)
        counted = namespace(y).sum(ones * self.class_weight(y), axis=1)
        rows = 1.0 if sample_weight is None else sample_weight.reshape((-1,) + (1,) * (counted.ndim - 1))
        total = float((rows * counted).sum()) if self.reduction == "mean" else 1.0
        used = namespace(y).sum(ones, axis=1)
        return ones, namespace(y).expand_dims(used * rows * (1.0 / total if total else 0.0), axis=1)

    def total_weight(self, y: Array, target: Array, sample_weight: Array | None = None) -> float:
        if arrays.is_floating(target):
            return super().total_weight(y, target, sample_weight)
        xp, used = namespace(y), self.used(target)
        counted = xp.astype(used, y.dtype)
        if self.weight.value is not None:
            of_class = self.class_weight(y).reshape((-1,))
            indices = xp.where(used, xp.astype(target, xp.int64), 0)
            counted = counted * xp.take(of_class, indices.reshape((-1,)), axis=0).reshape(tuple(target.shape))
        rows = 1.0 if sample_weight is None else sample_weight.reshape((-1,) + (1,) * (counted.ndim - 1))
        return float((rows * counted).sum())

    def check(self, y: Array, target: Array, sample_weight: Array | None) -> None:
        """Refuse what are not class indices for y (batch, classes, …)."""
        if not arrays.is_array(y) or not arrays.is_floating(y):
            self.refuse("forward", "y must be a floating-point array", arrays.describe_kind(y), TypeError)
        if y.ndim < 2:
            self.refuse("forward", "y must be (batch, classes)", tuple(y.shape))
        if not arrays.is_array(target) or arrays.namespace(target) is not arrays.namespace(y):
            self.refuse("forward", "target must hold class indices, integers", arrays.describe_kind(target), TypeError)
        shape, expected = tuple(target.shape), (y.shape[0], *y.shape[2:])
        rows = shape == tuple(y.shape) and shape[1] > 1
        if not arrays.is_integer(target) or rows:
            advice = "take target.argmax(axis=1) of one-hot rows" if rows else "convert class indices to int64"
            got = f"{arrays.describe_kind(target)} {shape}; {advice}"
            self.refuse("forward", "target must hold class indices, integers", got, TypeError)
        if shape != expected:
            advice = f"; reshape it to {expected}" if arrays.size(target) == math.prod(expected) else ""
            self.refuse("forward", f"target must be {expected} for y {tuple(y.shape)}", f"{shape}{advice}")
        target = namespace(y).astype(target, namespace(y).int64)  # 8 bits hold neither 200 nor, unsigned, -100
        wrong = ((target < 0) | (target >= y.shape[1])) & (target != self.ignore_index)
        if bool(wrong.any()):
            row = int(arrays.to_numpy(wrong).reshape(-1).argmax())
            label = int(target.reshape((-1,))[row])
            self.refuse("forward", f"target must be in 0 … {y.shape[1] - 1}", f"{label} at position {row}")
        self.check_weight(y, sample_weight)


class CrossEntropyLoss(ClassLoss):
    """How surprised the softmax of y is by the target; y are logits, any real numbers.

    Equation  p = softmax(y), t' = (1 - ε) t + ε / C, q_c = weight_c t'_c;  l = -Σ_c q_c log p_c
              dl/dy = p Σ_c q_c - q, because softmax and logarithm cancel; with neither weight nor ε it is p - t
    Shapes    y (batch, C, …); target either class indices, integers (batch, …), of which t is the one-hot form, or
              probabilities t, of the shape of y; sample_weight (batch,)
    Saves     p, q, and the share of each sample
    Source    Bridle 1990; label smoothing ε: Szegedy et al. 2016, "Rethinking the Inception architecture", section 7
    Note      the mean is per sample: it divides by Σ weight[target], for probabilities by the number of samples, as in
              PyTorch. Where no sample is left to count PyTorch gives NaN, this gives 0

    Parameters
    ----------
    weight : a number for each class.
    ignore_index : samples with this index count nothing.
    label_smoothing : ε, 0 <= ε <= 1.
    missing : with "ignore", samples with NaN among their probabilities count nothing.

    Raises ValueError for indices outside 0 … C-1 and for shapes that do not match, TypeError for other dtypes.
    """

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        missing: str = "error",
    ) -> None:
        super().__init__(weight, ignore_index=ignore_index, reduction=reduction)
        self.label_smoothing = number(self, "label_smoothing", label_smoothing, least=0, most=1)
        self.missing = choice(self, "missing", missing, MISSING)

    def there(self, target: Array) -> Array | None:
        there = super().there(target)  # of a distribution all or nothing
        return None if there is None else namespace(target).all(there, axis=1, keepdims=True)

    def share(self, y: Array, sample_weight: Array | None, there: Array | None = None) -> Any:
        return super().share(y[:, :1], sample_weight, there)  # the classes of a sample share one distribution

    def check(self, y: Array, target: Array, sample_weight: Array | None) -> None:
        """Refuse what are neither class indices nor probabilities for y (batch, classes, …)."""
        of_y, shape = tuple(getattr(y, "shape", ())), tuple(getattr(target, "shape", ()))
        indices = of_y[:1] + of_y[2:]
        labels = shape != of_y and shape in (indices, (*indices, 1))
        if arrays.is_array(target) and arrays.is_floating(target) and len(of_y) >= 2 and not labels:
            Loss.check(self, y, target, sample_weight)
        else:
            super().check(y, target, sample_weight)

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        xp = namespace(y)
        if arrays.is_floating(target):
            y, t, share = self.compared(y, target, sample_weight)
        else:
            t, share = self.share_of_rows(y, target, sample_weight)
        eps = self.label_smoothing
        q = self.class_weight(y) * ((1 - eps) * t + eps / y.shape[1])
        log_p = log_softmax(y, axis=1)
        # A class of probability 0 that is not asked for costs nothing, but 0 · -∞ would be NaN.
        losses = -xp.sum(q * xp.where(q == 0, 0, log_p), axis=1, keepdims=True)
        value = self.reduce(losses * share)
        return (value[:, 0] if self.reduction == "none" else value), (xp.exp(log_p), q, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        p, q, share = saved
        xp = namespace(p)
        if self.reduction == "none":
            dvalue = xp.expand_dims(dvalue, axis=1)
        return dvalue * share * (p * xp.sum(q, axis=1, keepdims=True) - q)


class NLLLoss(ClassLoss):
    """The negative log-likelihood of the target; y are log-probabilities, as LogSoftmax gives them.

    Equation  l = -weight[target] y[target];  dl/dy = -weight[target] at the target, 0 elsewhere
    Shapes    y (batch, C, …); target class indices, integers (batch, …); sample_weight (batch,)
    Saves     the weighted one-hot target, and the share of each sample
    Note      the mean divides by Σ weight[target], as in PyTorch. Where no sample is left to count PyTorch gives NaN,
              this gives 0

    Parameters
    ----------
    weight : a number for each class.
    ignore_index : samples with this index count nothing.
    """

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        xp = namespace(y)
        ones, share = self.share_of_rows(y, target, sample_weight)
        q = ones * self.class_weight(y)
        losses = -xp.sum(q * xp.where(q == 0, 0, y), axis=1, keepdims=True)  # 0 · -∞ would be NaN
        value = self.reduce(losses * share)
        return (value[:, 0] if self.reduction == "none" else value), (q, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        q, share = saved
        if self.reduction == "none":
            dvalue = namespace(q).expand_dims(dvalue, axis=1)
        return dvalue * share * -q


class BCEWithLogitsLoss(Loss):
    """The cross-entropy of independent yes-or-no answers; y are logits, target the probability of "yes".

    Equation  l = w [ (1 - t) log(1 + exp(y)) + pos_weight t log(1 + exp(-y)) ], t = target
              dl/dy = w [ (1 - t) σ(y) - pos_weight t σ(-y) ]; without weights it is σ(y) - t
    Shapes    y, target (batch, …); sample_weight (batch,); the mean is per element
    Saves     y, target, and the share of each element

    Parameters
    ----------
    weight : w, a number for each element, broadcast against y.
    pos_weight : what a "yes" counts more than a "no", broadcast against y.
    """

    threshold = 0.0  # a logit of 0 is a probability of 1/2

    def __init__(
        self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None, missing: str = "error"
    ) -> None:
        super().__init__(reduction=reduction, missing=missing)
        self.weight = weight_buffer("BCEWithLogitsLoss", "weight", weight)
        self.pos_weight = weight_buffer("BCEWithLogitsLoss", "pos_weight", pos_weight)

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        xp = namespace(y)
        y, target, share = self.compared(y, target, sample_weight)
        no, yes = self._answers(y, target)
        tail = xp.log1p(xp.exp(-xp.abs(y)))  # log(1 + exp(y)) is this and y where y > 0, which never overflows
        losses = no * (tail + xp.where(y < 0, 0, y)) + yes * (tail + xp.where(y < 0, -y, 0))
        return self.reduce(losses * share), (y, target, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        y, target, share = saved
        no, yes = self._answers(y, target)
        return dvalue * ((no * sigmoid(y) - yes * sigmoid(-y)) * share)

    def probabilities(self, y: Array) -> Array:
        return sigmoid(y)

    def _answers(self, y: Array, target: Array) -> tuple[Array, Array]:
        """What "no" counts in each element, and what "yes" does. Apart, so that neither's small share is lost."""
        weight = self._fitting("weight", self.weight.value, y)
        return weight * (1 - target), weight * self._fitting("pos_weight", self.pos_weight.value, y) * target

    def _fitting(self, name: str, weight: Array | None, y: Array) -> Any:
        if weight is None:
            return 1.0
        try:
            fits = np.broadcast_shapes(tuple(weight.shape), tuple(y.shape)) == tuple(y.shape)
        except ValueError:
            fits = False
        if not fits:
            self.refuse("forward", f"{name} must broadcast against y {tuple(y.shape)}", tuple(weight.shape))
        return arrays.convert_like(weight, y)


class SoftMarginLoss(Loss):
    """The cross-entropy of independent answers that are -1 and 1; y are logits.

    Equation  l = log(1 + exp(-t y)), t = target;  dl/dy = -t σ(-t y)
    Shapes    y, target (batch, …); sample_weight (batch,); the mean is per element
    Saves     -t y, the target, and the share of each element
    Note      where -t y is so large that exp overflows, l is -t y; PyTorch's is infinite
    """

    threshold = 0.0  # a logit of 0 is a probability of 1/2

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        self.check(y, target, sample_weight)
        y, target, share = self.compared(y, target, sample_weight)
        xp, margin = namespace(y), -target * y
        losses = xp.log1p(xp.exp(-xp.abs(margin))) + xp.where(margin < 0, 0, margin)
        return self.reduce(losses * share), (margin, target, share)

    def backward(self, dvalue: Any, saved: Any) -> Array:
        margin, target, share = saved
        return dvalue * (-target * sigmoid(margin) * share)

    def probabilities(self, y: Array) -> Array:
        return sigmoid(y)

    def answers(self, target: Array) -> Array:
        return (target + 1) / 2
