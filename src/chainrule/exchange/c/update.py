"""The update of all parameters in C, by the rule of an optimizer."""

from ...engine.plan import Plan
from .optimizers import CLIP_NORM, CLIP_VALUE, rule_of
from .spelling import add, places, short, total


def update(name: str, plan: Plan) -> str:
    """The function that changes parameters by their gradients."""
    rule, decays = rule_of(plan.optimizer), bool(plan.optimizer.weight_decay)
    pointers = "".join(f", *{short} = state->{kept}" for kept, short in rule.keeps.items())
    gradient, before, equation = "state->gradients[i]", [], "g = gradient"
    if decays and rule.decays_first:
        before, equation = ["w[i] *= 1.0f - lr * decay;"], "w = w (1 - lr decay), g = gradient"
    elif decays:
        gradient, equation = f"{gradient} + decay * w[i]", "g = gradient + decay w"
    once = "".join(f"    {line}\n" for line in ("const float lr = state->lr;", *rule.once))
    each = "".join(f"        {line}\n" for line in (*before, f"const float g = {gradient};", *rule.each))
    return f"""\
/* {(chr(10) + " * ").join([equation, *rule.equation])}. */
static void update({name}_state *state, int begin, int end{", float decay" * decays})
{{
    float *w = state->parameters{pointers};
{once}    int i;
    for (i = begin; i < end; i++) {{
{each}    }}
}}
"""


def calls(name: str, plan: Plan, functions: list[str]) -> str:
    """The calls that clip, and then update all parameters: at once, or one by one where not all of them decay."""
    optimizer, everything = plan.optimizer, f"{name.upper()}_PARAMETERS"
    lines = []
    for text, bound in ((CLIP_VALUE, "clip_value"), (CLIP_NORM, "clip_norm")):
        if (most := getattr(optimizer, bound)) is not None:
            add(functions, text)
            lines.append(f"{bound}(state->gradients, {everything}, {short(most)});")
    decays = [optimizer.decay_of(parameter) for parameter in plan.parameters]
    if not optimizer.weight_decay:
        lines.append(f"update(state, 0, {everything});")
    elif len(set(decays)) == 1:
        lines.append(f"update(state, 0, {everything}, {short(decays[0])});")
    else:
        begins = [*places(plan), total(plan)]
        lines += [f"update(state, {begins[i]}, {begins[i + 1]}, {short(decay)});" for i, decay in enumerate(decays)]
    return "".join(f"    {line}\n" for line in lines)
