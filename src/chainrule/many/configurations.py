"""What is to be trained: configurations × folds × seeds, checked before anything trains."""

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import random
from ..arguments import positive
from ..data import Dataset
from ..module import Module
from ..signature import parameters
from ..train.options import CONFIGURABLE

Configuration = dict[str, Any]

# What a configuration may set besides the arguments of `build`: arguments of fit, and the size of the training data.
OPTIONS = tuple(sorted((*CONFIGURABLE, "loss", "train_size")))


@dataclass(frozen=True)
class Fold:
    """Positions of the samples that a network learns from, and of those that judge it; None: as they are given."""

    number: int | None = None
    train: np.ndarray | None = None
    held_out: np.ndarray | None = None


@dataclass(frozen=True)
class Job:
    """One network to train: `configuration` as it was given, and its two parts.

    takes_seed : whether `build` has an argument for the seed.
    """

    configuration: Configuration
    of_build: Configuration
    options: Configuration
    seed: int
    fold: Fold
    takes_seed: bool


def configurations(
    grid: Mapping[str, Sequence[Any]] | None, configs: Iterable[Mapping[str, Any]] | None
) -> list[Configuration]:
    """Every combination of the grid's values, the last name changing fastest; or the list as it was given."""
    if grid is not None and configs is not None:
        raise ValueError("fit_many: give grid or configs, not both")
    if configs is not None:
        listed = [dict(_mapping("configs", config)) for config in configs]
        if not listed:
            raise ValueError("fit_many: configs is empty")
        return listed
    values = {}
    for name, wanted in _mapping("grid", {} if grid is None else grid).items():
        if isinstance(wanted, str) or not isinstance(wanted, Iterable):
            raise TypeError(f"fit_many: grid[{name!r}] must be a list of values, got {wanted!r}")
        values[name] = list(wanted)
        if not values[name]:
            raise ValueError(f"fit_many: grid[{name!r}] is empty")
    return [dict(zip(values, picked, strict=True)) for picked in itertools.product(*values.values())]


def seeds_of(seeds: int | Iterable[int]) -> list[int]:
    """0 … n - 1 for a number n, or the seeds themselves."""
    if not isinstance(seeds, Iterable):
        return list(range(positive("fit_many", "seeds", seeds)))
    listed = [random.check_seed(seed, "fit_many: each of seeds") for seed in seeds]
    if not listed:
        raise ValueError("fit_many: seeds is empty")
    if len(set(listed)) < len(listed):
        raise ValueError(f"fit_many: seeds must differ from one another, got {listed}")
    return listed


def folds_of(folds: int | Iterable[Any] | None, data: Dataset) -> list[Fold]:
    """The folds of cross-validation; one that is the whole of the data if there are none."""
    if folds is None:
        return [Fold()]
    n = len(data)
    if isinstance(folds, Iterable):
        pairs = [tuple(pair) for pair in folds]
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise ValueError("fit_many: folds must be a number, or pairs of positions (training, held out)")
        listed = [Fold(i, _positions(train, n), _positions(out, n)) for i, (train, out) in enumerate(pairs)]
    else:
        k = positive("fit_many", "folds", folds)
        if not 2 <= k <= n:
            raise ValueError(f"fit_many: folds must be between 2 and the number of samples, {n}, got {k}")
        part = np.empty(n, dtype=np.int64)  # of each sample
        part[random.order(n, seed=0, epoch=0)] = np.arange(n) * k // n
        listed = [Fold(i, np.flatnonzero(part != i), np.flatnonzero(part == i)) for i in range(k)]
    return listed


def jobs(
    build: Callable[..., Any], listed: list[Configuration], seeds: list[int], folds: list[Fold], samples: int
) -> list[Job]:
    """A Job for each configuration × fold × seed, in this order.

    Raises TypeError for a name that neither `build` nor fit knows, or that `build` needs and nobody gives.
    """
    if isinstance(build, Module):
        raise TypeError("fit_many: build must be a function that returns a new model each time, got a model")
    if not callable(build):
        raise TypeError(f"fit_many: build must be a function that returns a model, got {build!r}")
    signature = inspect.signature(build)
    named = {parameter.name: None for parameter in parameters(build)}
    takes_seed = "seed" in named
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    smallest = min(samples if fold.train is None else len(fold.train) for fold in folds)
    made = []
    for configuration in listed:
        of_build: Configuration = {}
        options: Configuration = {}
        for name, value in configuration.items():
            if name == "seed":
                raise TypeError("fit_many: a configuration may not set the seed; give seeds=…")
            if name not in named and name not in OPTIONS and not takes_all:
                known = ", ".join(name for name in (*named, *OPTIONS) if name != "seed")
                raise TypeError(f"fit_many: nobody knows {name!r}; a configuration may set {known}")
            whose = of_build if name in named or name not in OPTIONS else options
            whose[name] = value
        try:
            signature.bind(**of_build, **({"seed": 0} if takes_seed else {}))
        except TypeError as error:
            raise TypeError(f"fit_many: build cannot be called with {of_build}: {error}") from None
        if positive("fit_many", "train_size", options.get("train_size", 1)) > smallest:
            raise ValueError(f"fit_many: train_size must be at most {smallest}, got {options['train_size']}")
        made += [Job(configuration, of_build, options, seed, fold, takes_seed) for fold in folds for seed in seeds]
    return made


def _positions(values: Any, n: int) -> np.ndarray:
    """Positions of samples, as scikit-learn's splitters give them."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) == 0 or array.min() < 0 or array.max() >= n:
        raise ValueError(f"fit_many: a fold must hold positions between 0 and {n - 1}, got {array!r}")
    return array


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"fit_many: {name} must map names to values, got {value!r}")
    return value
