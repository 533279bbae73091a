"""A loss for networks with several heads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .. import arrays
from ..arguments import number
from ..arrays import Array, namespace
from ..module import Module
from ..structures import Structure
from .extra import Asked, asked_by_all, given
from .loss import Loss, of_rows

Key = int | str  # of a head: its place in a tuple, or its name in a dict


class MultiLoss(Loss):
    """Several heads, each compared with a target of its own: the weighted sum of their losses.

    Equation  value = Σᵢ wᵢ lossᵢ(yᵢ, targetᵢ);  dl/dyᵢ = wᵢ dlossᵢ/dyᵢ
    Shapes    y, target: a tuple of one part for each loss, or a dict by the losses' names; sample_weight (batch,),
              the same for all heads; what is given by name goes to the heads that ask for it
    Saves     the value of each head's loss, before its weight, and what that loss saves
    Note      over several batches every head has a mean of its own: Σᵢ wᵢ · (the mean over all samples of lossᵢ)

    Parameters
    ----------
    losses : a loss for each head, in order, or one mapping of the heads' names to them.
    weights : how much each head counts, numbers of at least 0: a list in order, or a mapping by name; 1 unless given.

    Raises TypeError for what are no losses or not the heads' names, ValueError for weights below 0, for
    reduction="none", and for y and target that have other heads. Errors name the head.

    >>> import numpy as np
    >>> from chainrule import CrossEntropyLoss, MSELoss
    >>> loss = MultiLoss({"kind": CrossEntropyLoss(), "size": MSELoss()}, weights={"kind": 1.0, "size": 0.1})
    >>> y = {"kind": np.array([[0.0, 0.0]]), "size": np.array([[3.0]])}
    >>> round(float(loss(y, {"kind": np.array([1]), "size": np.array([[1.0]])})), 4)  # log 2 + 0.1 · 2²
    1.0931
    """

    names: tuple[str, ...] | None = None  # None: y and target are tuples

    def __init__(
        self,
        *losses: Module | Mapping[str, Module],
        weights: Sequence[float] | Mapping[str, float] | None = None,
    ) -> None:
        rest: tuple[Any, ...] = losses
        if len(rest) == 1 and isinstance(rest[0], Mapping):
            self.names, rest = tuple(rest[0]), tuple(rest[0].values())
        if not rest:
            raise ValueError("MultiLoss: losses must be at least one, got none")
        for key, loss in zip(self.names or range(len(rest)), rest, strict=True):
            _check_head(key, loss, named=self.names is not None)
        self.losses = rest  # a tuple, as in Sequential
        super().__init__(reduction="sum" if all(_sums(loss) for loss in rest) else "mean")
        self.weights = self._weights(weights)

    @property
    def heads(self) -> dict[Any, Any]:
        """The loss of each head, by its name, or by its place in the tuple."""
        return dict(zip(self.names or range(len(self.losses)), self.losses, strict=True))

    def _weights(self, weights: Any) -> tuple[float, ...] | dict[str, float]:
        """The weight of each head, in the form of the heads."""
        given = dict.fromkeys(self.heads, 1.0)
        if weights is not None:
            if isinstance(weights, str | bytes) or not isinstance(weights, Iterable):
                raise TypeError(f"MultiLoss: weights must be a number for each head, got {weights!r}")
            given = dict(weights if isinstance(weights, Mapping) else enumerate(weights))
        if given.keys() != self.heads.keys():
            raise ValueError(
                f"MultiLoss: weights must be a number for each of {self._told(self.heads)}, got {weights!r}"
            )
        checked = {key: number(self, f"weights[{key!r}]", given[key], least=0) for key in self.heads}
        return checked if self.names else tuple(checked.values())

    def forward(
        self, y: Structure, target: Structure, sample_weight: Array | None = None, **extra: Array
    ) -> tuple[Any, Any]:
        if over := [name for name in extra if name not in given(self, extra)]:
            self.refuse("forward", "what is given by name must be asked for by a head", ", ".join(over), TypeError)
        weight = () if sample_weight is None else (sample_weight,)
        value: Any = 0.0
        values, kept = {}, {}
        for key, loss, part, wanted in self.parts(y, target):
            with naming(key):
                values[key], kept[key] = loss.forward(part, wanted, *weight, **given(loss, extra))
            value = value + self.weights[key] * values[key]
        return value, (values, kept)

    def backward(self, dvalue: Any, saved: Any) -> Structure:
        dy = {key: loss.backward(dvalue * self.weights[key], saved[1][key]) for key, loss in self.heads.items()}
        return dy if self.names else tuple(dy.values())

    def parts(self, y: Structure, target: Structure) -> list[tuple[Any, Any, Array, Array]]:
        """For each head its key, its loss, its part of y and its target.

        Raises TypeError or ValueError where y or target have other heads than the losses.
        """
        self.check_heads("y", y)
        self.check_heads("target", target)
        return [(key, loss, y[key], target[key]) for key, loss in self.heads.items()]

    def check_heads(self, name: str, value: Structure) -> None:
        """Refuse what is no tuple or dict with a part for each loss."""
        form = dict if self.names else tuple
        expected = f"{name} must be a {form.__name__} with {self._told(self.heads)}"
        if not isinstance(value, form):
            got = f"a {type(value).__name__}" if isinstance(value, tuple | dict) else arrays.describe_kind(value)
            self.refuse("forward", expected, got, TypeError)
        keys = value.keys() if isinstance(value, dict) else range(len(value))
        if set(keys) != set(self.heads):
            self.refuse("forward", expected, self._told(keys))

    def asks(self) -> Asked:
        """What the heads ask for beside y, target and weights."""
        return asked_by_all(self.losses)

    def check(self, y: Structure, target: Structure, sample_weight: Array | None) -> None:
        """Refuse what does not fit together in one of the heads."""
        for key, loss, part, wanted in self.parts(y, target):
            if isinstance(loss, Loss):
                with naming(key):
                    loss.check(part, wanted, sample_weight)

    def counts(self, target: Structure) -> Array | None:
        """Which samples one head or another does not ignore, (batch,) of True and False; None for all."""
        counted = [getattr(loss, "counts", _all)(target[key]) for key, loss in self.heads.items()]
        if any(one is None for one in counted):
            return None
        xp = namespace(counted[0])
        return xp.any(xp.stack([of_rows(one) for one in counted]), axis=0)

    def total_weight(self, y: Structure, target: Structure, sample_weight: Array | None = None) -> float:
        """The number of samples, or their weight. (A head that ignores some divides by those that it counts.)"""
        first = next(iter(self.heads))
        return super().total_weight(y[first], target[first], sample_weight)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from zip(self.names or map(str, range(len(self.losses))), self.losses, strict=True)

    def children(self) -> list[Module]:
        return list(self.losses)

    def _told(self, keys: Iterable[Any]) -> str:
        listed = list(keys)
        return ", ".join(map(repr, listed)) if self.names else f"{len(listed)} head{'s' * (len(listed) != 1)}"

    def extra_repr(self) -> str:
        shown = [repr(self.heads)] if self.names else list(map(repr, self.losses))
        different = set(self.weights.values() if isinstance(self.weights, dict) else self.weights) != {1.0}
        return ", ".join([*shown, f"weights={self.weights!r}"] if different else shown)


@contextmanager
def naming(key: Any) -> Iterator[None]:
    """Let what is refused inside say of which head it is."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"MultiLoss, head {key!r}: {error}") from None


def _check_head(key: Any, loss: Any, *, named: bool) -> None:
    if named and (not isinstance(key, str) or not key or "." in key):  # the dot joins names of what is inside
        raise TypeError(f"MultiLoss: the name of a head must be a word without dots, got {key!r}")
    if not isinstance(loss, Module) or isinstance(loss, MultiLoss):
        hint = f"; call it: {loss.__name__}()" if isinstance(loss, type) else ""
        raise TypeError(f"MultiLoss: the loss of head {key!r} must be a loss, such as MSELoss(), got {loss!r}{hint}")
    if getattr(loss, "reduction", "mean") == "none":
        raise ValueError(f'MultiLoss: the loss of head {key!r} must be one number, got {loss!r} with reduction="none"')


def _sums(loss: Any) -> bool:
    return getattr(loss, "reduction", "mean") == "sum"


def _all(target: Array) -> None:
    """That every sample counts, of a loss that does not say."""
