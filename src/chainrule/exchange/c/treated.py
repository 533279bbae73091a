"""How a training step in C treats each parameter: the rule of the optimizer or of a group, its rate, its decay."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from ...engine.plan import Plan
from .parameters import places

Kept = TypeVar("Kept")


class Treated(NamedTuple):
    """A parameter that is trained: which numbers of the state are its own, and by whose rule and decay it goes."""

    here: range
    owner: Any
    decay: float


def treated(plan: Plan) -> dict[int, Treated]:
    """All of them, by their numbers in the plan."""
    owners = {i: plan.owners[plan.rule_of[i]] for i in places(plan)}
    return {i: Treated(here, owners[i], owners[i].decay_of(plan.parameters[i])) for i, here in places(plan).items()}


def rate(plan: Plan, owner: Any) -> str:
    """The learning rate of an optimizer or of one of its groups."""
    return f"state->lr[{plan.optimizer.rules.index(owner)}]" if plan.optimizer.groups else "state->lr"


def rates(plan: Plan) -> dict[str, float]:
    """What each learning rate begins with."""
    return {rate(plan, owner): owner.current_lr for owner in plan.optimizer.rules}


def kept_arrays(plan: Plan) -> tuple[str, ...]:
    """The arrays of the state that any of the rules keeps."""
    return tuple(dict.fromkeys(name for owner in plan.owners for name in owner.state_names()))


def starts(plan: Plan, name: str) -> tuple[float, dict[range, float]]:
    """What the numbers of an array of the state begin with, and those of them that begin with others."""
    keep = [one for one in treated(plan).values() if name in one.owner.state_names()]
    values = {one.here: one.owner.initial_value(name) for one in keep}
    first = next(iter(values.values()))
    return first, {here: value for here, value in values.items() if value != first}


def spans(plan: Plan, of: Callable[[Treated], Kept]) -> list[tuple[range, Kept]]:
    """What is so of parameters: of all of them at once, if it is the same, or else of one after the other."""
    found = [(one.here, of(one)) for one in treated(plan).values()]
    if len({value for _, value in found}) == 1:
        return [(range(found[0][0].start, found[-1][0].stop), found[0][1])]
    return found
