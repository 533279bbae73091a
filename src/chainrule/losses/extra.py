"""What a loss of somebody's own asks for beside y, target and weights: arrays that a Dataset carries along, by name.

A loss asks by the keyword-only arguments of its forward: `forward(y, target, sample_weight=None, *, low, group=None)`
needs `low`, and takes `group` where there is one. One that is made of others has a method `asks`, as MultiLoss has.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..module import Module


class Asked(NamedTuple):
    """What a loss asks for.

    needs, takes : the names that it cannot do without, and all of them.
    every : whether it takes any name (`**extra`).
    weighs : whether it takes the weights of samples, as the third of its arguments.
    """

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    every: bool = False
    weighs: bool = True


_known: WeakKeyDictionary[Any, Asked] = WeakKeyDictionary()  # by the function: to read a signature takes 20 µs


def asked(loss: Module) -> Asked:
    """What a loss asks for."""
    if hasattr(loss, "asks"):
        said: Asked = loss.asks()
        return said
    function = getattr(loss.forward, "__func__", loss.forward)
    found = _known.get(function)
    if found is None:
        found = _known[function] = _read(inspect.signature(loss.forward))
    return found


def _read(signature: inspect.Signature) -> Asked:
    every = list(signature.parameters.values())
    named = [one for one in every if one.kind is one.KEYWORD_ONLY]
    in_order = [one for one in every if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return Asked(
        tuple(one.name for one in named if one.default is one.empty),
        tuple(one.name for one in named),
        any(one.kind is one.VAR_KEYWORD for one in every),
        len(in_order) > 2 or any(one.kind is one.VAR_POSITIONAL for one in every),
    )


def asked_by_all(losses: Iterable[Module]) -> Asked:
    """What several losses ask for."""
    heads = [asked(loss) for loss in losses]
    needs = dict.fromkeys(name for head in heads for name in head.needs)
    takes = dict.fromkeys(name for head in heads for name in head.takes)
    every, weighs = any(head.every for head in heads), all(head.weighs for head in heads)
    return Asked(tuple(needs), tuple(takes), every, weighs)


def given(loss: Module, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What of `extra` a loss asks for."""
    if not extra:
        return {}
    _, takes, every, _ = asked(loss)
    return {name: array for name, array in extra.items() if every or name in takes}


def require_weighing(who: str, name: str, loss: Module) -> None:
    """Raise TypeError unless the loss takes the weights of samples."""
    if not asked(loss).weighs:
        raise TypeError(f"{who}: {name} has a sample_weight, which the forward of {loss!r} does not take")


def require_extra(who: str, name: str, loss: Module, extra: Mapping[str, Any]) -> None:
    """Raise ValueError unless `extra`, of the data that errors call `name`, is just what the loss asks for."""
    needs, takes, every, _ = asked(loss)
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
