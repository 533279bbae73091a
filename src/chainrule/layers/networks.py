"""What networks have in common that are made of other Modules: what may stand in them, and how they are printed."""

from collections.abc import Mapping
from typing import Any

from ..arrays import describe_kind
from ..module import Module
from ..structures import Structure


class Network(Module):
    """A Module that prints those inside it, one below the other."""

    def extra_repr(self) -> str:
        return "…"  # for errors, which need the name of the class and no more

    def opening(self) -> list[str]:
        """What the print says before what is inside."""
        return []

    def rows(self) -> list[tuple[str, Module | str]]:
        """What stands inside, each with the words before it."""
        return [(f"({name}): ", child) for name, child in self.named_children()]

    def closing(self) -> str:
        """What the print says at the end."""
        parameters = self.param()
        n, frozen = (sum(p.size for p in some) for some in (parameters, [p for p in parameters if not p.trainable]))
        words = f", {frozen:,} of them frozen" if frozen < n else ", frozen"
        return f"{n:,} parameters" + words * (frozen > 0)

    def __repr__(self) -> str:
        lines: list[str] = []
        ahead: list[tuple[str, str, Module | str]] = [("", "", self)]  # a stack: networks may be nested deeply
        while ahead:
            indent, place, thing = ahead.pop()
            if isinstance(thing, str):
                lines.append(indent + place + thing)
            elif isinstance(thing, Network) and type(thing).__repr__ is Network.__repr__:
                inside = indent + " " * (len(place) if place.endswith("  ") else 0)  # below a column, where it begins
                lines.append(f"{indent}{place}{type(thing).__name__}(")
                lines += [f"{inside}  {line}" for line in thing.opening()]
                ahead.append((inside, ")  # ", thing.closing()))
                ahead.extend((inside + "  ", name, child) for name, child in reversed(thing.rows()))
            else:
                first, *rest = repr(thing).split("\n")
                n, frozen = thing.num_parameters, _frozen(thing)
                lines.append(
                    f"{indent}{place}{first:28}{n:8,}{frozen}" if n and not rest else f"{indent}{place}{first}{frozen}"
                )
                lines += [indent + line for line in rest]
        return "\n".join(lines)

    def parts(self, method: str, name: str, value: Structure, keys: int | tuple[str, ...]) -> list[Any]:
        """The arrays of a tuple of so many, or of a tuple or dict of these names, in the order of the names."""
        n, keys = (keys, ()) if isinstance(keys, int) else (len(keys), keys)
        fits = len(value) == n if isinstance(value, tuple) else isinstance(value, dict) and value.keys() == set(keys)
        if not fits:
            expected = f"a dict of {', '.join(map(repr, keys))} or " if keys else ""
            self.refuse(method, f"{name} must be {expected}a tuple of {n}", described(value))
        return [value[key] for key in keys] if isinstance(value, dict) else list(value)


def _frozen(layer: Module) -> str:
    """The words behind a layer whose parameters, or some of them, are frozen."""
    names = [name for name, parameter in layer.named_parameters() if not parameter.trainable]
    if not names:
        return ""
    return "  frozen" if not layer.has_trainable() else f"  frozen: {', '.join(names)}"


def described(value: Structure) -> str:
    """A structure in the words of an error."""
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(repr, value)) or 'nothing'}"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else describe_kind(value)


def added(dy: Structure, more: Structure) -> Structure:
    """The sum of two gradients of one value, part by part; neither of them is changed."""
    if isinstance(dy, dict):
        return {name: part + more[name] for name, part in dy.items()}
    if isinstance(dy, tuple):
        return tuple(part + other for part, other in zip(dy, more, strict=True))
    return dy + more


def require_module(owner: object, place: str, thing: Any) -> Module:
    """thing, if it is a Module."""
    if isinstance(thing, Module):
        return thing
    hint = " (call the class)" if isinstance(thing, type) else ""
    raise TypeError(f"{type(owner).__name__}: {place} must be a Module, got {thing!r}{hint}")


def require_other(owner: Module, place: str, thing: Any) -> Module:
    """thing, if it is a Module that does not contain its owner."""
    module = require_module(owner, place, thing)
    if any(inner is owner for inner in module.modules()):
        raise ValueError(f"{type(owner).__name__}: {place} must be another network, got one that contains this one")
    return module


def require_names(owner: object, kind: str, named: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of what stands inside; a dot joins those of nested networks, so none has one itself."""
    for name in named:
        if not isinstance(name, str):
            raise TypeError(f"{type(owner).__name__}: the name of a {kind} must be a string, got {name!r}")
        if not name or "." in name:
            raise ValueError(f"{type(owner).__name__}: the name of a {kind} must be a word without dots, got {name!r}")
    return tuple(named)
