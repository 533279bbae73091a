"""The training step in C: the state that its caller owns, and the functions that change it.

Rows go through one by one: forward, loss, backward, and their gradients add up; then every parameter is updated. So
what a step takes from the stack does not grow with its rows.
"""

from ...engine.plan import Plan
from .constraints import constrain
from .dropout import draws
from .functions import COPY
from .interface import Interface
from .losses import losses_of
from .row import learn, shares_of
from .spelling import add, short
from .treated import kept_arrays, rates, starts
from .update import clips, update_all, updates

NO_FAST_MATH = """\
#if (defined __FINITE_MATH_ONLY__ && __FINITE_MATH_ONLY__) || defined _M_FP_FAST
#error "-ffast-math may drop the test that keeps NaN out of the state: add -fno-finite-math-only (MSVC: no /fp:fast)"
#endif
"""


def definitions(name: str, plan: Plan, face: Interface, functions: list[str]) -> str:
    """The functions that learn; what they call is added to `functions`."""
    counts = [_counts(i, plan, face) for i, target in enumerate(face.targets) if target.classes]
    parts = [learn(name, plan, face, functions), updates(name, plan, functions), update_all(name, plan, functions)]
    parts += filter(None, [constrain(name, plan, functions)])
    # One head leaves a whole row out, and step asks; of several each leaves out its own part, and learn does.
    parts = [*parts, *counts] if len(plan.heads) == 1 else [*counts, *parts]
    return "\n".join([_starts(name, plan, face, functions), *parts, _step(name, plan, face, functions)])


def _starts(name: str, plan: Plan, face: Interface, functions: list[str]) -> str:
    """The functions that need no derivative."""
    upper = name.upper()
    add(functions, COPY)
    begun = {kept: starts(plan, kept) for kept in kept_arrays(plan)}
    others = [(kept, here, value) for kept, (_, other) in begun.items() for here, value in other.items()]
    seed = ["    state->seed = 0;"] * draws(plan)
    lines = [
        "    int i;",
        f"    copy(trained, state->parameters, {upper}_PARAMETERS);",
        f"    for (i = 0; i < {upper}_PARAMETERS; i++) {{",
        "        state->gradients[i] = 0.0f;",
        *(f"        state->{kept}[i] = {short(value)};" for kept, (value, _) in begun.items()),
        "    }",
        *(
            f"    for (i = {here.start}; i < {here.stop}; i++)\n        state->{kept}[i] = {short(value)};"
            for kept, here, value in others
        ),
        *(f"    {lr} = {short(value)};" for lr, value in rates(plan).items()),
        "    state->steps = 0;",
        *seed,
    ]
    names = ", ".join(array.name for array in (*face.inputs, *face.outputs))
    return f"""\
void {name}_predict({face.arguments})
{{
    forward(trained, {names});
}}

void {name}_init({name}_state *state)
{{
{chr(10).join(lines)}
}}

void {name}_predict_with(const {name}_state *state, {face.arguments})
{{
    forward(state->parameters, {names});
}}
"""


def _step(name: str, plan: Plan, face: Interface, functions: list[str]) -> str:
    """The function of a whole step."""
    upper, row, shares = name.upper(), ", row" * draws(plan), shares_of(plan)
    only = len(shares) == 1 and face.targets[0].classes
    condition = f"if (counts({face.targets[0].of_row}))\n            " if only else ""
    constrains = "        constrain(state);\n" if constrain(name, plan, functions) else ""
    of_row = ", ".join([*(array.of_row for array in (*face.inputs, *face.targets)), *shares])
    return f"""\
float {name}_step({name}_state *state, {face.reads}, {face.wants}, int batch)
{{
    float loss = 0.0f, {", ".join(f"{share} = {_whole(plan, i)}" for i, share in enumerate(shares))};
    int i, row, good;
    if (batch < 1)
        return 0.0f;
    for (i = 0; i < {upper}_PARAMETERS; i++)
        state->gradients[i] = 0.0f;
{"".join(_share(i, plan, face) for i in range(len(shares)))}\
    for (row = 0; row < batch; row++)
        {condition}loss += learn(state, {of_row}{row});
    good = is_finite(loss) && all_finite(state->gradients, {upper}_PARAMETERS);
    state->steps++;
{clips(name, plan, functions)}\
    if (good && update_all(state, 0)) {{
        update_all(state, 1);
{constrains}\
        return loss;
    }}
    state->steps--;
    for (i = 0; i < {upper}_PARAMETERS; i++)
        state->gradients[i] = 0.0f;
    return loss;
}}
"""


def _whole(plan: Plan, i: int) -> str:
    """What a row counts in a sum: the weight of its head."""
    return short(plan.heads[i].weight)


def _share(i: int, plan: Plan, face: Interface) -> str:
    """What a row counts in a mean."""
    head, target, share = plan.heads[i], face.targets[i], shares_of(plan)[i]
    if head.loss.reduction == "sum":
        return ""
    whole = _whole(plan, i)
    if not target.classes:
        return f"    {share} = {whole} / ((float)batch * (float){target.macro});\n"
    name = losses_of(plan)[i].class_weight
    weight = f"{name}[{target.of_row}]" if name else "1.0f"
    return f"""\
    {share} = 0.0f;
    for (row = 0; row < batch; row++)
        {share} += {_counter(i, plan)}({target.of_row}) ? {weight} : 0.0f;
    {share} = {share} > 0.0f ? {whole} / {share} : 0.0f;
"""


def _counter(i: int, plan: Plan) -> str:
    return "counts" if len(plan.heads) == 1 else f"counts{i}"


def _counts(i: int, plan: Plan, face: Interface) -> str:
    """The function that says which rows are left out."""
    ignored, n = plan.heads[i].loss.ignore_index, face.targets[i].size
    also = f" && target != {ignored}" if 0 <= ignored < n else ""
    return f"""\
/* Whether a target is a class that counts. */
static int {_counter(i, plan)}(int target)
{{
    return target >= 0 && target < {n}{also};
}}
"""
