"""A chain of ONNX nodes as a network: single nodes, and the groups of nodes that stand for one layer."""

from collections.abc import Iterator
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ... import layers
from ...extras import require
from ...layers import Linear, Sequential
from ...module import Module, Parameter
from .graph import Graph, Node, NotReadable
from .patterns import PATTERNS, X
from .sizes import Shape

KNOWN = (
    "Gemm, MatMul, Add, Flatten, Reshape, Identity, Cast, Dropout, Relu, LeakyRelu, PRelu, Elu, Tanh, Sigmoid, "
    "Softplus, Gelu, Softmax, LogSoftmax, and what SiLU, GELU and Softplus are written as"
)


def from_onnx(source: str | PathLike[str] | Any) -> Sequential:
    """An ONNX network that is a chain of layers, as a Sequential with copies of its numbers.

    Parameters
    ----------
    source : a path, or an onnx.ModelProto.

    Returns   the Sequential. Initializers that are shared become shared Parameters

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
    def __init__(self, graph: Graph) -> None:
        self.graph, self.error = graph, graph.error
        self.parameters: dict[tuple[Any, ...], Parameter] = {}

    def network(self) -> Sequential:
        """The chain from the input to the output."""
        inputs, outputs = self.graph.inputs, self.graph.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise self.error(f"must have one input and one output, has {len(inputs)} and {len(outputs)}")
        value, chain, seen = inputs[0], list[Module](), set[str]()
        while value not in seen:
            seen.add(value)
            consumers = self._consumers(value)
            if value == outputs[0] and not consumers:
                return Sequential(*chain)
            if not consumers:
                raise self.error(f"nothing follows {value!r}, which is not the output")
            layer, value = self._next(value, consumers)
            if layer is not None:
                chain.append(layer)
        raise self.error("is no chain")

    def _consumers(self, value: str) -> list[Node]:
        return self.graph.consumers.get(value, [])

    def _next(self, value: str, consumers: list[Node]) -> tuple[Module | None, str]:
        """The layer that `value` goes into, and what comes out."""
        for pattern in PATTERNS:
            for output in self._after(consumers, pattern.depth):
                found: dict[str, float] = {}
                inside: set[str] = set()
                if self._matches(pattern.tree, output, value, found, inside) and self._closed(value, output, inside):
                    return pattern.make(found), output
        if len(consumers) > 1:
            names = " and ".join(map(str, consumers[:3]))
            raise self.error(f"{value!r} goes into {names}, which together are no layer that chainrule has")
        return self._single(consumers[0], value)

    def _after(self, nodes: list[Node], depth: int) -> Iterator[str]:
        """The outputs of these nodes and of those that follow, up to so many steps away."""
        seen: dict[str, None] = {}
        for _ in range(depth):
            outputs = dict.fromkeys(node.outputs[0] for node in nodes if node.outputs[0] not in seen)
            seen.update(outputs)
            nodes = [node for output in outputs for node in self._consumers(output)]
        yield from seen

    def _matches(self, tree: Any, name: str, value: str, found: dict[str, float], inside: set[str]) -> bool:
        """Whether what makes `name` is what the tree says, with `value` at its leaves."""
        if tree is X:
            return name == value
        if isinstance(tree, list):
            return any(self._matches(one, name, value, found, inside) for one in tree)
        if not isinstance(tree, tuple):
            number = self._number(name, value)
            if number is None:
                return False
            if isinstance(tree, str):  # the name of a number to be found
                return found.setdefault(tree, _shortest(number)) == _shortest(number)
            # A number that must be there, to the last bit or the one before.
            eps = np.finfo(number.dtype).eps if number.dtype.kind == "f" else 0
            return bool(abs(float(number) - tree) <= 2 * eps * abs(tree))
        op, *arguments = tree
        node = self.graph.producers.get(name)
        if node is None or node.op != op or len(node.inputs) != len(arguments):
            return False
        if op == "Elu" and node.attributes.get("alpha", 1.0) != 1.0:
            return False
        orders = [arguments, arguments[::-1]] if op in ("Mul", "Add") else [arguments]
        for order in orders:
            trial, within = dict(found), set(inside)
            pairs = zip(order, node.inputs, strict=True)
            if all(self._matches(argument, input_name, value, trial, within) for argument, input_name in pairs):
                found.update(trial)
                inside |= within | {name}
                return True
        return False

    def _number(self, name: str, value: str) -> Any:
        """The one number of a constant, if it is one and does not give `value` more axes than it has."""
        constant = self.graph.constants.get(name)
        rank = self.graph.rank(value)
        if constant is None or constant.size != 1 or constant.ndim > (1 if rank is None else rank):
            return None
        return constant.reshape(())[()]

    def _closed(self, value: str, output: str, inside: set[str]) -> bool:
        """Whether nobody outside of a group uses what is inside of it."""
        used = [node for name in (inside - {output}) | {value} for node in self._consumers(name)]
        return all(node.outputs[0] in inside for node in used) and not {*self.graph.outputs} & (inside - {output})

    def _single(self, node: Node, value: str) -> tuple[Module | None, str]:
        attributes, output, op = node.attributes, node.outputs[0], node.op
        if node.inputs[0] != value and op != "Add":
            raise self.error(f"{node} must take what comes before as its first input")
        if op in _PLAIN:
            return _PLAIN[op](), output
        if op == "LeakyRelu":
            return layers.LeakyReLU(_shortest(self._typed(attributes.get("alpha", 0.01), value))), output
        if op == "Elu":
            return layers.ELU(_shortest(self._typed(attributes.get("alpha", 1.0), value))), output
        if op == "Gelu":
            return layers.GELU(attributes.get("approximate", "none")), output
        if op in ("Softmax", "LogSoftmax"):
            return self._softmax(node, value), output
        if op == "Flatten":
            axis, rank = attributes.get("axis", 1), self.graph.rank(value)
            if axis != 1 and not (axis < 0 and rank is not None and axis + rank == 1):
                raise self.error(f"{node} must have axis=1, got {axis}")
            return layers.Flatten(), output
        if op == "Reshape":
            return self._reshape(node, value), output
        if op == "Gemm":
            return self._gemm(node), output
        if op == "MatMul":
            return self._matmul(node)
        if op == "Cast":
            raise self.error(f"{node} changes the dtype, which chainrule does not do within a network")
        raise self.error(f"{node} is no layer that chainrule has; known are {KNOWN}")

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
        merged = None if node.attributes.get("allowzero", 0) and 0 in after else _merged(before, after)
        if merged is None:
            raise self.error(
                f"{node} must keep the batch axis and lay out others as one, as Flatten does; "
                f"it makes {after} of {before}"
            )
        start, end = merged
        if start == end:
            return None
        return layers.Flatten() if (start, end) == (1, len(before) - 1) else layers.Flatten(start, end)

    def _gemm(self, node: Node) -> Linear:
        attributes = node.attributes
        if attributes.get("transA", 0):
            raise self.error(f"{node} must have transA=0")
        weight = self._weight(node, attributes.get("alpha", 1.0), turned=not attributes.get("transB", 0))
        beta = attributes.get("beta", 1.0)
        has_bias = len(node.inputs) > 2 and node.inputs[2] != "" and beta != 0
        bias = self._bias(node, 2, weight.shape[0], rank=2, factor=beta) if has_bias else False
        return Linear(weight.shape[1], weight.shape[0], bias, weight=weight)

    def _matmul(self, node: Node) -> tuple[Module, str]:
        """A MatMul, and the Add of a bias if there is one."""
        weight, output = self._weight(node, 1.0, turned=True), node.outputs[0]
        rank = self.graph.rank(node.inputs[0])
        if rank == 1:
            raise self.error(f"{node} must take rows, and gets one axis")
        bias: Any = False
        following = self._consumers(output)
        if len(following) == 1 and following[0].op == "Add":
            add = following[0]
            place = next((i for i, name in enumerate(add.inputs) if name in self.graph.constants), None)
            if place is not None:
                bias = self._bias(add, place, weight.shape[0], rank=rank or 2)
                output = add.outputs[0]
        return Linear(weight.shape[1], weight.shape[0], bias, weight=weight), output

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
            self.parameters[key] = Parameter(np.ascontiguousarray(value * value.dtype.type(factor)))
        return self.parameters[key]


_PLAIN: dict[str, type[Module]] = {
    "Relu": layers.ReLU,
    "Tanh": layers.Tanh,
    "Sigmoid": layers.Sigmoid,
    "Softplus": layers.Softplus,
}


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
