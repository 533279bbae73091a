"""A table of nothing but numbers, for a network that knows no table."""

import numpy as np

from ..engine.lower import CannotLower, sample_shape
from ..module import Module
from .read import Table
from .readings import read
from .schema import require_readable, require_right


def plain_inputs(model: Module, table: Table) -> np.ndarray:
    """The columns of a table as the inputs of a network: all of them, or the array x where there is one.

    Returns   (n, inputs) float64

    Raises ValueError if the columns are not as many as the inputs, or hold something else than finite numbers.
    """
    try:
        shape = sample_shape(model)
    except CannotLower as problem:
        raise ValueError(f"how many columns the network takes is not known: it is {problem}") from None
    if not isinstance(shape, tuple) or len(shape) != 1 or not isinstance(shape[0], int):
        raise ValueError(f"a table of plain numbers has rows of them, and the network takes samples of shape {shape}")
    (n_in,) = shape
    of_x = [f"x{i}" for i in range(n_in)] if n_in > 1 else ["x"]
    names = of_x if set(of_x) <= set(table.names) and f"x{n_in}" not in table.names else table.names
    if len(names) != n_in:
        raise ValueError(f"{table.source}: must have {n_in} columns, an input of the network each, got {len(names)}")
    x = np.empty((len(table), n_in))
    for i, name in enumerate(names):
        require_readable(table, name)
        values = read(table, name, "numeric")
        require_right(table, name, values, "must hold numbers, as this network takes nothing else")
        bad = np.flatnonzero(~np.isfinite(values.numbers))
        if len(bad):
            raise ValueError(
                f"{table.source}: column `{name}` must hold a finite number in each row, unlike {table.place(bad[0])}"
            )
        x[:, i] = values.numbers
    return x
