"""GLU in C: half of each row gates the other."""

import numpy as np

from ...engine.plan import Op
from ...layers.activations import sigmoid
from .activations import SIGMOID_OF_ONE
from .body import Body, Place, Way
from .kind import LIBRARY, UNIT, Bounded, Kind

FORWARD = """\
/* a s, s = 1 / (1 + exp(-b)), x = [a, b] */
static void glu(const float *x, float *y, int n)
{
    int i;
    for (i = 0; i < n; i++)
        y[i] = x[i] * sigmoid_of(x[n + i]);
}
"""
BACKWARD = """\
/* [dy s, dy a s (1 - s)], s = 1 / (1 + exp(-b)), x = [a, b] */
static void glu_backward(const float *dy, const float *x, float *dx, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float s = sigmoid_of(x[n + i]);
        dx[i] = dy[i] * s;
        dx[n + i] = dy[i] * x[i] * s * (1.0f - s);
    }
}
"""


class Glu(Kind):
    """y = a s: its rows are half as long as those of x, so it lies elsewhere."""

    overwrites = False

    def asks(self, op: Op, trained: list[bool], own: list[bool]) -> tuple[set[int], bool]:
        return {0}, False

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        value = body.values[op.output]
        n = value.columns
        body.rows(value.positions, (SIGMOID_OF_ONE, FORWARD), (x[0], 2 * n), (y, n), n)

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        value = way.values[op.output]
        n = value.columns
        with way.written(0) as dx:
            way.rows(value.positions, (SIGMOID_OF_ONE, BACKWARD), (way.dy, n), (x[0], 2 * n), (dx, 2 * n), n)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        (before, error), n = x[0], x[0][0].shape[-1] // 2
        a, s, of_a = before[..., :n], sigmoid(before[..., n:]), error[..., :n]
        of_s = 0.25 * error[..., n:] + LIBRARY * UNIT  # a sigmoid is nowhere steeper
        y, off = a * s, of_a * (s + of_s) + np.abs(a) * of_s
        return y, off + UNIT * (np.abs(y) + off)


KINDS = {"GLU": Glu()}
