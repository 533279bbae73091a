"""The report's experiment: which points of the unit square lie in a disk?

A network 2-25-25-25-2 learns it from 1,000 points with MSELoss, and its errors are counted on 1,000 others.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import layers, optimizers
from ..data import Dataset, disk
from ..files import replacing
from ..layers import Linear, Sequential
from ..losses import MSELoss
from ..train import History, evaluate, fit

ACTIVATIONS = {"tanh": layers.Tanh, "relu": layers.ReLU}

# Learning rates that serve both activations and both disks at the default batch size, from a search over
# 0.1 … 0.5, 0.02 … 0.1 and 0.002 … 0.01.
OPTIMIZERS: dict[str, Callable[[float | None], optimizers.Optimizer]] = {
    "sgd": lambda lr: optimizers.SGD(lr=0.5 if lr is None else lr),
    "momentum": lambda lr: optimizers.SGD(lr=0.05 if lr is None else lr, momentum=0.9),
    "adam": lambda lr: optimizers.Adam(lr=0.005 if lr is None else lr),
}


@dataclass(frozen=True)
class Settings:
    """What the experiment varies and what it holds fixed; the defaults are the report's, or documented here."""

    activations: Sequence[str] = ("tanh", "relu")
    optimizers: Sequence[str] = ("sgd", "momentum", "adam")
    radii: Sequence[str | float] = ("report", "balanced")
    hidden: Sequence[int] = (25, 25, 25)
    points: int = 1000
    epochs: int = 200
    batch_size: int = 50
    lr: float | None = None
    seed: int = 0
    seeds: int = 1


@dataclass
class Trained:
    """One network of the experiment, with one seed."""

    radius: str | float
    activation: str
    optimizer: str
    seed: int
    model: Sequential
    history: History
    train_loss: float
    train_errors: int
    test_errors: int
    train_s: float
    test_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, for JSON."""
        return {
            "radius": self.radius,
            "activation": self.activation,
            "optimizer": self.optimizer,
            "rule": repr(self.model.optimizer),
            "seed": self.seed,
            "train_loss": self.train_loss,
            "train_errors": self.train_errors,
            "test_errors": self.test_errors,
            "train_s": self.train_s,
            "test_s": self.test_s,
            "best_epoch": self.history.best_epoch,
            "losses": self.history.losses,
        }


@dataclass
class Row:
    """The networks that differ in the seed alone: one line of the table, of medians."""

    runs: list[Trained] = field(default_factory=list)

    def median(self, name: str) -> float:
        """The median of a number of the runs."""
        return float(statistics.median(getattr(run, name) for run in self.runs))


def data_sets(settings: Settings, radius: str | float, seed: int) -> tuple[Dataset, Dataset]:
    """Points to learn from and as many others to test with."""
    return (
        disk(settings.points, seed=2 * seed, radius=radius),
        disk(settings.points, seed=2 * seed + 1, radius=radius),
    )


def network(settings: Settings, activation: str, optimizer: str, seed: int) -> Sequential:
    """2 - hidden - 2, with the optimizer as its first argument."""
    rng = np.random.default_rng(seed)
    widths = [2, *settings.hidden]
    model = Sequential(OPTIMIZERS[optimizer](settings.lr))
    for n_in, n_out in itertools.pairwise(widths):
        model.append(Linear(n_in, n_out, rng=rng)).append(ACTIVATIONS[activation]())
    return model.append(Linear(widths[-1], 2, rng=rng))


def run(settings: Settings) -> Iterator[Row]:
    """Train and test every combination; yields a row of the table whenever one is complete."""
    for radius, activation, optimizer in itertools.product(settings.radii, settings.activations, settings.optimizers):
        seeds = range(settings.seed, settings.seed + settings.seeds)
        yield Row([train_one(settings, radius, activation, optimizer, seed) for seed in seeds])


def train_one(settings: Settings, radius: str | float, activation: str, optimizer: str, seed: int) -> Trained:
    """Train one network and count its errors."""
    train, test = data_sets(settings, radius, seed)
    model, loss = network(settings, activation, optimizer, seed), MSELoss()
    history = fit(
        model,
        loss,
        train,
        epochs=settings.epochs,
        batch_size=min(settings.batch_size, settings.points),
        seed=seed,
        progress=False,
    )
    if history.interrupted:
        raise KeyboardInterrupt
    trained = evaluate(model, loss, train)
    begin = time.perf_counter()
    tested = evaluate(model, loss, test)
    test_s = time.perf_counter() - begin
    return Trained(
        radius,
        activation,
        optimizer,
        seed,
        model,
        history,
        trained.loss,
        int(trained.errors),
        int(tested.errors),
        history.total_s,
        test_s,
    )


def save_networks(rows: list[Row], folder: Path) -> None:
    """Write every network to a file, which `chainrule.load`, `chainrule info` and `chainrule export` read."""
    folder.mkdir(parents=True, exist_ok=True)
    for trained in (one for row in rows for one in row.runs):
        name = f"{radius_name(trained.radius)}-{trained.activation}-{trained.optimizer}-seed{trained.seed}"
        trained.model.save(folder / f"{name}.safetensors", history=trained.history)


def radius_name(radius: str | float) -> str:
    """A radius in words: its name, or "radius 0.3"."""
    return radius if isinstance(radius, str) else f"radius {radius:g}"


def draw(settings: Settings, rows: list[Row], folder: Path) -> list[Path]:
    """Write the pictures: the input data, the networks' outputs, the course of the losses. Needs the extra "plots"."""
    from .. import plots

    first = [row.runs[0] for row in rows]
    written = []

    def save(figure: Any, name: str) -> None:
        written.append(folder / f"{name}.png")
        with replacing(written[-1]) as file:
            figure.savefig(file, dpi=160)

    figure, axes = plots.sheet(1, len(settings.radii), panel=(3.6, 4.1))
    for ax, radius in zip(axes[0], settings.radii, strict=True):
        train, _ = data_sets(settings, radius, settings.seed)
        plots.points(train, title=f"{radius_name(radius)}: {len(train):,} points to learn from", ax=ax)
    save(figure, "input-data")

    shape = (len(settings.activations), len(settings.optimizers))
    for radius in settings.radii:
        figure, axes = plots.sheet(*shape)
        _, test = data_sets(settings, radius, settings.seed)
        for ax, one in zip(axes.flat, (r for r in first if r.radius == radius), strict=True):
            title = f"{one.activation}, {one.optimizer}: {one.test_errors} of {len(test):,} wrong"
            plots.decision_regions(one.model, test, title=title, ax=ax)
        figure.suptitle(f"What the networks make of the plane, and test points ({radius_name(radius)})", fontsize=11)
        save(figure, f"output-{radius_name(radius).replace(' ', '-')}")

    figure, axes = plots.sheet(len(settings.radii), len(settings.activations), panel=(4.4, 3.1))
    for row_of_axes, radius in zip(axes, settings.radii, strict=True):
        for ax, activation in zip(row_of_axes, settings.activations, strict=True):
            chosen = {r.optimizer: r.history for r in first if (r.radius, r.activation) == (radius, activation)}
            plots.losses(chosen, title=f"{radius_name(radius)}, {activation}", ax=ax)
    save(figure, "losses")
    return written
