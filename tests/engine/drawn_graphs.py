"""Networks with branches that hypothesis draws: forks, joins, shared layers, several inputs and heads.

As in drawn.py everything is drawn as text, so that a failing example can be read and typed.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from engine.drawn import KINKED, SMOOTH, STEPS, Training, made, optimizers, with_gaps
from hypothesis import strategies as st

import chainrule as cr

BOUNDED = ("Tanh()", "Sigmoid()")  # what may be multiplied without growing


@dataclass(frozen=True)
class Graph:
    """The text of a `chainrule.Graph`; "= n1" is the module of node n1, and every Linear gets the test's dtype."""

    widths: dict[str, int]  # of the inputs
    nodes: dict[str, tuple[str, Any]]
    outputs: Any
    sizes: dict[str, int]  # of all values
    tuple_of_inputs: bool

    @property
    def widest(self) -> int:
        return max(self.sizes.values())

    def build(self, dtype: str, seed: int) -> cr.Graph:
        """The network, always with the same weights."""
        rng = np.random.default_rng(seed)

        def linear(*sizes: int, **options: Any) -> cr.Linear:
            return cr.Linear(*sizes, dtype=dtype, rng=rng, **options)

        modules: dict[str, cr.Module] = {}
        for name, (text, _) in self.nodes.items():
            modules[name] = modules[text[2:]] if text.startswith("= ") else made(text, Linear=linear)
        inputs = next(iter(self.widths)) if len(self.widths) == 1 else tuple(self.widths)
        return cr.Graph({n: (modules[n], sources) for n, (_, sources) in self.nodes.items()}, inputs, self.outputs)

    def samples(self, rows: int, dtype: str, rng: np.random.Generator) -> Any:
        """What the network is shown, in its form."""
        drawn = {name: rng.normal(size=(rows, width)).astype(dtype) for name, width in self.widths.items()}
        if len(drawn) == 1:
            return next(iter(drawn.values()))
        return tuple(drawn.values()) if self.tuple_of_inputs else drawn


@st.composite
def graphs(draw: Any, activations: tuple[str, ...] = SMOOTH + KINKED, dropout: bool = True) -> Graph:
    """Up to three inputs, ten nodes and three heads."""
    width = st.one_of(st.integers(1, 12), st.sampled_from([17, 33]))  # more than one panel
    widths = {f"x{i}": draw(width) for i in range(draw(st.integers(1, 3)))}
    sizes = dict(widths)
    nodes: dict[str, tuple[str, Any]] = {}
    bounded: set[str] = set()
    unread: list[str] = []

    def add(text: str, sources: Any, size: int) -> str:
        name = f"n{len(nodes)}"
        nodes[name], sizes[name] = (text, sources), size
        for source in sources if isinstance(sources, tuple) else (sources,):
            if source in unread:
                unread.remove(source)
        unread.append(name)
        if text in BOUNDED:
            bounded.add(name)
        return name

    kinds = [
        "Linear",
        "activation",
        "Sum",
        "Multiply",
        "Concat",
        "Residual",
        "fork",
        "GLU",
        "join",
        "rows",
        "Permute",
        "Select",
    ]
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from([*kinds, "shared"] + ["Dropout"] * dropout))
        a = draw(st.sampled_from(list(sizes)))
        n, m = sizes[a], draw(width)
        same = [name for name in sizes if sizes[name] == n]
        if kind == "Multiply":
            small = [name for name in same if name in bounded]
            kind = "Multiply" if small else "activation"
            same = small or same
        if kind == "shared":
            like = [k for k, (text, _) in nodes.items() if text.startswith(f"Linear({n}, ")]
            if like:
                first = draw(st.sampled_from(like))
                add(f"= {first}", a, sizes[first])
                continue
        if kind in ("Sum", "Multiply"):
            add(f"{kind}()", tuple(draw(st.lists(st.sampled_from(same), min_size=1, max_size=3))), n)
        elif kind == "Concat":
            parts = tuple(draw(st.lists(st.sampled_from(list(sizes)), min_size=1, max_size=3)))
            add("Concat()", parts, sum(sizes[part] for part in parts))
        elif kind == "activation":
            add(draw(st.sampled_from((*activations, *BOUNDED))), a, n)
        elif kind == "Dropout":
            add("Dropout(0.3, rng=0)", a, n)
        elif kind == "Residual":
            shortcut = f", Linear({n}, {m})" if draw(st.booleans()) else ""
            size = m if shortcut else n
            add(f"Residual(Sequential(Linear({n}, {size}), Tanh()){shortcut})", a, size)
        elif kind == "GLU":
            add(f"Sequential(Linear({n}, {2 * m}), GLU())", a, m)
        elif kind == "fork":
            add(f"Sequential(Parallel(Linear({n}, {m}), Sequential(Linear({n}, 3), SiLU())), Concat())", a, m + 3)
        elif kind == "join":
            b = draw(st.sampled_from(list(sizes)))
            add(f"Sequential(Parallel(Linear({n}, {m}), Linear({sizes[b]}, {m}, bias=False)), Sum())", (a, b), m)
        elif kind == "Select":
            add(f"Sequential(Parallel(Linear({n}, {m}), Linear({n}, 2)), Select(0))", a, m)
        elif kind in ("rows", "Permute"):
            rows = draw(st.sampled_from([d for d in range(1, n + 1) if n % d == 0]))
            if kind == "rows":
                text = f"Unflatten(1, ({rows}, {n // rows})), Linear({n // rows}, {m}), Tanh(), Flatten()"
                add(f"Sequential({text})", a, rows * m)
            else:
                add(f"Sequential(Unflatten(1, ({rows}, -1)), Permute(0, 2, 1), Reshape({n}))", a, n)
        else:
            bias = ", bias=False" * draw(st.booleans())
            add(f"Linear({n}, {m}{bias})", a, m)
    if len(unread) > 3:
        parts = tuple(unread)
        add("Concat()", parts, sum(sizes[part] for part in parts))
    heads = [add(f"Linear({sizes[name]}, {draw(st.integers(1, 4))})", name, 0) for name in list(unread)]
    for name in heads:
        sizes[name] = int(nodes[name][0].rstrip(")").split(", ")[1])
    inner = [name for name in nodes if name in bounded]
    if inner and draw(st.booleans()):  # a value that is an output and is read as well
        heads.append(draw(st.sampled_from(inner)))
    if draw(st.booleans()):
        heads.reverse()
    outputs: Any = tuple(heads) if len(heads) > 1 or draw(st.booleans()) else heads[0]
    return Graph(widths, nodes, outputs, sizes, draw(st.booleans()))


@dataclass(frozen=True)
class Heads:
    """A loss for each output, as text, and the kinds of their targets; see drawn.Task."""

    loss: str
    targets: dict[str, str]
    weights: bool
    validation_weights: bool


LOSSES = {
    "numbers": ("MSELoss()", "HuberLoss(delta=0.4)", "SmoothL1Loss()", 'MSELoss(reduction="sum")'),
    "answers": ("BCEWithLogitsLoss()", "BCEWithLogitsLoss(pos_weight=numbers({n}, 2))"),
    "classes": ("CrossEntropyLoss()", "CrossEntropyLoss(weight=numbers({n}, 1), ignore_index=0)"),
    "probabilities": ("CrossEntropyLoss(label_smoothing=0.1)",),
    "numbers with gaps": ("MSELoss(missing='ignore')", "HuberLoss(reduction='sum', missing='ignore')"),
    "answers with gaps": ("BCEWithLogitsLoss(pos_weight=numbers({n}, 2), missing='ignore')",),
    "probabilities with gaps": ("CrossEntropyLoss(weight=numbers({n}, 1), missing='ignore')",),
}


@st.composite
def heads(draw: Any, graph: Graph) -> Heads:
    """A MultiLoss in another order than the outputs, or one loss for one output."""
    names = graph.outputs if isinstance(graph.outputs, tuple) else (graph.outputs,)
    targets = {name: draw(st.sampled_from(list(LOSSES))) for name in draw(st.permutations(names))}
    losses = {name: draw(st.sampled_from(LOSSES[kind])).format(n=graph.sizes[name]) for name, kind in targets.items()}
    text = next(iter(losses.values()))
    if isinstance(graph.outputs, tuple):
        weights = {name: draw(st.sampled_from([1.0, 0.5, 2.0])) for name in targets}
        text = f"MultiLoss({{{', '.join(f'{name!r}: {loss}' for name, loss in losses.items())}}}, weights={weights})"
    return Heads(text, targets, draw(st.booleans()), draw(st.booleans()))


@dataclass(frozen=True)
class GraphTraining(Training):
    """A whole run of `fit` of a Graph."""

    def data(self, rows: int, seed: int, weights: bool, dtype: str) -> cr.Dataset:
        rng = np.random.default_rng(seed)
        x = self.network.samples(rows, dtype, rng)
        targets = {
            name: self._target(kind, self.network.sizes[name], rows, rng) for name, kind in self.task.targets.items()
        }
        targets = {name: t if t.dtype.kind == "i" else t.astype(dtype) for name, t in targets.items()}
        weight = rng.uniform(0.5, 2, rows) * ((rng.uniform(size=rows) < 0.8) | (np.arange(rows) == 0))
        several = isinstance(self.network.outputs, tuple)
        target = targets if several else next(iter(targets.values()))
        return cr.Dataset(x, target, weight.astype(dtype) if weights else None)

    @staticmethod
    def _target(kind: str, n: int, rows: int, rng: np.random.Generator) -> np.ndarray:
        if kind.endswith(" with gaps"):
            return with_gaps(GraphTraining._target(kind.removesuffix(" with gaps"), n, rows, rng), rng)
        if kind == "classes":
            classes = rng.integers(n, size=rows)
            classes[0] = n - 1  # one that no loss ignores, if there are two
            return classes
        if kind == "answers":
            return rng.uniform(size=(rows, n))
        target = rng.normal(size=(rows, n))
        if kind == "probabilities":
            target = np.exp(target)
            target /= target.sum(axis=1, keepdims=True)
        return target


@st.composite
def graph_trainings(draw: Any, **options: Any) -> GraphTraining:
    """A network, a loss for each head, an optimizer, and sizes of about STEPS steps."""
    network = draw(graphs(**options))
    task = draw(heads(network))
    batch_size = draw(st.one_of(st.integers(1, 64), st.sampled_from([1, 16, 32])))
    rows = draw(st.integers(2, min(STEPS * batch_size, 150)))
    curvature = 40.0 * network.widest * (1 + math.log(network.widest)) ** 2 * len(network.nodes)
    curvature *= min(batch_size, rows) * 4 if "sum" in task.loss else 1
    return GraphTraining(
        network,
        task,
        draw(optimizers(curvature)),
        rows,
        batch_size,
        validation=draw(st.booleans()),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )
