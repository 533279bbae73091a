"""A network as ONNX: one function for each kind of layer."""

import math
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ... import layers
from ...arguments import positive, whole
from ...engine.lower import CannotLower, sample_shape
from ...extras import require
from ...files import build, describe, write_bytes
from ...module import Module, Parameter
from ...train.prepare import reference

LOWEST = 9  # of ONNX 1.4, January 2019: before, there was no Where, and initializers had to be inputs too


def to_onnx(
    model: Module,
    path: str | PathLike[str] | None = None,
    *,
    sample_shape: Sequence[int] | None = None,
    opset: int | None = None,
) -> Any:
    """The network as an onnx.ModelProto, for predictions; written to a file, if a path is given.

    The input is called "x" and the output "y", both with a first axis "batch" of any length; initializers have the
    names of `state_dict`. The proto has passed `onnx.checker`.

    Parameters
    ----------
    model : made of this library's layers; Dropout and Identity vanish.
    path : of the file, written whole or not at all.
    sample_shape : the shape of one sample; by default one row of what the first Linear takes.
    opset : the version of ONNX's operators, from 9 on, whose lowest IR version is taken. By default the lowest that the
        network needs, so that older programs read it too: 9, but 11 for a Linear without bias or a Softmax along -1,
        and 13 for a Softmax along another axis than the last. From 20 on GELU is one node.

    Raises ValueError for a layer that it does not know, or that needs a later opset than is asked for, by its place.
    """
    onnx = require("onnx", "onnx")
    if not isinstance(model, Module):
        raise TypeError(f"to_onnx: model must be a chainrule Module, got a {type(model).__name__}")
    try:
        model = build(*describe(model))  # a copy on NumPy arrays
    except (TypeError, ValueError) as reason:
        raise ValueError(f"to_onnx: there is no ONNX for this model: {reason}") from None
    writer = _Writer(onnx, model, _sample_shape(model, sample_shape), _opset(onnx, opset))
    proto = writer.proto()
    onnx.checker.check_model(proto, full_check=True)
    if path is not None:
        write_bytes(Path(path), proto.SerializeToString())
    return proto


def _sample_shape(model: Module, shape: Sequence[int] | None) -> tuple[int, ...]:
    if shape is not None:
        return tuple(positive("to_onnx", "sample_shape", length) for length in shape)
    try:
        return tuple(sample_shape(model))
    except CannotLower:
        raise ValueError("to_onnx: a network without a Linear needs sample_shape=…, the shape of one sample") from None


def _opset(onnx: Any, opset: int | None) -> int | None:
    if opset is None:
        return None
    version = whole("to_onnx", "opset", opset)
    newest = max(known for domain, known in onnx.helper.OP_SET_ID_VERSION_MAP if domain == "ai.onnx")
    if not LOWEST <= version <= newest:
        raise ValueError(f"to_onnx: opset must be {LOWEST} to {newest}, got {version}")
    return version


class _Writer:
    """The nodes so far; `value` is the name of the last output, and `x` a batch of two of its shape.

    asked, needed : the opset that the caller wants, or None, and the lowest in which the nodes so far mean the layers.
    """

    def __init__(self, onnx: Any, model: Module, shape: tuple[int, ...], asked: int | None) -> None:
        self.onnx, self.model = onnx, model
        self.asked, self.needed, self.place = asked, LOWEST, ""
        like = reference(model)
        self.dtype = np.dtype("float32" if like is None else like.dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"to_onnx: the model must be in float32 or float64, got {self.dtype}")
        if others := {str(p.value.dtype) for p in model.param()} - {str(self.dtype)}:
            raise ValueError(f"to_onnx: the model must be in one dtype, got {self.dtype} and {', '.join(others)}")
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.parameters: dict[int, str] = {}
        self.value, self.shape, self.x = "x", shape, np.zeros((2, *shape), self.dtype)

    def proto(self) -> Any:
        """The whole model."""
        from ... import __version__

        self.module(self.model, "")
        if not self.nodes:
            self.add("Identity", self.value)
        self.nodes[-1].output[0] = "y"
        helper, numpy_helper = self.onnx.helper, self.onnx.numpy_helper
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        graph = helper.make_graph(
            self.nodes,
            "chainrule",
            [helper.make_tensor_value_info("x", kind, ["batch", *self.shape])],
            [helper.make_tensor_value_info("y", kind, ["batch", *self.x.shape[1:]])],
            [numpy_helper.from_array(array, name) for name, array in self.initializers.items()],
        )
        opsets = [helper.make_opsetid("", self.asked or self.needed)]
        return helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="chainrule",
            producer_version=__version__,
        )

    def module(self, module: Module, name: str) -> None:
        """Add what the module at the place `name` amounts to."""
        if type(module) is layers.Sequential:
            for index, layer in module.named_children():
                self.module(layer, f"{name}.{index}" if name else index)
            return
        rule = RULES.get(type(module))
        self.place = place = f"{name}: {type(module).__name__}" if name else type(module).__name__
        if rule is None:
            raise ValueError(f"to_onnx: there is no ONNX for {place}")
        try:
            y = module(self.x)
        except ValueError as reason:
            raise ValueError(f"to_onnx: {place} does not take samples of shape {self.x.shape[1:]}: {reason}") from None
        if y.shape[:1] != (2,):
            raise ValueError(f"to_onnx: {place} changes the batch axis")
        rule(self, module, name)
        self.x = y

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output, which is the last one from here on."""
        self.value = f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [self.value], **attributes))
        return self.value

    def needs(self, opset: int) -> None:
        """Say that the layer means what is written in no opset before this one."""
        if self.asked is not None and self.asked < opset:
            raise ValueError(f"to_onnx: {self.place} needs opset {opset}, and opset={self.asked} is asked for")
        self.needed = max(self.needed, opset)

    def parameter(self, parameter: Parameter, name: str) -> str:
        """The name of an initializer that holds the parameter; a shared one is there once."""
        if id(parameter) not in self.parameters:
            self.parameters[id(parameter)] = name
            self.initializers[name] = np.ascontiguousarray(parameter.value)
        return self.parameters[id(parameter)]

    def number(self, value: float) -> str:
        """The name of an initializer that holds a number. Attributes would keep it in float32 only."""
        name = f"number {value!r}"
        self.initializers[name] = np.array(value, self.dtype)
        return name

    def fits_attribute(self, value: float) -> bool:
        """Whether an attribute, which is a float32, keeps a number as exactly as the model does."""
        return self.dtype == np.float32 or float(np.float32(value)) == value


def _linear(writer: _Writer, layer: layers.Linear, name: str) -> None:
    prefix = f"{name}." if name else ""
    weight = writer.parameter(layer.weight, f"{prefix}weight")
    bias = [] if layer.bias is None else [writer.parameter(layer.bias, f"{prefix}bias")]
    if writer.x.ndim == 2:
        if not bias:
            writer.needs(11)
        writer.add("Gemm", writer.value, weight, *bias, transB=1)
        return
    x = writer.value
    y = writer.add("MatMul", x, writer.add("Transpose", weight, perm=[1, 0]))
    if bias:
        writer.add("Add", y, *bias)


def _flatten(writer: _Writer, layer: layers.Flatten, name: str) -> None:
    rank = writer.x.ndim
    if layer.start_dim == 1 and layer.end_dim in (-1, rank - 1):
        writer.add("Flatten", writer.value, axis=1)
        return
    y = layer(writer.x)
    shape = np.array([-1, *y.shape[1:]], np.int64)
    writer.initializers[f"{name} shape"] = shape
    writer.add("Reshape", writer.value, f"{name} shape")


def _leaky_relu(writer: _Writer, layer: layers.LeakyReLU, name: str) -> None:
    slope = layer.negative_slope
    if writer.fits_attribute(slope):
        writer.add("LeakyRelu", writer.value, alpha=slope)
    else:
        writer.add("PRelu", writer.value, writer.number(slope))


def _elu(writer: _Writer, layer: layers.ELU, name: str) -> None:
    if writer.fits_attribute(layer.alpha):
        writer.add("Elu", writer.value, alpha=layer.alpha)
        return
    x = writer.value
    bent = writer.add("Mul", writer.number(layer.alpha), writer.add("Elu", x))
    writer.add("Where", writer.add("Greater", x, writer.number(0.0)), x, bent)


def _silu(writer: _Writer, layer: layers.SiLU, name: str) -> None:
    x = writer.value
    writer.add("Mul", x, writer.add("Sigmoid", x))


def _gelu(writer: _Writer, layer: layers.GELU, name: str) -> None:
    # The definition of Gelu keeps its constants in float32, so in float64 too the formula is written out.
    if writer.dtype == np.float32 and (writer.asked or LOWEST) >= 20:
        writer.add("Gelu", writer.value, approximate=layer.approximate)
        return
    x = writer.value
    if layer.approximate == "tanh":
        cube = writer.add("Mul", writer.number(0.044715), writer.add("Mul", x, writer.add("Mul", x, x)))
        bent = writer.add("Tanh", writer.add("Mul", writer.number(math.sqrt(2 / math.pi)), writer.add("Add", x, cube)))
    else:
        bent = writer.add("Erf", writer.add("Div", x, writer.number(math.sqrt(2))))
    shifted = writer.add("Add", bent, writer.number(1.0))
    writer.add("Mul", writer.add("Mul", x, writer.number(0.5)), shifted)


def _softplus(writer: _Writer, layer: layers.Softplus, name: str) -> None:
    x, beta = writer.value, writer.number(layer.beta)
    scaled = writer.add("Mul", x, beta)
    straight = writer.add("Greater", scaled, writer.number(layer.threshold))
    writer.add("Where", straight, x, writer.add("Div", writer.add("Softplus", scaled), beta))


def _softmax(writer: _Writer, layer: layers.Softmax | layers.LogSoftmax, name: str) -> None:
    if layer.dim % writer.x.ndim != writer.x.ndim - 1:
        writer.needs(13)  # before, all axes from this one on count as one
    elif layer.dim < 0:
        writer.needs(11)
    writer.add(type(layer).__name__, writer.value, axis=layer.dim)


def _vanish(writer: _Writer, layer: Module, name: str) -> None:
    """What does nothing in prediction."""


def _plain(op: str) -> "Rule":
    def write(writer: _Writer, layer: Module, name: str) -> None:
        writer.add(op, writer.value)

    return write


Rule = Callable[[_Writer, Any, str], None]

RULES: dict[type, Rule] = {
    layers.Linear: _linear,
    layers.Flatten: _flatten,
    layers.Identity: _vanish,
    layers.Dropout: _vanish,
    layers.ReLU: _plain("Relu"),
    layers.Tanh: _plain("Tanh"),
    layers.Sigmoid: _plain("Sigmoid"),
    layers.LeakyReLU: _leaky_relu,
    layers.ELU: _elu,
    layers.SiLU: _silu,
    layers.GELU: _gelu,
    layers.Softplus: _softplus,
    layers.Softmax: _softmax,
    layers.LogSoftmax: _softmax,
}
