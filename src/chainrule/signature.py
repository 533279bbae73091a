"""An object as the call that makes it, such as `SGD(lr=0.1, momentum=0.9)`: one rule for everything that has a repr."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

_known: WeakKeyDictionary[Any, tuple[inspect.Parameter, ...]] = WeakKeyDictionary()  # reading one takes 20 µs


def parameters(kind: Callable[..., object]) -> tuple[inspect.Parameter, ...]:
    """The arguments of a constructor that have names."""
    found = _known.get(kind)
    if found is None:
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        found = tuple(p for p in inspect.signature(kind).parameters.values() if p.kind in named)
        _known[kind] = found
    return found


def rest(kind: Callable[..., object]) -> tuple[inspect.Parameter, ...]:
    """The arguments of a constructor that stand for any number of others, such as *layers and **options."""
    every = inspect.signature(kind).parameters.values()
    return tuple(p.replace(annotation=p.empty) for p in every if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD))


def arguments(instance: object, *, leave_out: tuple[str, ...] = ()) -> str:
    """The arguments that would make `instance` again, as text, without those that equal their defaults.

    It relies on one habit of this library: an argument that matters later is kept under its own name. Arguments that
    are not kept, such as `rng`, are left out.
    """
    shown: list[str] = []
    named = False  # in a call, nothing without a name follows something with one
    for parameter in parameters(instance.__class__):
        if parameter.name in leave_out or not hasattr(instance, parameter.name):
            continue
        value = getattr(instance, parameter.name)
        value = getattr(value, "value", value)  # a Parameter or Buffer stands for what it holds
        required = parameter.default is inspect.Parameter.empty
        if not required and parameter.name != "lr" and _equal(value, parameter.default):
            continue
        named = named or not required or parameter.kind is inspect.Parameter.KEYWORD_ONLY or parameter.name == "lr"
        shown.append(f"{parameter.name}={_text(value)}" if named else _text(value))
    return ", ".join(shown)


def call(instance: object) -> str:
    """`instance` as the call that makes it."""
    return f"{type(instance).__name__}({arguments(instance)})"


def _equal(value: Any, default: Any) -> bool:
    return value is default or (type(value) in (int, float, str, bool, tuple, list) and bool(value == default))


def _text(value: Any) -> str:
    if inspect.isroutine(value):  # without its address, which says nothing and is another in every program
        return str(value.__name__)
    if isinstance(value, partial):
        options = [f"{name}={_text(option)}" for name, option in value.keywords.items()]
        return f"partial({', '.join([_text(value.func), *map(_text, value.args), *options])})"
    kind: Any = type(value)
    if kind.__repr__ is object.__repr__:
        return f"<{kind.__name__}>"
    shape = getattr(value, "shape", None)
    return repr(value) if shape is None else f"<array {tuple(shape)}>"
