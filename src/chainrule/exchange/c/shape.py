"""Layers in C that change no numbers: most of them are nothing, Permute is loops within loops."""

from collections.abc import Callable, Iterable
from math import prod

import numpy as np

from ...engine.plan import Op
from .body import Body, Place, Way
from .kind import Bounded, Kind
from .spelling import COUNTERS


class Same(Kind):
    """Other rows and columns for the same numbers in the same order."""

    def vanishes(self, learns: bool) -> bool:
        return True


class Permute(Kind):
    """y = x with its axes in another order."""

    overwrites = False

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        body.loops(*_moves(op, lambda of_y, of_x: f"{y.number(of_y)} = {x[0].number(of_x)};"))

    def backward(self, way: Way, op: Op, x: list[Place], y: Place) -> None:
        dx, more = way.gradient(0)
        write = "+=" if more else "="
        if dx is not None:
            way.loops(*_moves(op, lambda of_y, of_x: f"{dx.number(of_x)} {write} {way.dy.number(of_y)};"))

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        y, error = (part[..., op.settings["columns"]] for part in x[0])
        return y, error


def axes(places: list[int]) -> list[tuple[int, int]]:
    """Where number i of y lies in x, as the length of each axis of y and the step that it takes in x, outermost first.

    >>> axes([0, 3, 1, 4, 2, 5])  # (2, 3) becomes (3, 2)
    [(3, 1), (2, 3)]
    """
    found = []
    while len(places) > 1:
        step = places[1] - places[0]
        n = next((i for i in range(2, len(places)) if places[i] - places[i - 1] != step), len(places))
        found.append((n, step))
        places = places[::n]
    return found[::-1]


def _moves(op: Op, statement: Callable[[str, str], str]) -> tuple[list[int], str]:
    """The lengths of loops over the axes of y, and what they do: a statement about a number of y and one of x."""
    lengths, steps = zip(*axes(op.settings["columns"]), strict=True)
    places = [prod(lengths[i + 1 :]) for i in range(len(lengths))]
    return list(lengths), statement(_index(places), _index(steps))


def _index(steps: Iterable[int]) -> str:
    return " + ".join(
        f"{counter} * {step}" if step > 1 else counter for counter, step in zip(COUNTERS, steps, strict=False)
    )


KINDS = {"Reshape": Same(), "Permute": Permute()}
