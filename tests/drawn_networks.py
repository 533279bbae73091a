"""Networks that hypothesis draws: forks, joins, layers that stand twice, networks within networks, and what goes with
them: several inputs and outputs, in a tuple or by name, and a loss."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from cases import ELEMENTWISE
from hypothesis import strategies as st

import chainrule as cr
from chainrule.structures import each, rebuild

ACTIVATIONS = (cr.Identity, cr.Softmax, cr.LogSoftmax, *(partial(case.build, ()) for case in ELEMENTWISE))
MOST = 12  # columns, but for what Concat makes


class Drawn(NamedTuple):
    """A network, a batch that it takes, targets in the form of what it gives, and a loss for the two."""

    model: cr.Module
    x: Any
    target: Any
    loss: cr.Module


@st.composite
def drawn_networks(
    draw: Any, *, dtype: str = "float64", batch: int = 5, dropout: bool = True, most_nodes: int = 8
) -> Drawn:
    """Up to three inputs, three outputs, and `most_nodes` nodes between them; all values are rows of numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    sizes = {f"x{i}": width for i, width in enumerate(widths)}  # of all values so far
    inputs = tuple(sizes)
    nodes: dict[str, tuple[cr.Module, Any]] = {}

    def pick(names: Any) -> str:
        return draw(st.sampled_from(list(names)))

    def linear(n_in: int, n_out: int) -> cr.Linear:
        return cr.Linear(n_in, n_out, bias=draw(st.booleans()), dtype=dtype, rng=rng)

    def add(module: cr.Module, sources: Any, size: int) -> str:
        name = f"n{len(nodes)}"
        nodes[name], sizes[name] = (module, sources), size
        return name

    def small(n_in: int, n_out: int) -> cr.Module:
        """A network of one array, perhaps with branches of its own."""
        kind = pick(["Linear", "chain", "Parallel", "Graph", "rows"])
        if kind == "chain":
            return cr.Sequential(linear(n_in, 3), pick(ACTIVATIONS)(), linear(3, n_out))
        if kind == "Parallel":
            two = cr.Parallel({"a": linear(n_in, n_out), "b": linear(n_in, n_out)})
            return cr.Sequential(two, pick([cr.Sum(), cr.Multiply(), cr.Select("b")]))
        if kind == "Graph":
            end = (cr.Sum(), ("h", "t"))
            return cr.Graph({"h": (linear(n_in, n_out), "z"), "t": (pick(ACTIVATIONS)(), "h"), "y": end})
        if kind == "rows":
            turned = cr.Sequential(cr.Unflatten(1, (n_in, 1)), cr.Permute(0, 2, 1), cr.Reshape(n_in))
            return cr.Sequential(turned, linear(n_in, n_out))
        return linear(n_in, n_out)

    for _ in range(draw(st.integers(1, most_nodes))):
        source = pick(sizes)
        n, m = sizes[source], draw(st.integers(1, 5))
        same = [name for name in sizes if sizes[name] == n]
        kinds = ["activation", "small", "Residual", "join", "Concat", "again", "two"]
        kind = pick([*kinds, *["Dropout"] * dropout])
        if kind == "activation":
            add(pick(ACTIVATIONS)(), source, n)
        elif kind == "Dropout":
            add(cr.Dropout(0.3, rng=0), source, n)
        elif kind == "Residual":
            shortcut = linear(n, m) if draw(st.booleans()) else None
            add(cr.Residual(small(n, m if shortcut else n), shortcut), source, m if shortcut else n)
        elif kind == "join":
            module = pick([cr.Sum(), cr.Multiply()])
            add(module, tuple(draw(st.lists(st.sampled_from(same), min_size=1, max_size=3))), n)
        elif kind == "Concat" and n < MOST:
            others = [name for name in sizes if sizes[name] < MOST]
            parts = (source, *draw(st.lists(st.sampled_from(others), max_size=2)))
            add(cr.Concat(pick([1, -1])), parts, sum(sizes[part] for part in parts))
        elif kind == "again" and (known := [k for k, (module, _) in nodes.items() if fits(module, n)]):
            module = nodes[pick(known)][0]
            add(module, source, module.out_features if isinstance(module, cr.Linear) else n)
        elif kind == "two":
            other = pick(sizes)
            pair = add(cr.Parallel(small(n, m), linear(sizes[other], m)), (source, other), 0)
            del sizes[pair]  # several arrays, of which others pick one
            key = pick([0, 1, -1])
            add(pick([cr.Select(key), cr.Sequential(cr.Select(key), cr.Tanh())]), pair, m)
        else:
            add(small(n, m), source, m)

    read = {name for _, sources in nodes.values() for name in ((sources,) if isinstance(sources, str) else sources)}
    ends = [name for name in nodes if name not in read and name in sizes]
    while len(ends) > 3:
        parts = (ends.pop(), ends.pop())
        ends.append(add(cr.Concat(), parts, sum(sizes[part] for part in parts)))
    more = [name for name in nodes if name in read and name in sizes]
    if more and len(ends) < 3 and draw(st.booleans()):  # what comes out may be read by others too
        ends.insert(0, pick(more))
    form = pick(["dict", "tuple"])
    outputs: Any = ends[0] if len(ends) == 1 else tuple(ends)
    if len(ends) > 1 and form == "tuple":
        outputs = add(cr.Parallel(*(cr.Identity() for _ in ends)), tuple(ends), 0)
    model: cr.Module = cr.Graph(nodes, inputs[0] if len(inputs) == 1 else inputs, outputs)
    if draw(st.booleans()):
        model = cr.Sequential({"net": model})
    arrays = [rng.normal(size=(batch, width)).astype(dtype) for width in widths]
    several = pick([dict(zip(inputs, arrays, strict=True)), tuple(arrays)])
    x = arrays[0] if len(arrays) == 1 else several
    return Drawn(model, x, *_loss(draw, rng, model.eval()(x)))


def fits(module: cr.Module, n: int) -> bool:
    """Whether a module takes rows of n numbers."""
    if isinstance(module, cr.Linear):
        return module.in_features == n
    return not module.param() and isinstance(module, cr.Tanh | cr.ReLU | cr.Sigmoid)


def _loss(draw: Any, rng: np.random.Generator, y: Any) -> tuple[Any, cr.Module]:
    """Targets for what a network gives, and a loss of each."""

    def one(part: np.ndarray) -> tuple[np.ndarray, cr.Module]:
        if draw(st.booleans()):
            return rng.integers(part.shape[1], size=len(part)), cr.CrossEntropyLoss()
        return rng.normal(size=part.shape).astype(part.dtype), draw(st.sampled_from([cr.MSELoss(), cr.HuberLoss()]))

    made = each(one, y)
    if isinstance(y, np.ndarray):
        return made
    pairs = list(made.values()) if isinstance(made, dict) else list(made)
    targets, losses = (rebuild(y, [pair[i] for pair in pairs]) for i in (0, 1))
    return targets, cr.MultiLoss(losses) if isinstance(losses, dict) else cr.MultiLoss(*losses)
