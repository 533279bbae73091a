"""A network as ONNX: patterns for most layers, and a function where the meaning depends on shapes or opsets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ... import layers
from ...arguments import whole
from ...engine.lower import CannotLower, checked_shapes, sample_shape
from ...extras import require
from ...files import build, describe, write_bytes
from ...module import Module, Parameter
from ...structures import Structure, each, is_several, leaves
from ...train.prepare import reference
from .convolution import write_conv, write_conv_transpose, write_fold
from .normalization import (
    BATCH,
    INSTANCE,
    write_group_norm,
    write_layer_norm,
    write_local_response,
    write_rms_norm,
    write_running,
)
from .padding import PADS, write_pad
from .patterns import PATTERNS, Pattern, X
from .pooling import RULES as POOLING

LOWEST = 9  # of ONNX 1.4, January 2019: before, there was no Where, and initializers had to be inputs too


def to_onnx(
    model: Module,
    path: str | PathLike[str] | None = None,
    *,
    sample_shape: Sequence[int] | Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None = None,
    opset: int | None = None,
) -> Any:
    """The network as an onnx.ModelProto, for predictions; written to a file, if a path is given.

    The input is called "x" and the output "y", both with a first axis "batch" of any length; several have the names
    that they have in the network, or are "x_0", "x_1", … and "y_0", "y_1", … in a tuple. Initializers have the names of
    `state_dict`. The proto has passed `onnx.checker`.

    Parameters
    ----------
    model : made of this library's layers; Dropout and Identity vanish.
    path : of the file, written whole or not at all.
    sample_shape : the shape of one sample, or a tuple or dict of shapes, in the form that the network takes; by default
        what its Linears take.
    opset : the version of ONNX's operators, from 9 on, whose lowest IR version is taken. By default the lowest that the
        network needs, so that older programs read it too: 9, but 11 for a Linear without bias or a Softmax along -1,
        and 13 for a Softmax along another axis than the last. From 17, 20, 21 and 23 on LayerNorm, GELU, GroupNorm and
        RMSNorm are one node, if that is asked for.

    Raises ValueError for a layer that it does not know, or that needs a later opset than is asked for, by its place.
    """
    onnx = require("onnx", "onnx")
    if not isinstance(model, Module):
        raise TypeError(f"to_onnx: model must be a chainrule Module, got a {type(model).__name__}")
    try:
        model = build(*describe(model))  # a copy on NumPy arrays
    except (TypeError, ValueError) as reason:
        raise ValueError(f"to_onnx: there is no ONNX for this model: {reason}") from None
    _require_known(model)
    shapes = _sample_shapes(model, sample_shape)
    writer = _Writer(onnx, model, shapes, _opset(onnx, opset))
    proto = writer.proto()
    if opset is None and writer.needed >= 18:  # from which on a mean over axes is told them in another way
        proto = _Writer(onnx, model, shapes, writer.needed).proto()
    onnx.checker.check_model(proto, full_check=True)
    if path is not None:
        write_bytes(Path(path), proto.SerializeToString())
    return proto


def _sample_shapes(model: Module, shape: Any) -> Structure:
    """The shape of one sample of each input."""
    if shape is not None:
        return checked_shapes("to_onnx", shape)
    try:
        return sample_shape(model)
    except CannotLower:
        raise ValueError(
            "to_onnx: no Linear says what one sample is; sample_shape=… does, in the form that the network takes"
        ) from None


def _require_known(model: Module) -> None:
    """Refuse what there is no ONNX for, by its place."""
    for name, module in model.named_modules():
        if not (type(module) in NETWORKS or type(module) in RULES or _patterns(module)):
            raise ValueError(f"to_onnx: there is no ONNX for {_place(name, module)}")


def _place(name: str, module: Module) -> str:
    return f"{name}: {type(module).__name__}" if name else type(module).__name__


def _is_several_shapes(shape: Any) -> bool:
    return isinstance(shape, tuple | list) and any(isinstance(part, tuple | list) for part in shape)


def _input_names(model: Module) -> list[str]:
    """What a network calls its inputs, if it has several with names."""
    if isinstance(model, layers.Sequential) and len(model):
        return _input_names(model[0])
    return list(model.inputs) if isinstance(model, layers.Graph) and isinstance(model.inputs, tuple) else []


def _opset(onnx: Any, opset: int | None) -> int | None:
    if opset is None:
        return None
    version = whole("to_onnx", "opset", opset)
    newest = max(known for domain, known in onnx.helper.OP_SET_ID_VERSION_MAP if domain == "ai.onnx")
    if not LOWEST <= version <= newest:
        raise ValueError(f"to_onnx: opset must be {LOWEST} to {newest}, got {version}")
    return version


@dataclass(frozen=True)
class Value:
    """What a node of ONNX gives: its name there, and a batch of two of its shape."""

    name: str
    x: np.ndarray

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return self.x.ndim


class _Writer:
    """The nodes so far.

    asked, needed : the opset that the caller wants, or None, and the lowest in which the nodes so far mean the layers.
    """

    def __init__(self, onnx: Any, model: Module, shapes: Structure, asked: int | None) -> None:
        self.onnx, self.model, self.shapes = onnx, model, shapes
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
        self.taken: set[str] = set()  # names

    def proto(self) -> Any:
        """The whole model."""
        from ... import __version__

        inputs = self.named(self.shapes, "x", lambda shape: np.zeros((2, *shape), self.dtype))
        self.taken.update(value.name for value in leaves(inputs))
        outputs = self.outputs(self.write(self.model, "", inputs))
        helper, numpy_helper = self.onnx.helper, self.onnx.numpy_helper
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        described = [
            [helper.make_tensor_value_info(value.name, kind, ["batch", *value.x.shape[1:]]) for value in values]
            for values in (leaves(inputs), outputs)
        ]
        initializers = [numpy_helper.from_array(array, name) for name, array in self.initializers.items()]
        graph = helper.make_graph(self.nodes, "chainrule", *described, initializers)
        opsets = [helper.make_opsetid("", self.asked or self.needed)]
        return helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="chainrule",
            producer_version=__version__,
        )

    # -- names

    def named(self, structure: Structure, name: str, x: Callable[[Any], np.ndarray]) -> Structure:
        """Values for what goes in: one has the name, parts of a tuple a number behind it, those of a dict their own."""
        if isinstance(structure, dict):
            if not all(isinstance(key, str) and key for key in structure):
                raise TypeError(f"to_onnx: sample_shape must name the inputs by words, got {list(structure)}")
            return {key: Value(key, x(part)) for key, part in structure.items()}
        if _is_several_shapes(structure):
            names = _input_names(self.model) or [f"{name}_{i}" for i in range(len(structure))]
            if len(names) != len(structure):
                raise ValueError(f"to_onnx: sample_shape must be one shape for each of {', '.join(names)}")
            return tuple(Value(key, x(part)) for key, part in zip(names, structure, strict=True))
        return Value(name, x(structure))

    def outputs(self, y: Structure) -> list[Value]:
        """What comes out, under the names that it is to have; one that an input has already gets "y_" before it."""
        if is_several(y):
            names = list(y) if isinstance(y, dict) else [f"y_{i}" for i in range(len(y))]
        else:
            names = ["y"]
        inputs = {*self.taken} - {name for node in self.nodes for name in node.output} - {*self.initializers}
        names = [f"y_{name}" if name in inputs else name for name in names]
        if clash := [name for name in names if name in inputs or name in self.initializers or names.count(name) > 1]:
            raise ValueError(f"to_onnx: outputs must have names that no input and no parameter has, got {clash}")
        others = {name: self.unique(name) for name in names if name in self.taken}  # values within that are called so
        values = leaves(y)
        renamed = {**others, **{value.name: name for name, value in reversed(list(zip(names, values, strict=True)))}}
        given = {name for node in self.nodes for name in node.output}
        for node in self.nodes:
            node.input[:] = [renamed.get(name, name) if name in given else name for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        for name, value in zip(names, values, strict=True):  # what is an input, or an output by another name
            if value.name not in given or renamed[value.name] != name:
                source = renamed[value.name] if value.name in given else value.name
                self.nodes.append(self.onnx.helper.make_node("Identity", [source], [name]))
        return [Value(name, value.x) for name, value in zip(names, values, strict=True)]

    def unique(self, name: str) -> str:
        """The name, or one like it that nothing else has."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    # -- modules

    def write(self, module: Module, name: str, x: Structure) -> Structure:
        """Add what the module at the place `name` amounts to, and say what it gives."""
        self.place = _place(name, module)
        if (network := NETWORKS.get(type(module))) is not None:
            if is_several(x) or not isinstance(getattr(module, "inputs", ""), str) or isinstance(module, layers.Select):
                self.call(module, x)  # which refuses other parts than it has networks for
            return network(self, module, name, x)
        y = self.call(module, x)
        if is_several(y):
            raise ValueError(f"to_onnx: there is no ONNX for {self.place} that gives several values")
        if y.shape[:1] != (2,):
            raise ValueError(f"to_onnx: {self.place} changes the batch axis")
        return Value(RULES.get(type(module), _pattern)(self, module, name, x), y)

    def call(self, module: Module, x: Structure) -> Structure:
        """What a module makes of the batch of two."""
        try:
            return module(each(lambda part: part.x, x))
        except (ValueError, TypeError) as reason:
            shapes = each(lambda part: part.x.shape[1:], x)
            raise ValueError(f"to_onnx: {self.place} does not take samples of shape {shapes}: {reason}") from None

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return the name of its output."""
        output = self.unique(f"v{len(self.nodes)}")
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def needs(self, opset: int) -> None:
        """Say that the layer means what is written in no opset before this one."""
        if self.asked is not None and self.asked < opset:
            raise ValueError(f"to_onnx: {self.place} needs opset {opset}, and opset={self.asked} is asked for")
        self.needed = max(self.needed, opset)

    def parameter(self, parameter: Parameter, name: str) -> str:
        """The name of an initializer that holds the parameter; a shared one is there once."""
        if id(parameter) not in self.parameters:
            self.parameters[id(parameter)] = name = self.unique(name)
            self.initializers[name] = np.ascontiguousarray(parameter.value)
        return self.parameters[id(parameter)]

    def number(self, value: float) -> str:
        """The name of an initializer that holds a number. Attributes would keep it in float32 only."""
        name = f"number {value!r}"
        if name not in self.initializers:
            self.taken.add(name)
            self.initializers[name] = np.array(value, self.dtype)
        return name

    def shape(self, name: str, lengths: Sequence[int]) -> str:
        """The name of an initializer that holds a shape, whose first length is that of the batch."""
        name = self.unique(f"{name} shape")
        self.initializers[name] = np.array([-1, *lengths], np.int64)
        return name

    def fits_attribute(self, value: Any) -> bool:
        """Whether an attribute, in which numbers are float32, keeps a value as exactly as the model does."""
        return isinstance(value, str) or self.dtype == np.float32 or float(np.float32(value)) == value


# -- networks: what goes in and comes out are Values, or a tuple or dict of them


def _sequential(writer: _Writer, network: layers.Sequential, name: str, x: Structure) -> Structure:
    for key, layer in network.named_children():
        x = writer.write(layer, _joined(name, key), x)
    return x


def _residual(writer: _Writer, network: layers.Residual, name: str, x: Value) -> Structure:
    around = x if network.shortcut is None else writer.write(network.shortcut, _joined(name, "shortcut"), x)
    y = writer.write(network.body, _joined(name, "body"), x)
    return writer.write(layers.Sum(), name, (around, y))


def _parallel(writer: _Writer, network: layers.Parallel, name: str, x: Structure) -> Structure:
    children = dict(network.named_children())
    parts = x if isinstance(x, dict) else dict(zip(children, x if is_several(x) else [x] * len(children), strict=True))
    ys = {key: writer.write(child, _joined(name, key), parts[key]) for key, child in children.items()}
    return tuple(ys.values()) if network.names is None else ys


def _graph(writer: _Writer, network: layers.Graph, name: str, x: Structure) -> Structure:
    if isinstance(network.inputs, str):
        values = {network.inputs: x}
    else:
        values = dict(x) if isinstance(x, dict) else dict(zip(network.inputs, x, strict=True))
    for node, (module, sources) in network.nodes.items():
        read = values[sources] if isinstance(sources, str) else tuple(values[source] for source in sources)
        values[node] = writer.write(module, _joined(name, node), read)
    return values[network.outputs] if isinstance(network.outputs, str) else {n: values[n] for n in network.outputs}


def _select(writer: _Writer, layer: layers.Select, name: str, x: Structure) -> Structure:
    return x[layer.key]


# -- layers: the name of what comes out


def _joins(op: str) -> "Rule":
    def write(writer: _Writer, layer: Module, name: str, x: Structure) -> str:
        name, *others = (value.name for value in leaves(x))
        first: str = name
        for other in others:
            first = writer.add(op, first, other)
        return first

    return write


def _concat(writer: _Writer, layer: layers.Concat, name: str, x: Structure) -> str:
    values = leaves(x)
    return writer.add("Concat", *(value.name for value in values), axis=layer.dim % values[0].ndim)


def _linear(writer: _Writer, layer: layers.Linear, name: str, x: Value) -> str:
    weight = writer.parameter(layer.weight, _joined(name, "weight"))
    bias = [] if layer.bias is None else [writer.parameter(layer.bias, _joined(name, "bias"))]
    if x.ndim == 2:
        if not bias:
            writer.needs(11)
        return writer.add("Gemm", x.name, weight, *bias, transB=1)
    y = writer.add("MatMul", x.name, writer.add("Transpose", weight, perm=[1, 0]))
    return writer.add("Add", y, *bias) if bias else y


def _flatten(writer: _Writer, layer: layers.Flatten, name: str, x: Value) -> str:
    if layer.start_dim == 1 and layer.end_dim in (-1, x.ndim - 1):
        return writer.add("Flatten", x.name, axis=1)
    return _reshape(writer, layer, name, x)


def _reshape(writer: _Writer, layer: Module, name: str, x: Value) -> str:
    return writer.add("Reshape", x.name, writer.shape(name, layer(x.x).shape[1:]))


def _permute(writer: _Writer, layer: layers.Permute, name: str, x: Value) -> str:
    return writer.add("Transpose", x.name, perm=list(layer.dims))


def _softmax(writer: _Writer, layer: layers.Softmax | layers.LogSoftmax, name: str, x: Value) -> str:
    if layer.dim % x.ndim != x.ndim - 1:
        writer.needs(13)  # before, all axes from this one on count as one
    elif layer.dim < 0:
        writer.needs(11)
    return writer.add(type(layer).__name__, x.name, axis=layer.dim)


def _vanish(writer: _Writer, layer: Module, name: str, x: Value) -> str:
    """What does nothing in prediction."""
    return x.name


def _patterns(layer: Module) -> list[Pattern]:
    """The ways to write a layer."""
    fitting = [pattern for pattern in PATTERNS if pattern.layer is type(layer)]
    return [p for p in fitting if all(getattr(layer, name) == value for name, value in p.fixed.items())]


def _pattern(writer: _Writer, layer: Module, name: str, x: Value) -> str:
    for pattern in _patterns(layer):
        attributes = pattern.tree[-1] if isinstance(pattern.tree[-1], dict) else {}
        exact = all(writer.fits_attribute(getattr(layer, argument)) for argument in attributes.values())
        if exact and pattern.since <= (writer.asked or LOWEST) and (pattern.in_float64 or writer.dtype == np.float32):
            return _tree(writer, pattern.tree, layer, x.name, {})
    raise AssertionError(f"the last pattern of {type(layer).__name__} must say everything in every opset")


def _tree(writer: _Writer, tree: Any, layer: Module, x: str, written: dict[int, str]) -> str:
    """Write a tree, and each tree within that comes twice once."""
    if tree is X:
        return x
    if isinstance(tree, list):
        return _tree(writer, tree[0], layer, x, written)
    if not isinstance(tree, tuple):
        return writer.number(getattr(layer, tree) if isinstance(tree, str) else tree)
    if id(tree) not in written:
        op, *arguments = tree
        told = arguments.pop() if isinstance(arguments[-1], dict) else {}
        attributes = {attribute: getattr(layer, argument) for attribute, argument in told.items()}
        inputs = [_tree(writer, argument, layer, x, written) for argument in arguments]
        written[id(tree)] = writer.add(op, *inputs, **attributes)
    return written[id(tree)]


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


Rule = Callable[[_Writer, Any, str, Any], str]

NETWORKS: dict[type, Callable[[_Writer, Any, str, Any], Structure]] = {
    layers.Sequential: _sequential,
    layers.Residual: _residual,
    layers.Parallel: _parallel,
    layers.Graph: _graph,
    layers.Select: _select,
}
RULES: dict[type, Rule] = {  # and for the rest there are patterns
    layers.Linear: _linear,
    layers.Flatten: _flatten,
    layers.Unflatten: _reshape,
    layers.Reshape: _reshape,
    layers.Permute: _permute,
    layers.Concat: _concat,
    layers.Sum: _joins("Add"),
    layers.Multiply: _joins("Mul"),
    layers.Identity: _vanish,
    layers.Dropout: _vanish,
    layers.Dropout1d: _vanish,
    layers.Dropout2d: _vanish,
    layers.Dropout3d: _vanish,
    layers.Softmax: _softmax,
    layers.LogSoftmax: _softmax,
    layers.Conv1d: write_conv,
    layers.Conv2d: write_conv,
    layers.Conv3d: write_conv,
    layers.ConvTranspose1d: write_conv_transpose,
    layers.ConvTranspose2d: write_conv_transpose,
    layers.ConvTranspose3d: write_conv_transpose,
    layers.Fold: write_fold,
    **dict.fromkeys(PADS, write_pad),
    **POOLING,
    **dict.fromkeys((*BATCH, *INSTANCE), write_running),
    layers.LayerNorm: write_layer_norm,
    layers.RMSNorm: write_rms_norm,
    layers.GroupNorm: write_group_norm,
    layers.LocalResponseNorm: write_local_response,
}
