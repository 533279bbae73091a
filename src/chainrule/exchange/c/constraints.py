"""What each constraint is in C: a function that changes numbers after their update."""

from typing import Any

import numpy as np

from ... import constraints
from ...engine.plan import Plan
from .parameters import places
from .spelling import add, array, name_of, short
from .treated import rate, spans

REACHES = """\
/* Whether L1 or L2 may reach so far: neither backwards nor without end. */
static int reaches(float reach)
{
    return is_finite(reach) && reach >= 0.0f;
}
"""

L1 = """\
/* w = sign(w) max(|w| - reach, 0) */
static void l1_step(float *w, int n, float reach)
{
    int i;
    for (i = 0; i < n; i++)
        w[i] -= w[i] > reach ? reach : w[i] < -reach ? -reach : w[i];
}
"""

L2 = """\
/* w = w / (1 + reach) */
static void l2_step(float *w, int n, float reach)
{
    int i;
    for (i = 0; i < n; i++)
        w[i] /= 1.0f + reach;
}
"""

NORMS = """\
/* Each row of W that is longer than most gets that length; with `all`, each that has a direction. W is stored column by
 * column. Numbers are divided by the largest of their row, so that no square is too large or too small for a float. */
static void limit_norms(float *w, int rows, int columns, float most, int all)
{
    int i, j;
    for (i = 0; i < rows; i++) {
        float peak = 0.0f, sum = 0.0f, norm;
        for (j = 0; j < columns; j++)
            peak = fabsf(w[j * rows + i]) > peak ? fabsf(w[j * rows + i]) : peak;
        for (j = 0; j < columns && peak > 0.0f; j++)
            sum += w[j * rows + i] / peak * (w[j * rows + i] / peak);
        norm = sqrtf(sum);
        if (all ? sum > 0.0f : peak * norm > most)
            for (j = 0; j < columns; j++)
                w[j * rows + i] = w[j * rows + i] / peak * (most / norm);
    }
}
"""

NON_NEGATIVE = """\
/* w = max(w, 0) */
static void non_negative(float *w, int n)
{
    int i;
    for (i = 0; i < n; i++)
        w[i] = w[i] < 0.0f ? 0.0f : w[i];
}
"""

MASK = """\
/* w stays where the mask, a bit for each number, is 1, and is 0 elsewhere. */
static void put_mask(float *w, int n, const unsigned char *mask)
{
    int i;
    for (i = 0; i < n; i++)
        w[i] = mask[i / 8] >> i % 8 & 1 ? w[i] : 0.0f;
}
"""

# Of those that change every number alike; the others know rows, or places.
ALIKE = {constraints.L1: L1, constraints.L2: L2, constraints.NonNegative: NON_NEGATIVE}
KNOWN = (*ALIKE, constraints.MaxNorm, constraints.UnitNorm, constraints.Mask)


def constrain(name: str, plan: Plan, functions: list[str]) -> str:
    """The function that applies the constraints after an update; empty where there are none."""
    calls = _calls(plan, functions)
    if not calls:
        return ""
    return f"""\
/* What holds after each update. */
static void constrain({name}_state *state)
{{
    float *w = state->parameters;
{"".join(f"    {call};{chr(10)}" for call in calls)}\
}}
"""


def guards(plan: Plan, functions: list[str]) -> list[str]:
    """Calls that say whether constraints leave finite numbers where they find them; the others always do."""
    owners = [owner for _, owner in spans(plan, lambda one: one.owner)]
    found = [_reach(plan, owner, one) for owner in owners for one in owner.constraints if hasattr(one, "strength")]
    add(functions, *[REACHES] * bool(found))
    return [f"reaches({reach})" for reach in dict.fromkeys(found)]


def _reach(plan: Plan, owner: Any, constraint: Any) -> str:
    """How far L1 and L2 reach."""
    return f"{rate(plan, owner)} * {short(constraint.strength)}"


def _calls(plan: Plan, functions: list[str]) -> list[str]:
    """In the order of the constraints of each rule."""
    found: list[str] = []
    masks: dict[Any, str] = {}
    for here, owner in spans(plan, lambda one: one.owner):
        own = {i: part for i, part in places(plan).items() if part.start in here}
        for constraint in owner.constraints:
            if text := ALIKE.get(type(constraint)):
                reach = [_reach(plan, owner, constraint)] if hasattr(constraint, "strength") else []
                found.append(_call(functions, text, here, len(here), *reach))
            elif isinstance(constraint, constraints.Mask):
                masks.setdefault(constraint, f"mask_{len(masks)}")
                bits = np.packbits(constraint.mask.T.reshape(-1), bitorder="little")
                add(functions, array(masks[constraint], bits, kind="unsigned char"))
                found += [_call(functions, MASK, part, len(part), masks[constraint]) for part in own.values()]
            else:
                norm = getattr(constraint, "max_norm", 1.0), int(isinstance(constraint, constraints.UnitNorm))
                shapes = {i: plan.shapes[i] for i in own if len(plan.shapes[i]) > 1}
                for i, (rows, *_) in shapes.items():
                    size = rows, len(own[i]) // rows
                    found.append(_call(functions, NORMS, own[i], *size, short(norm[0]), norm[1]))
    return found


def _call(functions: list[str], text: str, here: range, *arguments: Any) -> str:
    """A call of a function that changes these numbers of the state."""
    add(functions, text)
    place = f"w + {here.start}" if here.start else "w"
    return f"{name_of(text)}({', '.join([place, *map(str, arguments)])})"
