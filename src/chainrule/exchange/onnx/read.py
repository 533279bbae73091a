"""ONNX nodes as a network: single nodes, and the groups of nodes that stand for one layer."""

from collections import Counter
from collections.abc import Callable
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ... import layers
from ...extras import require
from ...layers import Linear, Sequential
from ...module import Module, Parameter
from .convolution import read_conv, read_conv_transpose, read_fold
from .graph import Graph, Node, NotReadable
from .normalization import (
    read_batch_norm,
    read_group_norm,
    read_instance_norm,
    read_layer_norm,
    read_local_response,
    read_rms_norm,
)
from .padding import read_pad
from .patterns import PATTERNS, Pattern, X, operators
from .pooling import READERS as POOLING
from .sizes import Shape
from .written_out import read_written_out

Names = str | tuple[str, ...]
READERS: dict[str, Callable[[Any, Node], Module]] = {  # of operators that stand for one layer of their own
    "Conv": read_conv,
    "ConvTranspose": read_conv_transpose,
    "Col2Im": read_fold,
    "Pad": read_pad,
    **POOLING,
    "BatchNormalization": read_batch_norm,
    "InstanceNormalization": read_instance_norm,
    "LayerNormalization": read_layer_norm,
    "RMSNormalization": read_rms_norm,
    "GroupNormalization": read_group_norm,
    "LRN": read_local_response,
}
KNOWN = ", ".join(
    [
        *("Gemm", "MatMul", "Add", "Sum", "Mul", "Concat", "Flatten", "Reshape", "Transpose", "Softmax", "LogSoftmax"),
        *READERS,
        *("Identity", "Cast", "Dropout"),
        *sorted({operator for pattern in PATTERNS if pattern.size == 1 for operator in operators(pattern.tree)}),
        "and what "
        + ", ".join(dict.fromkeys(pattern.layer.__name__ for pattern in PATTERNS if pattern.size > 1))
        + " are written as",
    ]
)


def from_onnx(source: str | PathLike[str] | Any) -> Module:
    """An ONNX network with copies of its numbers: a Sequential if it is a chain of layers, or else a Graph.

    Parameters
    ----------
    source : a path, or an onnx.ModelProto.

    Returns   the Sequential or Graph. Initializers that are shared become shared Parameters. Several inputs and outputs
              have the names that they have there; nodes are called as their initializers are, such as h.weight

    Raises ValueError for a file that is damaged, keeps its numbers elsewhere, is of an opset before 7, or has a node
    that chainrule has no layer for; the message names the node. OSError if it cannot be read.
    """
    onnx = require("onnx", "onnx")
    where = "from_onnx" if isinstance(source, onnx.ModelProto) else str(source)
    if isinstance(source, onnx.ModelProto):
        proto = source
    else:
        data = Path(source).read_bytes()
        try:
            proto = onnx.load_model_from_string(data)
        except Exception as problem:  # protobuf raises classes of its own, which differ between its versions
            raise ValueError(f"{where}: damaged, or no ONNX file: {problem}") from None
    tensors = [*proto.graph.initializer, *(a.t for node in proto.graph.node for a in node.attribute if a.HasField("t"))]
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in tensors):
        raise ValueError(f"{where}: keeps its numbers in other files, which are not read; save it as one file")
    try:
        onnx.checker.check_model(proto)
        if proto.functions:
            proto = require("onnx.inliner", "onnx").inline_local_functions(proto)
        proto = _with_shapes(onnx, proto)
    except Exception as problem:  # the checker has classes of its own
        raise ValueError(f"{where}: is no valid ONNX: {_first_line(problem)}") from None
    try:
        return _Reader(Graph(onnx, proto, where)).network()
    except NotReadable:
        raise
    except (ValueError, OverflowError, TypeError, KeyError, IndexError, MemoryError) as problem:  # of a layer, say
        raise ValueError(f"{where}: is no network that can be read: {problem}") from None


def _with_shapes(onnx: Any, proto: Any) -> Any:
    """The same with the shapes of all values, as they follow from the input and not as the file claims."""
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(bare)


class _Reader:
    """Goes from the outputs to the inputs; what no output needs is not looked at.

    came_from : the initializer of each Parameter, by its id.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.error = graph, graph.error
        self.parameters: dict[tuple[Any, ...], Parameter] = {}
        self.came_from: dict[int, str] = {}

    def network(self) -> Module:
        """A Sequential if the nodes are a chain, or else a Graph."""
        inputs, outputs = self.graph.inputs, self.graph.outputs
        if not inputs or not outputs:
            raise self.error(f"must have inputs and outputs, has {len(inputs)} and {len(outputs)}")
        needed = set(outputs.values())
        found: dict[str, tuple[Module, Names]] = {}  # by the value that comes out, the last first
        same: dict[str, str] = {}
        for value, node in reversed(self.graph.producers.items()):
            if value not in needed:
                continue
            if value != node.outputs[0]:
                raise self.error(f"{node} must be read by its first output alone, not by {value!r}")
            layer, sources = self._layer(node)
            needed.update(_tuple(sources))
            if layer is None:  # the sources are one value, which it does not change
                same[value] = str(sources)
            else:
                found[value] = layer, sources
        if unknown := sorted(needed - found.keys() - same.keys() - set(inputs)):
            raise self.error(f"{unknown[0]!r} does not depend on the input")

        def origin(value: str) -> str:
            while value in same:
                value = same[value]
            return value

        steps = {
            value: (layer, origin(read) if isinstance(read, str) else tuple(map(origin, read)))
            for value, (layer, read) in reversed(found.items())
        }
        results = {name: origin(value) for name, value in outputs.items()}
        chain = self._chain(steps, list(results.values()))
        return self._graph(steps, results) if chain is None else chain

    def _chain(self, steps: dict[str, tuple[Module, Names]], results: list[str]) -> Sequential | None:
        before: Names = self.graph.inputs[0]
        for value, (_, sources) in steps.items():
            if sources != before:
                return None
            before = value
        alone = len(self.graph.inputs) == 1 and results == [before]
        return Sequential(*(layer for layer, _ in steps.values())) if alone else None

    def _graph(self, steps: dict[str, tuple[Module, Names]], results: dict[str, str]) -> layers.Graph:
        """The nodes have the names of outputs, of initializers such as h.weight, or of their layers."""
        inputs = self.graph.inputs
        several = {name: name.replace(".", "_") for name in results} if len(results) > 1 else {}
        called = {value: several[name] for name, value in reversed(results.items()) if name in several}
        taken, names = {*inputs, *several.values()}, {name: name for name in inputs}

        numbers = Counter[str]()  # the next one behind each name

        def unique(first: str) -> str:
            name = first
            while name in taken:
                numbers[first] += 1
                name = f"{first}_{numbers[first]}"
            taken.add(name)
            return name

        nodes: dict[str, tuple[Module, Names]] = {}
        for value, (layer, sources) in steps.items():
            name = names[value] = called.get(value) or unique(self._stem(layer))
            nodes[name] = layer, names[sources] if isinstance(sources, str) else tuple(names[s] for s in sources)
        for name, value in results.items():  # what is an input, or an output by another name
            wanted = several.get(name, names[value])
            if wanted in inputs or wanted != names[value]:
                wanted = several.get(name) or unique("output")
                nodes[wanted] = layers.Identity(), names[value]
                names = names if several else {**names, value: wanted}
        outputs: Any = tuple(several.values()) if several else names[next(iter(results.values()))]
        return layers.Graph(nodes, inputs[0] if len(inputs) == 1 else tuple(inputs), outputs)

    def _stem(self, layer: Module) -> str:
        """What a node of a layer is called: as in the state_dict that its weight comes from, if it does."""
        name = self.came_from.get(id(getattr(layer, "weight", None)), "")
        stem = name.removesuffix(".weight").replace(".", "_") if name.endswith(".weight") else ""
        return stem or type(layer).__name__.lower()

    def _layer(self, node: Node) -> tuple[Module | None, Names]:
        """The layer whose output a node gives, and what it reads; None for one that changes nothing."""
        for pattern in _BY_OPERATOR.get(node.op, ()):
            found: dict[Any, Any] = {}
            if self._matches(pattern.tree, node.outputs[0], found) and X in found:
                value, axes = found.pop(X), found.pop(_AXES, 0)
                rank = self.graph.rank(value)
                if axes <= (1 if rank is None else rank):  # else numbers would give the value more axes
                    options = {name: self._option(number, value) for name, number in found.items()}
                    return pattern.layer(**pattern.fixed, **options), value
        if node.op in ("Add", "Mul", "Div") and (made := read_written_out(self, node)) is not None:
            return made
        if node.op in READERS:
            return READERS[node.op](self, node), self._computed(node, 0)
        if node.op in ("Softmax", "LogSoftmax"):
            return self._softmax(node, self._computed(node, 0)), node.inputs[0]
        if node.op == "Flatten":
            axis, rank = node.attributes.get("axis", 1), self.graph.rank(self._computed(node, 0))
            if axis != 1 and not (axis < 0 and rank is not None and axis + rank == 1):
                raise self.error(f"{node} must have axis=1, got {axis}")
            return layers.Flatten(), node.inputs[0]
        if node.op == "Reshape":
            return self._reshape(node, self._computed(node, 0)), node.inputs[0]
        if node.op == "Transpose":
            return self._transpose(node, self._computed(node, 0)), node.inputs[0]
        if node.op == "Gemm":
            self._computed(node, 0)
            return self._gemm(node), node.inputs[0]
        if node.op == "MatMul":
            return self._matmul(node, None), node.inputs[0]
        if node.op == "Add" and any(name in self.graph.constants for name in node.inputs):
            return self._matmul_and_add(node)
        if node.op in ("Add", "Sum", "Mul"):
            return (layers.Multiply() if node.op == "Mul" else layers.Sum()), self._of_one_shape(node)
        if node.op == "Concat":
            return self._concat(node)
        if node.op == "Cast":
            raise self.error(f"{node} changes the dtype, which chainrule does not do within a network")
        raise self.error(f"{node} is no layer that chainrule has; known are {KNOWN}")

    # -- groups of nodes

    def _matches(self, tree: Any, name: str, found: dict[Any, Any]) -> bool:
        """Whether what makes `name` is what the tree says; `found` gets X and the numbers."""
        if tree is X:
            return self._is_computed(name) and found.setdefault(X, name) == name
        if isinstance(tree, list):
            return any(self._matches(one, name, found) for one in tree)
        if not isinstance(tree, tuple):
            return self._number(tree, name, found)
        op, *arguments = tree
        told = arguments.pop() if isinstance(arguments[-1], dict) else {}
        node = self.graph.producers.get(name)
        if node is None or node.op != op or len(node.inputs) != len(arguments) or name != node.outputs[0]:
            return False
        defaults = self._defaults(op)
        if any(value != defaults.get(key) for key, value in node.attributes.items() if key not in told):
            return False
        orders = [arguments, arguments[::-1]] if op in ("Mul", "Add") else [arguments]
        for order in orders:
            trial = dict(found)
            if all(self._matches(one, given, trial) for one, given in zip(order, node.inputs, strict=True)):
                found.update(trial)
                found.update({name: node.attributes.get(key, defaults.get(key)) for key, name in told.items()})
                return True
        return False

    def _number(self, tree: Any, name: str, found: dict[Any, Any]) -> bool:
        """Whether a constant is one number: that of the tree, or one that the tree gives a name."""
        constant = self.graph.constants.get(name)
        if constant is None or constant.size != 1:
            return False
        number = constant.reshape(())[()]
        found[_AXES] = max(found.get(_AXES, 0), constant.ndim)
        if isinstance(tree, str):
            return bool(_shortest(found.setdefault(tree, number)) == _shortest(number))
        # To the last bit or the one before.
        eps = np.finfo(number.dtype).eps if number.dtype.kind == "f" else 0
        return bool(abs(float(number) - tree) <= 2 * eps * abs(tree))

    def _option(self, found: Any, value: str) -> Any:
        """What was found, as an argument of a layer."""
        if isinstance(found, str):
            return found
        return _shortest(self._typed(found, value) if isinstance(found, float) else found)

    def _defaults(self, op: str) -> dict[str, Any]:
        """What attributes are that a node does not tell."""
        known = self.graph.onnx.defs.get_schema(op, self.graph.opset, "").attributes
        told = {name: attribute.default_value for name, attribute in known.items() if attribute.default_value.type}
        read = self.graph.onnx.helper.get_attribute_value
        values = {name: read(value) for name, value in told.items()}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

    # -- what is read

    def _is_computed(self, name: str) -> bool:
        return name in self.graph.producers or name in self.graph.inputs

    def _computed(self, node: Node, place: int) -> str:
        """An input of a node that comes from the inputs of the network."""
        name = node.inputs[place]
        if not self._is_computed(name):
            raise self.error(f"{node} must take what the network computes, but its input {name!r} is not that")
        return name

    def _of_one_shape(self, node: Node) -> tuple[str, ...]:
        """The inputs of a node, none of which is repeated to fit another."""
        names = tuple(self._computed(node, place) for place in range(len(node.inputs)))
        known = [self.graph.shapes[name] for name in names if name in self.graph.shapes]
        for shape in known[1:]:
            pairs = zip(known[0], shape, strict=False)
            differ = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)
            if differ or len(shape) != len(known[0]):
                raise self.error(f"{node} must take values of one shape, got {known[0]} and {shape}")
        return names

    # -- single nodes

    def _concat(self, node: Node) -> tuple[Module, Names]:
        names = tuple(self._computed(node, place) for place in range(len(node.inputs)))
        axis = node.attributes["axis"]
        ranks = {rank for name in names if (rank := self.graph.rank(name)) is not None}
        dim = axis + min(ranks) if axis < 0 and ranks else axis
        if dim == 0:
            raise self.error(f"{node} must not lay samples behind each other, got axis={axis}")
        return layers.Concat(dim), names

    def _transpose(self, node: Node, value: str) -> Module:
        perm, rank = node.attributes.get("perm"), self.graph.rank(value)
        if perm is None and rank is None:
            raise self.error(f"{node} must say in which order it puts the axes")
        dims = [*reversed(range(rank or 0))] if perm is None else perm
        if dims[:1] != [0]:
            raise self.error(f"{node} must keep the batch axis, got perm={dims}")
        return layers.Permute(*dims)

    def _typed(self, number: float, value: str) -> Any:
        """A number of an attribute, which is a float32, in the dtype of the value that it is for."""
        is_double = self.graph.types.get(value) == self.graph.onnx.TensorProto.DOUBLE
        return np.float64(number) if is_double else np.float32(number)

    def _softmax(self, node: Node, value: str) -> Module:
        kind = layers.Softmax if node.op == "Softmax" else layers.LogSoftmax
        if self.graph.opset >= 13:
            return kind(node.attributes.get("axis", -1))
        # Before opset 13 the axes from this one on count as one axis.
        axis, shape = node.attributes.get("axis", 1), self.graph.shapes.get(value)
        alone = axis == -1 if shape is None else all(length == 1 for length in shape[axis:][1:])
        if not alone:
            raise self.error(
                f"{node} of opset {self.graph.opset} takes all axes from {axis} on as one, which chainrule does not "
                f"do; it gets {'an unknown shape' if shape is None else shape}"
            )
        return kind(axis)

    def _reshape(self, node: Node, value: str) -> Module | None:
        before, target = self.graph.shapes.get(value), node.inputs[1]
        told = self.graph.constants.get(target, self.graph.sizes.get(target))
        if before is None or told is None:
            what = "the shape of what comes" if before is None else "what it is told"
            raise self.error(f"{node} must keep the batch axis, but {what} is not known")
        after = told.ravel().tolist()
        if not (node.attributes.get("allowzero", 0) and 0 in after):
            if (merged := _merged(before, after)) is not None:
                start, end = merged
                if start == end:
                    return None
                return layers.Flatten() if (start, end) == (1, len(before) - 1) else layers.Flatten(start, end)
            if (shape := _of_a_sample(before, after)) is not None:
                return layers.Reshape(*shape)
        raise self.error(
            f"{node} must keep the batch axis and give each sample one shape; it makes {after} of {before}"
        )

    def _gemm(self, node: Node) -> Linear:
        attributes = node.attributes
        if attributes.get("transA", 0):
            raise self.error(f"{node} must have transA=0")
        weight = self._weight(node, attributes.get("alpha", 1.0), turned=not attributes.get("transB", 0))
        beta = attributes.get("beta", 1.0)
        has_bias = len(node.inputs) > 2 and node.inputs[2] != "" and beta != 0
        bias = self._bias(node, 2, weight.shape[0], rank=2, factor=beta) if has_bias else False
        return Linear(weight.shape[1], weight.shape[0], bias, weight=weight)

    def _matmul(self, node: Node, add: Node | None) -> Linear:
        """A MatMul, with the Add of a bias if there is one."""
        weight = self._weight(node, 1.0, turned=True)
        rank = self.graph.rank(self._computed(node, 0))
        if rank == 1:
            raise self.error(f"{node} must take rows, and gets one axis")
        bias: Any = False
        if add is not None:
            place = next(place for place, name in enumerate(add.inputs) if name in self.graph.constants)
            bias = self._bias(add, place, weight.shape[0], rank=rank or 2)
        return Linear(weight.shape[1], weight.shape[0], bias, weight=weight)

    def _matmul_and_add(self, add: Node) -> tuple[Module, Names]:
        """The Add of a constant, which is the bias of a MatMul."""
        for name in add.inputs:
            node = self.graph.producers.get(name)
            if node is not None and node.op == "MatMul":
                return self._matmul(node, add), node.inputs[0]
        raise self.error(f"{add} must add what the network computes, or a bias to what a MatMul gives")

    def _weight(self, node: Node, factor: float, *, turned: bool) -> Parameter:
        value = self._constant(node, 1)
        if value.ndim != 2 or 0 in value.shape:
            raise self.error(f"{node} must have a matrix of weights, got {value.shape}")
        return self._parameter((node.inputs[1], factor, turned), value.T if turned else value, factor)

    def _bias(self, node: Node, place: int, width: int, *, rank: int, factor: float = 1.0) -> Parameter:
        """What is added to every row of `width` numbers alike: so its only axis longer than 1 is the last."""
        value = self._constant(node, place)
        if value.size not in (1, width) or value.shape[-1:] not in ((), (value.size,)) or value.ndim > rank:
            raise self.error(f"{node} must add the same {width} numbers to every row, got {value.shape}")
        row = np.broadcast_to(value.reshape(-1), (width,))
        return self._parameter((node.inputs[place], factor, width), row, factor)

    def _constant(self, node: Node, place: int) -> np.ndarray:
        name = node.inputs[place] if len(node.inputs) > place else ""
        if name not in self.graph.constants:
            raise self.error(f"{node} must have constant weights, but its input {name!r} is computed")
        value = self.graph.constants[name]
        if value.dtype not in (np.float32, np.float64):
            raise self.error(f"{node} must have weights in float32 or float64, got {value.dtype}")
        return value

    def _parameter(self, key: tuple[Any, ...], value: np.ndarray, factor: float) -> Parameter:
        """The Parameter of these numbers, the same one for the same key."""
        if key not in self.parameters:
            made = self.parameters[key] = Parameter(np.ascontiguousarray(value * value.dtype.type(factor)))
            self.came_from[id(made)] = key[0]
        return self.parameters[key]


# The patterns by the operator that they end in, the largest first.
_BY_OPERATOR: dict[str, list[Pattern]] = {}
for _pattern in sorted(PATTERNS, key=lambda pattern: -pattern.size):
    _tree = _pattern.tree[0] if isinstance(_pattern.tree, list) else _pattern.tree
    _BY_OPERATOR.setdefault(_tree[0], []).append(_pattern)
_AXES = object()  # how many axes numbers of a pattern have at most


def _tuple(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _of_a_sample(before: Shape, after: list[Any]) -> list[Any] | None:
    """The shape that a Reshape gives each sample, if it keeps the batch axis whatever the length of that is."""
    if not before or not after:
        return None
    first, *rest = after
    lengths: list[Any] = [before[i] if length == 0 and i < len(before) else length for i, length in enumerate(rest, 1)]
    if not all(isinstance(length, int) and length != 0 for length in lengths) or lengths.count(-1) > 1:
        return None
    if first == 0 or first == before[0]:
        return lengths
    fixed = [length for length in before[1:] if isinstance(length, int)]
    is_known = first == -1 and -1 not in lengths and len(fixed) == len(before) - 1
    return lengths if is_known and prod(fixed) == prod(lengths) else None


def _merged(before: Shape, after: Shape) -> tuple[int, int] | None:
    """The first and last of the axes that a Reshape lays out as one, which are the same one if it changes nothing.

    before : the shape that comes.
    after : what Reshape is told: a length, 0 for that of the same axis before, -1 for what is left.

    None for everything else, and for what only some lengths of the free axes would make so.
    """
    count = len(before) - len(after) + 1  # how many axes become one
    if count < 1 or after.count(-1) > 1:
        return None
    for start in [0] if count == 1 else range(1, len(after)):  # the batch axis stays by itself
        together = before[start : start + count]
        fixed = [length for length in together if isinstance(length, int)]
        one = together[0] if count == 1 else prod(fixed) if len(fixed) == count else None
        wanted = [*before[:start], one, *before[start + count :]]
        if all(
            length == (told or before[place])
            or told == -1  # what is left, which is what is wanted if all the others are
            for place, (told, length) in enumerate(zip(after, wanted, strict=True))
        ):
            return start, start + count - 1
    return None


def _shortest(number: Any) -> float:
    """The shortest decimal that stands for a number in its dtype: 0.01 and not 0.009999999776 for a float32."""
    return float(str(number))


def _first_line(problem: Exception) -> str:
    return str(problem).strip().split("\n")[0]
