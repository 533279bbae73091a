"""A chain of Modules, which is what most networks are."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, overload

from ..arrays import Array
from ..module import Module, UpdateRule, is_update_rule
from .networks import Network, require_module, require_names, require_other


class Sequential(Network):
    """A chain: each layer's output is the next one's input, and gradients come back in the reverse order.

    Equation  y = f_n(… f_2(f_1(x)));  dx = dy · f_n' · … · f_1', from the left: this is the chain rule
    Saves     what each layer of the chain saves, in a list

    Parameters
    ----------
    layers : Modules in the order of the forward pass, or one mapping of their names to them, as PyTorch's OrderedDict;
        without names they bear their numbers. The first argument may be an optimizer, which `optimize()` and `fit`
        then use. Nested networks are Modules too. The optimizer of a nested one is not consulted: the outermost
        `optimize` updates all parameters.

    >>> from chainrule import Linear, Tanh
    >>> Sequential(Linear(2, 25), Tanh(), Linear(25, 2))
    Sequential(
      (0): Linear(2, 25)                     75
      (1): Tanh()
      (2): Linear(25, 2)                     52
    )  # 127 parameters
    >>> list(Sequential({"hidden": Linear(2, 25), "act": Tanh(), "out": Linear(25, 2)}).state_dict())
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    names: tuple[str, ...] | None = None  # None: their numbers

    def __init__(self, *layers: Module | UpdateRule | Mapping[str, Module]) -> None:
        first = layers[0] if layers else None
        self.optimizer = first if is_update_rule(first) else None
        rest: tuple[Any, ...] = layers[self.optimizer is not None :]
        if len(rest) == 1 and isinstance(rest[0], Mapping):
            names, rest = require_names(self, "layer", rest[0]), tuple(rest[0].values())
            self.names = None if names == tuple(map(str, range(len(names)))) else names
        # A tuple, so that a change is an attribute that is set, of which compiled networks hear.
        self.layers = tuple(require_module(self, f"layer {index}", layer) for index, layer in enumerate(rest))

    def append(self, layer: Module | UpdateRule) -> "Sequential":
        """Add a layer at the end, under the next number; returns the network."""
        layers = (*self.layers, require_other(self, f"layer {len(self)}", layer))
        if self.names is not None:
            self.names = (*self.names, next(str(n) for n in count(len(self)) if str(n) not in self.names))
        self.layers = layers
        return self

    def chain(self) -> Iterator[Module]:
        """The layers in the order of the forward pass, where a network inside stands for its own layers.

        However deep networks are nested, running them is one loop.
        """
        ahead = list(reversed(self.layers))
        while ahead:
            layer = ahead.pop()
            if type(layer) is Sequential:
                ahead.extend(reversed(layer.layers))
            else:
                yield layer

    def forward(self, x: Array) -> tuple[Array, list[Any]]:
        saved = []
        for layer in self.chain():
            x, kept = layer.forward(x)
            saved.append(kept)
        return x, saved

    def backward(self, dy: Array, saved: list[Any]) -> Array:
        for layer, kept in zip(reversed(list(self.chain())), reversed(saved), strict=True):
            dy = layer.backward(dy, kept)
        return dy

    def backward_parameters(self, dy: Array, saved: list[Any]) -> None:
        layers = list(self.chain())
        first = next((i for i, layer in enumerate(layers) if layer.has_trainable()), None)
        if first is None:
            return
        for layer, kept in zip(reversed(layers[first + 1 :]), reversed(saved[first + 1 :]), strict=True):
            dy = layer.backward(dy, kept)
        layers[first].backward_parameters(dy, saved[first])  # nobody before it waits for a gradient

    def _infer(self, x: Array) -> Array:
        for layer in self.chain():  # layer by layer, so that no layer's input outlives its use
            x = layer._infer(x)
        return x

    def optimize(self, optimizer: UpdateRule | None = None) -> None:
        """Update the parameters by the rule of `optimizer`, or else of the network's own."""
        optimizer = optimizer or self.optimizer
        if optimizer is None:
            raise ValueError("Sequential.optimize: there is no optimizer; give one, here or as the first layer")
        super().optimize(optimizer)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from zip(self.names or map(str, range(len(self))), self.layers, strict=True)

    def children(self) -> list[Module]:
        return list(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index: int | slice) -> Module:
        """One layer, or for a slice a network of those layers, which shares them with this one, and their names."""
        if isinstance(index, slice):
            if self.names is None:
                return Sequential(*self.layers[index])
            return Sequential(dict(zip(self.names[index], self.layers[index], strict=True)))
        self._check_index(index)
        return self.layers[index]

    def __setitem__(self, index: int, layer: Module) -> None:
        """Put a layer in the place of another."""
        self._check_index(index)
        layers = list(self.layers)
        layers[index] = require_other(self, f"layer {index}", layer)
        self.layers = tuple(layers)

    def _check_index(self, index: int) -> None:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Sequential: there are {len(self)} layers, got index {index}")

    def opening(self) -> list[str]:
        return [] if self.optimizer is None else [repr(self.optimizer)]
