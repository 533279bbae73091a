"""Pictures of a table model: its losses, and where it is right and wrong. They need the extra "plots"."""

from pathlib import Path
from typing import Any

import numpy as np

from .. import plots, random
from ..extras import require
from ..files import replacing
from ..train import History
from .fonts import drawable, use_fonts
from .model import TableModel
from .scores import ClassScore, NumberScore

MOST_POINTS = 5000  # that a picture shows; of more, so many at random
NAMED = 25  # classes whose names fit at the axes
NUMBERED = 15  # classes for which a matrix has room for figures


def draw(model: TableModel, folder: Path) -> list[Path]:
    """Write the pictures of a model that was just trained.

    Returns   the paths: losses.png, and confusion.png or predictions.png

    Raises ModuleNotFoundError without matplotlib.
    """
    figures: dict[str, Any] = {}
    if model.history is not None and model.history.epochs:
        figures["losses"] = losses(model)
    if isinstance(model.score, ClassScore):
        figures["confusion"] = confusion(model.score, model.target.name)
    elif model.score is not None:
        origin = getattr(model.target, "origin", 0.0)
        name = model.target.name + (f" less {origin:.0f}" if origin else "")
        figures["predictions"] = predictions(model.score, name)
    for name, figure in figures.items():
        use_fonts(figure)
        with replacing(folder / f"{name}.png") as file:
            figure.savefig(file, dpi=160)
    return [folder / f"{name}.png" for name in figures]


def losses(model: TableModel) -> Any:
    """The loss of each epoch of training, and of the rows to stop by."""
    figure = plots.losses(model.history or History(), title=f"Learning to predict {_name(model.target.name)}")
    name = model.report.get("loss", "loss")
    unit = name if isinstance(model.score, ClassScore) else f"{name}, of the standardised target"
    figure.axes[0].set_ylabel(unit)
    return figure


def confusion(score: ClassScore, target: str) -> Any:
    """How often each class was taken for each: blue where that is right, vermilion where not, by share of the row."""
    counts, n = score.confusion, len(score.classes)
    size = float(np.clip(2.0 + 0.5 * n, 3.2, 7))
    figure = require("matplotlib.figure", "plots").Figure(figsize=(size + 0.6, size), layout="constrained")
    ax = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    to_rgb = require("matplotlib.colors", "plots").to_rgb
    full = np.where(np.eye(n, dtype=bool)[:, :, None], to_rgb(plots.COLOURS[0]), to_rgb(plots.COLOURS[1]))
    ax.imshow(1 - (0.85 * np.sqrt(shares))[:, :, None] * (1 - full))  # the root, so that few errors can be seen too
    for row, column in np.argwhere(counts > 0) if n <= NUMBERED else []:
        ink = "white" if shares[row, column] > 0.45 else plots.INK
        ax.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=ink, fontsize=9)
    if n <= NAMED:
        names = [_name(name, 16) for name in score.classes]
        short = max(map(len, names)) <= 7
        ax.set_xticks(range(n), names, rotation=0 if short else 40, ha="center" if short else "right")
        ax.set_yticks(range(n), names)
    else:  # where a place would be taken for a name
        ax.set_xticks([])
        ax.set_yticks([])
    ax.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    ax.grid(True, which="minor", color="#e5e5e5", linewidth=0.7)
    right = f"{score.rows - score.errors:,} of {score.rows:,} right, {score.accuracy:.1%}"
    ax.set(xlabel=f"{_name(target)}, predicted", ylabel=f"{_name(target)}, true", title=right)
    plots._quiet(ax)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(which="both", length=0)
    return figure


def predictions(score: NumberScore, target: str) -> Any:
    """What was said against what is true, and how far it was off."""
    figure, axes = plots.sheet(1, 2, panel=(4.3, 4.0))
    dots, bars = axes[0]
    some = random.order(score.rows, seed=0, epoch=0)[:MOST_POINTS]
    low, high = float(score.true.min()), float(score.true.max())
    dots.plot([low, high], [low, high], color=plots.INK, linewidth=1, zorder=2)
    style = {"color": plots.COLOURS[0], "linewidths": 0, "alpha": float(np.clip(250 / len(some), 0.12, 0.75))}
    dots.scatter(score.true[some], score.said[some], s=float(np.clip(9000 / len(some), 6, 28)), zorder=3, **style)
    dots.set(xlabel=f"{_name(target)}, true", ylabel=f"{_name(target)}, predicted")
    dots.set_title(f"R² {score.r2:.3f} on {score.rows:,} rows")
    bars.hist(score.residuals, bins=_bins(score), color=plots.COLOURS[0], alpha=0.85)
    bars.yaxis.get_major_locator().set_params(integer=True)
    bars.axvline(0, color=plots.INK, linewidth=1)
    bars.set(xlabel=f"{_name(target)}, predicted less true", ylabel="rows")
    bars.set_title(f"mean absolute error {score.mae:.4g}")
    for ax in (dots, bars):
        ax.grid(True, color="#e5e5e5", linewidth=0.7)
        ax.set_axisbelow(True)
        plots._quiet(ax)
    return figure


def _frame(score: NumberScore) -> tuple[float, float]:
    """Between which residuals a histogram is drawn; of many rows, two in a thousand may lie outside of it."""
    far = 0.001 if score.rows > 1000 else 0.0
    low, high = (float(edge) for edge in np.quantile(score.residuals, (far, 1 - far)))
    size = float(np.abs(score.true).max())
    least = 1e-6 * size or 1.0  # so that equal residuals have a frame too
    return (low, high) if high - low > 1e-12 * size else (low - least, high + least)


def _bins(score: NumberScore) -> np.ndarray:
    return np.linspace(*_frame(score), min(40, max(8, score.rows // 6)) + 1)


def _name(text: str, most: int = 32) -> str:
    """A name from a table as matplotlib is to show it: not too long, no formula, and of letters that a font has."""
    text = " ".join(text.split())
    return drawable(text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")
