"""Networks side by side."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..module import Module
from ..structures import Structure, each, is_several, rebuild
from .networks import Network, added, described, require_module, require_names


class Parallel(Network):
    """Networks side by side: all of them read x, or each reads its part of it.

    Equation  y_i = f_i(x);  dx = Σ dy_i · f_i'(x), one term for each reader of x
              of several parts, y_i = f_i(x_i);  dx_i = dy_i · f_i'(x_i)
    Shapes    x (batch, …), or a tuple (or dict) of one array for each network -> y a tuple of one array for each
              network; networks with names give a dict
    Saves     the form of x, and what each network saves

    Parameters
    ----------
    networks : Modules, or one mapping of their names to them. With names, a dict gives each network the part of its
        name. Without, their numbers stand in the names of parameters, as in Sequential.

    >>> from chainrule import Linear
    >>> heads = Parallel({"price": Linear(8, 1), "kind": Linear(8, 3)})
    >>> {name: y.shape for name, y in heads([[0.0] * 8]).items()}
    {'price': (1, 1), 'kind': (1, 3)}
    """

    names: tuple[str, ...] | None = None  # None: their numbers, and y is a tuple

    def __init__(self, *networks: Module | Mapping[str, Module]) -> None:
        rest: tuple[Any, ...] = networks
        if len(rest) == 1 and isinstance(rest[0], Mapping):
            self.names, rest = require_names(self, "network", rest[0]), tuple(rest[0].values())
        if not rest:
            raise ValueError("Parallel: there must be at least one network")
        self.networks = tuple(require_module(self, f"network {i}", network) for i, network in enumerate(rest))

    def forward(self, x: Structure) -> tuple[Structure, tuple[Structure, list[Any]]]:
        passes = [network.forward(part) for network, part in zip(self.networks, self._inputs(x), strict=True)]
        form = each(lambda part: None, x)
        return self._outputs([y for y, _ in passes]), (form, [kept for _, kept in passes])

    def backward(self, dy: Structure, saved: tuple[Structure, list[Any]]) -> Structure:
        form, kept = saved
        dxs: list[Any] = []
        ahead = zip(self.networks, self._parts("backward", "dy", dy), kept, strict=True)
        for network, part, inner in reversed(list(ahead)):  # the last reader of x comes first
            dxs.insert(0, network.backward(part, inner))
        if isinstance(form, dict):
            by_name = dict(zip(self.names or (), dxs, strict=True))
            return {name: by_name[name] for name in form}
        if is_several(form):
            return rebuild(form, dxs)
        dx = dxs.pop()
        while dxs:
            dx = added(dx, dxs.pop())  # x was read by each network, so its gradient gathers theirs
        return dx

    def backward_parameters(self, dy: Structure, saved: tuple[Structure, list[Any]]) -> None:
        ahead = zip(self.networks, self._parts("backward", "dy", dy), saved[1], strict=True)
        for network, part, inner in reversed(list(ahead)):
            if network.has_trainable():
                network.backward_parameters(part, inner)

    def _infer(self, x: Structure) -> Structure:
        return self._outputs([f._infer(part) for f, part in zip(self.networks, self._inputs(x), strict=True)])

    def _inputs(self, x: Structure) -> list[Any]:
        """What each network reads."""
        return self._parts("forward", "x", x) if is_several(x) else [x] * len(self.networks)

    def _parts(self, method: str, name: str, value: Structure) -> list[Any]:
        return self.parts(method, name, value, self.names or len(self.networks))

    def _outputs(self, ys: list[Any]) -> Structure:
        for network, y in zip(self.networks, ys, strict=True):
            if is_several(y):
                name = type(network).__name__
                self.refuse("forward", f"each network must give an array ({name} does not)", described(y))
        return tuple(ys) if self.names is None else dict(zip(self.names, ys, strict=True))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from zip(self.names or map(str, range(len(self.networks))), self.networks, strict=True)

    def children(self) -> list[Module]:
        return list(self.networks)

    def __len__(self) -> int:
        return len(self.networks)

    def __getitem__(self, key: int | str) -> Module:
        """The network of this number, or of this name."""
        if isinstance(key, str):
            return dict(self.named_children())[key]
        return self.networks[key]
