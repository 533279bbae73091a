"""Nested plain values with arrays among them, as JSON and tensors."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import arrays
from .description import decode, encode


def pack(value: Any, name: str, tensors: dict[str, np.ndarray]) -> Any:
    """The value as JSON; its arrays go into `tensors` under dotted names that begin with `name`."""
    if isinstance(value, Mapping):
        return {key: pack(item, f"{name}.{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [pack(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
    if arrays.is_array(value) and not isinstance(value, np.generic):
        tensors[name] = arrays.to_numpy(value)
        return {"tensor": name}
    return encode(value, name)


def unpack(value: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    """What `pack` packed, with copies of the arrays; tuples have become lists.

    Raises KeyError for a tensor that is not there.
    """
    if isinstance(value, dict):
        if set(value) == {"tensor"}:
            return tensors[value["tensor"]].copy()
        if set(value) == {"float"}:
            return decode(value)
        return {key: unpack(item, tensors) for key, item in value.items()}
    return [unpack(item, tensors) for item in value] if isinstance(value, list) else value


def tensors_of(value: Any) -> Iterator[str]:
    """The names of the tensors of which a packed value speaks."""
    if isinstance(value, dict) and set(value) == {"tensor"}:
        yield value["tensor"]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_of(item)
