"""The training step of one row in C: forward, loss, backward, statement by statement."""

from ...engine.plan import Op, Plan
from .derivatives import DERIVATIVES, LINEAR_BACKWARD
from .dropout import DROPOUT, PHILOX, draws, dropout_call
from .functions import ACTIVATIONS
from .losses import LOSSES
from .spelling import add, rest


def stack(plan: Plan) -> int:
    """Bytes that `learn` keeps on the stack."""
    return 4 * _row(plan, [])[1]


def learn(name: str, plan: Plan, functions: list[str]) -> str:
    """The function of one row."""
    lines, _ = _row(plan, functions)
    target = "int target" if plan.class_targets else "const float *target"
    row = ", int row" * draws(plan)
    return f"""\
/* One row: its gradients are added to those before, and its loss is returned. `share` is what the row counts. */
static float learn({name}_state *state, const float *x, {target}, float share{row})
{{
{"".join(f"    {line}{chr(10)}" for line in lines)}\
}}
"""


def _row(plan: Plan, functions: list[str]) -> tuple[list[str], int]:
    """The statements of `learn`, and how many floats they keep on the stack."""
    outputs = _outputs(plan)
    sizes = {output: op.n_out for output, op in zip(outputs, plan.ops, strict=True)}
    first = next(i for i, op in enumerate(plan.ops) if op.kind == "linear")
    gradients = "ab" if any(op.kind == "linear" for op in plan.ops[first + 1 :]) else "a"
    sizes |= dict.fromkeys(gradients, max(op.n_out for op in plan.ops[first:]))
    needed, function, settings = LOSSES[type(plan.loss)](plan.loss, plan.n_out)
    add(functions, *needed)
    lines = [
        "const float *w = state->parameters;",
        "float *g = state->gradients;",
        *(f"float {buffer}[{size}];" for buffer, size in sizes.items()),
        *_forward(plan, outputs, functions),
        f"const float loss = {function}({outputs[-1]}, target, a, {plan.n_out}, share{rest(settings)});",
        *_backward(plan, outputs, functions, first),
        "return loss;",
    ]
    return lines, sum(sizes.values())


def _outputs(plan: Plan) -> list[str]:
    """Where the output of each op stays: in y0, y1, …, or in place of its input, if no derivative asks for that."""
    outputs: list[str] = []
    before: Op | None = None
    for i, op in enumerate(plan.ops):
        asked_for = before is None or _asks(op, "x") or _asks(before, "y")
        outputs.append(f"y{i}" if op.kind == "linear" or asked_for else outputs[-1])
        before = op
    return outputs


def _asks(op: Op, what: str) -> bool:
    """Whether the derivative of an op asks for its input ("x"), or its output ("y"), besides what Linear asks for."""
    return op.kind == "activation" and DERIVATIVES[type(op.layer)](op.layer).of == what


def _forward(plan: Plan, outputs: list[str], functions: list[str]) -> list[str]:
    lines = []
    for op, x, y in zip(plan.ops, ["x", *outputs], outputs, strict=False):
        if op.kind == "linear":
            bias = f"w + PARAMETER_{op.bias}" if op.bias >= 0 else "0"
            lines.append(f"linear({x}, {y}, {op.n_in}, {op.n_out}, w + PARAMETER_{op.weight}, {bias});")
            continue
        if x != y:
            lines.append(f"copy({x}, {y}, {op.n_out});")
        if op.kind == "dropout":
            add(functions, PHILOX, DROPOUT)
            lines.append(dropout_call(y, op.n_out, op.layer, op.stream))
        else:
            _, function, settings = ACTIVATIONS[type(op.layer)](op.layer)
            lines.append(f"{function}({y}, {op.n_out}{rest(settings)});")
    return lines


def _backward(plan: Plan, outputs: list[str], functions: list[str], first: int) -> list[str]:
    """Back to op `first`, the first that has parameters: nobody asks for the gradient by the data."""
    lines = []
    here, there = "a", "b"  # where the gradient is, and where the next product goes
    for i in range(len(plan.ops) - 1, first - 1, -1):
        op, x, y = plan.ops[i], outputs[i - 1] if i else "x", outputs[i]
        if op.kind == "linear":
            add(functions, LINEAR_BACKWARD)
            weight, bias = f"PARAMETER_{op.weight}", f"g + PARAMETER_{op.bias}" if op.bias >= 0 else "0"
            arrays = f"{here}, {x}, {there if i > first else 0}, {op.n_in}, {op.n_out}"
            lines.append(f"linear_backward({arrays}, w + {weight}, g + {weight}, {bias});")
            here, there = there, here
        elif op.kind == "dropout":
            lines.append(dropout_call(here, op.n_out, op.layer, op.stream))
        else:
            needed, function, of, settings = DERIVATIVES[type(op.layer)](op.layer)
            add(functions, *needed)
            lines.append(f"{function}_backward({here}, {x if of == 'x' else y}, {op.n_out}{rest(settings)});")
    return lines
