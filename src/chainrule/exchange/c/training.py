"""The training step in C: the state that its caller owns, and the functions that change it.

Rows go through one by one: forward, loss, backward, and their gradients add up; then every parameter is updated. So
what a step takes from the stack does not grow with its rows.
"""

import numpy as np

from ... import signature
from ...engine.plan import Plan
from .dropout import draws
from .functions import COPY
from .row import learn, stack
from .spelling import add, array, by_columns, numbers, places, short
from .update import clips, update, update_all

# -- the header


def declarations(name: str, plan: Plan) -> str:
    """What the header says: the state, and the functions that work on it."""
    upper = name.upper()
    kept = [f"    float {array}[{upper}_PARAMETERS];" for array in plan.optimizer.state_names()]
    seed = ["    uint64_t seed;  /* of the dropout masks; set it whenever you like */"] * draws(plan)
    target, means = "const float", f"{upper}_OUTPUTS."
    if plan.class_targets:
        ignored = plan.loss.ignore_index
        also = f", or is {ignored}," if 0 <= ignored < plan.n_out else ""
        target = "const int"
        means = f"one, its class.\n * A row whose class is not in 0 ... {plan.n_out - 1}{also} counts nothing."
    mean = "sum" if plan.loss.reduction == "sum" else "mean"
    return f"""\
/* All that learning changes: parameters (of each layer the weight, column by column, then the bias), their gradients in
 * the last step, and what the optimizer keeps. It holds no pointers: copy it, store it, send it. */
typedef struct {{
    float parameters[{upper}_PARAMETERS];
    float gradients[{upper}_PARAMETERS];
{"".join(f"{line}{chr(10)}" for line in kept)}\
    float lr;       /* the learning rate; set it whenever you like */
    uint32_t steps; /* updates made */
{"".join(f"{line}{chr(10)}" for line in seed)}\
}} {name}_state;

/* The parameters above, and an optimizer that has made no step. */
void {name}_init({name}_state *state);

/* The same as {name}_predict, with the parameters of `state`. */
void {name}_predict_with(const {name}_state *state, const float *x, float *y);

/* One training step on `batch` rows: forward, loss, backward, update.
 *
 *     {signature.call(plan.loss)}
 *     {signature.call(plan.optimizer)}
 *
 * x holds {upper}_INPUTS numbers for each row, target {means}
 * Returns the {mean} of the loss before the update. There is no update if batch is below 1, or if the loss, a gradient
 * or any number that the update would leave in the state is NaN or infinite: then parameters, steps and what the
 * optimizer keeps stay what they were, and the gradients are 0.
 * Takes about {stack(plan):,} bytes of stack, however many rows there are. */
float {name}_step({name}_state *state, const float *x, {target} *target, int batch);
"""


# -- the source

NO_FAST_MATH = """\
#if (defined __FINITE_MATH_ONLY__ && __FINITE_MATH_ONLY__) || defined _M_FP_FAST
#error "-ffast-math may drop the test that keeps NaN out of the state: add -fno-finite-math-only (MSVC: no /fp:fast)"
#endif
"""


def constants(name: str, plan: Plan) -> list[str]:
    """Where each parameter begins, and the numbers of all of them."""
    begins = [f"    PARAMETER_{i} = {begin}" for i, begin in enumerate(places(plan))]
    return [
        "/* Where each parameter begins. */\nenum {\n" + ",\n".join(begins) + "\n};\n",
        array("trained", np.concatenate(by_columns(plan, numbers(plan))), of=f"{name.upper()}_PARAMETERS"),
    ]


def definitions(name: str, plan: Plan, functions: list[str]) -> str:
    """The functions that learn; what they call is added to `functions`."""
    parts = [_starts(name, plan, functions), learn(name, plan, functions)]
    parts += [update(name, plan, functions), update_all(name, plan)]
    if plan.class_targets:
        parts.append(_counts(plan))
    return "\n".join([*parts, _step(name, plan, functions)])


def _starts(name: str, plan: Plan, functions: list[str]) -> str:
    """The functions that need no derivative."""
    upper, optimizer = name.upper(), plan.optimizer
    add(functions, COPY)
    starts = [f"        state->{kept}[i] = {short(optimizer.initial_value(kept))};" for kept in optimizer.state_names()]
    seed = ["    state->seed = 0;"] * draws(plan)
    lines = [
        "    int i;",
        f"    copy(trained, state->parameters, {upper}_PARAMETERS);",
        f"    for (i = 0; i < {upper}_PARAMETERS; i++) {{",
        "        state->gradients[i] = 0.0f;",
        *starts,
        "    }",
        f"    state->lr = {short(optimizer.current_lr)};",
        "    state->steps = 0;",
        *seed,
    ]
    return f"""\
void {name}_predict(const float *x, float *y)
{{
    forward(trained, x, y);
}}

void {name}_init({name}_state *state)
{{
{chr(10).join(lines)}
}}

void {name}_predict_with(const {name}_state *state, const float *x, float *y)
{{
    forward(state->parameters, x, y);
}}
"""


def _step(name: str, plan: Plan, functions: list[str]) -> str:
    """The function of a whole step."""
    upper, row = name.upper(), ", row" * draws(plan)
    if plan.class_targets:
        target, of_row, condition = "int", "target[row]", "if (counts(target[row]))\n            "
    else:
        target, of_row, condition = "float", f"target + row * {upper}_OUTPUTS", ""
    return f"""\
float {name}_step({name}_state *state, const float *x, const {target} *target, int batch)
{{
    float loss = 0.0f, share = 1.0f;
    int i, row, good;
    if (batch < 1)
        return 0.0f;
    for (i = 0; i < {upper}_PARAMETERS; i++)
        state->gradients[i] = 0.0f;
{_share(name, plan)}\
    for (row = 0; row < batch; row++)
        {condition}loss += learn(state, x + row * {upper}_INPUTS, {of_row}, share{row});
    good = is_finite(loss) && all_finite(state->gradients, {upper}_PARAMETERS);
    state->steps++;
{clips(name, plan, functions)}\
    if (good && update_all(state, 0)) {{
        update_all(state, 1);
        return loss;
    }}
    state->steps--;
    for (i = 0; i < {upper}_PARAMETERS; i++)
        state->gradients[i] = 0.0f;
    return loss;
}}
"""


def _share(name: str, plan: Plan) -> str:
    """What a row counts in a mean."""
    if plan.loss.reduction == "sum":
        return ""
    if not plan.class_targets:
        return f"    share = 1.0f / ((float)batch * (float){name.upper()}_OUTPUTS);\n"
    weight = "1.0f" if plan.loss.weight.value is None else "class_weight[target[row]]"
    return f"""\
    share = 0.0f;
    for (row = 0; row < batch; row++)
        share += counts(target[row]) ? {weight} : 0.0f;
    share = share > 0.0f ? 1.0f / share : 0.0f;
"""


def _counts(plan: Plan) -> str:
    """The function that says which rows are left out."""
    ignored = plan.loss.ignore_index
    also = f" && target != {ignored}" if 0 <= ignored < plan.n_out else ""
    return f"""\
/* Whether a target is a class that counts. */
static int counts(int target)
{{
    return target >= 0 && target < {plan.n_out}{also};
}}
"""
