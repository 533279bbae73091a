"""What a loss of somebody's own asks for beside y, target and weights: arrays that a Dataset carries along, by name.

A loss asks by the keyword-only arguments of its forward: `forward(y, target, sample_weight=None, *, low, group=None)`
needs `low`, and takes `group` where there is one. One that is made of others has a method `asks`, as MultiLoss has.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..module import Module


class Asked(NamedTuple):
    """The names that a loss needs, and all that it takes; `every`: it takes any (`**extra`)."""

    needs: tuple[str, ...]
    takes: tuple[str, ...]
    every: bool


def asked(loss: Module) -> Asked:
    """What a loss asks for."""
    if hasattr(loss, "asks"):
        found: Asked = loss.asks()
        return found
    every = list(inspect.signature(loss.forward).parameters.values())
    named = [one for one in every if one.kind is one.KEYWORD_ONLY]
    return Asked(
        tuple(one.name for one in named if one.default is one.empty),
        tuple(one.name for one in named),
        any(one.kind is one.VAR_KEYWORD for one in every),
    )


def asked_by_all(losses: Iterable[Module]) -> Asked:
    """What several losses ask for."""
    heads = [asked(loss) for loss in losses]
    needs = dict.fromkeys(name for head in heads for name in head.needs)
    takes = dict.fromkeys(name for head in heads for name in head.takes)
    return Asked(tuple(needs), tuple(takes), any(head.every for head in heads))


def given(loss: Module, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What of `extra` a loss asks for."""
    if not extra:
        return {}
    _, takes, every = asked(loss)
    return {name: array for name, array in extra.items() if every or name in takes}


def require_weighing(who: str, name: str, loss: Module) -> None:
    """Raise TypeError unless the loss takes the weights of samples, as the third of its arguments."""
    signature = inspect.signature(loss.forward)
    try:
        signature.bind(None, None, None, **dict.fromkeys(asked(loss).needs))
    except TypeError:
        raise TypeError(
            f"{who}: {name} has a sample_weight, which {type(loss).__name__}.forward{signature} does not take"
        ) from None


def require_extra(who: str, name: str, loss: Module, extra: Mapping[str, Any]) -> None:
    """Raise ValueError unless `extra`, of the data that errors call `name`, is just what the loss asks for."""
    needs, takes, every = asked(loss)
    kind = type(loss).__name__
    if lacking := [one for one in needs if one not in extra]:
        there = f"it holds {', '.join(extra)}" if extra else "there is none"
        raise ValueError(
            f"{who}: {kind} asks for {', '.join(lacking)}, which {name}.extra must hold ({there}): "
            f"Dataset(x, target, extra={{{lacking[0]!r}: …}})"
        )
    if over := [one for one in extra if not every and one not in takes]:
        wants = f"it asks for {', '.join(takes)}" if takes else "it takes nothing beside y, target and sample_weight"
        raise ValueError(f"{who}: {name}.extra must hold what {kind} asks for, got {', '.join(over)}; {wants}")
