"""A network as boxes and arrows: which there are, and where they stand. `plots.graph` draws them.

Networks are opened up into their layers, and each layer stands one level below the lowest that it reads. An arrow over
several levels passes each of them at a place of its own, so that nothing is drawn upon anything else. Chains, and long
arrows, are straight columns. These come to stand in the order of the means of those that they are joined to, and then
as near to these means as there is room.

Source    Sugiyama, Tagawa, Toda 1981, "Methods for visual understanding of hierarchical system structures"; columns as
          in Brandes, Köpf 2002, "Fast and simple horizontal coordinate assignment"
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from .layers import Concat, Graph, Multiply, Parallel, Residual, Select, Sequential, Sum
from .module import Module
from .structures import Structure, is_several, leaves, rebuild

SIGNS: dict[type, str] = {Sum: "+", Multiply: "×"}  # joins that are drawn as a sign
HEIGHT, SIGN, GAP, ASIDE = 0.42, 0.26, 0.3, 0.22  # inches: of a box, of a sign, between levels, between boxes
STRAIGHT = 1000.0  # how much more an arrow between neighbouring levels wants to be straight than a long one
SWEEPS = 100  # at most, over all columns, each of which goes to the mean of its neighbours
STILL = 1e-4  # inches: where no column goes farther in a sweep, all have arrived


@dataclass
class Box:
    """Something that is drawn: an input, a layer, an output, or the place where an arrow passes a level.

    text : what stands in it; place : its name in the network; kind : "input", "output", "weights", "join", "layer", or
    "pass"; sources : the boxes that it reads; level : counted from the inputs; x : of its middle, in inches.
    """

    text: str
    place: str = ""
    kind: str = "layer"
    parameters: int = 0
    sources: list["Box"] = field(default_factory=list)
    level: int = 0
    x: float = 0.0

    @property
    def width(self) -> float:
        """In inches, enough for the text in the sizes in which it is drawn."""
        if self.kind == "pass":
            return 0.06
        if self.text in SIGNS.values():
            return SIGN
        return max(0.5, 0.2 + 0.082 * len(self.text), 0.2 + 0.065 * len(self.caption))

    @property
    def caption(self) -> str:
        """The place, and how many numbers are learned there."""
        return " · ".join(filter(None, (self.place, f"{self.parameters:,}" if self.parameters else "")))


def boxes(model: Module, x: Structure = None) -> list[Box]:
    """The inputs, layers and outputs of a network, each behind those that it reads.

    `x` is what the network is shown, of which the form counts: one array, or a tuple or a dict of them.
    """
    return _Opened(model, x).boxes


class _Opened:
    def __init__(self, model: Module, x: Structure) -> None:
        self.boxes: list[Box] = []
        self.first: dict[int, str] = {}  # where a module stands first
        named = model if type(model) is Graph else None
        if named is not None and not is_several(x):
            x = None if isinstance(named.inputs, str) else dict.fromkeys(named.inputs)
        one = named.inputs if named is not None and isinstance(named.inputs, str) else "x"
        y = self.open(model, "", rebuild(x, [self.add(name, kind="input") for name in _words(x, one)]))
        one = named.outputs if named is not None and isinstance(named.outputs, str) else "y"
        for name, source in zip(_words(y, one), leaves(y), strict=True):
            self.add(name, kind="output", sources=[source])

    def add(self, text: str, **options: Any) -> Box:
        box = Box(text, **options)
        box.level = max((source.level + 1 for source in box.sources), default=0)
        self.boxes.append(box)
        return box

    def open(self, module: Module, place: str, x: Structure) -> Structure:
        """The box, or boxes, from which the output of a module comes that reads those of x."""
        opened = _OPENED.get(type(module))
        found = None if opened is None else opened(self, module, place, x)
        if found is not None:
            return found
        known = self.first.setdefault(id(module), place)
        kind = "join" if isinstance(module, Sum | Multiply | Concat) else "weights" if module.param() else "layer"
        if known != place:
            place = f"{place} is {known}"
        n = module.num_parameters if self.first[id(module)] == place else 0
        text = SIGNS.get(type(module), repr(module).split("\n")[0])
        return self.add(text, place=place, kind=kind, parameters=n, sources=leaves(x))

    def sequential(self, network: Sequential, place: str, x: Structure) -> Structure:
        for name, layer in network.named_children():
            x = self.open(layer, _joined(place, name), x)
        return x

    def residual(self, network: Residual, place: str, x: Structure) -> Structure:
        y = self.open(network.body, _joined(place, "body"), x)
        around = x if network.shortcut is None else self.open(network.shortcut, _joined(place, "shortcut"), x)
        return self.add("+", place=place, kind="join", sources=[y, around])

    def parallel(self, network: Parallel, place: str, x: Structure) -> Structure:
        names = [name for name, _ in network.named_children()]
        read = [x[name] for name in names] if isinstance(x, dict) else list(x) if is_several(x) else [x] * len(names)
        ys = [
            self.open(f, _joined(place, name), part)
            for (name, f), part in zip(network.named_children(), read, strict=True)
        ]
        return tuple(ys) if network.names is None else dict(zip(names, ys, strict=True))

    def graph(self, network: Graph, place: str, x: Structure) -> Structure:
        inputs = network.inputs
        values = (
            {inputs: x}
            if isinstance(inputs, str)
            else x
            if isinstance(x, dict)
            else dict(zip(inputs, leaves(x), strict=True))
        )
        for name, (module, sources) in network.nodes.items():
            read = values[sources] if isinstance(sources, str) else tuple(values[source] for source in sources)
            values = {**values, name: self.open(module, _joined(place, name), read)}
        if isinstance(network.outputs, str):
            return values[network.outputs]
        return {name: values[name] for name in network.outputs}

    def select(self, layer: Select, place: str, x: Structure) -> Structure:
        return x[layer.key] if is_several(x) else None  # where a layer gives several, nobody knows which


_OPENED: dict[type, Callable[..., Structure]] = {
    Sequential: _Opened.sequential,
    Residual: _Opened.residual,
    Parallel: _Opened.parallel,
    Graph: _Opened.graph,
    Select: _Opened.select,
}


def _words(value: Structure, one: str) -> list[str]:
    """What inputs and outputs are called in the picture."""
    if isinstance(value, dict):
        return list(value)
    return [f"{one}[{i}]" for i in range(len(value))] if isinstance(value, tuple) else [one]


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


# -- where they stand


@dataclass(eq=False)
class Column:
    """Boxes of one chain, or the way of a long arrow, which stand straight below each other."""

    boxes: list[Box] = field(default_factory=list)
    near: list[tuple["Column", float]] = field(default_factory=list)  # joined by an arrow, and how strongly
    left: dict["Column", float] = field(default_factory=dict)  # that stand beside it, and how far off at least
    right: dict["Column", float] = field(default_factory=dict)
    x: float = 0.0

    @property
    def weight(self) -> float:
        """How little it gives way."""
        return 1.0 if self.boxes[0].kind == "pass" else STRAIGHT

    def pull(self) -> float:
        """How far off the mean is of those that it is joined to, times its weight."""
        total = sum(weight for _, weight in self.near)
        mean = sum(other.x * weight for other, weight in self.near) / total if total else self.x
        return self.weight * (mean - self.x)

    def go(self, side: int) -> float:
        """Go right (1) or left (-1) as far as it is pulled, and push those in the way as far as they give.

        Returns how far it went.
        """
        together: set[Column] = set()
        ahead: dict[Column, float] = {}  # at how much of the way each stands in it
        weight = pull = gone = 0.0
        joining = [self]
        while True:
            for column in joining:
                together.add(column)
                ahead.pop(column, None)
                weight += column.weight
                pull += side * column.pull()
                for other, room in (column.right if side > 0 else column.left).items():
                    if other not in together:
                        at = gone + side * (other.x - column.x) - room
                        ahead[other] = min(at, ahead.get(other, math.inf))
            way = pull / weight
            if way <= 0:
                return gone
            free = min(ahead.values(), default=math.inf) - gone
            step = min(way, max(free, 0.0))
            if step > 0:
                for column in together:
                    column.x += side * step
                gone += step
                pull = side * sum(column.pull() for column in together)
            if way <= free:
                return gone
            joining = [other for other, at in ahead.items() if at <= gone + 1e-9]


def arranged(found: list[Box]) -> list[list[Box]]:
    """Give every box its place; returns the arrows, each as the boxes from where it starts to where it ends."""
    last = max(box.level for box in found)
    for box in found:
        box.level = last if box.kind == "output" else box.level
    arrows = [
        [source, *(Box("", kind="pass", level=level) for level in range(source.level + 1, box.level)), box]
        for box in found
        for source in box.sources
    ]
    columns = _columns(found, arrows)
    _order(found, arrows)
    columns.sort(key=lambda column: sum(box.x for box in column.boxes) / len(column.boxes))
    _stand_beside(columns, last + 1)
    for column in columns:
        column.x = max((other.x + room for other, room in column.left.items()), default=0.0)
    for _ in range(SWEEPS):
        if max(column.go(1) + column.go(-1) for column in (*columns, *reversed(columns))) < STILL:
            break
    for column in columns:
        for box in column.boxes:
            box.x = column.x
    return arrows


def _order(found: list[Box], arrows: list[list[Box]]) -> None:
    """Count off the boxes of each level by the mean of their neighbours above, then below, and again."""
    levels: dict[int, list[Box]] = {}
    joined: dict[tuple[int, int], list[Box]] = {}
    for box in (*found, *(box for arrow in arrows for box in arrow[1:-1])):
        levels.setdefault(box.level, []).append(box)
    for above, below in (pair for arrow in arrows for pair in pairwise(arrow)):
        joined.setdefault((id(above), 1), []).append(below)
        joined.setdefault((id(below), -1), []).append(above)
    down = [(level, -1) for _, level in sorted(levels.items())]
    for level, towards in (down + [(level, 1) for level, _ in reversed(down)]) * 4:
        means = {}
        for box in level:
            near = joined.get((id(box), towards))
            means[id(box)] = sum(other.x for other in near) / len(near) if near else box.x
        level.sort(key=lambda box: means[id(box)])
        for i, box in enumerate(level):
            box.x = i - (len(level) - 1) / 2


def _columns(found: list[Box], arrows: list[list[Box]]) -> list[Column]:
    """What stands straight below each other: boxes of which one alone reads one alone, and the ways of long arrows."""
    readers = {id(box): sum(arrow[0] is box for arrow in arrows) for box in found}
    of: dict[int, Column] = {}
    columns: list[Column] = []
    for box in found:
        alone = len(box.sources) == 1 and readers[id(box.sources[0])] == 1
        column = of[id(box)] = of[id(box.sources[0])] if alone else Column()
        column.boxes.append(box)
        if not alone:
            columns.append(column)
    for source, *between, box in arrows:
        above, below = of[id(source)], of[id(box)]
        if above is below:
            above.boxes += between
            continue
        way = Column(list(between))
        if between:
            columns.append(way)
        for one, other in ((above, way), (way, below)) if between else ((above, below),):
            weight = 1.0 if between else STRAIGHT
            one.near.append((other, weight))
            other.near.append((one, weight))
    return columns


def _stand_beside(columns: list[Column], depth: int) -> None:
    """Say which columns, given from left to right, are next to each other in a level, and how much room they need."""
    rightmost: list[tuple[Column, Box] | None] = [None] * depth
    for column in columns:
        for box in column.boxes:
            if (beside := rightmost[box.level]) is not None:
                room = max((beside[1].width + box.width) / 2 + ASIDE, column.left.get(beside[0], 0.0))
                column.left[beside[0]] = beside[0].right[column] = room
            rightmost[box.level] = (column, box)
