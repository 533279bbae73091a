"""The update of all parameters in C, each by the rule of the optimizer or of its group."""

from typing import Any

from ...engine.plan import Plan
from .constraints import guards
from .optimizers import CLIP_NORM, CLIP_VALUE, kept, rule_of
from .parameters import total
from .spelling import add, apart, name_of, short
from .treated import rate, spans

FINITE = """\
/* Whether a number is neither NaN nor infinite, by its bits. */
static int is_finite(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7F800000) != 0x7F800000;
}
"""
ALL_FINITE = """\
static int all_finite(const float *x, int n)
{
    int i, good = 1;
    for (i = 0; i < n; i++)
        good &= is_finite(x[i]);
    return good;
}
"""


def updates(name: str, plan: Plan, functions: list[str]) -> str:
    """The functions that change parameters by their gradients, or only say whether they could."""
    add(functions, FINITE, ALL_FINITE)
    texts: list[str] = []
    for *needed, update in _updates_of(name, plan).values():
        add(functions, *needed)
        add(texts, update)
    return "\n".join(texts)


def _updates_of(name: str, plan: Plan) -> dict[Any, tuple[str, ...]]:
    """For each rule its update, and before it what that calls; two that differ in what a call says share one."""
    found, made = {}, dict[tuple[str, ...], tuple[str, ...]]()
    for owner in dict.fromkeys(plan.owners):
        texts = (*rule_of(owner).functions, _update(name, plan, owner))
        if texts not in made:
            made[texts] = apart(texts, [text for others in made.values() for text in others], len(made))
        found[owner] = made[texts]
    return found


def _decays(plan: Plan) -> bool:
    return any(owner.weight_decay for owner in plan.owners)


def _update(name: str, plan: Plan, owner: Any) -> str:
    rule, decays, groups = rule_of(owner), _decays(plan), bool(plan.optimizer.groups)
    letters = {"parameters": "w", **kept(owner)}
    sign = "-" * owner.maximize
    gradient, before, equation = f"{sign}state->gradients[i]", [], f"g = {sign}gradient"
    if decays and rule.decays_first:
        before, equation = ["w *= 1.0f - lr * decay;"], f"w = w (1 - lr decay), {equation}"
    elif decays:
        gradient, equation = f"{gradient} + decay * w", f"{equation} + decay w"
    lines = [
        f"float {', '.join(f'{short} = state->{array}[i]' for array, short in letters.items())};",
        *before,
        f"const float g = {gradient};",
        *rule.each,
        "if (keep) {",
        *(f"    state->{array}[i] = {short};" for array, short in letters.items()),
        "} else {",
        f"    good &= {' & '.join(f'is_finite({short})' for short in letters.values())};",
        "}",
    ]
    own_rate = [] if groups else ["const float lr = state->lr;"]
    once = "".join(f"    {line}\n" for line in (*own_rate, *rule.once))
    each = "".join(f"        {line}\n" for line in lines)
    arguments = "int begin, int end" + ", float lr" * groups + ", float decay" * decays
    return f"""\
/* {(chr(10) + " * ").join([equation, *rule.equation])}.
 * Returns whether all of that is finite, and changes nothing unless it is told to keep it. */
static int update({name}_state *state, {arguments}, int keep)
{{
{once}    int i, good = 1;
    for (i = begin; i < end; i++) {{
{each}    }}
    return good;
}}
"""


def clips(name: str, plan: Plan, functions: list[str]) -> str:
    """The calls that clip the gradients: each by the rule of its parameter, then all of them together."""
    lines = []
    for here, most in spans(plan, lambda one: one.owner.clip_value):
        if most is not None:
            add(functions, CLIP_VALUE)
            place = f"state->gradients + {here.start}" if here.start else "state->gradients"
            lines.append(f"clip_value({place}, {_end(name, plan, here, here.start)}, {short(most)});")
    if (most := plan.optimizer.clip_norm) is not None:
        add(functions, CLIP_NORM)
        lines.append(f"clip_norm(state->gradients, {name.upper()}_PARAMETERS, {short(most)});")
    return "".join(f"    {line}\n" for line in lines)


def update_all(name: str, plan: Plan, functions: list[str]) -> str:
    """The function that updates all parameters: at once, or one by one where not all go by the same rule and decay."""
    updates, decays, groups = _updates_of(name, plan), _decays(plan), bool(plan.optimizer.groups)
    calls = []
    for here, (owner, decay) in spans(plan, lambda one: (one.owner, one.decay)):
        arguments = ["state", str(here.start), _end(name, plan, here)]
        arguments += [rate(plan, owner)] * groups + [short(decay)] * decays
        calls.append(f"{name_of(updates[owner][-1])}({', '.join([*arguments, 'keep'])})")
    calls += guards(plan, functions)
    return f"""\
static int update_all({name}_state *state, int keep)
{{
    return {(chr(10) + "           & ").join(calls)};
}}
"""


def _end(name: str, plan: Plan, here: range, begin: int = 0) -> str:
    """Where numbers end, counted from `begin` on."""
    return f"{name.upper()}_PARAMETERS" if len(here) == total(plan) else str(here.stop - begin)
