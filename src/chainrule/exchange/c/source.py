"""A network as C99: one source file, one header, and a test of its own; with a loss, the training step too."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ...arguments import as_array, positive
from ...arrays import to_numpy
from ...engine.lower import CannotLower, lower, sample_shape
from ...engine.plan import Plan
from ...files import build, describe, write_text
from ...files.description import build_rule, describe_rule
from ...module import Module
from ...optimizers import Optimizer, Schedule
from ...train.prepare import require_finite
from . import training
from .functions import ACTIVATIONS, COPY, LINEAR
from .names import refusal
from .selftest import selftest
from .spelling import about, add, array, by_columns, numbers, prefixed, rest, total, uses


def to_c(
    model: Module,
    folder: str | PathLike[str],
    *,
    name: str = "network",
    test_rows: int = 32,
    test_inputs: Any = None,
    loss: Module | None = None,
    optimizer: Any = None,
) -> list[Path]:
    """Write a trained network as C99: NAME.c and NAME.h to use, NAME_test.c to check them.

    They need a C compiler and <math.h>, allocate nothing, and may be called from several threads. Numbers are float32:

        void NAME_predict(const float x[NAME_INPUTS], float y[NAME_OUTPUTS]);

    With a loss they also learn. All that changes is a NAME_state, of fixed size, which the caller owns:

        void NAME_init(NAME_state *state);
        void NAME_predict_with(const NAME_state *state, const float *x, float *y);
        float NAME_step(NAME_state *state, const float *x, const float *target, int batch);

    Parameters
    ----------
    model : Linear, activations, Dropout (which does nothing in prediction), Flatten and Identity in any chain.
    folder : for the files; made if it is not there.
    name : of the files, and the beginning of every name in them: an identifier of C that is no word of C or C++, and
        not the name of a header of the system.
    test_rows : how many random inputs the test compares. It holds what Python says of them in float64, and for each
        output how far float32 may be from that. A training step is tested on the first 31 of them at most.
    test_inputs : (rows, inputs), what it compares instead of random inputs from a normal distribution: rows that
        are like yours tell more of a network that takes other numbers than those around 0.
    loss : what a training step makes smaller; without one, the files only predict. Targets of CrossEntropyLoss and
        NLLLoss are class indices, an int for each row; those of other losses are NAME_OUTPUTS floats for each row.
    optimizer : the rule of the updates; the model's own unless given. It begins anew: no moments, no steps. Its lr, a
        number, is what state.lr starts from.

    Returns   the paths of the three files

    Raises ValueError for a layer, a loss or an optimizer that it does not know, for a schedule, and for numbers that
    are not finite, before anything is written.
    """
    test_rows = positive("to_c", "test_rows", test_rows)
    if expected := refusal(name):
        raise ValueError(f"to_c: name must be {expected}, got {name!r}")
    plan = _plan(model, loss, _rule(model, loss, optimizer))
    x = _test_inputs(test_inputs, test_rows, plan.n_in)
    texts = {
        f"{name}.h": _header(name, plan),
        f"{name}.c": _source(name, plan),
        f"{name}_test.c": selftest(name, plan, x),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        write_text(folder / file, text)
    return [folder / file for file in texts]


def _test_inputs(given: Any, rows: int, n_in: int) -> np.ndarray:
    """What the test compares, (rows, n_in) float32."""
    if given is None:
        return np.random.default_rng(0).normal(size=(rows, n_in)).astype(np.float32)
    x = to_numpy(as_array("to_c", "test_inputs", given))
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] != n_in:
        raise ValueError(f"to_c: test_inputs must be (rows, {n_in}), got {x.shape}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        x = x.astype(np.float32)
    require_finite("to_c", "test_inputs", x)
    return x


def _rule(model: Module, loss: Module | None, optimizer: Any) -> Any:
    """The optimizer as if it had made no step, with a learning rate that is a number; None where there is no loss."""
    if loss is None:
        if optimizer is not None:
            raise ValueError(f"to_c: an optimizer needs a loss, got loss=None and {optimizer!r}")
        return None
    optimizer = getattr(model, "optimizer", None) if optimizer is None else optimizer
    if optimizer is None:
        raise ValueError("to_c: a training step needs an optimizer; give one, here or as the model's first argument")
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"to_c: there is no C for {type(optimizer).__name__}")
    if isinstance(optimizer.lr, Schedule):
        raise ValueError(f"to_c: lr must be a number, which the device may change at any time, got {optimizer.lr!r}")
    try:
        return build_rule(describe_rule(optimizer))
    except (TypeError, ValueError) as reason:
        raise ValueError(f"to_c: there is no C for {type(optimizer).__name__}: {reason}") from None


def _plan(model: Module, loss: Module | None, optimizer: Any) -> Plan:
    """The network as a flat program in float32, of a copy on NumPy arrays."""
    try:
        twin = build(*describe(model)).to(dtype="float32")
        classes = bool(getattr(loss, "classes", False))
        plan = lower(twin, loss, optimizer, sample_shape=sample_shape(twin), class_targets=classes)
    except CannotLower as reason:
        raise ValueError(f"to_c: there is no C for {reason}") from None
    except (TypeError, ValueError) as reason:
        raise ValueError(f"to_c: there is no C for this model: {reason}") from None
    for i, parameter in enumerate(plan.parameters):
        require_finite("to_c", f"parameter {i}", parameter.value)
    return plan


def _header(name: str, plan: Plan) -> str:
    upper = name.upper()
    learns = f"{training.declarations(name, plan)}\n" if plan.loss else ""
    sizes = [f"#define {upper}_INPUTS {plan.n_in}", f"#define {upper}_OUTPUTS {plan.n_out}"]
    if plan.loss:
        sizes = ["#include <stdint.h>\n", *sizes, f"#define {upper}_PARAMETERS {total(plan)}"]
    return f"""\
{about(name, plan)}
#ifndef {upper}_H
#define {upper}_H

{chr(10).join(sizes)}

#ifdef __cplusplus
extern "C" {{
#endif

/* y = the network's outputs for x; x and y must not overlap. Takes about {8 * _widest(plan):,} bytes of stack. */
void {name}_predict(const float *x, float *y);

{learns}#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(name: str, plan: Plan) -> str:
    functions: list[str] = []
    if plan.loss is None:
        body = _prediction(plan, functions, lambda i: f"parameter_{i}")
        arrays = [array(f"parameter_{i}", values) for i, values in enumerate(by_columns(plan, numbers(plan)))]
        last = f"void {name}_predict(const float *x, float *y)\n{body}"
    else:
        body = _prediction(plan, functions, lambda i: f"w + PARAMETER_{i}")
        arrays = training.constants(name, plan)
        last = f"static void forward(const float *w, const float *x, float *y)\n{body}\n"
        last += training.definitions(name, plan, functions)
    includes = [f'#include "{name}.h"\n', "#include <math.h>"]
    if plan.loss:
        includes += ["#include <string.h>\n", training.NO_FAST_MATH.rstrip()]
    head = "\n".join([about(name, plan), *includes])
    return "\n".join([head, "", prefixed(name, "\n".join([*arrays, *functions, last]))])


def _prediction(plan: Plan, functions: list[str], place: Callable[[int], str]) -> str:
    """The body of a function that maps x to y; `place` says where a parameter lies. What it calls is added."""
    body: list[str] = []
    last = max(i for i, op in enumerate(plan.ops) if op.kind == "linear")
    here, there = "x", "a"  # where the numbers are, and where the next product goes
    for i, op in enumerate(plan.ops):
        if op.kind == "linear":
            add(functions, LINEAR)
            there = "y" if i == last else there
            bias = place(op.bias) if op.bias >= 0 else "0"
            body.append(f"linear({here}, {there}, {op.n_in}, {op.n_out}, {place(op.weight)}, {bias});")
            here, there = there, "b" if there == "a" else "a"
        elif op.kind == "activation":
            if here == "x":  # which is not ours to write into
                add(functions, COPY)
                body.append(f"copy(x, a, {op.n_in});")
                here, there = "a", "b"
            needed, function, settings = ACTIVATIONS[type(op.layer)](op.layer)
            add(functions, *needed)
            body.append(f"{function}({here}, {op.n_out}{rest(settings)});")
    buffers = [f"float {buffer}[{_widest(plan)}];" for buffer in "ab" if any(uses(line, buffer) for line in body)]
    return "\n".join(["{", *(f"    {line}" for line in [*buffers, *body]), "}\n"])


def _widest(plan: Plan) -> int:
    return max([plan.n_in, *(op.n_out for op in plan.ops)])
