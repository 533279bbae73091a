"""The options of optimizers, layers and losses in a checkpoint: those that a callback has set since the run began.

What they were made with a run that goes on has by itself. What no file can hold (a function, a class of somebody's own)
is left out: a callback has to set it again. So it is with layers that were put in or taken out.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from .. import signature
from ..files.description import build_value, describe_value
from ..module import Module, Parameter
from ..optimizers import Lookahead, Optimizer
from ..optimizers.groups import grouped

PLAIN = (bool, int, float, str, type(None))
NOT_HERE = ("lr", "groups", "optimizer")  # written down by themselves, or each by its own options


class Options:
    """The options of an optimizer as they are now, as plain values.

    groups : of each group the names of its parameters. each : of the optimizer, what it is around (Lookahead) and its
        groups.
    """

    def __init__(self, optimizer: Any, names: Mapping[Parameter, str]) -> None:
        groups = getattr(optimizer, "groups", ()) if isinstance(optimizer, Optimizer) else ()
        self.groups = [sorted(names[p] for p in group.parameters if p in names) for group in groups]
        self.each = [_plain(rule) for rule in with_options(optimizer)]

    def since(self, before: "Options") -> dict[str, Any]:
        """What is other than before: of groups that are others everything."""
        other = self.groups != before.groups
        n = len(self.each) - len(self.groups) if other else len(self.each)
        known = [*before.each[:n], *[{}] * (len(self.each) - n)]
        each = [_other(now, then) for now, then in zip(self.each, known, strict=True)]
        return ({"groups": self.groups} if other else {}) | ({"each": each} if any(each) else {})


class Layers:
    """The arguments of modules that are plain values, as they are now."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self.kinds = [type(module) for module in modules]
        self.each = [_plain(module) for module in modules]

    def since(self, before: "Layers") -> list[dict[str, Any]]:
        """What is other than before in each; nothing where there are others."""
        if self.kinds != before.kinds:
            return []
        each = [_other(now, then) for now, then in zip(self.each, before.each, strict=True)]
        return each if any(each) else []


def with_options(optimizer: Any, groups: Sequence[Any] | None = None) -> list[Any]:
    """Everything with options of its own: an optimizer, the one that it is around, and its groups, or these."""
    if not isinstance(optimizer, Optimizer):
        return []
    around = [optimizer] if isinstance(optimizer, Lookahead) else []
    own, *known = optimizer.rules
    return [*around, own, *(known if groups is None else groups)]


def groups_since(optimizer: Any, found: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Any:
    """The groups that a callback had made by then; None where they are those of the optimizer."""
    if "groups" not in found:
        return None
    return grouped(optimizer.rules[0], [{"parameters": [parameters[name] for name in one]} for one in found["groups"]])


def options_now(owners: Sequence[Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Each owner of options with them as they are."""
    return [(owner, _options(owner)) for owner in owners]


def set_options(options: list[tuple[Any, dict[str, Any]]]) -> None:
    """Give each owner these options, where they are not what it has."""
    for owner, given in options:
        other = {name: value for name, value in given.items() if value is not getattr(owner, name)}
        if other and isinstance(owner, Optimizer):
            owner.set_options(other)
        for name, value in {} if isinstance(owner, Optimizer) else other.items():
            setattr(owner, name, value)


def options_since(owners: Sequence[Any], each: Sequence[Mapping[str, Any]]) -> list[tuple[Any, dict[str, Any]]]:
    """Each owner with the options that are to be set; none have any if there are none."""
    return [
        (owner, {name: _as_before(getattr(owner, name), build_value(value)) for name, value in options.items()})
        for owner, options in zip(owners, each or [{}] * len(owners), strict=True)
    ]


def _options(owner: Any) -> dict[str, Any]:
    names = [argument.name for argument in signature.parameters(type(owner)) if argument.name not in NOT_HERE]
    found = {name: getattr(owner, name) for name in names if hasattr(owner, name)}
    return {name: value for name, value in found.items() if not isinstance(owner, Module) or _is_plain(value)}


def _is_plain(value: Any) -> bool:
    """Whether an argument of a module is a plain value, and no part of it."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if isinstance(value, list | tuple) else isinstance(value, PLAIN)


def _plain(owner: Any) -> dict[str, Any]:
    found = {}
    for name, value in _options(owner).items():
        with suppress(TypeError):  # of what a class of somebody's own may keep
            found[name] = describe_value(value)
    return found


def _other(now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in now.items() if then.get(name, then) != value and _comes_back(value)}


def _comes_back(value: Any) -> bool:
    try:
        build_value(value)
    except ValueError:
        return False
    return True


def _as_before(now: Any, value: Any) -> Any:
    """What was a tuple, which JSON lacks."""
    return tuple(value) if isinstance(now, tuple) and isinstance(value, list) else value
