"""Sum, Multiply and Concat in C: where branches meet."""

from itertools import accumulate

import numpy as np

from ...engine.plan import Op, Value
from .body import Body, Place, Way
from .functions import ADD, COPY, MULTIPLY
from .kind import UNIT, Bounded, Kind


class Sum(Kind):
    """y = x_1 + x_2 + …, in the place of one of them where nobody else reads that afterwards."""

    text = ADD

    def offsets(self, op: Op, values: tuple[Value, ...]) -> list[int | None]:
        return [0] * len(op.inputs)

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        n, rest = body.values[op.output].size, list(x)
        if y in rest:
            rest.remove(y)
        else:
            body.call((COPY,), rest.pop(0), y, n)
        for part in rest:
            body.call((self.text,), part, y, n)

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        *others, last = way.wanted()
        for k in others:
            dx, more = way.gradient(k)
            way.call((ADD if more else COPY,), way.dy, dx, way.values[op.output].size)
        way.hand(last)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        y, error = x[0]
        for part, off in x[1:]:
            y, error = y + part, error + off
            error = error + UNIT * (np.abs(y) + error)
        return y, error


class Multiply(Sum):
    """y = x_1 x_2 …, and dx_i = dy times all the others."""

    text = MULTIPLY

    def asks(self, op: Op, trained: list[bool], own: list[bool]) -> tuple[set[int], bool]:
        places = range(len(op.inputs))
        return {k for k in places if any(trained[other] for other in places if other != k)}, False

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        n = way.values[op.output].size
        *others, last = way.wanted()
        for k in others:
            with way.written(k) as dx:
                way.call((COPY,), way.dy, dx, n)
                self._times(way, [*x[:k], *x[k + 1 :]], dx, n)
        self._times(way, [*x[:last], *x[last + 1 :]], way.dy, n)
        way.hand(last)

    def _times(self, way: Way, x: list[Place], dx: Place, n: int) -> None:
        for part in x:
            way.call((MULTIPLY,), part, dx, n)

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        y, error = x[0]
        for part, off in x[1:]:
            y, error = y * part, error * (np.abs(part) + off) + np.abs(y) * off
            error = error + UNIT * (np.abs(y) + error)
        return y, error


class Concat(Kind):
    """Side by side in each row; what has one row may be made where it is to lie."""

    overwrites = False

    def offsets(self, op: Op, values: tuple[Value, ...]) -> list[int | None]:
        begins = accumulate((values[i].columns for i in op.inputs[:-1]), initial=0)
        return [begin if values[op.output].positions == 1 else None for begin in begins]

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        value = body.values[op.output]
        for part, i in zip(x, op.inputs, strict=True):
            n = body.values[i].columns
            if part != y:
                body.rows(value.positions, (COPY,), (part, n), (y, value.columns), n)
            y = y.at(n)

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        value, begin = way.values[op.output], 0
        for k, i in enumerate(op.inputs):
            n = way.values[i].columns
            if value.positions == 1:
                way.hand(k, begin)
            elif way.wants(k):
                dx, more = way.gradient(k)
                text = ADD if more else COPY
                way.rows(value.positions, (text,), (way.dy.at(begin), value.columns), (dx, n), n)
            begin += n

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        y, error = (np.concatenate(parts, axis=-1) for parts in zip(*x, strict=True))
        return y, error


KINDS = {"Sum": Sum(), "Multiply": Multiply(), "Concat": Concat()}
