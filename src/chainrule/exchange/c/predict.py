"""The prediction in C, statement by statement."""

from collections.abc import Callable

from ...engine.plan import Plan
from .body import Body, Buffers, Place
from .functions import COPY
from .interface import Interface
from .kinds import KINDS
from .layout import lay_out, program_of


def prediction(plan: Plan, face: Interface, functions: list[str], weights: Callable[[int], str]) -> tuple[str, int]:
    """The body of a function that makes outputs of inputs, and how many floats it keeps on the stack.

    weights : where a parameter lies. What is called is added to `functions`.
    """
    work = program_of(plan, learns=False)
    body, buffers = Body(work, functions, weights), Buffers(face.letters())
    stores = lay_out(work, (), into_outputs=True)
    places = {value: Place(array.name) for value, array in zip(work.inputs, face.inputs, strict=True)}
    for i, op in enumerate(work.ops):
        store, offset = stores[op.output]
        if store.output is not None:
            store.name = face.outputs[store.output].name
        elif store.begin == i:
            store.name = buffers.take(store.size)
        places[op.output] = Place(store.name, offset)
        KINDS[op.kind].forward(body, op, [places[value] for value in work.reads(op)], places[op.output])
        ended = {id(store): store for store, _ in stores.values() if store.end == i and store.output is None}
        for store in ended.values():
            buffers.give(store.name)
    for value, array in zip(work.outputs, face.outputs, strict=True):
        if places[value] != (array.name, 0):
            body.call((COPY,), places[value], array.name, array.size)
    arrays = [f"float {name}[{size}];" for name, size in buffers.sizes.items()]
    given = ["w"] * bool(plan.heads) + [array.name for array in face.inputs]
    lines = [*arrays, *body.declared(given), *body.lines]
    return "\n".join(["{", *(f"    {line}" for line in lines), "}\n"]), sum(buffers.sizes.values())
