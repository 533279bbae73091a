"""The charts of docs/performance.md and the picture of README, each once for a light page and once for a dark one.

They are made for a column of text: 6 inches wide, so that letters can be read on a telephone, without a background, and
with their text as text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import MultipleLocator

from chainrule import predict

mpl.use("svg")
MEASURED, FONTS = "'DejaVu Sans'", "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, 'DejaVu Sans'"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "chainrule",  # the same picture is the same file
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "legend.frameon": False,
    "savefig.transparent": True,
}


@dataclass(frozen=True)
class Theme:
    """The colours of a page."""

    name: str
    text: str
    grid: str
    scale: tuple[float, float]  # the part of viridis that can be seen on it
    peers: dict[str, str]


# Okabe, Ito 2008, "Color universal design", brighter on a dark page
LIGHT = Theme(
    "light",
    "#1f2328",
    "#d1d9e0",
    (0.0, 0.82),
    {
        "chainrule": "#D55E00",
        "JAX": "#0072B2",
        "torch.compile": "#AA4499",
        "PyTorch": "#E69F00",
        "NumPy": "#009E73",
        "other": "#6e7781",
    },
)
DARK = Theme(
    "dark",
    "#e6edf3",
    "#3d444d",
    (0.3, 1.0),
    {
        "chainrule": "#FF7B29",
        "JAX": "#56B4E9",
        "torch.compile": "#E7A0CF",
        "PyTorch": "#F0C040",
        "NumPy": "#2FCB9B",
        "other": "#9198a1",
    },
)
MARKERS = {"scikit-learn": "s", "thinc": "^", "onnxruntime": "s", "torch.jit": "D", "torch.compile": "D", "NumPy": "v"}


def save(
    folder: Path,
    name: str,
    size: tuple[float, float],
    draw: Callable[[Any, Theme], None],
    widths: tuple[float, ...] = (1,),
) -> None:
    """Draw a chart for both pages, as folder/name-light.svg and name-dark.svg; `widths` are those of several axes."""
    for theme in (LIGHT, DARK):
        colours = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), theme.text)
        colours |= dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), theme.grid)
        with plt.rc_context(STYLE | colours):
            figure, axes = plt.subplots(1, len(widths), figsize=size, layout="constrained", width_ratios=widths)
            draw(axes, theme)
            path = folder / f"{name}-{theme.name}.svg"
            figure.savefig(path, metadata={"Date": None})
            plt.close(figure)
            path.write_text(path.read_text("utf-8").replace(MEASURED, FONTS), "utf-8")


def dots(rows: Sequence[dict[str, Any]], names: Sequence[str], label: str) -> Callable[[Any, Theme], None]:
    """A line for each row, row["label"], with a dot for everyone's row[name] on a logarithmic axis."""

    def draw(axes: Any, theme: Theme) -> None:
        for name in reversed(names):  # the first lies on top
            own = name == names[0]
            colour = _colour(theme, name)
            axes.plot(
                [row[name] for row in rows],
                range(len(rows)),
                linestyle="none",
                marker="o" if own else MARKERS.get(name, "o"),
                markersize=9 if own else 5.5,
                color=colour,
                label=name,
            )
        axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        _logarithmic(axes.xaxis, axes.set_xscale)
        axes.set_xlabel(label)
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(
            handles[::-1], labels[::-1], loc="outside upper left", ncols=4, handletextpad=0.1, columnspacing=1
        )

    return draw


def lines(
    series: dict[str, list[tuple[float, float]]],
    x: str,
    y: str,
    *,
    below: dict[str, list[tuple[float, float]]] | None = None,
    percent: bool = False,
    linear_x: bool = False,
) -> Callable[[Any, Theme], None]:
    """A line of points (x, y) for each of a graded series, its name in the legend; `below` are dashed."""

    def draw(axes: Any, theme: Theme) -> None:
        low, high = theme.scale
        for place, (name, points) in enumerate(series.items()):
            grade = high - (high - low) * place / max(1, len(series) - 1)
            colour = mpl.colormaps["viridis"](grade)
            axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=name)
            if below and below.get(name):
                axes.plot(*zip(*below[name], strict=True), "--", linewidth=1.2, color=colour)
        if below:
            axes.plot([], [], "--", linewidth=1.2, color=theme.text, label="fastest peer")
        if percent:
            axes.set_ylim(0, 100)
            axes.yaxis.set_major_formatter("{x:.0f} %")
        else:
            _logarithmic(axes.yaxis, axes.set_yscale)
        if linear_x:
            axes.xaxis.set_major_locator(MultipleLocator(1))
        else:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.set_xticks(_apart(sorted({point[0] for points in series.values() for point in points})))
            axes.minorticks_off()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(handles, labels, loc="outside upper left", ncols=3, handlelength=1.5, columnspacing=1.2)

    return draw


def scatter(groups: dict[str, list[tuple[float, float]]], x: str, y: str, level: float) -> Callable[[Any, Theme], None]:
    """Points (x, y) in groups, and a line at `level`."""

    def draw(axes: Any, theme: Theme) -> None:
        axes.axhline(level, color=theme.text, linewidth=1)
        for (name, points), peer, marker in zip(groups.items(), ("chainrule", "JAX"), "ov", strict=False):
            colour = theme.peers[peer]
            axes.plot(*zip(*points, strict=True), marker, linestyle="none", markersize=7, color=colour, label=name)
        _logarithmic(axes.xaxis, axes.set_xscale)
        axes.yaxis.set_major_formatter("{x:.2f} ×")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.figure.legend(loc="outside upper left", ncols=2, handletextpad=0.1, columnspacing=1)

    return draw


def courses(runs: Sequence[dict[str, list[tuple[float, float]]]], x: str) -> Callable[[Any, Theme], None]:
    """The test accuracy over time of everyone in each run, given as pairs (seconds of a part, accuracy after it).

    The first part counts as long as the usual one, without what was compiled in it.
    """

    def draw(axes: Any, theme: Theme) -> None:
        for name in reversed(runs[0]):  # the first lies on top
            for run in runs:
                seconds, accuracies = map(np.array, zip(*run[name], strict=True))
                seconds[0] = np.median(seconds)
                label = name if run is runs[0] else None
                line = {"linewidth": 1.5, "markersize": 3, "color": _colour(theme, name), "label": label}
                axes.plot(np.cumsum(seconds), 100 * accuracies, "o-", **line)
        _logarithmic(axes.xaxis, axes.set_xscale)
        axes.yaxis.set_major_formatter("{x:.0f} %")
        axes.set_xlabel(x)
        axes.set_ylabel("test accuracy")
        handles, labels = axes.get_legend_handles_labels()
        axes.figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=3, handlelength=1.5)

    return draw


def gain(model: Any, data: Any, radius: float, times: Sequence[tuple[str, float]]) -> Callable[[Any, Theme], None]:
    """What a network made of a disk, beside the milliseconds that everyone, (name, ms), took to learn it."""
    side = np.linspace(0, 1, 128)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype("float32")
    margin = np.diff(predict(model, grid)).reshape(128, 128)

    def draw(axes: Any, theme: Theme) -> None:
        plane, bars = axes
        colours = [theme.peers["JAX"], theme.peers["chainrule"]]
        ground = np.array([mpl.colors.to_rgba(colours[int(said)]) for said in (margin > 0).flat]).reshape(128, 128, 4)
        ground[..., 3] = 0.08 + 0.42 * np.clip(abs(margin), 0, 1)
        plane.imshow(ground, origin="lower", extent=(0, 1, 0, 1), interpolation="bilinear")
        plane.contour(side, side, margin, levels=[0.0], colors=theme.text, linewidths=1.6)
        plane.add_patch(
            plt.Circle((0.5, 0.5), radius, fill=False, color=theme.text, linewidth=0.8, linestyle=(0, (4, 3)))
        )
        for label, colour in enumerate(colours):
            of_label = data.x[data.target[:, label] > 0.5]
            plane.scatter(*of_label.T, s=9, color=colour, linewidths=0)
        plane.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], aspect="equal")
        plane.grid(visible=False)
        plane.spines[:].set_visible(False)
        plane.set_title("what the network learned", fontsize=11)
        bars.set_title("how long it took to learn it", fontsize=11, loc="left")

        names, took = zip(*times, strict=True)
        places = range(len(names))
        own = [name == "chainrule" for name in names]
        colour = [(theme.peers["chainrule" if one else "other"], 1 if one else 0.6) for one in own]
        bars.barh(places, took, height=0.62, color=colour)
        for place, ms in zip(places, took, strict=True):
            weight = "bold" if own[place] else "normal"
            bars.text(ms + 0.012 * max(took), place, f"{ms:.3g} ms", va="center", fontweight=weight)
        bars.set_yticks(places, names)
        bars.get_yticklabels()[own.index(True)].set_fontweight("bold")
        bars.invert_yaxis()
        bars.set(xlim=(0, 1.16 * max(took)), xticks=[])
        bars.tick_params(axis="y", length=0)
        bars.grid(visible=False)
        bars.spines[["left", "bottom"]].set_visible(False)

    return draw


def _apart(ticks: list[float]) -> list[float]:
    """Those whose numbers have room beside each other, the last first."""
    kept = [ticks[-1]]
    for tick in reversed(ticks[:-1]):
        if kept[-1] >= 1.9 * tick:
            kept.append(tick)
    return kept


def _colour(theme: Theme, name: str) -> str:
    return next((colour for start, colour in theme.peers.items() if name.startswith(start)), theme.peers["other"])


def _logarithmic(axis: Any, set_scale: Callable[[str], None]) -> None:
    set_scale("log")
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axis.set_minor_formatter(lambda value, _: "")
