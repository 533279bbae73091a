"""PyTorch's modules and losses as ours, and ours as PyTorch's: one table, read in both directions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import arrays, layers, losses
from ...extras import require
from ...layers import Linear, Sequential
from ...module import Buffer, Module, Parameter


@dataclass(frozen=True)
class Pair:
    """A class of ours and PyTorch's of the same name; `arguments` are those of the constructor that both keep."""

    ours: type
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name that both have."""
        return self.ours.__name__


MODULES = [
    Pair(layers.Identity),
    Pair(layers.Flatten, ("start_dim", "end_dim")),
    Pair(layers.ReLU),
    Pair(layers.LeakyReLU, ("negative_slope",)),
    Pair(layers.ELU, ("alpha",)),
    Pair(layers.Tanh),
    Pair(layers.Sigmoid),
    Pair(layers.SiLU),
    Pair(layers.GELU, ("approximate",)),
    Pair(layers.Softplus, ("beta", "threshold")),
    Pair(layers.Softmax, ("dim",)),
    Pair(layers.LogSoftmax, ("dim",)),
    Pair(layers.Dropout, ("p",)),
    Pair(losses.MSELoss, ("reduction",)),
    Pair(losses.L1Loss, ("reduction",)),
    Pair(losses.SmoothL1Loss, ("reduction", "beta")),
    Pair(losses.HuberLoss, ("reduction", "delta")),
    Pair(losses.PoissonNLLLoss, ("log_input", "full", "eps", "reduction")),
    Pair(losses.CrossEntropyLoss, ("weight", "ignore_index", "reduction", "label_smoothing")),
    Pair(losses.NLLLoss, ("weight", "ignore_index", "reduction")),
    Pair(losses.BCEWithLogitsLoss, ("weight", "reduction", "pos_weight")),
]
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # of a torch.nn.Module


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
        self.pairs = {getattr(torch.nn, pair.name): pair for pair in MODULES}
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
        if kind is self.nn.Linear:
            bias = False if module.bias is None else self.parameter(module.bias, name)
            return Linear(module.in_features, module.out_features, bias, weight=self.parameter(module.weight, name))
        pair = self.pairs.get(kind)
        if pair is None:
            known = ", ".join(["Sequential", "Linear", *(pair.name for pair in MODULES)])
            raise TypeError(f"from_torch: {_place(name, module)} is none of the modules that chainrule has: {known}")
        options = {key: option(getattr(module, key)) for key in pair.arguments}
        if options.get("dim", 0) is None:
            raise ValueError(f"from_torch: {_place(name, module)} must have a dim; PyTorch would guess it")
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
        self.pairs = {pair.ours: pair for pair in MODULES}
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
        if type(module) is Linear:
            # On the device "meta" PyTorch draws no initial weights, which are replaced at once.
            made = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None, device="meta")
            made.weight = self.parameter(module.weight)
            if module.bias is not None:
                made.bias = self.parameter(module.bias)
            return made
        pair = self.pairs.get(type(module))
        if pair is None:
            raise TypeError(f"to_torch: {_place(name, module)} is no module that PyTorch has")
        return getattr(nn, pair.name)(**{key: self._option(getattr(module, key)) for key in pair.arguments})

    def _option(self, value: Any) -> Any:
        value = value.value if isinstance(value, Buffer) else value
        return self.torch.tensor(arrays.to_numpy(value)) if arrays.is_array(value) else value

    def parameter(self, parameter: Parameter) -> Any:
        """A torch Parameter with a copy of the numbers; the same one for the same one."""
        if id(parameter) not in self.parameters:
            tensor = self.torch.tensor(arrays.to_numpy(parameter.value))
            self.parameters[id(parameter)] = self.torch.nn.Parameter(tensor)
        return self.parameters[id(parameter)]


def option(value: Any) -> Any:
    """An option as a plain value, where PyTorch may have kept it as a tensor."""
    if hasattr(value, "detach"):
        return float(value) if value.ndim == 0 else copy(value)
    return value


def copy(tensor: Any) -> np.ndarray:
    """The numbers of a tensor as an array of its own, row after row."""
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _place(name: str, module: Any) -> str:
    return f"{name}: {type(module).__name__}" if name else type(module).__name__
