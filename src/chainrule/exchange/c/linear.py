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


def _backward(arguments: str, assign: str) -> str:
    return f"""\
/* dW += dy x', db += dy, dx = W' dy. W and dW are stored column by column; db or dx may be null, if nobody asks. */
static void linear_backward(const float *dy, const float *x, float *dx, int n_in, int n_out, const float *weight,
                            float *dweight, float *dbias{arguments})
{{
    int i, j;
    if (dbias)
        for (i = 0; i < n_out; i++)
            dbias[i] += dy[i];
    for (j = 0; j < n_in; j++)
        for (i = 0; i < n_out; i++)
            dweight[j * n_out + i] += dy[i] * x[j];
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


LINEAR_BACKWARD = _backward("", "dx[j] = sum;")
LINEAR_BACKWARD_OF_FORKS = _backward(", int more", "dx[j] = more ? dx[j] + sum : sum;")


class Linear(Kind):
    """y = W x + b."""

    def asks(self, op: Op, trained: list[bool]) -> tuple[set[int], bool]:
        return {0}, False

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        n_in, n_out = body.values[op.inputs[0]].columns, body.values[op.output].columns
        weight, bias = (*(body.weights(i) for i in op.parameters), "0")[:2]
        rows = body.values[op.output].positions
        body.rows(rows, (LINEAR,), (x[0], n_in), (y, n_out), n_in, n_out, weight, bias)

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        n_in, n_out = way.values[op.inputs[0]].columns, way.values[op.output].columns
        places = [f"PARAMETER_{i}" for i in op.parameters]
        weight, bias = places[0], f"g + {places[1]}" if len(places) > 1 else "0"
        dx, more = way.gradient(0) if way.wants(0) else ("0", False)
        text, forks = (LINEAR_BACKWARD_OF_FORKS, (int(more),)) if way.forks else (LINEAR_BACKWARD, ())
        arrays = (way.dy, n_out), (x[0], n_in), (dx, n_in) if way.wants(0) else "0"
        rows = way.values[op.output].positions
        way.rows(rows, (text,), *arrays, n_in, n_out, f"w + {weight}", f"g + {weight}", bias, *forks)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        """The same.

        Source    sums of n products: Higham 2002, "Accuracy and stability of numerical algorithms", section 3.1
        """
        (before, error), weight = x[0], parameters[0]
        bias = parameters[1] if len(parameters) > 1 else np.zeros(len(weight))
        size = (np.abs(before) + error) @ np.abs(weight).T + np.abs(bias)
        stretched = error @ np.abs(weight).T + (weight.shape[1] + 2) * UNIT * size
        return before @ weight.T + bias, stretched


KINDS = {"Linear": Linear()}
