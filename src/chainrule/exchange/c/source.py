"""A network as C99: one source file, one header, and a test of its own."""

import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ...arguments import positive
from ...engine.compiled import columns
from ...engine.lower import CannotLower, lower
from ...engine.plan import Plan
from ...files import build, describe, write_text
from ...module import Module
from ...train.prepare import require_finite
from .functions import ACTIVATIONS, COPY, LINEAR
from .rounding import exact_and_bound

# fmt: off
_KEYWORDS = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "main",
}
# fmt: on


def to_c(model: Module, folder: str | PathLike[str], *, name: str = "network", test_rows: int = 32) -> list[Path]:
    """Write a trained network as C99: NAME.c and NAME.h to use, NAME_test.c to check them.

    They need a C compiler and <math.h>, allocate nothing, and may be called from several threads. Numbers are float32:

        void NAME_predict(const float x[NAME_INPUTS], float y[NAME_OUTPUTS]);

    Parameters
    ----------
    model : Linear, activations, Dropout (which does nothing here), Flatten and Identity in any chain.
    folder : for the files; made if it is not there.
    name : of the files and functions, an identifier of C.
    test_rows : how many random inputs the test compares. It holds what Python says of them in float64, and for each
        output how far float32 may be from that.

    Returns   the paths of the three files

    Raises ValueError for a layer that it does not know, or numbers that are not finite, before anything is written.
    """
    test_rows = positive("to_c", "test_rows", test_rows)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in _KEYWORDS:
        raise ValueError(f"to_c: name must be an identifier of C, got {name!r}")
    plan = _plan(model)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        f"{name}.h": _header(name, plan),
        f"{name}.c": _source(name, plan),
        f"{name}_test.c": _test(name, plan, test_rows),
    }
    for file, text in texts.items():
        write_text(folder / file, text)
    return [folder / file for file in texts]


def _plan(model: Module) -> Plan:
    """The network as a flat program in float32, of a copy on NumPy arrays."""
    try:
        twin = build(*describe(model)).to(dtype="float32")
        plan = lower(twin, sample_shape=(columns(twin),))
    except CannotLower as reason:
        raise ValueError(f"to_c: there is no C for {reason}") from None
    except (TypeError, ValueError) as reason:
        raise ValueError(f"to_c: there is no C for this model: {reason}") from None
    for i, parameter in enumerate(plan.parameters):
        require_finite("to_c", f"parameter {i}", parameter.value)
    return plan


def _header(name: str, plan: Plan) -> str:
    upper = name.upper()
    return f"""\
{_about(name, plan)}
#ifndef {upper}_H
#define {upper}_H

#define {upper}_INPUTS {plan.n_in}
#define {upper}_OUTPUTS {plan.n_out}

#ifdef __cplusplus
extern "C" {{
#endif

/* y = the network's outputs for x; x and y must not overlap. Takes about {8 * _widest(plan):,} bytes of stack. */
void {name}_predict(const float *x, float *y);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(name: str, plan: Plan) -> str:
    functions: list[str] = []
    body: list[str] = []
    last = max(i for i, op in enumerate(plan.ops) if op.kind == "linear")
    here, there = "x", "a"  # where the numbers are, and where the next product goes
    for i, op in enumerate(plan.ops):
        if op.kind == "linear":
            _add(functions, LINEAR)
            there = "y" if i == last else there
            bias = f"parameter_{op.bias}" if op.bias >= 0 else "0"
            body.append(f"linear({here}, {there}, {op.n_in}, {op.n_out}, parameter_{op.weight}, {bias});")
            here, there = there, "b" if there == "a" else "a"
        elif op.kind == "activation":
            if here == "x":  # which is not ours to write into
                _add(functions, COPY)
                body.append(f"copy(x, a, {op.n_in});")
                here, there = "a", "b"
            needed, function, settings = ACTIVATIONS[type(op.layer)](op.layer)
            for text in needed:
                _add(functions, text)
            rest = "".join(f", {_float(value)}" for value in settings)
            body.append(f"{function}({here}, {op.n_out}{rest});")
    buffers = [f"    float {buffer}[{_widest(plan)}];" for buffer in "ab" if any(_uses(line, buffer) for line in body)]
    weights = {op.weight for op in plan.ops if op.kind == "linear"}
    arrays = [_array(f"parameter_{i}", p.value, i in weights) for i, p in enumerate(plan.parameters)]
    return "\n".join(
        [
            _about(name, plan),
            f'#include "{name}.h"\n\n#include <math.h>\n',
            *arrays,
            *functions,
            f"void {name}_predict(const float *x, float *y)",
            "{",
            *buffers,
            *(f"    {line}" for line in body),
            "}\n",
        ]
    )


def _test(name: str, plan: Plan, rows: int) -> str:
    upper = name.upper()
    x = np.random.default_rng(0).normal(size=(rows, plan.n_in)).astype(np.float32)
    y, bound = exact_and_bound(plan, x)
    return f"""\
/* Compares {name}.c with what Python said, and with the argument "time" measures it.
 *
 *     cc -std=c99 -O3 {name}.c {name}_test.c -lm -o {name}_test && ./{name}_test && ./{name}_test time
 */
#include "{name}.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#define ROWS {rows}

{_array("x", x, False, of="ROWS * " + upper + "_INPUTS")}
/* In float64, and below how far float32 may be from it: the roundings of every layer, carried on to the outputs. */
{_array("expected", y, False, of="ROWS * " + upper + "_OUTPUTS", kind="double")}
{_array("bound", bound, False, of="ROWS * " + upper + "_OUTPUTS", kind="double")}
static int check(void)
{{
    float y[{upper}_OUTPUTS];
    double worst = 0.0;
    int row, i;
    for (row = 0; row < ROWS; row++) {{
        {name}_predict(x + row * {upper}_INPUTS, y);
        for (i = 0; i < {upper}_OUTPUTS; i++) {{
            const int at = row * {upper}_OUTPUTS + i;
            const double error = fabs((double)y[i] - expected[at]);
            if (!(error <= bound[at])) {{
                printf("{name}: row %d, output %d is %.9g, ", row, i, (double)y[i]);
                printf("but Python says %.9g\\n", expected[at]);
                return 1;
            }}
            worst = error > worst ? error : worst;
        }}
    }}
    printf("{name}: %d rows agree with Python, to %.2g at worst\\n", ROWS, worst);
    return 0;
}}

static void measure(void)
{{
    float y[{upper}_OUTPUTS];
    float sum = 0.0f;
    long calls = 0;
    const clock_t begin = clock();
    while (clock() - begin < CLOCKS_PER_SEC / 5) {{
        int row;
        for (row = 0; row < ROWS; row++) {{
            {name}_predict(x + row * {upper}_INPUTS, y);
            sum += y[0];
        }}
        calls += ROWS;
    }}
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    printf("%.1f ns a prediction (sum %g)\\n", 1e9 * seconds / (double)calls, (double)sum);
}}

int main(int argc, char **argv)
{{
    if (argc > 1 && argv[1][0] == 't') {{
        measure();
        return 0;
    }}
    return check();
}}
"""


def _about(name: str, plan: Plan) -> str:
    """The comment at the top: what the network is."""
    from ... import __version__

    layers = [f" *     {op.text:34} {op.n_in} -> {op.n_out}" for op in plan.ops if op.kind != "dropout"]
    total = sum(parameter.size for parameter in plan.parameters)
    lines = [f"/* {name}: written by chainrule {__version__}.", " *", *layers, " *"]
    return "\n".join([*lines, f" * {total:,} parameters, {4 * total:,} bytes.", " */"])


def _array(name: str, values: Any, transposed: bool, *, of: str = "", kind: str = "float") -> str:
    values = np.asarray(values.T if transposed else values).reshape(-1)
    spell = _float if kind == "float" else _double
    rows = [", ".join(map(spell, values[start : start + 8])) for start in range(0, len(values), 8)]
    body = ",\n".join(f"    {row}" for row in rows)
    return f"static const {kind} {name}[{of or len(values)}] = {{\n{body}\n}};\n"


def _float(value: Any) -> str:
    """Nine digits give every float32 back."""
    return _double(np.float32(value), 9) + "f"


def _double(value: Any, digits: int = 17) -> str:
    text = f"{float(value):.{digits}g}"
    return text if any(mark in text for mark in ".e") else text + ".0"


def _add(functions: list[str], text: str) -> None:
    if text not in functions:
        functions.append(text)


def _uses(line: str, buffer: str) -> bool:
    return re.search(rf"\b{buffer}\b", line) is not None


def _widest(plan: Plan) -> int:
    return max([plan.n_in, *(op.n_out for op in plan.ops)])
