"""PyTorch's modules and losses as ours, and ours as PyTorch's."""

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from ... import arrays, layers, losses
from ...extras import require
from ...layers import Sequential
from ...module import Module, Parameter
from .pairs import Pair, copy, options_for_ours, options_for_theirs, pairs

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # of a torch.nn.Module


def modules(torch: Any) -> list[Pair]:
    """The layers and losses that PyTorch has too."""
    return pairs(layers, torch.nn) + pairs(losses, torch.nn)


def from_torch(module: Any) -> Module:
    """A PyTorch network as one of ours, with copies of its numbers as NumPy arrays.

    Parameters
    ----------
    module : of torch.nn: a Sequential (nested ones too), Linear, Flatten, Identity, Dropout, an activation, or a loss.

    Returns   the Module. Parameters that are shared stay shared, a module that stands twice is one, names, dtype and
              training mode are kept

    Raises TypeError for a module that chainrule does not have, and ValueError for an option that it does not have; both
    name its place.
    """
    return borrow(module)[0]


def borrow(module: Any) -> tuple[Module, list[tuple[Any, Parameter]]]:
    """What `from_torch` returns, and each of PyTorch's parameters with ours that was made of it."""
    torch = require("torch", "torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: module must be a torch.nn.Module, got a {type(module).__name__}")
    reader = _FromTorch(torch)
    with nesting("from_torch"):
        model = reader.module(module, "")
    for name, parameter in module.named_parameters():
        if id(parameter) not in reader.parameters:
            raise ValueError(f"from_torch: {name} is a parameter that no layer of chainrule's has")
    return model, [(parameter, reader.parameters[id(parameter)]) for parameter in module.parameters()]


def to_torch(model: Module, *, dtype: Any = None, device: Any = None) -> Any:
    """A network of ours as a torch.nn.Module, with copies of its numbers.

    Parameters
    ----------
    model : made of modules that PyTorch has too.
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
        self.nn = torch.nn
        self.pairs = {pair.theirs: pair for pair in modules(torch)}
        self.modules: dict[int, Module] = {}
        self.parameters: dict[int, Parameter] = {}

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
        if "forward" in vars(module):
            raise ValueError(
                f"from_torch: {_place(name, module)} has a forward of its own, which chainrule cannot call"
            )
        if kind is self.nn.Sequential:
            # Not named_children(), which leaves out a module that comes again.
            inside = zip(module._modules, module, strict=True)
            return Sequential({n: self.module(m, f"{name}.{n}" if name else n) for n, m in inside})
        pair = self.pairs.get(kind)
        if pair is None:
            known = ", ".join(pair.name for pair in self.pairs.values())
            raise TypeError(f"from_torch: {_place(name, module)} is none of the modules that chainrule has: {known}")
        try:
            options = options_for_ours(pair, module)
        except ValueError as reason:
            raise ValueError(f"from_torch: {_place(name, module)} {reason}") from None
        if options.get("dim", 0) is None:
            raise ValueError(f"from_torch: {_place(name, module)} must have a dim; PyTorch would guess it")
        for key, value in options.items():
            if isinstance(value, self.nn.Parameter):
                options[key] = self.parameter(value, name)
        made: Module = pair.ours(**options)
        return made

    def parameter(self, parameter: Any, name: str) -> Parameter:
        """A Parameter with a copy of the numbers; the same one for the same one."""
        if id(parameter) not in self.parameters:
            dtype = arrays.dtype_name(parameter.dtype)
            if dtype not in ("float16", "float32", "float64"):
                raise TypeError(f"from_torch: {name or 'the module'} must be of a dtype that NumPy has, got {dtype}")
            self.parameters[id(parameter)] = Parameter(copy(parameter))
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
        nn = self.torch.nn
        if type(module) is Sequential:
            made = nn.Sequential()
            for n, m in module.named_children():
                place = f"{name}.{n}" if name else n
                inner = self.module(m, place)
                try:
                    made.add_module(n, inner)
                except KeyError:  # a name that an attribute has, such as "forward"
                    raise ValueError(f"to_torch: {_place(place, m)} has a name that PyTorch does not allow") from None
            return made
        pair = self.pairs.get(type(module))
        if pair is None:
            raise TypeError(f"to_torch: {_place(name, module)} is no module that PyTorch has")
        try:
            options = options_for_theirs(pair, module)
        except ValueError as reason:
            raise ValueError(f"to_torch: {_place(name, module)} {reason}") from None
        for key, value in options.items():
            if arrays.is_array(value):
                options[key] = self.torch.tensor(arrays.to_numpy(value))
        if "device" in signature(pair.theirs).parameters:
            options["device"] = "meta"  # where PyTorch draws no initial weights, which are replaced at once
        made = pair.theirs(**options)
        for key, value in vars(module).items():
            if isinstance(value, Parameter):
                setattr(made, key, self.parameter(value))
        return made

    def parameter(self, parameter: Parameter) -> Any:
        """A torch Parameter with a copy of the numbers; the same one for the same one."""
        if id(parameter) not in self.parameters:
            tensor = self.torch.tensor(arrays.to_numpy(parameter.value))
            self.parameters[id(parameter)] = self.torch.nn.Parameter(tensor)
        return self.parameters[id(parameter)]


def _place(name: str, module: Any) -> str:
    return f"{name}: {type(module).__name__}" if name else type(module).__name__
