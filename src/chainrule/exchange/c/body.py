"""The statements of a function in C as they are written, and on the way back where gradients lie."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from ...engine.plan import Op
from .functions import ADD
from .parameters import place, trained
from .program import Program
from .spelling import COUNTERS, add, arguments_of, name_of, real


class Place(NamedTuple):
    """Where numbers lie: from some number on in an array."""

    array: str
    offset: int = 0

    def at(self, offset: int) -> "Place":
        """So many numbers further on."""
        return Place(self.array, self.offset + offset)

    def number(self, index: str) -> str:
        """The number of this index."""
        return f"{self.array}[{f'{self.offset} + ' if self.offset else ''}{index}]"

    def __str__(self) -> str:
        return f"{self.array} + {self.offset}" if self.offset else self.array


class Buffers:
    """Arrays that are used again: as many as are needed at one time, each as long as what lies in it at most."""

    def __init__(self, names: Iterator[str]) -> None:
        self.names, self.free = names, list[str]()
        self.sizes: dict[str, int] = {}

    def take(self, n: int) -> str:
        """One for n numbers: the smallest free one that is long enough, or else the longest free one, or a new one."""
        sizes = {name: self.sizes[name] for name in self.free}
        fitting = [name for name in self.free if sizes[name] >= n]
        if fitting:
            name = min(fitting, key=sizes.__getitem__)
        else:
            name = max(self.free, key=sizes.__getitem__) if self.free else next(self.names)
        self.free = [other for other in self.free if other != name]
        self.sizes[name] = max(n, self.sizes.get(name, 0))
        return name

    def give(self, name: str) -> None:
        """It is free again."""
        self.free.append(name)


class Body:
    """Statements, and what they call.

    Parameters
    ----------
    program : what they do.
    functions : the texts of functions so far; what is called is added.
    buffers : the arrays that the function has for itself.
    """

    def __init__(self, program: Program, functions: list[str], buffers: Buffers) -> None:
        self.program, self.values = program, program.plan.values
        self.functions, self.buffers = functions, buffers
        self.lines: list[str] = []
        self.counters: set[str] = set()

    def weights(self, i: int) -> str:
        """Where a parameter lies, by its number in the plan."""
        return place(self.program.plan, i)

    def call(self, texts: tuple[str, ...], *arguments: Any, settings: Mapping[str, Any] | None = None) -> None:
        """A call of the last of the functions; what its parameters name behind the arguments are settings."""
        self.rows(1, texts, *arguments, settings=settings)

    def rows(
        self, rows: int, texts: tuple[str, ...], *arguments: Any, settings: Mapping[str, Any] | None = None
    ) -> None:
        """The same for each row: an argument (place, n) is an array of rows of n numbers, None is no array."""
        self.loops([rows] if rows > 1 else [], f"{self.spelt(texts, *arguments, rows=rows, settings=settings)};")

    def spelt(
        self, texts: tuple[str, ...], *arguments: Any, rows: int = 1, settings: Mapping[str, Any] | None = None
    ) -> str:
        """The call itself."""
        add(self.functions, *texts)
        spelt = [self._argument(rows, argument) for argument in arguments]
        spelt += [real((settings or {})[name]) for name in arguments_of(texts[-1])[len(spelt) :]]
        return f"{name_of(texts[-1])}({', '.join(spelt)})"

    def _argument(self, rows: int, argument: Any) -> str:
        place, n = argument if isinstance(argument, tuple) and not isinstance(argument, Place) else (argument, 0)
        if place is None:
            return "0"
        return f"{place} + i * {n}" if rows > 1 and n else str(place)

    def loops(self, lengths: list[int], statement: str) -> None:
        """A statement within loops over i, j, …"""
        for depth, (counter, n) in enumerate(zip(COUNTERS, lengths, strict=False)):
            self.counters.add(counter)
            self.lines.append(f"{'    ' * depth}for ({counter} = 0; {counter} < {n}; {counter}++)")
        self.lines.append("    " * len(lengths) + statement)

    def declared(self, arguments: list[str]) -> list[str]:
        """The counters that the statements need, and what says of arguments that no statement reads them."""
        read = set(re.findall(r"\w+", " ".join(self.lines)))
        counters = [f"int {', '.join(sorted(self.counters))};"] if self.counters else []
        return [*counters, *(f"(void){argument};" for argument in arguments if argument not in read)]


class Way(Body):
    """The way back: for each value, the gradient so far.

    A change of a value that several ops read reaches the loss through all of them: whoever comes back first writes the
    gradient, the others add theirs. All have come back before the op that made the value does.
    """

    def __init__(self, program: Program, functions: list[str], buffers: Buffers) -> None:
        super().__init__(program, functions, buffers)
        self.places: dict[int, Place] = {}
        self.uses: Counter[str] = Counter()  # gradients in each buffer

    def back(self, op: Op, x: list[Place], y: Place, backward: Callable[..., None]) -> None:
        """Back through an op, whose outputs' gradient is whole."""
        self.op, self.dy = op, self.places.pop(self.program.root[op.output])
        backward(self, op, x, y)
        self._leave(self.dy.array)

    def begin(self, value: int) -> tuple[Place, bool]:
        """Where the gradient by a value lies, and whether there is one already, to which others have to be added."""
        value = self.program.root[value]
        more = value in self.places
        if not more:
            self.places[value] = Place(self.buffers.take(self.values[value].size))
            self.uses[self.places[value].array] += 1
        return self.places[value], more

    def end(self, value: int) -> None:
        """Nobody asks for this gradient any more."""
        self._leave(self.places.pop(self.program.root[value]).array)

    # -- what kinds of ops ask, of the op that comes back

    @property
    def forks(self) -> bool:
        """Whether a product has to be added to a gradient anywhere in this program."""
        return self.program.forks

    @property
    def freezes(self) -> bool:
        """Whether a product has a weight that is frozen anywhere in this program."""
        return self.program.freezes

    def gradients(self, i: int) -> str:
        """Where the gradient by a parameter is gathered, by its number in the plan; 0 if that is frozen."""
        return f"g + PARAMETER_{i}" if i in trained(self.program.plan) else "0"

    def wants(self, k: int) -> bool:
        """Whether anybody asks for the gradient by input k."""
        return self.program.trained[self.op.inputs[k]]

    def wanted(self) -> list[int]:
        """The inputs whose gradients are asked for; those that have none yet come last."""
        places = [k for k in range(len(self.op.inputs)) if self.wants(k)]
        return sorted(places, key=lambda k: self.program.root[self.op.inputs[k]] not in self.places)

    def gradient(self, k: int) -> tuple[Place | None, bool]:
        """Where the gradient by input k goes, None if nobody asks; and whether it is added to one that is there."""
        return self.begin(self.op.inputs[k]) if self.wants(k) else (None, False)

    @contextmanager
    def written(self, k: int) -> Iterator[Place]:
        """An array for the gradient by input k, to be written whatever lies there."""
        dx, more = self.begin(self.op.inputs[k])
        if not more:
            yield dx
            return
        n = self.values[self.op.inputs[k]].size
        spare = Place(self.buffers.take(n))
        yield spare
        self.call((ADD,), spare, dx, n)
        self.buffers.give(spare.array)

    def hand(self, k: int, begin: int = 0) -> None:
        """What lies in dy from `begin` on has become the gradient by input k."""
        if not self.wants(k):
            return
        value = self.program.root[self.op.inputs[k]]
        if value in self.places:
            self.call((ADD,), self.dy.at(begin), self.places[value], self.values[value].size)
        else:
            self.places[value] = self.dy.at(begin)
            self.uses[self.dy.array] += 1

    def _leave(self, array: str) -> None:
        self.uses[array] -= 1
        if not self.uses[array]:
            self.buffers.give(array)
