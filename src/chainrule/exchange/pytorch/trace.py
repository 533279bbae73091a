"""What the `forward` of somebody's own torch.nn.Module does with what goes in: as a network of ours.

torch.fx runs it on stand-ins for tensors and writes down what is called. Each call becomes a node of a Graph: a module
inside, which is read by itself, or a function of `functions()`. Everything else is an error that names the call and the
line where it stands. No number is looked at: a forward that decides by numbers where to go on is no graph.
"""

import copy
import inspect
import linecache
import operator
import random
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import fx, nn

from ... import layers
from ...layers import Graph, Identity, Parallel, Residual, Select, Sequential, Sum
from ...layers import activations as elementwise
from ...layers import softmax as along_an_axis
from ...module import Module
from . import normalization, pooling

Make = Callable[[str], Module]  # from the name of a module inside to one of ours

SHARING = (  # modules that may give what they got, or another view of it
    *(nn.Identity, nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle),
    nn.modules.dropout._DropoutNd,
)
NOT_THE_USERS = str(Path(torch.__file__).parent), str(Path(__file__).parents[2])  # where no line is of the user's own


class Value(str):
    """The name of a value: what an input holds, or what a node gives."""


class NotReadable(ValueError):
    """What a call does that no layer of chainrule's does."""


@dataclass(frozen=True)
class Shape:
    """The shape of a value."""

    of: Value


@dataclass(frozen=True)
class Length:
    """The length of an axis of a value; that of the first counts samples."""

    of: Value
    axis: Any


def is_somebodys_own(module: nn.Module) -> bool:
    """Whether what a module does is written by somebody else than PyTorch's authors, as calls that can be followed."""
    written_in = type(module).forward.__module__ or ""
    return isinstance(module, fx.GraphModule | nn.Sequential) or not f"{written_in}.".startswith("torch.")


def read(module: nn.Module, place: str, make: Make, changing: set[int]) -> Module:
    """The Module that does what a module's forward does.

    Parameters
    ----------
    place : what errors call the module.
    make : makes one of ours of a module inside, by its name there.
    changing : gathers the ids of modules that change their input in place.

    Raises ValueError for what cannot be written as a graph.
    """
    if type(module).__call__ is not nn.Module.__call__ and not isinstance(module, fx.GraphModule):
        raise ValueError(f"from_torch: {place} has a __call__ of its own, which chainrule cannot call")
    graphs, generators = [], _generators()
    for training in (module.training, not module.training):
        twin = copy.copy(module)  # the modules inside are the same
        twin.training = training
        twin._buffers = {name: None if buffer is None else buffer.clone() for name, buffer in module._buffers.items()}
        graphs.append(_traced(twin, place))
        for name, buffer in module._buffers.items():
            if not _alike(buffer, twin._buffers.get(name)):
                raise ValueError(f"from_torch: {place} changes its tensor {name} in its forward, which no layer does")
    if _generators() != generators:
        raise ValueError(
            f"from_torch: {place} draws random numbers in its forward; of chainrule's layers only Dropout does, for "
            f"which there is torch.nn.Dropout"
        )
    if str(graphs[0]) != str(graphs[1]):
        raise ValueError(
            f"from_torch: {place} does something in training that it leaves in evaluation; of chainrule's layers only "
            f"Dropout does, for which there is torch.nn.Dropout"
        )
    try:
        return _Reader(module, graphs[0], place, make, changing).network()
    except (ValueError, TypeError) as reason:
        if str(reason).startswith("from_torch: "):
            raise
        raise ValueError(f"from_torch: {place}: {reason}") from None  # of a Graph that cannot be


def _generators() -> Any:
    """Where the generators of random numbers stand that a forward may draw from."""
    of_numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - the one that a forward may have drawn from
    return torch.random.get_rng_state().tolist(), random.getstate(), repr(of_numpy)


def _alike(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())


def may_change_its_input(module: nn.Module, changing: set[int]) -> bool:
    """Whether a module may write into the tensor that it gets, as ReLU(inplace=True) does."""
    if isinstance(module, nn.Sequential) and type(module) is nn.Sequential:
        for inner in module:
            if may_change_its_input(inner, changing):
                return True
            if _gives_its_own(inner):
                return False  # what comes after works on that memory
        return False
    inside = any(may_change_its_input(inner, changing) for inner in module.children())
    return id(module) in changing or getattr(module, "inplace", False) is True or (_is_ours(module) and inside)


def _gives_its_own(module: nn.Module) -> bool:
    """Whether what a module of PyTorch's gives lies in no memory that it got."""
    if type(module) is nn.Sequential:
        return any(map(_gives_its_own, module))
    theirs = type(module).__module__.startswith("torch.nn.")
    return theirs and not isinstance(module, SHARING) and getattr(module, "inplace", False) is not True


def _is_ours(module: nn.Module) -> bool:
    return type(module).__module__ == f"{__package__}.networks"


# -- the functions that are known


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """From the name of a function of torch, torch.nn.functional, operator or of a tensor's method to what it means.

    Each takes the arguments of the call, with Values for tensors, and gives a Module and what that reads; or else a
    Value that was there already, a Shape, or a Length.
    """
    known: dict[str, Callable[..., Any]] = {
        "add": _add,
        "iadd": _add,
        "mul": _mul,
        "imul": _mul,
        "multiply": _mul,
        **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
        "flatten": lambda x, start_dim=0, end_dim=-1: (layers.Flatten(start_dim, end_dim), x),
        "unflatten": lambda x, dim, sizes: (layers.Unflatten(dim, tuple(sizes)), x),
        "permute": lambda x, *dims: (layers.Permute(*_in_a_row(dims)), x),
        "reshape": _reshape,
        "view": _reshape,
        "contiguous": lambda x: x,
        "size": lambda x, dim=None: Shape(x) if dim is None else Length(x, dim),
        "getattr": _attribute,
        **pooling.FUNCTIONS,
        **normalization.FUNCTIONS,
    }
    # relu is ReLU, log_softmax is LogSoftmax, with the same arguments.
    return known | {name.lower(): _activation(kind) for name, kind in vars(layers).items() if _is_activation(name)}


def _known(node: fx.Node) -> Callable[..., Any] | None:
    """What the function or method means that a node calls."""
    name = _name(node)
    places = (torch, nn.functional, operator, sys.modules["builtins"])
    if node.op == "call_function" and not any(getattr(place, name, None) is node.target for place in places):
        return None  # one that only bears the name
    table = functions()
    return None if name.endswith("_") else table.get(name, table.get(name.replace("_", "")))  # relu_ works in place


def _is_activation(name: str) -> bool:
    kind = getattr(layers, name, None)
    return isinstance(kind, type) and kind.__module__ in (elementwise.__name__, along_an_axis.__name__)


def _activation(kind: type[Module]) -> Callable[..., Any]:
    def call(x: Value, *options: Any, inplace: bool = False, _stacklevel: int = 0, **more: Any) -> Any:
        if more.get("dtype", 0) is None:  # that of the input
            del more["dtype"]
        return kind(*options, **more), x

    return call


def _add(x: Any, other: Any, *, alpha: Any = 1) -> Any:
    if alpha != 1:
        raise NotReadable(f"has alpha={alpha}, which Sum does not have")
    return Sum(), (x, other)


def _mul(x: Any, other: Any) -> Any:
    return layers.Multiply(), (x, other)


def _cat(tensors: Any, dim: int = 0) -> Any:
    return layers.Concat(dim), tuple(tensors)


def _reshape(x: Any, *shape: Any) -> Any:
    first, *rest = _in_a_row(shape) or [0]
    of_a_sample = rest and all(isinstance(length, int) for length in rest)
    counts_samples = isinstance(first, Length) and first.axis == 0
    if not of_a_sample or not (counts_samples or (first == -1 and -1 not in rest)):
        raise NotReadable("must keep the first axis, by x.shape[0] or -1, and be told the lengths of the others")
    return layers.Reshape(*rest), x


def _in_a_row(arguments: tuple[Any, ...]) -> list[Any]:
    """What may come as (1, 2, 3) or as ((1, 2, 3),)."""
    one = len(arguments) == 1 and isinstance(arguments[0], tuple | list)
    return list(arguments[0] if one else arguments)


def _attribute(x: Any, name: str) -> Any:
    if name != "shape":
        raise NotReadable(f"asks for {name!r}")
    return Shape(x)


# -- what is called


class _StandIn(fx.Proxy):
    """A stand-in for a tensor that tells `x += y` from `x = x + y`."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})


def _casts() -> bool:
    """Whether PyTorch computes in another dtype than that of the tensors, for now."""
    return any(torch.is_autocast_enabled(device) for device in ("cpu", "cuda"))


class _Tracer(fx.Tracer):
    casts = False  # around the whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _StandIn(node, self)

    def create_node(self, *args: Any, **options: Any) -> fx.Node:
        node = super().create_node(*args, **options)
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(NOT_THE_USERS):
            frame = frame.f_back
        node.meta["differentiated"] = torch.is_grad_enabled()
        node.meta["cast"] = _casts() and not self.casts
        node.meta["line"] = _line(frame.f_code.co_filename, frame.f_lineno)
        return node


def _traced(module: nn.Module, place: str) -> fx.Graph:
    for argument in inspect.signature(module.forward).parameters.values():
        if argument.kind is not argument.POSITIONAL_OR_KEYWORD or argument.default is not argument.empty:
            raise ValueError(
                f"from_torch: {place} must have a forward whose arguments are its inputs, each with a name and none "
                f"with a default, got {argument}"
            )
    try:
        with torch.enable_grad():
            tracer = _Tracer()
            tracer.casts = _casts()
            return tracer.trace(module)
    except Exception as problem:  # whatever the forward does with what is no tensor
        steps, trace = [], problem.__traceback__
        while trace is not None:
            steps.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
            trace = trace.tb_next
        line = next((step for step in reversed(steps) if not step[0].startswith(NOT_THE_USERS)), steps[-1])
        what = "decides by numbers" if isinstance(problem, fx.proxy.TraceError) else "cannot be followed"
        reason = str(problem).strip().partition("\n")[0]
        raise ValueError(f"from_torch: {place} is no graph, as its forward {what}: {reason} ({_line(*line)})") from None


def _line(file: str, number: int) -> str:
    return f"{Path(file).name}:{number}: {linecache.getline(file, number).strip()}"


def _lines(node: fx.Node) -> str:
    return "; ".join(dict.fromkeys(user.meta["line"] for user in node.users))


def _name(node: fx.Node) -> str:
    """What a node calls."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


# -- from calls to nodes


class _Reader:
    """values : what each call gives, a Value for a tensor, or several of them."""

    def __init__(self, module: nn.Module, graph: fx.Graph, place: str, make: Make, changing: set[int]) -> None:
        self.module, self.graph, self.place, self.make, self.changing = module, graph, place, make, changing
        self.values: dict[fx.Node, Any] = {}
        self.nodes: dict[str, tuple[Module, Any]] = {}
        self.inputs: list[str] = []
        *_, output = graph.nodes
        self.told = output.args[0]
        # What comes out as a dict is called as there; modules inside are called as there if nothing else is.
        self.keys: dict[Any, str] = {node: key for key, node in self.told.items()} if _is_dict(self.told) else {}
        self.inside = {_plain(node) for node in graph.nodes if node.op == "call_module"}
        self.reserved = {*(self.told if self.keys else ()), *self.inside}

    def network(self) -> Module:
        """The whole, as the simplest of our networks that says it and keeps the names of parameters."""
        inputs = self.arguments()
        for node in self.graph.nodes:
            if node not in self.values and node.op not in ("placeholder", "output"):
                try:
                    self.values[node] = self.call(node)
                except (ValueError, TypeError) as reason:  # of a layer that cannot be so, too
                    if not isinstance(reason, NotReadable) and str(reason).startswith("from_torch: "):
                        raise
                    what = f"{_name(node)}{'' if isinstance(reason, NotReadable) else ':'} {reason}"
                    raise ValueError(f"from_torch: {self.place}: {what} ({node.meta['line']})") from None
        outputs = self.outputs()
        self.nodes = self.needed(outputs)
        before = inputs
        for name, (_, reads) in self.nodes.items():
            if reads != before or isinstance(reads, tuple):
                break
            before = name
        else:
            if before == outputs:
                return Sequential({name: module for name, (module, _) in self.nodes.items()})
        return self.residual(inputs, outputs) or Graph(self.nodes, inputs, outputs)

    def residual(self, inputs: Any, outputs: Any) -> Module | None:
        """x + body(x) or shortcut(x) + body(x), if the modules inside are called so; other names are a Graph's."""
        *branches, last = self.nodes
        end, reads = self.nodes[last]
        around = {name: self.nodes[name][0] for name in branches if self.nodes[name][1] == inputs}
        terms = sorted(reads) if type(end) is Sum and last == outputs and len(around) == len(branches) else None
        if around.keys() == {"body"} and terms == sorted(("body", str(inputs))):
            return Residual(around["body"])
        if around.keys() == {"body", "shortcut"} and terms == ["body", "shortcut"]:
            return Residual(around["body"], around["shortcut"])
        return None

    def needed(self, outputs: Any) -> dict[str, tuple[Module, Any]]:
        """The nodes without those that nothing comes of."""
        ahead, found = list(_tuple(outputs)), set()
        while ahead:
            if (name := ahead.pop()) in self.nodes and name not in found:
                found.add(name)
                ahead += _tuple(self.nodes[name][1])
        return {name: node for name, node in self.nodes.items() if name in found}

    def refuse(self, message: str) -> NoReturn:
        """Say what is wrong with the whole."""
        raise ValueError(f"from_torch: {self.place} {message}")

    # -- what goes in, and what comes out

    def arguments(self) -> Any:
        """The names of the inputs: arguments of forward, or the parts of the only one if that is taken apart."""
        arguments = [node for node in self.graph.nodes if node.op == "placeholder"]
        if not arguments:
            self.refuse("has a forward without inputs")
        for node in arguments:
            keys = [user.args[1] for user in node.users if user.target is operator.getitem and user.args[0] is node]
            if not keys:
                name = str(node.target)
                alone = len(arguments) == 1 and name in self.reserved  # then its name does not matter
                self.values[node] = self.input(f"{name}_" if alone else name)
                continue
            words = all(isinstance(key, str) for key in keys)
            if not words and not all(isinstance(key, int) and key >= 0 for key in keys):
                self.refuse(
                    f"must take parts of its input {node.target!r} by number or by name, got {keys} ({_lines(node)})"
                )
            if len(arguments) > 1 or len(keys) < len(node.users):
                self.refuse(
                    f"must take its input {node.target!r} as a tensor, or apart and have no other ({_lines(node)})"
                )
            parts = dict.fromkeys(keys) if words else range(max(keys) + 1)
            names = {part: self.input(str(part) if words else f"{node.target}_{part}") for part in parts}
            self.values |= {user: names[user.args[1]] for user in node.users}
            return tuple(self.inputs)
        return self.inputs[0] if len(arguments) == 1 else tuple(self.inputs)

    def input(self, name: str) -> Value:
        """A new input."""
        if self.keys and name in self.told:  # then a last node gives the names to what comes out
            self.reserved -= set(self.told) - self.inside
            self.keys = {}
        self.reserved.discard(name)  # a module inside that is called so gets another name
        self.inputs.append(name)
        return Value(name)

    def outputs(self) -> Any:
        """The names of what comes out."""
        told = self.told
        if _is_dict(told) and not self.keys:
            parts = tuple(map(self.returned, told.values()))
            return self.add(Parallel({key: Identity() for key in told}), parts, "outputs")
        if _is_dict(told):
            for key, node in told.items():
                if self.returned(node) != key:
                    self.add(Identity(), self.returned(node), key, own=True)
            return tuple(told)
        if isinstance(told, tuple | list) and told:
            parts = tuple(map(self.returned, told))
            return self.add(Parallel(*(Identity() for _ in parts)), parts, "outputs")
        value = self.returned(told)
        return self.add(Identity(), value, "output") if value in self.inputs else value

    def returned(self, told: Any) -> Value:
        """The value of what forward returns, or a part of it."""
        value = self.values.get(told) if isinstance(told, fx.Node) else None
        if not isinstance(value, Value):
            self.refuse(
                f"must return a tensor, or a tuple or dict of tensors by words without dots, and neither shapes nor "
                f"its input as it came, got {told}"
            )
        return value

    # -- the calls

    def add(self, module: Module, reads: Any, name: str, *, own: bool = False) -> Value:
        """A new node, and its value; `own` says that the name is reserved for it."""
        for value in _tuple(reads):
            if not isinstance(value, Value):
                raise NotReadable(f"must take what the network computes, got {value!r}")
        first, n = name, 0
        while name in self.nodes or name in self.inputs or (name in self.reserved and not (own and n == 0)):
            n += 1
            name = f"{first}_{n}"
        self.nodes[name] = module, reads
        return Value(name)

    def call(self, node: fx.Node) -> Any:
        """What a call gives."""
        if not node.meta["differentiated"]:
            raise NotReadable("is called without gradients, which no layer of chainrule's leaves out")
        if node.meta["cast"]:
            raise NotReadable("is called under autocast, and a network of chainrule's computes in one dtype")
        args, options = fx.map_arg((node.args, node.kwargs), lambda inner: self.values[inner])
        if node.op == "call_module":
            return self.inner(node, args, options)
        if node.op == "get_attr":
            raise NotReadable("is a tensor of the module's own, for which no layer stands; a torch.nn.Linear has some")
        if node.target is operator.getitem:
            return self.part(node, *args)
        function = _known(node)
        if function is None:
            known = ", ".join(name for name in functions() if name not in ("iadd", "imul", "getattr"))
            raise NotReadable(f"is none of the functions that chainrule has: {known}")
        if options.get("inplace") or node.target in (operator.iadd, operator.imul):
            self.require_alone(node.args[0])
        for length in args[1:] + (tuple(args[1]) if len(args) == 2 and isinstance(args[1], tuple | list) else ()):
            if isinstance(length, Length) and length.of != args[0] and self.may_move_samples():
                raise NotReadable(
                    "must keep the first axis by the shape of what it takes, as another may have moved it"
                )
        try:
            made = function(*args, **options)
        except TypeError as problem:
            if (what := re.search(r"\(\) ((got|takes|missing) .*)", str(problem))) is None:
                raise
            raise NotReadable(f"takes other arguments in chainrule: {what[1]}") from None
        if not isinstance(made, tuple):
            return made
        module, reads = made
        module.training = self.module.training
        return self.add(module, reads, self.keys.get(node, node.name), own=node in self.keys)

    def part(self, node: fx.Node, value: Any, key: Any) -> Any:
        """value[key]"""
        if isinstance(value, Shape):
            return Length(value.of, key)
        if not isinstance(value, Value) or not _gives_several(self.nodes.get(value, (None,))[0]):
            raise NotReadable("takes a part of a tensor, which no layer does")
        return self.add(Select(key), value, node.name)

    def inner(self, node: fx.Node, args: Any, options: Any) -> Any:
        """Call a module inside."""
        name, theirs = str(node.target), self.module.get_submodule(str(node.target))
        ours = self.make(name)
        if may_change_its_input(theirs, self.changing):
            for argument in node.all_input_nodes:
                self.require_alone(argument)
        given = list(inspect.signature(theirs.forward).bind(*args, **options).arguments.values())
        reads = given[0] if len(given) == 1 else tuple(given)
        if isinstance(reads, Mapping):
            names = ours.inputs if isinstance(ours, Graph) else ours.names if isinstance(ours, Parallel) else None
            if names is None and not isinstance(ours, layers.Concat | Sum | layers.Multiply):
                raise NotReadable("must take a tensor or a tuple of them, and gets a dict")
            reads = tuple(reads[key] for key in names or reads)
        reads = tuple(reads) if isinstance(reads, list) else reads
        if node in self.keys and not ours.param():
            return self.add(ours, reads, self.keys[node], own=True)
        name = _plain(node)  # which stands in the names of its parameters
        return self.add(ours, reads, name, own=self.keys.get(node) == name or name not in self.keys.values())

    def may_move_samples(self) -> bool:
        """Whether a node may give something whose first axis has another length than that of the inputs."""
        inside = (inner for module, _ in self.nodes.values() for inner in module.modules())
        return any(isinstance(inner, layers.Flatten) and inner.start_dim <= 0 for inner in inside)

    def require_alone(self, node: Any) -> None:
        """Refuse to change a value in place that others read: they would see what it becomes."""
        while isinstance(node, fx.Node):
            if len(node.users) > 1 or node.op not in ("placeholder", "call_module", "call_function", "call_method"):
                raise NotReadable("changes in place what others read too, which no layer of chainrule's does")
            if node.op == "placeholder":
                self.changing.add(id(self.module))
            node = self.memory_of(node)

    def memory_of(self, node: fx.Node) -> Any:
        """The value in whose memory another may lie; None if that is its own."""
        if node.op == "placeholder":
            return None
        inner = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if inner is not None:
            return None if _gives_its_own(inner) else node.args[0]
        name = _name(node)
        in_place = node.kwargs.get("inplace") or node.target in (operator.iadd, operator.imul)
        of_its_own = name in ("add", "mul", "multiply", "cat", "concat", "concatenate") or _is_activation(name)
        of_its_own = of_its_own or name in pooling.FUNCTIONS.keys() - pooling.SHARING
        return None if _known(node) is not None and of_its_own and not in_place else node.args[0]


def _plain(node: fx.Node) -> str:
    """The name of a module inside as a name of a node, which has no dots."""
    return str(node.target).replace(".", "_")


def _tuple(names: Any) -> tuple[Any, ...]:
    return names if isinstance(names, tuple) else (names,)


def _is_dict(told: Any) -> bool:
    words = isinstance(told, dict) and all(isinstance(key, str) and key and "." not in key for key in told)
    return words and bool(told) and all(isinstance(node, fx.Node) for node in told.values())


def _gives_several(module: Module | None) -> bool:
    """Whether a Module gives a tuple or dict of arrays."""
    if isinstance(module, Graph):
        return isinstance(module.outputs, tuple) or _gives_several(module[module.outputs])
    if isinstance(module, Sequential):
        return len(module) > 0 and _gives_several(module[-1])
    return isinstance(module, Parallel) or bool(getattr(module, "return_indices", False))  # as of MaxPool
