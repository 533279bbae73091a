"""What every loss has in common: how the losses of single elements become one number."""

from typing import Any

from .. import arrays
from ..arguments import as_array, choice
from ..arrays import Array, namespace
from ..module import Buffer, Module

MISSING = ("error", "ignore")  # what a target that is NaN may be


class Loss(Module):
    """A Module with two inputs, what the network says and what it should have said.

    value, saved = loss.forward(y, target, sample_weight=None)
    dy = loss.backward(dvalue, saved)

    Every loss here is a weighted sum over elements or samples, value = Σ share · l, and so dy = dvalue · share · dl/dy.
    The share of an element depends on `reduction`:

    "mean"    sample_weight / Σ sample_weight, divided by the elements of a sample where the loss counts elements
    "sum"     sample_weight
    "none"    sample_weight, and nothing is summed: value has the shape of the elements, and so has dvalue

    Without sample_weight all weights are 1, and the numbers are PyTorch's. A weight of 2 means the same as having the
    sample twice, a weight of 0 as not having it. Weights that add up to 0 give a loss of 0.

    A target that is missing (NaN) makes value and gradient NaN, and `fit` refuses it. With missing="ignore" its element
    has a share of 0: the sum and the mean are those of the elements that are there, and the gradient is 0 where none
    is. Where nothing is there the loss is 0. (A loss of your own takes `missing` if its forward calls `compared`.)

    Parameters
    ----------
    reduction : "mean", "sum" or "none".
    missing : "error" or "ignore".
    """

    classes = False  # whether targets may be class indices, that is, integers
    threshold = 0.5  # of a single output, above which it says "class 1"
    missing = "error"

    def __init__(self, *, reduction: str = "mean", missing: str = "error") -> None:
        self.reduction = choice(self, "reduction", reduction, ("mean", "sum", "none"))
        self.missing = choice(self, "missing", missing, MISSING)

    def forward(self, y: Array, target: Array, sample_weight: Array | None = None) -> tuple[Array, Any]:
        raise NotImplementedError

    def there(self, target: Array) -> Array | None:
        """Which elements have a target, True and False; None for all, and where missing="error" does not ask."""
        if self.missing != "ignore" or not arrays.is_floating(target):
            return None
        xp = namespace(target)
        there = xp.logical_not(xp.isnan(target))
        return None if bool(xp.all(there)) else there

    def counts(self, target: Array) -> Array | None:
        """Which samples are not ignored, (batch,) of True and False; None for all. The others are as if not there.

        Of the shape of the target, where the loss ignores single elements.
        """
        return self.there(target)

    def probabilities(self, y: Array) -> Array:
        """The probabilities that outputs mean, of class 1 or of each class; y itself, unless a loss says otherwise."""
        return y

    def answers(self, target: Array) -> Array:
        """Targets as classes or probabilities of them; as they are, unless a loss writes them otherwise."""
        return target

    def total_weight(self, y: Array, target: Array, sample_weight: Array | None = None) -> float:
        """What the mean over this batch divides by, in samples: means of batches weighted so give the mean of all."""
        there = self.there(target)
        if there is not None:
            return float(weighed(there, y, sample_weight).sum()) * len(there) / arrays.size(there)
        return len(y) if sample_weight is None else float(sample_weight.sum())

    def compared(self, y: Array, target: Array, sample_weight: Array | None) -> tuple[Array, Array, Any]:
        """y and target as they are compared, and what each element counts.

        Where the target is missing both are 1, at which every loss and its slope are finite, and the share is 0: so
        nothing comes of it, whatever y says there.
        """
        there = self.there(target)
        if there is None:
            return y, target, self.share(y, sample_weight)
        xp = namespace(y)
        return xp.where(there, y, 1), xp.where(there, target, 1), self.share(y, sample_weight, there)

    def share(self, y: Array, sample_weight: Array | None, there: Array | None = None) -> Any:
        """What each element of y counts, as a number or as an array that broadcasts against y."""
        if there is not None:
            return self.normalized(weighed(there, y, sample_weight), there.ndim)
        if sample_weight is None:
            return 1.0 / max(arrays.size(y), 1) if self.reduction == "mean" else 1.0
        return self.normalized(sample_weight, y.ndim, arrays.size(y) // max(len(y), 1))

    def normalized(self, weight: Array, ndim: int, elements: int = 1) -> Array:
        """Weights of samples as shares, with axes added at the end up to `ndim` of them."""
        if self.reduction == "mean":
            total = float(weight.sum()) * elements
            weight = weight * (1.0 / total if total else 0.0)
        return weight.reshape(tuple(weight.shape) + (1,) * (ndim - weight.ndim))

    def reduce(self, losses: Array) -> Array:
        """One number, unless `reduction` is "none"."""
        return losses if self.reduction == "none" else namespace(losses).sum(losses)

    def check(self, y: Array, target: Array, sample_weight: Array | None) -> None:
        """Refuse what does not fit together: shapes, dtypes, libraries, weights."""
        kind, got = arrays.describe_kind(y), arrays.describe_kind(target)
        if not arrays.is_array(y) or not arrays.is_floating(y):
            self.refuse("forward", "y must be a floating-point array", kind, TypeError)
        if got != kind:
            self.refuse("forward", f"target must be {kind} like y", got, TypeError)
        if tuple(target.shape) != tuple(y.shape):
            got = f"{tuple(target.shape)}" + ("; reshape it" if arrays.size(target) == arrays.size(y) else "")
            self.refuse("forward", f"target must have the shape of y, {tuple(y.shape)}", got)
        self.check_weight(y, sample_weight)

    def check_weight(self, y: Array, sample_weight: Array | None) -> None:
        """Refuse weights that are not one number for each sample."""
        if y.ndim == 0:
            self.refuse("forward", "y must be (batch, …)", "a single number")
        if sample_weight is None:
            return
        kind, got = arrays.describe_kind(y), arrays.describe_kind(sample_weight)
        if got != kind:
            self.refuse("forward", f"sample_weight must be {kind} like y", got, TypeError)
        if tuple(sample_weight.shape) != (len(y),):
            self.refuse("forward", f"sample_weight must be ({len(y)},)", tuple(sample_weight.shape))
        if not bool((sample_weight >= 0).all()):
            self.refuse("forward", "sample_weight must not be negative or NaN", sample_weight)


def weighed(there: Array, y: Array, sample_weight: Array | None) -> Array:
    """The weight of each element, in the dtype of y: that of its sample, 0 where it is not there."""
    weight = namespace(y).astype(there, y.dtype)
    return weight if sample_weight is None else weight * sample_weight.reshape((-1,) + (1,) * (there.ndim - 1))


def of_rows(used: Array) -> Array:
    """Which samples have an element that is used, (batch,) of True and False."""
    return used if used.ndim == 1 else namespace(used).any(used.reshape((len(used), -1)), axis=1)


def weight_buffer(owner: str, name: str, weight: Any) -> Buffer:
    """Weights of classes or elements, kept as state of the loss; None stays None."""
    if weight is None:
        return Buffer(None, persistent=False)
    weight = arrays.convert(as_array(owner, name, weight))
    if not arrays.is_floating(weight):
        weight = arrays.convert(weight, dtype="float64")  # all digits: each pass takes them in the dtype of y
    xp = namespace(weight)
    if not bool(xp.all(xp.isfinite(weight))) or bool(xp.any(weight < 0)):
        raise ValueError(f"{owner}: {name} must hold finite numbers that are not negative, got {weight}")
    return Buffer(weight)
