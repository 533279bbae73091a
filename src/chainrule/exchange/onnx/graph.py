"""An ONNX graph as plain nodes: the constants worked out, and what changes nothing in prediction taken out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .sizes import Axis, Shape, size

DOMAINS = ("", "ai.onnx")  # both names of the standard operators
OLDEST = 7  # the first opset whose operators broadcast as NumPy does, and whose Dropout predicts


class NotReadable(ValueError):
    """What is wrong, and where."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation, with the names of the values that go in and come out."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.op} {self.name!r}" if self.name else f"{self.op} (which makes {self.outputs[0]!r})"


class Graph:
    """What happens between the inputs and the outputs.

    producers : the node that a value comes from; in an order in which they can run.
    inputs, outputs : the names of the values that go in and come out; of an output, and that of the same value within.
    constants : the values that are known, as arrays.
    shapes : of the other values, where they are known. Two free axes are never taken to be equal, whatever their names.
    sizes : what the nodes make that work with shapes only.
    """

    def __init__(self, onnx: Any, proto: Any, where: str) -> None:
        self.onnx, self.where = onnx, where
        self.opset = max((o.version for o in proto.opset_import if o.domain in DOMAINS), default=1)
        newest = onnx.defs.onnx_opset_version()
        if not OLDEST <= self.opset <= newest:
            raise self.error(
                f"is of opset {self.opset}, must be of {OLDEST} to {newest}; "
                "onnx.version_converter.convert_version may translate it"
            )
        known = (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
        tensors = {value.name: value.type.tensor_type for value in known}
        self.types = {name: tensor.elem_type for name, tensor in tensors.items()}
        self.shapes: dict[str, Shape] = {
            name: [d.dim_value if d.dim_value > 0 else Axis(name, i) for i, d in enumerate(tensor.shape.dim)]
            for name, tensor in tensors.items()
            if tensor.HasField("shape")
        }
        self.constants: dict[str, np.ndarray] = {}
        self.sizes: dict[str, np.ndarray] = {}
        self.producers: dict[str, Node] = {}
        self.same: dict[str, str] = {}  # what comes out of a node that changes nothing, and what went in
        for tensor in proto.graph.initializer:
            self.constants[tensor.name] = self._array(tensor, f"the initializer {tensor.name!r}")
        for node in proto.graph.node:
            self._take(node)
        self.inputs = [value.name for value in proto.graph.input if value.name not in self.constants]
        self.outputs = {value.name: self.same.get(value.name, value.name) for value in proto.graph.output}

    def error(self, message: str) -> ValueError:
        """What cannot be read, as an error."""
        return NotReadable(f"{self.where}: {message}")

    def rank(self, value: str) -> int | None:
        """How many axes a value has, if that is known."""
        return len(self.shapes[value]) if value in self.shapes else None

    def _take(self, proto: Any) -> None:
        inputs = tuple(self.same.get(name, name) for name in proto.input)
        node = Node(proto.op_type, proto.name, inputs, tuple(proto.output), self._attributes(proto))
        if proto.domain not in DOMAINS:
            raise self.error(f"{node} is of the domain {proto.domain!r}, which is unknown")
        if self._changes_nothing(node):
            self.same[node.outputs[0]] = inputs[0]
        elif (made := self._constant(node)) is not None:
            self.constants[node.outputs[0]] = made
        elif (made := self._size(node)) is not None:
            self.sizes[node.outputs[0]] = made
        else:
            self.producers.update((output, node) for output in node.outputs if output)

    def _changes_nothing(self, node: Node) -> bool:
        if node.op == "Cast":
            return bool(self._type(node.inputs[0]) == node.attributes["to"])
        if node.op == "Dropout" and len(node.inputs) > 2 and node.inputs[2]:
            training = self.constants.get(node.inputs[2])
            if training is None or training.any():
                raise self.error(f"{node} must have training_mode=False, as this is for predictions")
        return node.op in ("Identity", "Dropout")

    def _constant(self, node: Node) -> np.ndarray | None:
        """What a node makes, if that does not depend on the input."""
        if node.op == "Constant":
            return self._value(node)
        if node.op == "Transpose" and node.inputs[0] in self.constants:
            made: np.ndarray = self.constants[node.inputs[0]].transpose(node.attributes.get("perm"))
            return made
        return None

    def _size(self, node: Node) -> np.ndarray | None:
        """What a node makes of shapes, if it takes nothing else."""
        if node.op == "Shape":
            shape = self.shapes.get(node.inputs[0])
            return None if shape is None else size(node.op, node.attributes, [shape])
        if not any(name in self.sizes for name in node.inputs):
            return None
        known = [self.sizes.get(name, self.constants.get(name)) for name in node.inputs]
        return None if any(one is None for one in known) else size(node.op, node.attributes, known)

    def _value(self, node: Node) -> np.ndarray | None:
        """The numbers of a Constant; floats without a dtype are float32 in ONNX. None for text."""
        [(kind, value)] = node.attributes.items()
        if kind == "value":
            return self._array(value, f"the node {node}")
        dtypes = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
        return np.asarray(value, dtypes[kind]) if kind in dtypes else None

    def _type(self, value: str) -> int:
        """The element type of a value, as ONNX numbers them; 0 if it is not known."""
        if value in self.constants:
            return int(self.onnx.helper.np_dtype_to_tensor_dtype(self.constants[value].dtype))
        return int(self.types.get(value, 0))

    def _array(self, tensor: Any, name: str) -> np.ndarray:
        try:
            return np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except Exception as problem:  # whatever a tensor that lies about itself leads to
            raise self.error(f"{name} cannot be read: {problem}") from None

    def _attributes(self, node: Any) -> dict[str, Any]:
        found = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
