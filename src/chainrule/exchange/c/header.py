"""NAME.h: what the functions of a network take and give, in words."""

from collections.abc import Iterable
from typing import Any

from ... import signature
from ...engine.plan import Plan
from .constraints import guards
from .dropout import draws
from .interface import Array, Interface
from .layout import program_of
from .parameters import total, trained
from .predict import prediction
from .row import stack
from .spelling import folded, words
from .treated import kept_arrays, treated


def header(name: str, plan: Plan, face: Interface) -> str:
    """The text of NAME.h."""
    upper = name.upper()
    learns = f"{_declarations(name, plan, face)}\n" if plan.heads else ""
    sizes = [f"#define {array.macro} {array.size}{_axes(array)}" for array in (*face.inputs, *face.outputs)]
    if plan.heads:
        sizes = ["#include <stdint.h>\n", *sizes, f"#define {upper}_PARAMETERS {total(plan)}"]
        sizes += [f"#define {upper}_RATES {len(plan.optimizer.rules)}"] * bool(plan.optimizer.groups)
    x, y = (", ".join(array.name for array in arrays) for arrays in (face.inputs, face.outputs))
    apart = f"{x} and {y}" if len(face.inputs) + len(face.outputs) == 2 else "the arrays"
    floats = prediction(plan, face, [])[1]
    text = f"""\
{about(name, plan)}
#ifndef {upper}_H
#define {upper}_H

{chr(10).join(sizes)}

#ifdef __cplusplus
extern "C" {{
#endif

/* {y} = the network's outputs for {x}; {apart} must not overlap. Takes about {4 * floats:,} bytes of stack. */
void {name}_predict({face.arguments});

{learns}#ifdef __cplusplus
}}
#endif

#endif
"""
    return folded(text)


def about(name: str, plan: Plan) -> str:
    """The comment at the top: what the network is."""
    from ... import __version__

    ops = program_of(plan, learns=False).ops
    layers = [f" *     {op.text:34} {_sizes(plan, op.inputs)} -> {_sizes(plan, [op.output])}" for op in ops]
    lines = [f"/* {name}: written by chainrule {__version__}.", " *", *layers, " *"]
    n = sum(parameter.size for parameter in plan.parameters)
    frozen = f"; {n - total(plan):,} of them are frozen, and no part of the state" if 0 < total(plan) < n else ""
    return "\n".join([*lines, f" * {n:,} parameters, {4 * n:,} bytes{frozen}.", " */"])


def _sizes(plan: Plan, values: Iterable[int]) -> str:
    """The sizes of values: rows times columns, or columns alone."""
    found = [plan.values[i] for i in values]
    return ", ".join(f"{v.positions} x {v.columns}" if v.positions > 1 else f"{v.columns}" for v in found)


def _axes(array: Array) -> str:
    """A comment on how the numbers lie, where that is not plain."""
    return f" /* {' x '.join(map(str, array.shape))}, the last axis first */" if len(array.shape) > 1 else ""


def _declarations(name: str, plan: Plan, face: Interface) -> str:
    """What the header says: the state, and the functions that work on it."""
    upper = name.upper()
    kept = [f"    float {array}[{upper}_PARAMETERS];" for array in kept_arrays(plan)]
    seed = ["    uint64_t seed;  /* of the dropout masks; set it whenever you like */"] * draws(plan)
    return f"""\
{_held(plan)}
typedef struct {{
    float parameters[{upper}_PARAMETERS];
    float gradients[{upper}_PARAMETERS];
{"".join(f"{line}{chr(10)}" for line in kept)}\
{_rates(plan, upper)}\
    uint32_t steps; /* updates made */
{"".join(f"{line}{chr(10)}" for line in seed)}\
}} {name}_state;

/* The parameters above, and an optimizer that has made no step. */
void {name}_init({name}_state *state);

/* The same as {name}_predict, with the parameters of `state`. */
void {name}_predict_with(const {name}_state *state, {face.arguments});

/* One training step on `batch` rows: forward, loss, backward, update.
 *
{_losses(plan, face)} *     {_rule(plan.optimizer)}
{_groups(plan)} *
 * {_rows(plan, face)}
 * Returns {_returned(plan)} before the update. There is no update if batch is below 1, or if the loss, a gradient
 * or any number that the update would leave in the state is NaN or infinite: then parameters, steps and what the
 * optimizer keeps stay what they were, and the gradients are 0.
{_unreached(plan)}\
 * Takes about {stack(plan, face):,} bytes of stack, however many rows there are. */
float {name}_step({name}_state *state, {face.reads}, {face.wants}, int batch);
"""


def _held(plan: Plan) -> str:
    """What the state is."""
    if len(trained(plan)) == len(plan.parameters):
        return """\
/* All that learning changes: parameters (of each layer the weight, column by column, then the bias), their gradients in
 * the last step, and what the optimizer keeps. It holds no pointers: copy it, store it, send it. */"""
    return """\
/* All that learning changes: parameters (of each layer the weight, column by column, then the bias; none of those that
 * are frozen, which are constants), their gradients in the last step, and what the optimizer keeps. It holds no
 * pointers: copy it, store it, send it. */"""


def _rates(plan: Plan, upper: str) -> str:
    """The field of the learning rate, or of several."""
    if not plan.optimizer.groups:
        return "    float lr;       /* the learning rate; set it whenever you like */\n"
    return f"""\
    float lr[{upper}_RATES]; /* the learning rates, of the optimizer and of each group; set them whenever you like */
"""


def _rule(owner: Any) -> str:
    """An optimizer, or a group, as the call that makes it."""
    return f"{type(owner).__name__}({signature.arguments(owner, leave_out=('groups',))})"


def _groups(plan: Plan) -> str:
    """A line for each group, with the numbers of the state that go by it."""
    lines = []
    for i, group in enumerate(plan.optimizer.groups, 1):
        own = [one.here for one in treated(plan).values() if one.owner is group]
        where = ", ".join(f"{here.start} ... {here.stop - 1}" for here in own) or "none"
        lines.append(f" *     lr[{i}]: {_rule(group)} for the parameters {where}\n")
    return "".join(lines)


def _unreached(plan: Plan) -> str:
    """What else keeps a step from changing anything."""
    return " * The same if a learning rate that L1 or L2 goes by is negative.\n" if guards(plan, []) else ""


def _losses(plan: Plan, face: Interface) -> str:
    """The loss, or what the losses of several heads add up to."""
    if [head.weight for head in plan.heads] == [1]:
        return f" *     {signature.call(plan.heads[0].loss)}\n"
    heads = zip(plan.heads, face.outputs, strict=True)
    terms = [f"{words(head.weight)} {signature.call(head.loss)} of {output.name}" for head, output in heads]
    return "".join(f" *     {term}{' +' * (i < len(terms) - 1)}\n" for i, term in enumerate(terms))


def _rows(plan: Plan, face: Interface) -> str:
    """What each array of a step holds."""
    held = [f"{array.name} {'holds ' * (i == 0)}{array.macro} numbers" for i, array in enumerate(face.inputs)]
    held[0] += " for each row"
    held += [f"{one.name} {'one, its class' if one.classes else one.macro}" for one in face.targets]
    sentences = [", ".join(held)]
    for head, target in zip(plan.heads, face.targets, strict=True):
        if target.classes:
            ignored = head.loss.ignore_index
            also = f", or is {ignored}," if 0 <= ignored < target.size else ""
            where = "" if len(plan.heads) == 1 else f" in {target.name}"
            sentences.append(f"A row whose class is not in 0 ... {target.size - 1}{also} counts nothing{where}")
    return ".\n * ".join(sentences) + "."


def _returned(plan: Plan) -> str:
    """What a step returns."""
    if [head.weight for head in plan.heads] == [1]:
        return f"the {'sum' if plan.heads[0].loss.reduction == 'sum' else 'mean'} of the loss"
    return "the loss"
