"""Networks with branches as torch.nn.Modules: what `to_torch` makes of those for which PyTorch has no class.

Each has the name and the arguments of its twin in `chainrule.layers`, and the same names in `state_dict`. What goes in
and comes out is what it is there: a tensor, or a tuple or dict of tensors.
"""

import operator
from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from torch import nn

Names = str | tuple[str, ...]


class Residual(nn.Module):
    """y = shortcut(x) + body(x), where the shortcut is x itself unless there is one."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Any) -> Any:
        around = x if self.shortcut is None else self.shortcut(x)
        return around + self.body(x)


class Parallel(nn.Module):
    """Networks side by side: all of them read x, or each its part of a tuple or dict. With names y is a dict."""

    def __init__(self, *networks: nn.Module | Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._named = _add_modules(self, networks)

    def forward(self, x: Any) -> Any:
        names = list(self._modules)
        parts = x if isinstance(x, dict) else dict(zip(names, x if _is_tuple(x) else [x] * len(names), strict=True))
        ys = [getattr(self, name)(parts[name]) for name in names]
        return dict(zip(names, ys, strict=True)) if self._named else tuple(ys)


class Graph(nn.Module):
    """Named nodes, each a module that reads values by their names: the inputs', or what other nodes gave."""

    def __init__(self, nodes: Mapping[str, tuple[nn.Module, Names]], inputs: Names, outputs: Names) -> None:
        super().__init__()
        self._sources = {name: sources for name, (_, sources) in nodes.items()}  # in the order in which they run
        self._inputs, self._outputs = inputs, outputs
        for name, (module, _) in nodes.items():
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        if isinstance(self._inputs, str):
            values = {self._inputs: x}
        else:
            values = dict(x) if isinstance(x, dict) else dict(zip(self._inputs, x, strict=True))
        for name, sources in self._sources.items():
            read = values[sources] if isinstance(sources, str) else tuple(values[source] for source in sources)
            values[name] = getattr(self, name)(read)
        if isinstance(self._outputs, str):
            return values[self._outputs]
        return {name: values[name] for name in self._outputs}

    def extra_repr(self) -> str:
        read = {name: (sources,) if isinstance(sources, str) else sources for name, sources in self._sources.items()}
        return "\n".join(f"{name} <- {', '.join(sources)}" for name, sources in read.items())


class Concat(nn.Module):
    """Arrays behind each other along an axis."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return torch.cat(_leaves(x), self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Sum(nn.Module):
    """Arrays of one shape, added."""

    def forward(self, x: Any) -> Any:
        return reduce(operator.add, _leaves(x))


class Multiply(nn.Module):
    """Arrays of one shape, multiplied element by element."""

    def forward(self, x: Any) -> Any:
        return reduce(operator.mul, _leaves(x))


class Select(nn.Module):
    """One part of a tuple or a dict."""

    def __init__(self, key: int | str) -> None:
        super().__init__()
        self.key = key

    def forward(self, x: Any) -> Any:
        return x[self.key]

    def extra_repr(self) -> str:
        return repr(self.key)


class MaxUnpool1d(nn.MaxUnpool1d):
    """PyTorch's, which takes the pair that a MaxPool with indices gives too, as a node of a Graph gets it."""

    def forward(self, x: Any, indices: Any = None, output_size: Any = None) -> Any:
        x, indices = x if _is_tuple(x) else (x, indices)
        return super().forward(x, indices, output_size)


class MaxUnpool2d(nn.MaxUnpool2d):
    """The same of images."""

    def forward(self, x: Any, indices: Any = None, output_size: Any = None) -> Any:
        x, indices = x if _is_tuple(x) else (x, indices)
        return super().forward(x, indices, output_size)


class MaxUnpool3d(nn.MaxUnpool3d):
    """The same of volumes."""

    def forward(self, x: Any, indices: Any = None, output_size: Any = None) -> Any:
        x, indices = x if _is_tuple(x) else (x, indices)
        return super().forward(x, indices, output_size)


class Reshape(nn.Module):
    """Another shape for each sample."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return x.reshape(x.shape[0], *self.shape)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.shape))


class Permute(nn.Module):
    """The axes in another order."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Any) -> Any:
        return x.permute(*self.dims)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.dims))


class MultiLoss(nn.Module):
    """Several heads, each compared with a target of its own: the weighted sum of their losses."""

    def __init__(self, *losses: nn.Module | Mapping[str, nn.Module], weights: Any) -> None:
        super().__init__()
        self.weights = weights
        self._named = _add_modules(self, losses)

    def forward(self, y: Any, target: Any) -> Any:
        keys = list(self._modules) if self._named else range(len(self._modules))
        losses = zip(keys, [getattr(self, name) for name in self._modules], strict=True)
        return sum(self.weights[key] * loss(y[key], target[key]) for key, loss in losses)

    def extra_repr(self) -> str:
        return f"weights={self.weights}"


def _add_modules(owner: nn.Module, modules: tuple[Any, ...]) -> bool:
    """Make modules its own, by their numbers or by the names of one mapping; whether there are names."""
    named = len(modules) == 1 and isinstance(modules[0], Mapping)
    for name, module in modules[0].items() if named else enumerate(modules):
        owner.add_module(str(name), module)
    return named


def _is_tuple(x: Any) -> bool:
    return isinstance(x, tuple | list)


def _leaves(x: Any) -> list[Any]:
    return list(x.values()) if isinstance(x, dict) else list(x)
