"""Pictures: points, what a network makes of the plane, the course of losses. They need the extra "plots".

Each function returns a matplotlib Figure, to be shown by a notebook or written by `figure.savefig("picture.png")`;
given `ax`, it draws there instead and returns that figure. No global state of matplotlib is touched.

Colours      blue, vermilion, green, yellow, purple, sky blue in an order that people with any colour vision can tell
             apart, and classes differ in the marker too. Source: Okabe, Ito 2008, "Color universal design"
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import arrays
from .data import Dataset
from .extras import require
from .module import Module
from .train import History, predict
from .train.metrics import classes, labels

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
MARKERS = ("o", "^", "s", "D", "v", "P")
INK = "#333333"


def points(data: Dataset, *, title: str = "", ax: Any = None) -> Any:
    """Two-dimensional samples, each class in its colour and marker.

    Shapes    data.x (n, 2); data.target class indices (n,) or one row per sample (n, classes)
    """
    x, target = _plane(data, "points"), labels(data.target, "points")
    figure, ax = _axes(ax, (4.2, 4.2))
    for label in np.unique(target):
        chosen = x[target == label]
        ax.scatter(*chosen.T, s=_marker_size(len(x)), label=f"class {label}  ({len(chosen):,})", **_style(int(label)))
    _finish_plane(ax, x, title)
    return figure


def decision_regions(model: Module, data: Dataset | None = None, *, title: str = "", ax: Any = None) -> Any:
    """What a network says of each place in the plane, and where it is wrong about `data`.

    The ground is the class that the network speaks for, paler where its outputs differ less; the line is where they
    are equal. Points that it puts into a wrong class are ringed in black.

    Shapes    model (n, 2) -> (n, classes), or (n, 1) with class 1 above 0.5; data.x (n, 2)
    """
    x = _plane(data, "decision_regions") if data is not None else np.array([[0.0, 0.0], [1.0, 1.0]])
    figure, ax = _axes(ax, (4.2, 4.2))
    low, high = _limits(x)
    across, up = np.linspace(low[0], high[0], 241), np.linspace(low[1], high[1], 241)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    y = arrays.to_numpy(predict(model, grid)).reshape(len(grid), -1)
    said, margin = classes(y), _margin(y)
    ground = _ground(said, margin).reshape(len(up), len(across), 3)
    ax.imshow(ground, origin="lower", extent=(low[0], high[0], low[1], high[1]), interpolation="bilinear", zorder=0)
    for label in np.unique(said)[:-1] if y.shape[1] > 2 else [0]:
        edge = _edge(y, int(label)).reshape(len(up), len(across))
        if edge.min() < 0 < edge.max():
            ax.contour(across, up, edge, levels=[0.0], colors=INK, linewidths=1.2)
    if data is not None:
        target = labels(data.target, "decision_regions")
        wrong = classes(predict(model, data.x)) != target
        for label in np.unique(target):
            ax.scatter(*x[target == label].T, s=0.6 * _marker_size(len(x)), **_style(int(label)))
        ax.scatter(*x[wrong].T, s=46, facecolors="none", edgecolors="black", linewidths=1.3, zorder=4)
    _finish_plane(ax, x, title, legend=False)
    return figure


def losses(history: History | Mapping[str, History], *, title: str = "", ax: Any = None) -> Any:
    """The loss of each epoch, on a logarithmic axis: training as a line, validation dashed; a dot marks the best epoch.

    `history` is one History, or several by name.
    """
    several = {"": history} if isinstance(history, History) else dict(history)
    figure, ax = _axes(ax, (5.6, 3.6))
    for (name, one), colour in zip(several.items(), COLOURS * len(several), strict=False):
        epochs = np.arange(1, one.epochs + 1)
        ax.plot(epochs, one.losses, color=colour, linewidth=1.4, label=name or "training")
        if one.validation_losses:
            label = None if name else "validation"
            ax.plot(epochs, one.validation_losses, color=colour, linewidth=1.1, linestyle=(0, (4, 2)), label=label)
        if one.best_loss is not None and one.best_epoch is not None:
            ax.plot(one.best_epoch + 1, one.best_loss, "o", color=colour, markersize=5, zorder=3)
    if all(min(one.losses + one.validation_losses, default=1.0) > 0 for one in several.values()):
        ax.set_yscale("log")
        ticker = require("matplotlib.ticker", "plots")
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(ticker.NullFormatter())
    ax.set(xlabel="epoch", ylabel="loss", title=title)
    ax.grid(True, which="major", color="#e5e5e5", linewidth=0.7)
    ax.legend(frameon=False, fontsize=9)
    _quiet(ax)
    return figure


def sheet(rows: int, columns: int, *, panel: tuple[float, float] = (3.1, 3.3)) -> tuple[Any, Any]:
    """An empty figure and its grid of axes, (rows, columns), for drawing several pictures side by side."""
    figure = require("matplotlib.figure", "plots").Figure(
        figsize=(panel[0] * columns, panel[1] * rows), layout="constrained"
    )
    return figure, figure.subplots(rows, columns, squeeze=False)


def _axes(ax: Any, size: tuple[float, float]) -> tuple[Any, Any]:
    if ax is not None:
        return ax.figure, ax
    figure = require("matplotlib.figure", "plots").Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def _plane(data: Dataset, who: str) -> np.ndarray:
    x = arrays.to_numpy(data.x)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"{who}: data.x must be (n, 2), points in a plane, got {x.shape}")
    return x


def _style(label: int) -> dict[str, Any]:
    return {
        "color": COLOURS[label % len(COLOURS)],
        "marker": MARKERS[label % len(MARKERS)],
        "edgecolors": "white",
        "linewidths": 0.4,
        "zorder": 3,
    }


def _marker_size(n: int) -> float:
    return float(np.clip(14_000 / max(n, 1), 3, 40))


def _limits(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the picture: the unit square where the points lie in it, else a frame around them."""
    low, high = x.min(axis=0), x.max(axis=0)
    if (low >= 0).all() and (high <= 1).all() and (high - low > 0.5).all():
        return np.zeros(2), np.ones(2)
    frame = 0.05 * np.maximum(high - low, 1e-9)
    return low - frame, high + frame


def _margin(y: np.ndarray) -> np.ndarray:
    """How clearly each row speaks for its class, 0 … 1."""
    top = np.sort(y, axis=1)
    lead = np.abs(y[:, 0] - 0.5) * 2 if y.shape[1] == 1 else top[:, -1] - top[:, -2]
    return np.asarray(np.clip(lead, 0, 1))


def _edge(y: np.ndarray, label: int) -> np.ndarray:
    """A function of the plane that is 0 where class `label` gives way to another."""
    if y.shape[1] == 1:
        return y[:, 0] - 0.5
    others = np.delete(y, label, axis=1)
    return np.asarray(y[:, label] - others.max(axis=1))


def _ground(said: np.ndarray, margin: np.ndarray) -> np.ndarray:
    colors = require("matplotlib.colors", "plots")
    full = np.array([colors.to_rgb(COLOURS[label % len(COLOURS)]) for label in said])
    strength = (0.06 + 0.34 * margin)[:, None]
    return np.asarray(1 - strength * (1 - full))


def _finish_plane(ax: Any, x: np.ndarray, title: str, legend: bool = True) -> None:
    low, high = _limits(x)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=title)
    ax.set_aspect("equal")
    if legend:
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, frameon=False, handletextpad=0.2, fontsize=9
        )
    _quiet(ax)


def _quiet(ax: Any) -> None:
    ax.tick_params(colors=INK, labelsize=8, length=2.5)
    ax.title.set_fontsize(10)
    for side, spine in ax.spines.items():
        spine.set(color="#aaaaaa", linewidth=0.7, visible=side in ("left", "bottom"))
