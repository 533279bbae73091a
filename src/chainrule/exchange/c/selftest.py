"""The program that checks exported C on the machine where it is to run, and measures it there."""

from typing import Any

import numpy as np

from ...engine.plan import Plan
from ...files import build, describe
from ...module import Module
from ...structures import Structure, leaves
from .interface import Array, Interface
from .parameters import places
from .rounding import bounds
from .spelling import array, by_columns
from .training import NO_FAST_MATH
from .trajectory import BATCH, Trajectory, trajectory

MOST = 1024  # numbers that are compared of one parameter


def selftest(name: str, model: Module, plan: Plan, face: Interface, x: Structure) -> str:
    """The text of NAME_test.c: inputs x in float32, and what Python makes of them.

    model : in float32; the plan is what it lowers to.
    """
    y = leaves(build(*describe(model)).to(dtype="float64")(x))
    rows, inputs = len(leaves(x)[0]), [part.reshape(len(part), -1) for part in leaves(x)]
    off = bounds(plan, inputs)
    learns = bool(plan.heads)
    data, functions = _learning(name, plan, face, trajectory(model, plan, x)) if learns else ("", "")
    xs, ys = numbered("x", face.inputs), numbered("y", face.outputs)
    says, offs = numbered("expected", face.outputs), numbered("bound", face.outputs)
    given = _arrays(xs, inputs, face.inputs)
    expected, bound = (_arrays(n, v, face.outputs, "double") for n, v in ((says, y), (offs, off)))
    declared = "\n".join(f"    float {n}[{a.macro}];" for n, a in zip(ys, face.outputs, strict=True))
    arguments = [f"{n} + row * {a.macro}" for n, a in zip(xs, face.inputs, strict=True)]
    call = f"{name}_predict({', '.join([*arguments, *ys])});"
    compared = "".join(_compared(name, out, *parts) for out, *parts in zip(face.outputs, ys, says, offs, strict=True))
    return f"""\
/* Compares {name}.c with what Python said, and with the argument "time" measures it.
 *
 *     cc -std=c99 -O3 {name}.c {name}_test.c -lm -o {name}_test && ./{name}_test && ./{name}_test time
 */
#include "{name}.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

{NO_FAST_MATH + chr(10) if learns else ""}#define ROWS {rows}

{chr(10).join(given)}
/* In float64, and below how far float32 may be from it: the roundings of every layer, carried on to the outputs. */
{chr(10).join(expected)}
{chr(10).join(bound)}
{data}/* Whether a number is NaN or infinite, by its bits: with -ffast-math gcc drops other tests. */
static int broken(float number)
{{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    return (bits & 0x7F800000) == 0x7F800000;
}}

static int check(void)
{{
{declared}
    double worst = 0.0;
    int row, i;
    for (row = 0; row < ROWS; row++) {{
        {call}
{compared}\
    }}
    printf("{name}: %d rows agree with Python, to %.2g at worst\\n", ROWS, worst);
    return 0;
}}

static void measure(void)
{{
{declared}
    float sum = 0.0f;
    long calls = 0;
    const clock_t begin = clock();
    while (clock() - begin < CLOCKS_PER_SEC / 5) {{
        int row;
        for (row = 0; row < ROWS; row++) {{
            {call}
            sum += {" + ".join(f"{y}[0]" for y in ys)};
        }}
        calls += ROWS;
    }}
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    printf("%.1f ns a prediction (sum %g)\\n", 1e9 * seconds / (double)calls, (double)sum);
}}

{functions}int main(int argc, char **argv)
{{
    if (argc > 1 && argv[1][0] == 't') {{
        measure();
{"        measure_steps();" + chr(10) if learns else ""}\
        return 0;
    }}
    return check(){" || check_steps()" if learns else ""};
}}
"""


def numbered(name: str, arrays: list[Array]) -> list[str]:
    """The name, with numbers if there are several arrays."""
    return [name] if len(arrays) == 1 else [f"{name}{i}" for i in range(len(arrays))]


def _arrays(called: list[str], values: list[np.ndarray], arrays: list[Array], kind: str = "float") -> list[str]:
    parts = zip(called, values, arrays, strict=True)
    return [array(name, numbers, of=f"ROWS * {one.macro}", kind=kind) for name, numbers, one in parts]


def _compared(name: str, output: Array, y: str, expected: str, bound: str) -> str:
    """The comparison of one output."""
    of = "" if output.name == "y" else f" of {output.name}"
    return f"""\
        for (i = 0; i < {output.macro}; i++) {{
            const int at = row * {output.macro} + i;
            const double error = fabs((double){y}[i] - {expected}[at]);
            if (broken({y}[i]) || error > {bound}[at]) {{
                printf("{name}: row %d, output %d{of} is %.9g, ", row, i, (double){y}[i]);
                printf("but Python says %.9g\\n", {expected}[at]);
                return 1;
            }}
            worst = error > worst ? error : worst;
        }}
"""


def _learning(name: str, plan: Plan, face: Interface, run: Trajectory) -> tuple[str, str]:
    """The data of the training steps, and the functions that make them and compare."""
    named = numbered("target", face.targets)
    arrays = [
        array(n, values, of=f"LEARNED * {target.width}", kind="int" if target.classes else "float")
        for n, values, target in zip(named, run.target, face.targets, strict=True)
    ]
    arrays += _pair("loss", run.losses)
    calls = []
    for of in ("parameters", "gradients"):
        pairs = zip(*(by_columns(numbers) for numbers in getattr(run, of)), strict=True)
        for (i, here), pair in zip(places(plan).items(), pairs, strict=True):
            apart = -(-len(pair[0]) // MOST)
            chosen = [numbers[::apart] for numbers in pair]
            arrays += _pair(f"{of}_{i}", chosen)
            calls.append(
                f'near("{of}", state.{of}, {here.start}, {apart}, {of}_{i}, {of}_{i}_bound, {len(chosen[0])}, &worst)'
            )
    return _data(name, run, arrays), _functions(name, face, calls, bool(plan.optimizer.groups))


def _pair(name: str, pair: Any) -> list[str]:
    """Numbers, and how far float32 may be from each."""
    numbers, bounds = (np.asarray(numbers) for numbers in pair)
    return [
        array(name, numbers, kind="double", digits=12),
        array(f"{name}_bound", bounds, kind="double", digits=3),
    ]


def _data(name: str, run: Trajectory, arrays: list[str]) -> str:
    return f"""\
/* Training: STEPS steps over LEARNED rows of x, BATCH in each. Below, in float64, the loss of each step before its
 * update, and what the state holds after the last. How far float32 may be from it: twice what Python was off at most
 * when all that it computed was moved, up or down at random, by the largest rounding that float32 could make. */
#define BATCH {BATCH}
#define LEARNED {len(run.x[0])}
#define STEPS {len(run.losses[0])}

{chr(10).join(arrays)}
static {name}_state state;

"""


def _functions(name: str, face: Interface, calls: list[str], groups: bool) -> str:
    xs, named = numbered("x", face.inputs), numbered("target", face.targets)
    rows = [f"{n} + begin * {a.width}" for n, a in zip((*xs, *named), (*face.inputs, *face.targets), strict=True)]
    widest = max(face.inputs, key=lambda one: one.size).macro
    still = f"for (step = 0; step < {name.upper()}_RATES; step++)\n        state.lr[step]" if groups else "state.lr"
    return f"""/* Whether n numbers from `begin` on, `apart` from each other, are what Python says. */
static int near(const char *what, const float *all, int begin, int apart, const double *says, const double *off, int n,
                double *worst)
{{
    int i;
    for (i = 0; i < n; i++) {{
        const int at = begin + i * apart;
        const double error = fabs((double)all[at] - says[i]);
        if (broken(all[at]) || error > off[i]) {{
            printf("{name}: in training, number %d of the %s is %.9g, ", at, what, (double)all[at]);
            printf("but Python says %.9g\\n", says[i]);
            return 0;
        }}
        *worst = error > *worst ? error : *worst;
    }}
    return 1;
}}

static float learn(int step)
{{
    const int begin = step * BATCH;
    const int rows = LEARNED - begin < BATCH ? LEARNED - begin : BATCH;
    return {name}_step(&state, {", ".join(rows)}, rows);
}}

static int check_steps(void)
{{
    const uint32_t bits = 0x7FC00000;
    float losses[STEPS], nan[{widest}];
    double worst = 0.0;
    int step, good;
    {name}_init(&state);
    for (step = 0; step < {widest}; step++)
        memcpy(nan + step, &bits, sizeof bits);
    {name}_step(&state, {", ".join(["nan"] * len(xs) + named)}, 1); /* must change nothing */
    for (step = 0; step < STEPS; step++)
        losses[step] = learn(step);
    good = near("losses", losses, 0, 1, loss, loss_bound, STEPS, &worst);
{"".join(f"    good = good && {call};{chr(10)}" for call in calls)}\
    if (good && state.steps != STEPS) {{
        printf("{name}: in training, number of steps is %lu, but Python says %d\\n", (unsigned long)state.steps, STEPS);
        return 1;
    }}
    if (good)
        printf("{name}: %d training steps agree with Python, to %.2g at worst\\n", STEPS, worst);
    return !good;
}}

static void measure_steps(void)
{{
    float sum = 0.0f;
    long calls = 0;
    int step;
    {name}_init(&state);
    {still} = 0.0f; /* the work is the same, and the numbers stay as they are */
    const clock_t begin = clock();
    while (clock() - begin < CLOCKS_PER_SEC / 5) {{
        for (step = 0; step < STEPS; step++)
            sum += learn(step);
        calls += STEPS;
    }}
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    printf("%.1f ns a training step of %d rows, ", 1e9 * seconds / (double)calls, BATCH < LEARNED ? BATCH : LEARNED);
    printf("%lu bytes of state (sum %g)\\n", (unsigned long)sizeof state, (double)sum);
}}

"""
