"""Running statistics: Buffers to Python; to the engine parameters that no rule trains, the plan's last ones.

Python's Buffers own them. Before the engine works they are brought there, and afterwards taken from there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..module import Buffer

UNIT = 1 << 20  # a number of batches is low + UNIT · high, each of which float32 holds exactly


class Statistics(NamedTuple):
    """The Buffers of one layer."""

    mean: Buffer
    var: Buffer
    batches: Buffer

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of the engine's parameters."""
        return tuple(self.mean.value.shape), tuple(self.var.value.shape), (2,)


def bring(
    statistics: Iterable[Statistics],
    first: int,
    dtype: str,
    write: Callable[[int, np.ndarray], None],
    held: Mapping[Buffer, Any] | None = None,
) -> None:
    """Write what Buffers hold, or what `held` says for them, into the engine's parameters from number `first` on.

    Raises ValueError for what is no array of the shape that they had.
    """
    for mean, var, batches in statistics:
        values = [buffer.value if held is None else held.get(buffer, buffer.value) for buffer in (mean, var, batches)]
        high, low = divmod(int(values[2]), UNIT)
        for value in (*values[:2], np.array([low, high])):
            if type(value) is not np.ndarray:
                raise ValueError(f"running statistics must be NumPy arrays, as they were, got {type(value).__name__}")
            write(first, np.ascontiguousarray(value, dtype=dtype))
            first += 1


def taken(
    statistics: Iterable[Statistics], first: int, dtype: str, read: Callable[[int, np.ndarray], None]
) -> dict[Buffer, Any]:
    """What Buffers are to hold, by the engine's parameters from number `first` on."""
    found: dict[Buffer, Any] = {}
    for of in statistics:
        numbers = [np.empty(shape, dtype) for shape in of.shapes()]
        for i, array in enumerate(numbers, first):
            read(i, array)
        first += len(numbers)
        mean, var, (low, high) = numbers
        found |= {of.mean: mean, of.var: var, of.batches: np.asarray(int(low) + UNIT * int(high))}
    return found
