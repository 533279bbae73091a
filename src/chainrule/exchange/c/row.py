"""The training step of one row in C: forward, loss, backward, statement by statement."""

from ...engine.plan import Plan
from .body import Buffers, Place, Way
from .dropout import draws
from .functions import ADD, ZERO
from .interface import Interface
from .kinds import KINDS
from .layout import forward, lay_out, program_of
from .losses import losses_of
from .program import Program


def stack(plan: Plan, face: Interface) -> int:
    """Bytes that `learn` keeps on the stack."""
    return 4 * _row(plan, face, [])[1]


def learn(name: str, plan: Plan, face: Interface, functions: list[str]) -> str:
    """The function of one row."""
    lines, _ = _row(plan, face, functions)
    arrays = [array.declared for array in face.inputs]
    arrays += ["int " + target.name if target.classes else target.declared for target in face.targets]
    shares = [f"float {share}" for share in shares_of(plan)]
    row = ", int row" * draws(plan)
    return f"""\
/* One row: its gradients are added to those before, and its loss is returned. `share` is what the row counts. */
static float learn({name}_state *state, {", ".join([*arrays, *shares])}{row})
{{
{"".join(f"    {line}{chr(10)}" for line in lines)}\
}}
"""


def shares_of(plan: Plan) -> list[str]:
    """What the shares of a row are called, of each head."""
    return ["share"] if len(plan.heads) == 1 else [f"share{i}" for i in range(len(plan.heads))]


def _row(plan: Plan, face: Interface, functions: list[str]) -> tuple[list[str], int]:
    """The statements of `learn`, and how many floats they keep on the stack."""
    work = program_of(plan, learns=True)
    way = Way(work, functions, Buffers(face.letters()))
    stores = lay_out(work, _kept(work), into_outputs=False)
    places = {value: Place(array.name) for value, array in zip(work.inputs, face.inputs, strict=True)}
    forward(way, places, stores, lambda store: f"y{store.begin}" if store.kept else "")
    _losses(plan, face, way, places)
    for op in reversed(work.ops):
        if op.output in way.places:
            way.back(op, [places[value] for value in work.reads(op)], places[op.output], KINDS[op.kind].backward)
    kept = sorted({store for store, _ in stores.values() if store.kept}, key=lambda store: store.begin)
    sizes = {store.name: store.size for store in kept} | way.buffers.sizes
    lines = [
        "const float *w = state->parameters;",
        "float *g = state->gradients;",
        *(f"float {array}[{size}];" for array, size in sizes.items()),
        *way.declared(["w", "g", *(array.name for array in face.inputs)]),
        *way.lines,
        "return loss;",
    ]
    return lines, sum(sizes.values())


def _kept(work: Program) -> set[int]:
    """The values that the way back reads."""
    kept: set[int] = set()
    for op in work.ops:
        if work.trained[op.output]:
            own = [work.plan.is_trained([i]) for i in op.parameters]
            asked, asks_output = KINDS[op.kind].asks(op, [work.trained[value] for value in op.inputs], own)
            kept |= {work.root[op.inputs[k]] for k in asked} | ({op.output} if asks_output else set())
    return kept


def _losses(plan: Plan, face: Interface, way: Way, places: dict[int, Place]) -> None:
    """The loss of each head, which leaves the gradient by its output."""
    heads = zip(losses_of(plan), way.program.outputs, face.targets, shares_of(plan), strict=True)
    several = len(plan.heads) > 1
    if several:
        way.lines.append("float loss = 0.0f;")
    for i, (loss, value, target, share) in enumerate(heads):
        n = target.size
        dy, more = way.begin(value)
        written = Place(way.buffers.take(n)) if more else dy
        call = way.spelt(loss.texts, places[value], target.name, written, n, share, settings=loss.settings)
        if several and target.classes:  # of one head, the whole row is left out
            way.lines += [f"if (counts{i}({target.name}))", f"    loss += {call};", "else"]
            way.lines.append(f"    {way.spelt((ZERO,), written, n)};")
        else:
            way.lines.append(f"loss += {call};" if several else f"const float loss = {call};")
        if more:
            way.call((ADD,), written, dy, n)
            way.buffers.give(written.array)
    for value in dict.fromkeys(way.program.outputs):
        if not way.program.trained[value]:
            way.end(value)
