"""What C runs of a plan, and where each value lies."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...engine.plan import Plan
from .body import Body, Place
from .kinds import KINDS
from .program import Program


def program_of(plan: Plan, *, learns: bool) -> Program:
    """The program of a plan, of training steps or of predictions alone.

    Raises ValueError for an op that C does not know, or not in training.
    """
    root, ops = list(range(len(plan.values))), []
    for op in plan.ops:
        if op.kind not in KINDS:
            raise ValueError(f"to_c: there is no C for {op.text}")
        if KINDS[op.kind].vanishes(learns):
            root[op.output] = root[op.inputs[0]]
        else:
            ops.append(op)
    needed = {root[value] for value in plan.outputs}
    for op in reversed(ops):
        if op.output in needed:
            needed.update(root[value] for value in op.inputs)
    ops = [op for op in ops if op.output in needed]
    trained = [False] * len(plan.values)
    for op in plan.ops:
        trained[op.output] = plan.is_trained(op.parameters) or any(trained[value] for value in op.inputs)
    for op in ops if learns else ():
        kind = KINDS[op.kind]
        if not kind.steps or (trained[op.output] and not kind.comes_back):
            raise ValueError(f"to_c: there is no C for {op.text} in a training step")
    return Program(plan, tuple(ops), tuple(root), tuple(trained))


@dataclass(eq=False)
class Store:
    """Memory for values that lie in one place, one after the other or side by side.

    size : numbers.
    begin, end : the ops that write into it first, and read from it last, by their places in the program.
    output : the number of the output whose array it is, if it is one.
    kept : whether a value in it is read after the last op.
    name : of the array in C.
    """

    size: int
    output: int | None = None
    begin: int = 0
    end: int = -1
    kept: bool = False
    name: str = ""


def lay_out(program: Program, kept: Iterable[int], *, into_outputs: bool) -> dict[int, tuple[Store, int]]:
    """For each value but the inputs, where it lies: a store, and from which number on.

    An op whose kind overwrites writes over an input that nobody reads afterwards; the parts of a Concat are made where
    they are to lie, if nothing there is written over while they are read.

    kept : values that are read after the last op.
    into_outputs : whether outputs are made in the arrays of the caller.
    """
    values, inputs = program.plan.values, set(program.inputs)
    last = {value: i for i, op in enumerate(program.ops) for value in program.reads(op)}
    protected = {*program.outputs, *kept}
    found: dict[int, tuple[Store, int]] = {}
    for number, value in enumerate(program.outputs if into_outputs else []):
        if value not in inputs and value not in found:
            found[value] = Store(values[value].size, output=number), 0
    for i, op in reversed(list(enumerate(program.ops))):
        y, reads, kind = op.output, program.reads(op), KINDS[op.kind]
        store, offset = found.setdefault(y, (Store(values[y].size), 0))
        store.begin, store.end = i, max(store.end, last.get(y, i))
        store.kept = store.kept or y in protected
        taken: set[int] = set()
        for value, begin in zip(reads, kind.offsets(op, values), strict=True):
            if begin is None or begin in taken or value in inputs or value in found or reads.count(value) > 1:
                continue
            dies = last[value] == i and value not in protected
            if dies or (not kind.overwrites and y in protected):
                found[value] = store, offset + begin
                taken.add(begin)
    return found


def forward(
    body: Body, places: dict[int, Place], stores: dict[int, tuple[Store, int]], named: Callable[[Store], str]
) -> None:
    """Add the statements of the forward pass.

    places : of the inputs; those of all other values are added.
    named : the name of a store that keeps its array, or empty for one that gives it back when nobody reads it any more.
    """
    for i, op in enumerate(body.program.ops):
        store, offset = stores[op.output]
        if store.begin == i:
            store.name = named(store) or body.buffers.take(store.size)
        places[op.output] = Place(store.name, offset)
        reads = [places[value] for value in body.program.reads(op)]
        KINDS[op.kind].forward(body, op, reads, places[op.output])
        for ended in dict.fromkeys(store for store, _ in stores.values() if store.end == i and not named(store)):
            body.buffers.give(ended.name)
