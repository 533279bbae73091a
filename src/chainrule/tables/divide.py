"""Rows to learn from, rows to stop by, rows to test with."""

from dataclasses import dataclass

import numpy as np

from .. import random

GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Parts:
    """Positions of rows, each in one of the three, in the order of the table."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def divide(strata: np.ndarray, *, validation: float, test: float, seed: int) -> Parts:
    """Divide rows at random so that every part gets its share of every stratum (of a class, say).

    Parameters
    ----------
    strata : (n,) integers, the group that each row belongs to.
    validation, test : the shares of all rows, each at least 0, together below 1. The rest is for training.
    seed : another one divides them in another way.

    Equation  rows go to parts by where i φ mod 1 falls, i counting them stratum after stratum, in random order within
              each, φ = (√5 - 1) / 2: no sequence is spread more evenly, over all rows and over any run of them
    Note      a stratum that training would get nothing of gives it its first row

    Raises ValueError if a part that is to have rows would get none.
    """
    n = len(strata)
    order = random.order(n, seed=random.check_seed(seed), epoch=0)
    order = order[np.argsort(strata[order], kind="stable")]
    place = (np.arange(n) * GOLDEN + 0.5) % 1
    part = np.where(place < test, 2, np.where(place < test + validation, 1, 0))
    lacking = ~np.isin(strata[order], strata[order[part == 0]])
    firsts = np.flatnonzero(lacking)[np.unique(strata[order][lacking], return_index=True)[1]]
    part[firsts] = 0
    found = [np.sort(order[part == number]) for number in range(3)]
    for name, rows, share in zip(("training", "validation", "test"), found, (1.0, validation, test), strict=True):
        if share > 0 and len(rows) == 0:
            raise ValueError(f"{n} rows are too few: none is left for {name}")
    return Parts(*found)
