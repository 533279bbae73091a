"""Where parameters lie in C: those that steps change in the state, one after the other; all others are constants."""

from ...engine.plan import Plan


def trained(plan: Plan) -> list[int]:
    """The numbers of the parameters that steps change: none that is frozen, and none where there are no steps."""
    return [i for i in range(len(plan.parameters)) if plan.heads and plan.is_trained([i])]


def places(plan: Plan) -> dict[int, range]:
    """For each parameter that is trained, which numbers of the state are its own."""
    found, begin = {}, 0
    for i in trained(plan):
        found[i] = range(begin, begin + plan.parameters[i].size)
        begin = found[i].stop
    return found


def total(plan: Plan) -> int:
    """How many numbers the trained parameters hold."""
    return sum(map(len, places(plan).values()))


def place(plan: Plan, i: int) -> str:
    """Where the numbers of a parameter begin, in a function whose `w` are those of the state."""
    return f"w + PARAMETER_{i}" if i in trained(plan) else f"parameter_{i}"
