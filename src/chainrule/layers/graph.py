"""A network of named nodes: what backpropagation does at a fork."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..arrays import namespace
from ..module import Module
from ..structures import Structure, is_several
from .networks import Network, added, described, require_module, require_names, require_other

Names = str | tuple[str, ...]


class Graph(Network):
    """Named nodes, each a Module that reads values by their names: the inputs', or what other nodes gave.

    Equation  v_n = f_n(v_a, v_b, …) for each node n and its sources a, b, …
              dv_a = Σ dv_n · ∂f_n/∂v_a over all readers n of a: a value that is read twice gathers both gradients
    Shapes    x one array, or a dict or tuple of one for each input -> y one array, or a dict of one for each output
    Saves     x, and what each node saves, by name

    Parameters
    ----------
    nodes : maps the name of a node to (module, sources): one name, or a tuple of names, and the module gets a tuple of
        their values. Names that no node has are inputs. Any order will do in which no node waits for itself; nodes run
        as soon as their sources are there, in the given order where it allows that. A Module may stand in several.
    inputs : the name of x, or a tuple of names, and x is a dict by these names or a tuple in this order. By default the
        names that no node has, in the order in which they are first read.
    outputs : the name of y, or a tuple of names, and y is a dict by these names. By default the last node given.

    Raises ValueError for a node that no output needs, for nodes that wait for each other, and for unknown names.

    >>> from chainrule import Linear, Sum, Tanh
    >>> Graph({"h": (Linear(4, 8), "x"), "a": (Tanh(), "h"), "both": (Sum(), ("h", "a")), "y": (Linear(8, 1), "both")})
    Graph(
      h     <- x     Linear(4, 8)                      40
      a     <- h     Tanh()
      both  <- h, a  Sum()
      y     <- both  Linear(8, 1)                       9
    )  # x -> y, 49 parameters
    """

    def forward(self, x: Structure) -> tuple[Structure, Any]:
        values, saved = self._inputs_of(x), {}
        for name, (module, sources) in self._nodes.items():
            values[name], saved[name] = module.forward(self._read(values, name, sources))
        return self._outputs_of(values), (x, saved)

    def backward(self, dy: Structure, saved: Any) -> Structure:
        x, kept = saved
        gradients = self._gradients_of(dy)  # by each value, as far as its readers have come back
        for name, (module, sources) in reversed(self._nodes.items()):
            # Every reader of this node ran after it, so all of them have come back, and its gradient is whole.
            _hand_back(gradients, sources, module.backward(gradients.pop(name), kept[name]))
        return self._like(x, gradients)

    def backward_parameters(self, dy: Structure, saved: Any) -> None:
        kept = saved[1]
        gradients, trained = self._gradients_of(dy), self._trained()
        for name, (module, sources) in reversed(self._nodes.items()):
            if not trained.isdisjoint(_tuple(sources)):
                _hand_back(gradients, sources, module.backward(gradients.pop(name), kept[name]))
            elif name in trained:
                module.backward_parameters(gradients.pop(name), kept[name])

    def _trained(self) -> set[str]:
        """The nodes whose values training changes: their own parameters, or those of a node that they hang on."""
        found: set[str] = set()
        for name, (module, sources) in self._nodes.items():
            if module.has_trainable() or not found.isdisjoint(_tuple(sources)):
                found.add(name)
        return found

    def _infer(self, x: Structure) -> Structure:
        values = self._inputs_of(x)
        for name, (module, sources) in self._nodes.items():
            values[name] = module._infer(self._read(values, name, sources))
            for value in self._read_last[name]:  # so that no value outlives its use
                del values[value]
        return self._outputs_of(values)

    # -- between x and y, and the values by name

    def _inputs_of(self, x: Structure) -> dict[str, Any]:
        if isinstance(self.inputs, str):
            return {self.inputs: x}
        return dict(zip(self.inputs, self.parts("forward", "x", x, self.inputs), strict=True))

    def _outputs_of(self, values: Mapping[str, Any]) -> Structure:
        if isinstance(self.outputs, str):
            return values[self.outputs]
        return {name: self._one(values, name) for name in self.outputs}

    def _gradients_of(self, dy: Structure) -> dict[str, Any]:
        if isinstance(self.outputs, str):
            return {self.outputs: dy}
        return dict(zip(self.outputs, self.parts("backward", "dy", dy, self.outputs), strict=True))

    def _like(self, x: Structure, gradients: Mapping[str, Any]) -> Structure:
        """The gradients by the inputs in the form of x; those that nobody read are zero."""
        if isinstance(self.inputs, str):
            return gradients[self.inputs]
        parts = self._inputs_of(x)
        dx = {name: gradients.get(name) for name in parts}
        dx = {name: namespace(parts[name]).zeros_like(parts[name]) if d is None else d for name, d in dx.items()}
        return {name: dx[name] for name in x} if isinstance(x, dict) else tuple(dx.values())

    def _read(self, values: Mapping[str, Any], name: str, sources: Names) -> Structure:
        """What a node gets."""
        if isinstance(sources, str):
            return values[sources]
        return tuple(self._one(values, source, name) for source in sources)

    def _one(self, values: Mapping[str, Any], name: str, reader: str = "") -> Any:
        value = values[name]
        if is_several(value):
            what = f"read by node {reader!r} among others" if reader else "one of several outputs"
            hint = "an array (a node with Select picks one)"
            self.refuse("forward", f"the value {name!r}, {what}, must be {hint}", described(value))
        return value

    # -- the making of it

    def __init__(
        self,
        nodes: Mapping[str, tuple[Module, Names]],
        inputs: Names | None = None,
        outputs: Names | None = None,
    ) -> None:
        if not isinstance(nodes, Mapping) or not nodes:
            raise TypeError(f"Graph: nodes must map names to (module, sources), got {nodes!r}")
        require_names(self, "node", nodes)
        given = {name: _node(self, name, node) for name, node in nodes.items()}
        free = tuple(dict.fromkeys(name for _, read in given.values() for name in _tuple(read) if name not in given))
        default = free[0] if len(free) == 1 else free
        self.inputs = _names("inputs", default if inputs is None else inputs)
        self.outputs = _names("outputs", next(reversed(given)) if outputs is None else outputs)
        _require_known(given, _tuple(self.inputs), _tuple(self.outputs))
        # A dict that is never changed, so that a change is an attribute that is set, of which compiled networks hear.
        self._nodes = _in_order(given, _tuple(self.inputs))
        _require_needed(self._nodes, _tuple(self.outputs))
        last = {source: name for name, (_, sources) in self._nodes.items() for source in _tuple(sources)}
        last = {source: name for source, name in last.items() if source not in _tuple(self.outputs)}
        self._read_last: dict[str, list[str]] = {name: [] for name in self._nodes}
        for source, name in last.items():
            self._read_last[name].append(source)

    @property
    def nodes(self) -> dict[str, tuple[Module, Names]]:
        """The nodes in the order in which they run: (module, sources) by name."""
        return dict(self._nodes)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for name, (module, _) in self._nodes.items():
            yield name, module

    def children(self) -> list[Module]:
        return [module for module, _ in self._nodes.values()]

    def __getitem__(self, name: str) -> Module:
        """The module of a node."""
        self._require_node(name)
        return self._nodes[name][0]

    def __setitem__(self, name: str, module: Module) -> None:
        """Put a module in the place of that of a node, which goes on reading what it read."""
        self._require_node(name)
        self._nodes = {**self._nodes, name: (require_other(self, f"node {name!r}", module), self._nodes[name][1])}

    def _require_node(self, name: str) -> None:
        if name not in self._nodes:
            raise KeyError(f"Graph: there is no node {name!r}; there are {', '.join(self._nodes)}")

    # -- words

    def rows(self) -> list[tuple[str, Module | str]]:
        sources = {name: ", ".join(_tuple(sources)) for name, (_, sources) in self._nodes.items()}
        name_width, source_width = max(map(len, sources)), max(map(len, sources.values()))
        first: dict[int, str] = {}  # the node where a module stands first
        rows: list[tuple[str, Module | str]] = []
        for name, (module, _) in self._nodes.items():
            known = first.setdefault(id(module), name)
            place = f"{name:{name_width}}  <- {sources[name]:{source_width}}  "
            rows.append((place, module if known == name else f"{type(module).__name__} of {known}"))
        return rows

    def closing(self) -> str:
        x, y = (names if isinstance(names, str) else f"({', '.join(names)})" for names in (self.inputs, self.outputs))
        return f"{x} -> {y}, {super().closing()}"


def _hand_back(gradients: dict[str, Any], sources: Names, dx: Structure) -> None:
    """Give each source of a node its part of the gradient."""
    for source, part in zip(sources, dx, strict=True) if isinstance(sources, tuple) else [(sources, dx)]:
        # The fork. A change of the value reaches the loss through every reader, and the changes add up: the reader that
        # comes back first writes its gradient, each other one adds its own.
        gradients[source] = added(gradients[source], part) if source in gradients else part


def _tuple(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _names(what: str, names: Any) -> Names:
    """A name, or a tuple of names that differ."""
    several = tuple(names) if isinstance(names, tuple | list) else (names,)
    if not several or not all(isinstance(name, str) and name for name in several):
        raise TypeError(f"Graph: {what} must be a name or a tuple of names, got {names!r}")
    if what != "sources" and len(set(several)) < len(several):
        raise ValueError(f"Graph: {what} must be names that differ, got {names!r}")
    return names if isinstance(names, str) else several


def _node(owner: Graph, name: str, node: Any) -> tuple[Module, Names]:
    if not isinstance(node, tuple | list) or len(node) != 2:
        raise TypeError(f"Graph: node {name!r} must be (module, sources), got {node!r}")
    return require_module(owner, f"the module of node {name!r}", node[0]), _names("sources", node[1])


def _require_known(nodes: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str]) -> None:
    for name in inputs:
        if name in nodes:
            raise ValueError(f"Graph: an input must not have the name of a node, got {name!r}")
    for name in outputs:
        if name not in nodes:
            raise ValueError(f"Graph: outputs must be among the nodes {', '.join(nodes)}, got {name!r}")
    for name, (_, sources) in nodes.items():
        for source in _tuple(sources):
            if source not in nodes and source not in inputs:
                raise ValueError(f"Graph: inputs must hold {source!r}, which node {name!r} reads, got {tuple(inputs)}")


def _in_order(nodes: Mapping[str, tuple[Module, Names]], inputs: Sequence[str]) -> dict[str, tuple[Module, Names]]:
    """The nodes so that sources come first: each time the first of the given order that can run."""
    waiting, there = dict(nodes), set(inputs)
    ordered: dict[str, tuple[Module, Names]] = {}
    while waiting:
        ready = (name for name, (_, sources) in waiting.items() if there.issuperset(_tuple(sources)))
        if (name := next(ready, None)) is None:
            circle = [next(iter(waiting))]
            while circle[-1] not in circle[:-1]:  # each that waits has a source that waits
                circle.append(next(source for source in _tuple(waiting[circle[-1]][1]) if source in waiting))
            circle = circle[circle.index(circle[-1]) :]
            raise ValueError(f"Graph: nodes wait for each other in a circle: {' <- '.join(circle)}")
        ordered[name] = waiting.pop(name)
        there.add(name)
    return ordered


def _require_needed(nodes: dict[str, tuple[Module, Names]], outputs: Sequence[str]) -> None:
    needed = set(outputs)
    for name, (_, sources) in reversed(nodes.items()):
        if name in needed:
            needed.update(_tuple(sources))
    if idle := [name for name in nodes if name not in needed]:
        raise ValueError(
            f"Graph: every node must be needed by an output, got {', '.join(map(repr, idle))}, which nothing reads; "
            f"outputs=… names them, if they are to be outputs"
        )
