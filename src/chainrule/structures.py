"""Several arrays that go together: what a network is shown, gives and is told may be one array, a tuple, or a dict.

A network with two inputs takes `(image, numbers)` or `{"image": …, "numbers": …}`; one with two heads gives the like.
The first axis of every array counts samples. Tuples and dicts hold arrays and nothing else: they are not nested.
"""

from collections.abc import Callable
from typing import Any

Structure = Any  # an array, a tuple of arrays, or a dict of arrays by name


def is_several(value: Any) -> bool:
    """Whether `value` is a tuple or a dict, and no array."""
    return isinstance(value, tuple | dict)


def leaves(value: Structure) -> list[Any]:
    """The arrays, in order."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [value]


def names(value: Structure) -> list[str]:
    """What the arrays are called behind the name of the whole: "" for one, "[0]" of a tuple, "['a']" of a dict."""
    if isinstance(value, dict):
        return [f"[{name!r}]" for name in value]
    return [f"[{i}]" for i in range(len(value))] if isinstance(value, tuple) else [""]


def rebuild(like: Structure, arrays: list[Any]) -> Structure:
    """The arrays in the form that `like` has."""
    if isinstance(like, dict):
        return dict(zip(like, arrays, strict=True))
    return tuple(arrays) if isinstance(like, tuple) else arrays[0]


def each(function: Callable[[Any], Any], value: Structure) -> Structure:
    """What `function` makes of every array, in the same form."""
    return rebuild(value, [function(array) for array in leaves(value)])
