"""Classes of ours that have a namesake in PyTorch, and their arguments, which have the same names on both sides.

Nothing is listed here. Public classes bear PyTorch's names, arguments and defaults where PyTorch has the thing, and an
argument that matters later is kept in an attribute of its name, there as here. So a class that is new in chainrule is
known to these functions, with whatever options it shares, and an option that only one side has is refused.
"""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ... import signature
from ...module import Buffer, Module, Parameter

HARMLESS = {"inplace"}  # options of PyTorch's that change no number


@dataclass(frozen=True)
class Pair:
    """A class of ours and PyTorch's of the same name."""

    ours: type
    theirs: type

    @property
    def name(self) -> str:
        """The name that both have."""
        return self.ours.__name__

    @property
    def arguments(self) -> list[str]:
        """The arguments that both constructors have."""
        theirs = inspect.signature(self.theirs).parameters
        return [argument.name for argument in signature.parameters(self.ours) if argument.name in theirs]


def pairs(ours: ModuleType, theirs: Any) -> list[Pair]:
    """The public classes of a package of ours of whose name there is one in a package of PyTorch's."""
    kinds = {name: getattr(ours, name) for name in ours.__all__}
    return [
        Pair(kind, getattr(theirs, name))
        for name, kind in kinds.items()
        if isinstance(kind, type) and isinstance(getattr(theirs, name, None), type)
    ]


def kept_by_theirs(module: Any) -> dict[str, Any]:
    """What a torch.nn.Module keeps in attributes: arguments, parameters, buffers and the modules inside."""
    return {**vars(module), **module._parameters, **module._buffers, **module._modules}


def call_of_ours(pair: Pair, module: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with which our class does what PyTorch's module does; its Parameters are still PyTorch's.

    Raises ValueError for an option that ours does not have.
    """
    kept = kept_by_theirs(module)
    known = [*signature.parameters(pair.ours), *signature.rest(pair.ours)]
    names = {argument.name for argument in known}
    for argument in inspect.signature(pair.theirs).parameters.values():
        if argument.name in names | HARMLESS or argument.name not in kept:
            continue
        if _differ(kept[argument.name], argument.default):
            raise ValueError(f"has {argument.name}={kept[argument.name]!r}, which chainrule does not have")
    return _call(known, {name: value if name in module._parameters else plain(value) for name, value in kept.items()})


def call_of_theirs(pair: Pair, module: Module) -> tuple[list[Any], dict[str, Any]]:
    """The arguments with which PyTorch's class does what our module does; True stands for a Parameter.

    Raises ValueError for an option that PyTorch's does not have.
    """
    theirs, found = inspect.signature(pair.theirs).parameters, {}
    known = [*signature.parameters(pair.ours), *signature.rest(pair.ours)]
    for argument in known:
        value = getattr(module, argument.name, argument.empty)
        value = value.value if isinstance(value, Buffer) else value
        if value is argument.empty:
            continue
        if argument.name in theirs:
            found[argument.name] = isinstance(value, Parameter) or value
        elif not isinstance(value, Parameter) and _differ(value, argument.default):
            raise ValueError(f"has {argument.name}={value!r}, which PyTorch does not have")
    return _call(known, found)


def _call(arguments: Iterable[inspect.Parameter], values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Those of the values that are arguments: what belongs to one such as *shape, and the others by their names."""
    found = [(argument, values[argument.name]) for argument in arguments if argument.name in values]
    in_a_row = [item for argument, value in found if argument.kind is argument.VAR_POSITIONAL for item in value]
    return in_a_row, {argument.name: value for argument, value in found if argument.kind is not argument.VAR_POSITIONAL}


def plain(value: Any) -> Any:
    """An option as a plain value, where PyTorch may have kept it as a tensor."""
    if hasattr(value, "detach"):
        return float(value) if value.ndim == 0 else copy(value)
    return value


def copy(tensor: Any) -> np.ndarray:
    """The numbers of a tensor as an array of its own, row after row."""
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _differ(value: Any, default: Any) -> bool:
    return value is not default and bool(hasattr(value, "shape") or value != default)
