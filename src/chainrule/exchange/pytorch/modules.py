"""PyTorch's modules and losses as ours, and ours as PyTorch's."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from ... import arrays, layers, losses
from ...extras import require
from ...layers import Graph, Parallel, Sequential
from ...losses import MultiLoss
from ...module import Buffer, Module, Parameter
from .pairs import Pair, call_of_ours, call_of_theirs, copy, pairs

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # of a torch.nn.Module
OF_ALL = tuple(f"_global{hooks}" for hooks in HOOKS)  # of torch.nn.modules.module, for all of them


def modules(torch: Any) -> list[Pair]:
    """The layers and losses that PyTorch has too, and those for which there is a class in networks.py."""
    from . import networks  # here, because it imports torch

    return [pair for theirs in (torch.nn, networks) for ours in (layers, losses) for pair in pairs(ours, theirs)]


def from_torch(module: Any) -> Module:
    """A PyTorch network as one of ours, with copies of its numbers as NumPy arrays.

    Parameters
    ----------
    module : of torch.nn: a Sequential (nested ones too), Linear, Flatten, Identity, Dropout, an activation, or a loss;
        or of a class of your own whose forward calls such modules, adds, multiplies, concatenates and reshapes what
        comes out, and takes and returns tensors, or a tuple or dict of them. torch.fx runs it on stand-ins for tensors.

    Returns   the Module. Parameters that are shared stay shared, those without requires_grad are frozen, a module that
              stands twice is one, names, dtype and training mode are kept. A forward becomes a Sequential if it is a
              chain, a Residual if it is x + self.body(x), and else a Graph, whose nodes are called as the modules are,
              and its inputs as the arguments

    Raises TypeError for a module that chainrule does not have, and ValueError for an option or a call in a forward that
    it does not have; both name the place, and of a call the line.
    """
    return borrow(module)[0]


def borrow(module: Any) -> tuple[Module, list[tuple[Any, Parameter]], list[tuple[Any, Buffer]]]:
    """What `from_torch` returns, and each of PyTorch's parameters and buffers with ours that was made of it."""
    torch = require("torch", "torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: module must be a torch.nn.Module, got a {type(module).__name__}")
    if any(getattr(torch.nn.modules.module, hooks) for hooks in OF_ALL):
        raise ValueError("from_torch: there are hooks for all modules, which chainrule cannot call; remove them")
    reader = _FromTorch(torch)
    with nesting("from_torch"):
        model = reader.module(module, "")
    for name, parameter in module.named_parameters():
        if id(parameter) not in reader.parameters:
            raise ValueError(f"from_torch: {name} is a parameter that would be lost: nothing that is called has it")
    parameters = [(parameter, reader.parameters[id(parameter)]) for parameter in module.parameters()]
    return model, parameters, reader.buffers


def to_torch(model: Module, *, dtype: Any = None, device: Any = None) -> Any:
    """A network of ours as a torch.nn.Module, with copies of its numbers.

    Parameters
    ----------
    model : made of modules that PyTorch has too, and of networks with branches, which become modules of
        `chainrule.exchange.pytorch.networks` under the same names, and take and give what they do here.
    dtype, device : of PyTorch, to convert to; float32 or float64 on the CPU stay what they are.

    Raises TypeError for a module that PyTorch does not have, ValueError for a name that it does not allow; both name
    its place.
    """
    torch = require("torch", "torch")
    if not isinstance(model, Module):
        raise TypeError(f"to_torch: model must be a chainrule Module, got a {type(model).__name__}")
    with nesting("to_torch"):
        return _ToTorch(torch).module(model, "").to(dtype=dtype, device=device)


@contextmanager
def nesting(owner: str) -> Iterator[None]:
    """Networks that stand too deep in each other for Python, and for PyTorch itself, are an error that says so."""
    try:
        yield
    except RecursionError:
        raise ValueError(f"{owner}: networks are nested too deeply") from None


class _FromTorch:
    def __init__(self, torch: Any) -> None:
        from . import trace  # here, because it imports torch

        self.nn, self.jit, self.trace = torch.nn, torch.jit, trace
        self.changing: set[int] = set()  # modules that write into the tensors that they get
        self.pairs = {pair.theirs: pair for pair in modules(torch)}
        self.modules: dict[int, Module] = {}
        self.parameters: dict[int, Parameter] = {}
        self.buffers: list[tuple[Any, Buffer]] = []

    def module(self, module: Any, name: str) -> Module:
        """The module at the place `name`."""
        if id(module) not in self.modules:
            self.modules[id(module)] = made = self._make(module, name)
            made.training = module.training
        return self.modules[id(module)]

    def _make(self, module: Any, name: str) -> Module:
        kind = type(module)
        if any(getattr(module, hooks) for hooks in HOOKS):
            raise ValueError(f"from_torch: {_place(name, module)} has hooks, which chainrule cannot call; remove them")
        if isinstance(module, self.jit.ScriptModule):
            raise ValueError(f"from_torch: {_place(name, module)} is compiled; give the module that it was made of")
        if "forward" in vars(module):
            raise ValueError(
                f"from_torch: {_place(name, module)} has a forward of its own, which chainrule cannot call"
            )
        pair = self.pairs.get(kind)
        if pair is None and self.trace.is_somebodys_own(module):
            inner = lambda n: self.module(module.get_submodule(n), _joined(name, n))  # noqa: E731
            return self.trace.read(module, _place(name, module), inner, self.changing)
        if pair is None:
            known = ", ".join(pair.name for pair in self.pairs.values())
            raise TypeError(f"from_torch: {_place(name, module)} is none of the modules that chainrule has: {known}")
        # Not named_children(), which leaves out a module that comes again.
        inside = {n: self.module(m, _joined(name, n)) for n, m in module._modules.items() if m is not None}
        if pair.ours is Sequential:
            return Sequential(inside)
        if any(self.trace.may_change_its_input(m, self.changing) for m in module._modules.values() if m is not None):
            raise ValueError(
                f"from_torch: {_place(name, module)} has modules inside that change in place what others read; make "
                f"them with inplace=False"
            )
        if pair.ours is Parallel:
            return Parallel(inside) if module._named else Parallel(*inside.values())
        if pair.ours is MultiLoss:
            return MultiLoss(*([inside] if module._named else inside.values()), weights=module.weights)
        if pair.ours is Graph:
            nodes = {n: (inside[n], sources) for n, sources in module._sources.items()}
            return Graph(nodes, module._inputs, module._outputs)
        try:
            in_a_row, options = call_of_ours(pair, module)
        except ValueError as reason:
            raise ValueError(f"from_torch: {_place(name, module)} {reason}") from None
        if options.get("dim", 0) is None:
            raise ValueError(f"from_torch: {_place(name, module)} must have a dim; PyTorch would guess it")
        for key, value in options.items():
            if isinstance(value, self.nn.Parameter):
                options[key] = self.parameter(value, name)
        made: Module = pair.ours(*in_a_row, **options | inside)
        for key, value in vars(made).items():
            if isinstance(value, Buffer) and key not in options and module._buffers.get(key) is not None:
                tensor = module._buffers[key]
                value.value = _numbers(tensor, name)
                self.buffers.append((tensor, value))
        return made

    def parameter(self, parameter: Any, name: str) -> Parameter:
        """A Parameter with a copy of the numbers; the same one for the same one."""
        if id(parameter) not in self.parameters:
            self.parameters[id(parameter)] = Parameter(_numbers(parameter, name), trainable=parameter.requires_grad)
        return self.parameters[id(parameter)]


class _ToTorch:
    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.pairs = {pair.ours: pair for pair in modules(torch)}
        self.modules: dict[int, Any] = {}
        self.parameters: dict[int, Any] = {}

    def module(self, module: Module, name: str) -> Any:
        """The module at the place `name`."""
        if id(module) not in self.modules:
            self.modules[id(module)] = made = self._make(module, name)
            made.training = module.training
        return self.modules[id(module)]

    def _make(self, module: Module, name: str) -> Any:
        pair = self.pairs.get(type(module))
        if pair is None:
            raise TypeError(f"to_torch: {_place(name, module)} is no module that PyTorch has")
        inside = {n: self.module(m, _joined(name, n)) for n, m in module.named_children()}
        try:
            if isinstance(module, Sequential):
                return pair.theirs(OrderedDict(inside))
            if isinstance(module, Parallel):
                return pair.theirs(inside) if module.names else pair.theirs(*inside.values())
            if isinstance(module, MultiLoss):
                return pair.theirs(*([inside] if module.names else inside.values()), weights=module.weights)
            if isinstance(module, Graph):
                nodes = {n: (inside[n], sources) for n, (_, sources) in module.nodes.items()}
                return pair.theirs(nodes, module.inputs, module.outputs)
        except KeyError as problem:  # a name that an attribute has, such as "forward"
            n, m = next((n, m) for n, m in module.named_children() if repr(n) in str(problem))
            place = _place(_joined(name, n), m)
            raise ValueError(f"to_torch: {place} has a name that PyTorch does not allow") from None
        try:
            in_a_row, options = call_of_theirs(pair, module)
        except ValueError as reason:
            raise ValueError(f"to_torch: {_place(name, module)} {reason}") from None
        for key, value in options.items():
            if arrays.is_array(value):
                options[key] = self.torch.tensor(arrays.to_numpy(value))
        if "device" in signature(pair.theirs).parameters:
            options["device"] = "meta"  # where PyTorch draws no initial weights, which are replaced at once
        made = pair.theirs(*in_a_row, **options | inside)
        for key, value in vars(module).items():
            if isinstance(value, Parameter):
                setattr(made, key, self.parameter(value))
            elif isinstance(value, Buffer) and key in made._buffers and arrays.is_array(value.value):
                made._buffers[key] = self.torch.tensor(arrays.to_numpy(value.value))
        return made

    def parameter(self, parameter: Parameter) -> Any:
        """A torch Parameter with a copy of the numbers; the same one for the same one."""
        if id(parameter) not in self.parameters:
            tensor = self.torch.tensor(arrays.to_numpy(parameter.value))
            self.parameters[id(parameter)] = self.torch.nn.Parameter(tensor, requires_grad=parameter.trainable)
        return self.parameters[id(parameter)]


def _numbers(tensor: Any, name: str) -> Any:
    """A copy of the numbers of a parameter or buffer as a NumPy array."""
    dtype = arrays.dtype_name(tensor.dtype)
    if tensor.is_floating_point() and dtype not in ("float16", "float32", "float64"):
        raise TypeError(f"from_torch: {name or 'the module'} must be of a dtype that NumPy has, got {dtype}")
    return copy(tensor)


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _place(name: str, module: Any) -> str:
    return f"{name}: {type(module).__name__}" if name else type(module).__name__
