"""The charts of docs/performance.md, each once for a light page and once for a dark one.

They are made for a column of text: 6 inches wide, so that letters can be read on a telephone, without a background, and
with their text as text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import MultipleLocator

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


def save(folder: Path, name: str, size: tuple[float, float], draw: Callable[[Any, Theme], None]) -> None:
    """Draw a chart for both pages, as folder/name-light.svg and name-dark.svg."""
    for theme in (LIGHT, DARK):
        colours = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), theme.text)
        colours |= dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), theme.grid)
        with plt.rc_context(STYLE | colours):
            figure, axes = plt.subplots(figsize=size, layout="constrained")
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
