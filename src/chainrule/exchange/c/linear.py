"""Linear in C: on one row, or on every position."""

import numpy as np

from ...engine.plan import Op
from .body import Body, Place, Way
from .kind import UNIT, Bounded, Kind

LINEAR = """\
/* y = W x + b. W is stored column by column, so that the inner loop runs along y and can be vectorized. */
static void linear(const float *x, float *y, int n_in, int n_out, const float *weight, const float *bias)
{
    int i, j;
    for (i = 0; i < n_out; i++)
        y[i] = bias ? bias[i] : 0.0f;
    for (j = 0; j < n_in; j++)
        for (i = 0; i < n_out; i++)
            y[i] += weight[j * n_out + i] * x[j];
}
"""


def _backward(forks: bool, freezes: bool) -> str:
    """forks : whether dx may have to be added to. freezes : whether there may be nobody who asks for dW."""
    assign = "dx[j] = more ? dx[j] + sum : sum;" if forks else "dx[j] = sum;"
    null, indent = ("dW, db or dx", "    ") if freezes else ("db or dx", "")
    return f"""\
/* dW += dy x', db += dy, dx = W' dy. W and dW are stored column by column; {null} may be null, if nobody asks. */
static void linear_backward(const float *dy, const float *x, float *dx, int n_in, int n_out, const float *weight,
                            float *dweight, float *dbias{", int more" * forks})
{{
    int i, j;
    if (dbias)
        for (i = 0; i < n_out; i++)
            dbias[i] += dy[i];
{"    if (dweight)" + chr(10) if freezes else ""}\
    {indent}for (j = 0; j < n_in; j++)
    {indent}    for (i = 0; i < n_out; i++)
    {indent}        dweight[j * n_out + i] += dy[i] * x[j];
    if (!dx)
        return;
    for (j = 0; j < n_in; j++) {{
        float sum = 0.0f;
        for (i = 0; i < n_out; i++)
            sum += weight[j * n_out + i] * dy[i];
        {assign}
    }}
}}
"""


BACKWARD = {(forks, freezes): _backward(forks, freezes) for forks in (False, True) for freezes in (False, True)}


class Linear(Kind):
    """y = W x + b."""

    def asks(self, op: Op, trained: list[bool], own: list[bool]) -> tuple[set[int], bool]:
        return {0} if own[0] else set(), False

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        n_in, n_out = body.values[op.inputs[0]].columns, body.values[op.output].columns
        weight, bias = (*(body.weights(i) for i in op.parameters), "0")[:2]
        rows = body.values[op.output].positions
        body.rows(rows, (LINEAR,), (x[0], n_in), (y, n_out), n_in, n_out, weight, bias)

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        n_in, n_out = way.values[op.inputs[0]].columns, way.values[op.output].columns
        dweight, dbias = (*(way.gradients(i) for i in op.parameters), "0")[:2]
        dx, more = way.gradient(0) if way.wants(0) else ("0", False)
        text = BACKWARD[way.forks, way.freezes]
        arrays = (way.dy, n_out), (x[0], n_in) if dweight != "0" else "0", (dx, n_in) if way.wants(0) else "0"
        rows, forks = way.values[op.output].positions, [int(more)] * way.forks
        way.rows(rows, (text,), *arrays, n_in, n_out, way.weights(op.parameters[0]), dweight, dbias, *forks)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        """The same.

        Source    sums of n products: Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1
        """
        (before, error), weight = x[0], parameters[0]
        bias = parameters[1] if len(parameters) > 1 else np.zeros(len(weight))
        size = (np.abs(before) + error) @ np.abs(weight).T + np.abs(bias)
        stretched = error @ np.abs(weight).T + (weight.shape[1] + 2 + op.settings.get("folded", 0)) * UNIT * size
        return before @ weight.T + bias, stretched


KINDS = {"Linear": Linear()}
