"""Pictures: points, what a network makes of the plane, losses, schedules, a network. They need the extra "plots".

Each function returns a matplotlib Figure, to be shown by a notebook or written by `figure.savefig("picture.png")`;
given `ax`, it draws there instead and returns that figure. No global state of matplotlib is touched.

Colours      blue, vermilion, green, yellow, purple, sky blue in an order that people with any colour vision can tell
             apart, and classes differ in the marker too. Source: Okabe, Ito 2008, "Color universal design"
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import arrays
from .arguments import positive
from .data import Dataset
from .diagram import GAP, HEIGHT, SIGN, SIGNS, Box, arranged, boxes
from .extras import require
from .module import Module
from .optimizers import Schedule
from .roles import require_model
from .train import History, predict
from .train.metrics import classes, labels

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
MARKERS = ("o", "^", "s", "D", "v", "P")
INK = "#333333"
QUIET = "#777777"
GROUNDS = {  # of the boxes of a network: the ground and the edge of each kind
    "input": ("#f2f2f2", "#aaaaaa"),
    "output": ("#f2f2f2", "#aaaaaa"),
    "weights": ("#e3eff7", COLOURS[0]),
    "join": ("#fbeadf", COLOURS[1]),
    "layer": ("#ffffff", "#999999"),
}


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


def schedule(
    rate: Schedule,
    epochs: int,
    *,
    steps_per_epoch: int = 1,
    losses: Sequence[float] = (),
    title: str = "",
    ax: Any = None,
) -> Any:
    """The learning rate of each step; where the momentum is cycled that too, dashed, on an axis at the right.

    Parameters
    ----------
    rate : any schedule, which stays as it is; drawn from its beginning.
    epochs, steps_per_epoch : how far.
    losses : of every epoch, for a schedule that goes by them.
    """
    if not isinstance(rate, Schedule):
        raise TypeError(f"plots.schedule: rate must be a schedule, got {rate!r}")
    positive("plots.schedule", "epochs", epochs)
    positive("plots.schedule", "steps_per_epoch", steps_per_epoch)
    if rate.listens() and len(losses) < epochs:
        raise ValueError(f"plots.schedule: losses must be those of {epochs} epochs, for {rate!r}, got {len(losses)}")
    rate = copy.deepcopy(rate)
    rate.forget()
    rates, momenta = [], []
    for epoch in range(epochs):
        for step in range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch):
            rates.append(rate.at(steps=step, epochs=epoch))
            momenta.append(rate.momentum_at(steps=step, epochs=epoch))
        if rate.listens():
            rate.observe(losses[epoch])
    figure, ax = _axes(ax, (5.6, 3.6))
    _draw_steps(ax, rates, epochs, color=COLOURS[0], linewidth=1.4)
    ax.set(xlabel="epoch", ylabel="learning rate", title=title, ylim=(0, None))
    ax.grid(True, which="major", color="#e5e5e5", linewidth=0.7)
    _quiet(ax)
    if rate.cycles_momentum():
        right = ax.twinx()
        known = [np.nan if momentum is None else momentum for momentum in momenta]
        _draw_steps(right, known, epochs, color=COLOURS[1], linewidth=1.1, linestyle=(0, (4, 2)))
        right.set_ylabel("momentum")
        _quiet(right)
        right.spines["right"].set_visible(True)
    return figure


def _draw_steps(ax: Any, values: list[float], epochs: int, **look: Any) -> None:
    """A line that holds each value until the next one comes."""
    ax.plot(np.linspace(0, epochs, len(values) + 1), [*values, values[-1]], drawstyle="steps-post", **look)


def graph(model: Module, x: Any = None, *, title: str = "", ax: Any = None) -> Any:
    """A network as boxes and arrows, from its inputs down to its outputs.

    Networks inside of it are opened up: a box is a layer, with its place in the network (by which `state_dict` names
    its parameters) and the number of its parameters. Those that learn are blue, those where branches meet vermilion.

    Parameters
    ----------
    model : any network of Sequential, Residual, Parallel and Graph; a Module of another kind is one box.
    x : what the network is shown, if that is a tuple or a dict and the model is no Graph, which knows it.
    """
    found = boxes(require_model("plots.graph", model), x)
    arrows = arranged(found)
    drawn = [*found, *(box for arrow in arrows for box in arrow)]
    low = min(box.x - box.width / 2 for box in drawn) - 0.15
    high = max(box.x + box.width / 2 for box in drawn) + 0.15
    depth = 1 + max(box.level for box in found)
    height = depth * (HEIGHT + GAP) - GAP + 0.3
    edge = 0.1  # what the layout keeps free around the axes, so that a unit is an inch
    figure, ax = _axes(ax, (max(high - low, 1.5) + edge, height + edge + (0.3 if title else 0)))
    for arrow in arrows:
        _draw_arrow(ax, arrow, arrows)
    for box in found:
        _draw_box(ax, box)
    ax.set(xlim=(low, high), ylim=(-height + 0.15 + HEIGHT / 2, 0.15 + HEIGHT / 2), title=title)
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.title.set_fontsize(10)
    return figure


def _draw_box(ax: Any, box: Box) -> None:
    patches = require("matplotlib.patches", "plots")
    ground, edge = GROUNDS[box.kind]
    look = {"facecolor": ground, "edgecolor": edge, "linewidth": 0.9, "zorder": 2}
    y = -box.level * (HEIGHT + GAP)
    if box.text in SIGNS.values():
        ax.add_patch(patches.Circle((box.x, y), SIGN / 2, **look))
        ax.text(box.x, y, box.text, ha="center", va="center_baseline", fontsize=11, color=INK, zorder=3)
        ax.text(box.x + SIGN / 2 + 0.05, y, box.caption, ha="left", va="center", fontsize=6.5, color=QUIET, zorder=3)
        return
    height, end = (0.28, 0.14) if box.kind in ("input", "output") else (HEIGHT, 0.06)
    style = patches.BoxStyle("Round", pad=0, rounding_size=end)
    corner = (box.x - box.width / 2, y - height / 2)
    ax.add_patch(patches.FancyBboxPatch(corner, box.width, height, boxstyle=style, **look))
    up = 0.075 if box.caption else 0.0
    ax.text(box.x, y + up, box.text, ha="center", va="center", fontsize=8.5, color=INK, zorder=3)
    ax.text(box.x, y - 0.105, box.caption, ha="center", va="center", fontsize=6.5, color=QUIET, zorder=3)


def _draw_arrow(ax: Any, points: list[Box], arrows: list[list[Box]]) -> None:
    """A smooth line from the lower edge of a box to the upper edge of another, with a head."""
    patches, path = require("matplotlib.patches", "plots"), require("matplotlib.path", "plots")
    above, below = points[0], points[-1]
    entries = sorted((other for other in arrows if other[-1] is below), key=lambda other: other[-2].x)
    place = next(i for i, other in enumerate(entries) if other is points) - (len(entries) - 1) / 2
    room = 0.0 if below.text in SIGNS.values() else min(0.3, 0.7 * below.width / len(entries))
    xs = [*(box.x for box in points[:-1]), below.x + place * room]
    ys = [-box.level * (HEIGHT + GAP) for box in points]
    vertices, codes = [(xs[0], ys[0] - _half(above))], [path.Path.MOVETO]
    for i in range(1, len(points)):
        start, last = vertices[-1], i == len(points) - 1
        end = (xs[i], ys[i] + (_half(below) if last else HEIGHT / 2))
        middle = (start[1] + end[1]) / 2
        vertices += [(start[0], middle), (end[0], middle), end]
        codes += [path.Path.CURVE4] * 3
        if not last:  # straight past the boxes of a level
            vertices.append((xs[i], ys[i] - HEIGHT / 2))
            codes.append(path.Path.LINETO)
    line = path.Path(vertices, codes)
    head = {"arrowstyle": "-|>,head_length=3,head_width=1.6", "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(patches.FancyArrowPatch(path=line, color="#666666", linewidth=0.9, zorder=1, **head))


def _half(box: Box) -> float:
    """From the middle of a box to its upper edge."""
    if box.text in SIGNS.values():
        return SIGN / 2
    return 0.14 if box.kind in ("input", "output") else HEIGHT / 2


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
