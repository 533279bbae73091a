"""The study's pictures: SVG for a page, in the colours of its text, each narrow enough for a telephone."""

import io
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from ...extras import require
from .questions import OPTIMIZERS, Cell, Plan, Question
from .summary import Mean, Median, Summary

# Okabe, Ito 2008, "Color universal design"; these two can be seen on light pages and on dark ones.
COLOURS = {"chainrule": "#D55E00", "torch": "#0072B2"}
NAMES = {"chainrule": "chainrule", "torch": "PyTorch"}
MARKERS = {"chainrule": "o", "torch": "s"}
OPTIMIZER_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, FAINT = "#010203", "#040506"  # stand for the page's colours until the picture is text
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "chainrule",  # the same picture is the same text
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.transparent": True,
}
SIZE = (4.3, 3.1)


def picture(draw: Callable[[Any], None]) -> str:
    """An SVG element with what `draw` draws on the axes that it is given."""
    mpl, figure = require("matplotlib", "study"), require("matplotlib.figure", "study")
    with mpl.rc_context(STYLE):
        sheet = figure.Figure(figsize=SIZE, layout="constrained")
        draw(sheet.subplots())
        text = io.StringIO()
        sheet.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(text.getvalue())


def errors(summary: Summary, question: Question, disk: str) -> str:
    """Test errors of both frameworks with their confidence intervals."""

    def draw(ax: Any) -> None:
        for who in summary.frameworks:
            estimates = [summary.error(disk, who, question.cell(value)) for value in question.values]
            _series(ax, summary, question, who, [_percent(one) for one in estimates])
        known = [_percent(one) for one in _all(summary, question, disk) if one.n]
        ax.set(ylabel="test error, %", title=f"{disk} disk")
        if any(p[2] > 0 for p in known):  # an interval of few seeds may reach further than the picture
            ax.set_ylim(0, 1.06 * min(max(p[2] for p in known), 1.5 * max(p[0] for p in known)))
        _axis(ax, question)

    return picture(draw)


def times(summary: Summary, question: Question, what: str) -> str:
    """Seconds of both frameworks, on one thread (lines) and on as many as they choose (dashes)."""

    def draw(ax: Any) -> None:
        for who in summary.frameworks:
            for threads in ("default", "1"):
                medians = [summary.time(what, who, threads, question.cell(value)) for value in question.values]
                _series(ax, summary, question, who, [_ms(one) for one in medians], dashed=threads == "default")
        ax.set_yscale("log")
        ax.set(ylabel="ms", title={"train_s": "training", "test_s": "testing as many points"}[what])
        _axis(ax, question)
        _plain_log(ax.yaxis)

    return picture(draw)


def tuning(summary: Summary, plan: Plan, disk: str) -> str:
    """Test errors against the learning rate, a line for each optimizer."""

    def draw(ax: Any) -> None:
        every = []
        for name, colour in zip(OPTIMIZERS, OPTIMIZER_COLOURS, strict=True):
            means = [summary.error(disk, "chainrule", Cell(optimizer=name, lr=lr)) for lr in plan.tuning]
            every += means
            percent = [100 * one.mean for one in means]
            ax.plot(plan.tuning, percent, "o-", color=colour, markersize=3.5, linewidth=1.5, label=name)
        ax.set(xscale="log", xlabel="learning rate", ylabel="test error, %", title=f"{disk} disk")
        _plain_log(ax.xaxis)
        if any(one.mean > 0 for one in every):  # a few networks may be without an error
            ax.set_yscale("log")
            _plain_log(ax.yaxis)
        ax.legend(fontsize=9, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))

    return picture(draw)


def course(rows: list[dict[str, Any]], disk: str) -> str:
    """The losses of both, one upon the other."""

    def draw(ax: Any) -> None:
        chosen = [row for row in rows if row["disk"] == disk and row["dtype"] == "float32"]
        epochs = [row["epoch"] for row in chosen]
        ax.plot(
            epochs, [row["torch"] for row in chosen], color=COLOURS["torch"], linewidth=5, alpha=0.45, label="PyTorch"
        )
        ax.plot(
            epochs, [row["chainrule"] for row in chosen], color=COLOURS["chainrule"], linewidth=1.4, label="chainrule"
        )
        ax.set(yscale="log", xlabel="epoch", ylabel="loss", title=f"{disk} disk")
        _plain_log(ax.yaxis)
        ax.legend(fontsize=9)

    return picture(draw)


def difference(rows: list[dict[str, Any]], disk: str) -> str:
    """How far the parameters of both are apart."""

    def draw(ax: Any) -> None:
        for dtype, colour in (("float32", "#009E73"), ("float64", "#CC79A7")):
            chosen = [row for row in rows if row["disk"] == disk and row["dtype"] == dtype]
            epochs = [row["epoch"] for row in chosen]
            ax.plot(epochs, [row["difference"] for row in chosen], color=colour, linewidth=1.5, label=dtype)
        ax.set(yscale="log", xlabel="epoch", ylabel="largest difference", title=f"{disk} disk")
        ax.legend(fontsize=9)

    return picture(draw)


Point = tuple[float, float, float]  # the middle and the two ends


def _percent(one: Mean) -> Point:
    half = 0.0 if math.isnan(one.half) else one.half
    return 100 * one.mean, 100 * max(one.mean - half, 0), 100 * (one.mean + half)


def _ms(one: Median) -> Point:
    return 1000 * one.median, 1000 * one.low, 1000 * one.high


def _all(summary: Summary, question: Question, disk: str) -> Iterable[Mean]:
    return (summary.error(disk, who, question.cell(v)) for who in summary.frameworks for v in question.values)


def _series(
    ax: Any, summary: Summary, question: Question, who: str, points: list[Point], *, dashed: bool = False
) -> None:
    """A framework's points with their bars; the two stand a little apart, so that both are seen where they agree."""
    side = 0.0 if len(summary.frameworks) < 2 else {"chainrule": -1.0, "torch": 1.0}[who]
    n = len(question.values)
    if question.scale == "names":
        x = [i + 0.12 * side for i in range(n)]
    elif question.scale == "log":
        span = math.log(question.values[-1] / question.values[0])
        x = [value * math.exp(0.008 * side * span) for value in question.values]
    else:
        x = [value + 0.012 * side * (question.values[-1] - question.values[0]) for value in question.values]
    middle = [p[0] for p in points]
    bars = [[max(p[0] - p[1], 0) for p in points], [max(p[2] - p[0], 0) for p in points]]
    line = "" if question.scale == "names" else ("--" if dashed else "-")
    ax.errorbar(
        x,
        middle,
        yerr=bars,
        fmt=MARKERS[who] + line,
        color=COLOURS[who],
        markersize=3.5 if dashed else 4.5,
        markerfacecolor="none" if dashed else COLOURS[who],
        linewidth=1.1 if dashed else 1.6,
        elinewidth=1.3,
    )


def _axis(ax: Any, question: Question) -> None:
    ax.set_xlabel(question.title.lower())
    if question.scale == "names":
        few = len(question.values) < 5
        ax.set_xticks(
            range(len(question.values)), question.values, rotation=0 if few else 35, ha="center" if few else "right"
        )
        ax.set_xlim(-0.6, len(question.values) - 0.4)
        ax.set_xlabel("")
    elif question.scale == "log":
        ax.set_xscale("log")
        _plain_log(ax.xaxis)


def _plain_log(axis: Any) -> None:
    """Numbers as people write them: 0.01, 1, 100, 10,000."""
    ticker = require("matplotlib.ticker", "study")
    low, high = axis.get_view_interval()
    axis.set_major_locator(ticker.LogLocator(subs=(1,) if high / max(low, 1e-300) > 60 else (1, 2, 5)))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _inline(text: str) -> str:
    """An SVG file as a part of a page: without a head, in the page's colours, as wide as its place."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', svg, count=1)
    svg = svg.replace(INK, "currentColor").replace(FAINT, "var(--faint)")
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", svg)
    return re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<title>.*?</title>", "", svg, flags=re.DOTALL)
