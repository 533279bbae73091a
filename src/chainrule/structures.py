"""Several arrays that go together: what a network is shown, gives and is told may be one array, a tuple, or a dict.

A network with two inputs takes `(image, numbers)` or `{"image": …, "numbers": …}`; one with two heads gives the like.
The first axis of every array counts samples. Tuples and dicts hold arrays and nothing else: they are not nested.
"""

from collections.abc import Callable
from typing import Any

Structure = Any  # an array, a tuple of arrays, or a dict of arrays by name
SEVERAL = (tuple, dict)


def is_several(value: Any) -> bool:
    """Whether `value` is a tuple or a dict, and no array."""
    return isinstance(value, SEVERAL)


def leaves(value: Structure) -> list[Any]:
    """The arrays, in order."""
    if not isinstance(value, SEVERAL):
        return [value]
    return list(value.values() if isinstance(value, dict) else value)


def names(value: Structure) -> list[str]:
    """What the arrays are called behind the name of the whole: "" for one, "[0]" of a tuple, "['a']" of a dict."""
    if not isinstance(value, SEVERAL):
        return [""]
    return [f"[{key!r}]" for key in (value if isinstance(value, dict) else range(len(value)))]


def named(name: str, value: Structure) -> list[tuple[str, Any]]:
    """The arrays, each with what errors call it where the whole is `name`: x, x[0], x['a']."""
    if not isinstance(value, SEVERAL):
        return [(name, value)]
    return [(name + of, array) for of, array in zip(names(value), leaves(value), strict=True)]


def rebuild(like: Structure, arrays: list[Any]) -> Structure:
    """The arrays in the form that `like` has."""
    if isinstance(like, dict):
        return dict(zip(like, arrays, strict=True))
    return tuple(arrays) if isinstance(like, tuple) else arrays[0]


def each(function: Callable[[Any], Any], value: Structure) -> Structure:
    """What `function` makes of every array, in the same form."""
    if not isinstance(value, SEVERAL):
        return function(value)
    return rebuild(value, [function(array) for array in leaves(value)])
