"""The update of all parameters in C, by the rule of an optimizer."""

from ...engine.plan import Plan
from .optimizers import CLIP_NORM, CLIP_VALUE, kept, rule_of
from .spelling import add, places, short, total

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


def update(name: str, plan: Plan, functions: list[str]) -> str:
    """The function that changes parameters by their gradients, or only says whether it could."""
    rule, decays = rule_of(plan.optimizer), bool(plan.optimizer.weight_decay)
    add(functions, FINITE, ALL_FINITE, *rule.functions)
    letters = {"parameters": "w", **kept(plan.optimizer)}
    gradient, before, equation = "state->gradients[i]", [], "g = gradient"
    if decays and rule.decays_first:
        before, equation = ["w *= 1.0f - lr * decay;"], "w = w (1 - lr decay), g = gradient"
    elif decays:
        gradient, equation = f"{gradient} + decay * w", "g = gradient + decay w"
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
    once = "".join(f"    {line}\n" for line in ("const float lr = state->lr;", *rule.once))
    each = "".join(f"        {line}\n" for line in lines)
    return f"""\
/* {(chr(10) + " * ").join([equation, *rule.equation])}.
 * Returns whether all of that is finite, and changes nothing unless it is told to keep it. */
static int update({name}_state *state, int begin, int end{", float decay" * decays}, int keep)
{{
{once}    int i, good = 1;
    for (i = begin; i < end; i++) {{
{each}    }}
    return good;
}}
"""


def clips(name: str, plan: Plan, functions: list[str]) -> str:
    """The calls that clip the gradients."""
    lines = []
    for text, bound in ((CLIP_VALUE, "clip_value"), (CLIP_NORM, "clip_norm")):
        if (most := getattr(plan.optimizer, bound)) is not None:
            add(functions, text)
            lines.append(f"{bound}(state->gradients, {name.upper()}_PARAMETERS, {short(most)});")
    return "".join(f"    {line}\n" for line in lines)


def update_all(name: str, plan: Plan) -> str:
    """The function that updates all parameters: at once, or one by one where not all of them decay."""
    optimizer, everything = plan.optimizer, f"{name.upper()}_PARAMETERS"
    decays = [optimizer.decay_of(parameter) for parameter in plan.parameters]
    if not optimizer.weight_decay:
        calls = [f"update(state, 0, {everything}, keep)"]
    elif len(set(decays)) == 1:
        calls = [f"update(state, 0, {everything}, {short(decays[0])}, keep)"]
    else:
        begins = [*places(plan), total(plan)]
        calls = [f"update(state, {begins[i]}, {begins[i + 1]}, {short(decay)}, keep)" for i, decay in enumerate(decays)]
    return f"""\
static int update_all({name}_state *state, int keep)
{{
    return {(chr(10) + "           & ").join(calls)};
}}
"""
