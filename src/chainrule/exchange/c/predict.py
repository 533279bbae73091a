"""The prediction in C, statement by statement."""

from ...engine.plan import Plan
from .body import Body, Buffers, Place
from .functions import COPY
from .interface import Interface
from .layout import forward, lay_out, program_of


def prediction(plan: Plan, face: Interface, functions: list[str]) -> tuple[str, int]:
    """The body of a function that makes outputs of inputs, and how many floats it keeps on the stack.

    What is called is added to `functions`.
    """
    work = program_of(plan, learns=False)
    body = Body(work, functions, Buffers(face.letters()))
    places = {value: Place(array.name) for value, array in zip(work.inputs, face.inputs, strict=True)}
    names = [array.name for array in face.outputs]
    stores = lay_out(work, (), into_outputs=True)
    forward(body, places, stores, lambda store: "" if store.output is None else names[store.output])
    for value, array in zip(work.outputs, face.outputs, strict=True):
        if places[value] != (array.name, 0):
            body.call((COPY,), places[value], array.name, array.size)
    arrays = [f"float {name}[{size}];" for name, size in body.buffers.sizes.items()]
    given = ["w"] * bool(plan.heads) + [array.name for array in face.inputs]
    lines = [*arrays, *body.declared(given), *body.lines]
    return "\n".join(["{", *(f"    {line}" for line in lines), "}\n"]), sum(body.buffers.sizes.values())
