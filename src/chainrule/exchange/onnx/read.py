"""A chain of ONNX nodes as a network: single nodes, and the groups of nodes that stand for one layer."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ... import layers
from ...extras import require
from ...layers import Linear, Sequential
from ...module import Module, Parameter
from .patterns import PATTERNS, X

DOMAINS = ("", "ai.onnx")  # both names of the standard operators
KNOWN = (
    "Gemm, MatMul, Add, Flatten, Reshape, Identity, Dropout, Relu, LeakyRelu, PRelu, Elu, Tanh, Sigmoid, Softplus, "
    "Gelu, Softmax, LogSoftmax, and what SiLU and GELU are written as"
)


def from_onnx(source: str | PathLike[str] | Any) -> Sequential:
    """An ONNX network that is a chain of layers, as a Sequential with copies of its numbers.

    Parameters
    ----------
    source : a path, or an onnx.ModelProto.

    Returns   the Sequential. Initializers that are shared become shared Parameters

    Raises ValueError for a file that is damaged, keeps its numbers elsewhere, or has a node that chainrule has no layer
    for; the message names the node. OSError if it cannot be read.
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
        proto = onnx.shape_inference.infer_shapes(proto)
    except Exception as problem:  # the checker has classes of its own
        raise ValueError(f"{where}: is no valid ONNX: {_first_line(problem)}") from None
    reader = _Reader(onnx, proto, where)
    try:
        return reader.network()
    except _NotReadable:
        raise
    except (ValueError, OverflowError, TypeError, KeyError, IndexError, MemoryError) as problem:  # of a layer, say
        raise ValueError(f"{where}: is no network that can be read: {problem}") from None


class _NotReadable(ValueError):
    """What is wrong, and where."""


class _Reader:
    def __init__(self, onnx: Any, proto: Any, where: str) -> None:
        self.onnx, self.graph, self.where = onnx, proto.graph, where
        self.opset = max((o.version for o in proto.opset_import if o.domain in DOMAINS), default=0)
        self.producers = {output: node for node in self.graph.node for output in node.output if output}
        self.constants: dict[str, np.ndarray] = {}
        self.parameters: dict[tuple[Any, ...], Parameter] = {}
        self.shapes = {
            info.name: [d.dim_value if d.HasField("dim_value") else None for d in info.type.tensor_type.shape.dim]
            for info in (*self.graph.value_info, *self.graph.input, *self.graph.output)
        }

    def error(self, message: str) -> ValueError:
        """What cannot be read, as an error."""
        return _NotReadable(f"{self.where}: {message}")

    def network(self) -> Sequential:
        """The chain from the input to the output."""
        self._find_constants()
        inputs = [value.name for value in self.graph.input if value.name not in self.constants]
        outputs = [value.name for value in self.graph.output]
        if len(inputs) != 1 or len(outputs) != 1:
            raise self.error(f"must have one input and one output, has {len(inputs)} and {len(outputs)}")
        value, chain = inputs[0], list[Module]()
        for _ in range(len(self.graph.node) + 1):
            consumers = self._consumers(value)
            if value == outputs[0] and not consumers:
                return Sequential(*chain)
            if not consumers:
                raise self.error(f"nothing follows {value!r}, which is not the output")
            layer, value = self._next(value, consumers)
            if layer is not None:
                chain.append(layer)
        raise self.error("is no chain")

    def _find_constants(self) -> None:
        for tensor in self.graph.initializer:
            self.constants[tensor.name] = self._array(tensor, f"the initializer {tensor.name!r}")
        for node in self.graph.node:
            known = [self.constants[name] for name in node.input if name in self.constants]
            if node.op_type == "Constant":
                attributes = self._attributes(node)
                value = next(iter(attributes.values()), None)
                is_tensor = isinstance(value, self.onnx.TensorProto)
                made = self._array(value, f"the node {node.name!r}") if is_tensor else np.asarray(value)
            elif node.op_type == "Identity" and known:
                made = known[0]
            elif node.op_type == "Transpose" and known:
                made = known[0].transpose(self._attributes(node).get("perm"))
            else:
                continue
            self.constants[node.output[0]] = made

    def _array(self, tensor: Any, name: str) -> np.ndarray:
        try:
            return np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except Exception as problem:  # whatever a tensor that lies about itself leads to
            raise self.error(f"{name} cannot be read: {problem}") from None

    def _attributes(self, node: Any) -> dict[str, Any]:
        found = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}

    def _consumers(self, value: str) -> list[Any]:
        return [node for node in self.graph.node if value in node.input]

    def _next(self, value: str, consumers: list[Any]) -> tuple[Module | None, str]:
        """The layer that `value` goes into, and what comes out."""
        for pattern in PATTERNS:
            for output in self._after(consumers, pattern.depth):
                found: dict[str, float] = {}
                inside: set[str] = set()
                if self._matches(pattern.tree, output, value, found, inside) and self._closed(value, output, inside):
                    return pattern.make(found), output
        if len(consumers) > 1:
            names = " and ".join(f"{node.op_type} {node.name!r}" for node in consumers[:3])
            raise self.error(f"{value!r} goes into {names}, which together are no layer that chainrule has")
        node = consumers[0]
        if node.domain not in DOMAINS:
            raise self.error(f"{_name(node)} is of the domain {node.domain!r}, which is unknown")
        return self._single(node, value)

    def _after(self, nodes: list[Any], depth: int) -> Iterator[str]:
        """The outputs of these nodes and of those that follow, up to so many steps away."""
        seen: dict[str, None] = {}
        for _ in range(depth):
            outputs = [node.output[0] for node in nodes if node.output and node.output[0] not in seen]
            seen.update(dict.fromkeys(outputs))
            nodes = [node for output in outputs for node in self._consumers(output)]
        yield from seen

    def _matches(self, tree: Any, name: str, value: str, found: dict[str, float], inside: set[str]) -> bool:
        """Whether what makes `name` is what the tree says, with `value` at its leaves."""
        if tree is X:
            return name == value
        if isinstance(tree, str):  # the name of a number to be found
            constant = self.constants.get(name)
            if constant is None or constant.size != 1:
                return False
            number = float(constant.reshape(()))
            return found.setdefault(tree, number) == number
        if isinstance(tree, float):  # a number that must be there
            constant = self.constants.get(name)
            return (
                constant is not None and constant.size == 1 and bool(np.isclose(constant.reshape(()), tree, rtol=1e-6))
            )
        op, *arguments = tree
        node = self.producers.get(name)
        if (
            node is None
            or node.op_type != op
            or len(node.input) != len(arguments)
            or node.domain not in ("", "ai.onnx")
        ):
            return False
        if op == "Elu" and self._attributes(node).get("alpha", 1.0) != 1.0:
            return False
        orders = [arguments, arguments[::-1]] if op in ("Mul", "Add") else [arguments]
        for order in orders:
            trial, within = dict(found), set(inside)
            pairs = zip(order, node.input, strict=True)
            if all(self._matches(argument, input_name, value, trial, within) for argument, input_name in pairs):
                found.update(trial)
                inside |= within | {name}
                return True
        return False

    def _closed(self, value: str, output: str, inside: set[str]) -> bool:
        """Whether nobody outside of a group uses what is inside of it."""
        made = [node for node in self.graph.node if set(node.output) & inside]
        used = [node for name in (inside - {output}) | {value} for node in self._consumers(name)]
        results = {value.name for value in self.graph.output}
        return all(node in made for node in used) and not results & (inside - {output})

    def _single(self, node: Any, value: str) -> tuple[Module | None, str]:
        attributes, output = self._attributes(node), node.output[0]
        if node.input[0] != value and node.op_type != "Add":
            raise self.error(f"{_name(node)} must take what comes before as its first input")
        op = node.op_type
        if op == "Identity" or (op == "Dropout" and len(node.output) == 1):
            return None, output
        if op in _PLAIN:
            return _PLAIN[op](), output
        if op == "LeakyRelu":
            return layers.LeakyReLU(_number(attributes.get("alpha", 0.01))), output
        if op == "Elu":
            return layers.ELU(_number(attributes.get("alpha", 1.0))), output
        if op == "Gelu":
            return layers.GELU(attributes.get("approximate", "none")), output
        if op in ("Softmax", "LogSoftmax"):
            if self.opset < 13 and len(self.shapes.get(value, [])) != 2:
                raise self.error(f"{_name(node)} of opset {self.opset} flattens its input, which chainrule does not do")
            kind = layers.Softmax if op == "Softmax" else layers.LogSoftmax
            return kind(attributes.get("axis", -1 if self.opset >= 13 else 1)), output
        if op == "Flatten":
            if attributes.get("axis", 1) != 1:
                raise self.error(f"{_name(node)} must have axis=1, got {attributes['axis']}")
            return layers.Flatten(), output
        if op == "Reshape":
            return self._flatten(node, value), output
        if op == "Gemm":
            return self._gemm(node, attributes), output
        if op == "MatMul":
            return self._matmul(node)
        raise self.error(f"{_name(node)} is no layer that chainrule has; known are {KNOWN}")

    def _flatten(self, node: Any, value: str) -> Module:
        """A Reshape that lays axes out as one."""
        before, after = self.shapes.get(value), self.shapes.get(node.output[0])
        if before and after and len(before) > 1:
            if len(after) == 2 and after[0] == before[0] and (len(before) > 2 or after == before):
                return layers.Flatten()
            for start in range(1, len(before)):
                for end in range(start, len(before)):
                    merged = [*before[:start], _product(before[start : end + 1]), *before[end + 1 :]]
                    if merged[1:] == after[1:] and None not in merged[1:]:
                        return layers.Flatten(start, end)
        raise self.error(f"{_name(node)} must lay out axes as one, as Flatten does; it makes {after} of {before}")

    def _gemm(self, node: Any, attributes: dict[str, Any]) -> Linear:
        if attributes.get("transA", 0):
            raise self.error(f"{_name(node)} must have transA=0")
        weight = self._parameter(node, 1, float(attributes.get("alpha", 1.0)), turned=not attributes.get("transB", 0))
        has_bias = len(node.input) > 2 and node.input[2] != ""
        bias = self._parameter(node, 2, float(attributes.get("beta", 1.0)), row=weight.shape[0]) if has_bias else False
        return Linear(weight.shape[1], weight.shape[0], bias, weight=weight)

    def _matmul(self, node: Any) -> tuple[Module, str]:
        """A MatMul, and the Add of a bias if there is one."""
        weight, output = self._parameter(node, 1, 1.0, turned=True), node.output[0]
        bias: Any = False
        following = self._consumers(output)
        if len(following) == 1 and following[0].op_type == "Add":
            other = [name for name in following[0].input if name != output]
            if len(other) == 1 and other[0] in self.constants:
                place = list(following[0].input).index(other[0])
                bias = self._parameter(following[0], place, 1.0, row=weight.shape[0])
                output = following[0].output[0]
        return Linear(weight.shape[1], weight.shape[0], bias, weight=weight), output

    def _parameter(self, node: Any, place: int, factor: float, *, turned: bool = False, row: int = 0) -> Parameter:
        """The numbers of an input, as a Parameter: a matrix, perhaps turned round, or a row of so many."""
        name = node.input[place] if len(node.input) > place else ""
        if name not in self.constants:
            raise self.error(f"{_name(node)} must have constant weights, but its input {name!r} is computed")
        value = self.constants[name]
        if row:
            if value.size not in (1, row) or value.ndim > 2:
                raise self.error(f"{_name(node)} must add {row} numbers, got {value.shape}")
            value = np.broadcast_to(value.reshape(-1), (row,))
        elif value.ndim != 2 or 0 in value.shape:
            raise self.error(f"{_name(node)} must have a matrix of weights, got {value.shape}")
        if value.dtype not in (np.float32, np.float64):
            raise self.error(f"{_name(node)} must have weights in float32 or float64, got {value.dtype}")
        key = (name, factor, turned, row)
        if key not in self.parameters:
            value = value.T if turned else value
            self.parameters[key] = Parameter(np.ascontiguousarray(value * value.dtype.type(factor)))
        return self.parameters[key]


_PLAIN: dict[str, type[Module]] = {
    "Relu": layers.ReLU,
    "Tanh": layers.Tanh,
    "Sigmoid": layers.Sigmoid,
    "Softplus": layers.Softplus,
}


def _product(lengths: list[Any]) -> Any:
    if None in lengths:
        return None
    return int(np.prod(lengths, dtype=np.int64))


def _number(value: float) -> float:
    """A float32 of an attribute, as the shortest decimal that stands for it: 0.01 and not 0.009999999776."""
    return float(str(np.float32(value)))


def _name(node: Any) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} (which makes {node.output[0]!r})"


def _first_line(problem: Exception) -> str:
    return str(problem).strip().split("\n")[0]
