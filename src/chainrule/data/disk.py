"""The report's points: which of them lie in a disk?"""

import math
import numbers

import numpy as np

from ..random import generator
from .dataset import Dataset

RADII = {
    "report": 1 / (2 * math.pi),  # the report's disk, which covers 1/(4π), 8 %, of the unit square
    "balanced": 1 / math.sqrt(2 * math.pi),  # covers half of it
}


def disk(
    n: int,
    seed: int | np.random.Generator | None = None,
    center: tuple[float, float] = (0.5, 0.5),
    radius: float | str = "report",
    *,
    classes: bool = False,
) -> Dataset:
    """Points drawn uniformly from the unit square; class 1 are those inside the disk, its edge included.

    Parameters
    ----------
    n : the number of points.
    seed : a seed or a generator; None draws from the default one.
    center : of the disk.
    radius : a number, or "report" for 1/(2π), or "balanced" for 1/√(2π), which gives both classes half the square.
    classes : give class indices instead of one-hot rows, which the report's two output units and MSELoss want.

    Returns   Dataset with x (n, 2) float32 and target (n, 2) float32, or (n,) int64 with `classes`

    Raises ValueError for n below 1, an unknown name of a radius, or a radius that is not positive.

    >>> disk(1000, seed=0).target.mean(axis=0)          # about 8 % lie inside
    array([0.921, 0.079], dtype=float32)
    """
    if isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1:
        raise ValueError(f"disk: n must be a positive integer, got {n!r}")
    if isinstance(radius, str):
        if radius not in RADII:
            raise ValueError(f"disk: radius must be a number or one of {sorted(RADII)}, got {radius!r}")
        radius = RADII[radius]
    if not 0 < radius < math.inf:
        raise ValueError(f"disk: radius must be positive, got {radius}")
    x = generator(seed).uniform(size=(n, 2)).astype(np.float32)
    inside = (((x - np.asarray(center)) ** 2).sum(axis=1) <= radius**2).astype(np.int64)
    return Dataset(x, inside if classes else np.eye(2, dtype=np.float32)[inside])
