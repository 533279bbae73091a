"""Groups: some of the parameters, by the same rule with options of their own."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import signature
from ..module import Module, Parameter
from .schedules import Schedule

if TYPE_CHECKING:
    from .optimizer import Optimizer

Groups: TypeAlias = Sequence[Mapping[str, Any]]

OF_ALL = ("clip_norm", "groups")  # arguments that are about all parameters together


def grouped(owner: "Optimizer", groups: Any) -> "tuple[Optimizer, ...]":
    """The rules of an optimizer's groups, each an optimizer of its class; the last that a constructor calls.

    What a group does not say is as the owner has it: a schedule is copied, as each belongs to one. So is one that is
    given to several, or else it would hear the loss of an epoch several times.

    Raises TypeError for what are no groups and for options that the class does not have; ValueError for a Parameter in
    two groups, and a group of none.
    """
    name = type(owner).__name__
    if not isinstance(groups, list | tuple):
        raise TypeError(f"{name}: groups must be a list of dicts, got {groups!r}")
    found: list[Optimizer] = []
    taken: set[Parameter] = set()
    for i, group in enumerate(groups):
        if not isinstance(group, Mapping) or "parameters" not in group:
            raise TypeError(f'{name}: groups[{i}] must be a dict with "parameters" and options, got {group!r}')
        parameters = parameters_of(f"{name}: groups[{i}]", group["parameters"])
        if not parameters:
            raise ValueError(f"{name}: groups[{i}] must have at least one Parameter")
        if twice := [parameter for parameter in parameters if parameter in taken]:
            raise ValueError(f"{name}: groups[{i}] has {twice[0]!r}, which an earlier group has; each belongs to one")
        taken.update(parameters)
        found.append(_rule(owner, f"groups[{i}]", parameters, group, [owner.lr, *(rule.lr for rule in found)]))
    return tuple(found)


def parameters_of(who: str, given: Any) -> list[Parameter]:
    """The Parameters of a Module, of a Parameter itself, or of several of both; each once."""
    if isinstance(given, Module | Parameter):
        given = [given]
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise TypeError(f"{who}: parameters must be a Module, a Parameter or several of them, got {given!r}")
    found: dict[Parameter, None] = {}
    for one in given:
        if not isinstance(one, Module | Parameter):
            raise TypeError(f"{who}: parameters must be Modules or Parameters, got a {type(one).__name__}")
        found |= dict.fromkeys([one] if isinstance(one, Parameter) else one.param())
    return list(found)


def _rule(
    owner: "Optimizer", place: str, parameters: list[Parameter], group: Mapping[str, Any], rates: list[Any]
) -> "Optimizer":
    """The rule of one group, which counts with its owner. rates : of the owner and of earlier groups."""
    kind = type(owner)
    known = [argument.name for argument in signature.parameters(kind) if argument.name not in OF_ALL]
    for name in group.keys() - {"parameters", *known}:
        why = " of its own: that is for all gradients together" if name == "clip_norm" else ""
        raise TypeError(f"{kind.__name__}: {place} has no {name!r}{why}; there are parameters, {', '.join(known)}")
    options = {name: group[name] if name in group else getattr(owner, name) for name in known}
    if isinstance(options["lr"], Schedule) and any(options["lr"] is rate for rate in rates):
        options["lr"] = copy.deepcopy(options["lr"])
    try:
        rule = kind(**options)
        for constraint in rule.constraints:
            for parameter in parameters:
                constraint.check(parameter)
    except (TypeError, ValueError) as problem:
        raise type(problem)(f"{kind.__name__}: {place}: {str(problem).removeprefix(kind.__name__ + ': ')}") from None
    rule.join(owner, parameters, own_lr="lr" in group)
    return rule
