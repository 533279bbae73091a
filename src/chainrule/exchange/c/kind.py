"""What a kind of op says of itself, so that the walks over a plan know none by name."""

from typing import TYPE_CHECKING

import numpy as np

from ...engine.plan import Op, Value

if TYPE_CHECKING:
    from .body import Body, Place, Way

UNIT = 2.0**-24  # the largest relative error of one rounding in float32
LIBRARY = 16.0  # units by which an activation may be off: a margin over the few that glibc's manual lists for <math.h>

Bounded = tuple[np.ndarray, np.ndarray]  # numbers, (rows, positions, columns), and how far float32 may be from each


class Kind:
    """One kind of op, by the name of which the plan calls it.

    overwrites : whether its output may lie where an input lay, and is then written over it.
    comes_back : whether there is a way back through it; where there is none, all below it has to be frozen.
    steps : whether a training step may have it at all.
    """

    overwrites = True
    comes_back = True
    steps = True

    def vanishes(self, learns: bool) -> bool:
        """Whether the output is the input itself, in a program that learns or one that only predicts."""
        return False

    def offsets(self, op: Op, values: tuple[Value, ...]) -> list[int | None]:
        """For each input the number of the output from which on it may lie; None for one that has to lie elsewhere."""
        return [None] * len(op.inputs)

    def asks(self, op: Op, trained: list[bool], own: list[bool]) -> tuple[set[int], bool]:
        """Which inputs the way back reads, by their places, and whether it reads the output.

        trained : of each input, whether anybody wants the gradient by it.
        own : the same of each parameter.
        """
        return set(), False

    def forward(self, body: "Body", op: Op, x: list["Place"], y: "Place") -> None:
        """Add the statements that make y of x, given where each of them lies."""
        raise NotImplementedError

    def backward(self, way: "Way", op: Op, x: list["Place"], y: "Place") -> None:
        """Add the statements that make gradients by the inputs, and by the parameters, of that by y, at `way.dy`.

        They may change it: nobody reads it afterwards.
        """
        raise NotImplementedError

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        """The output in float64, and how far float32 may be from it, given the same of the inputs."""
        raise NotImplementedError
