"""What the figures say, in sentences; all numbers in them come from the summary."""

import math
import statistics
from typing import Any

from .questions import BASE, DISKS, OPTIMIZERS, Cell, Plan, Question
from .summary import Mean, Summary


def findings(summary: Summary, plan: Plan) -> list[str]:
    """The main results, in five sentences at most."""
    cells = plan.cells()
    said = []
    if "torch" in summary.frameworks:
        said += [_agreement(summary, cells), _parameters(summary), _speed(summary, cells)]
    said += [_what_matters(summary, plan), _rate(summary)]
    return [sentence for sentence in said if sentence]


def errors(summary: Summary, question: Question) -> str:
    """What the errors of a question show."""
    parts = []
    for disk in DISKS:
        known = [(value, summary.error(disk, "chainrule", question.cell(value))) for value in question.values]
        known = [(value, one) for value, one in known if one.n]
        if not known:
            continue
        (low, best), (high, worst) = (pick(known, key=lambda pair: pair[1].mean) for pick in (min, max))
        parts.append(
            f"{disk} disk {percent(worst)} ({named(question, high)}) and {percent(best)} ({named(question, low)})"
        )
    failed = [
        f"{one.failed} of {one.failed + one.n} networks at {named(question, value)}, {disk} disk"
        for disk in DISKS
        for value in question.values
        if (one := summary.error(disk, "chainrule", question.cell(value))).failed
    ]
    text = f"The highest and the lowest test error: {'; '.join(parts)}."
    if failed:
        text += f" Some diverged, and are not in the means: {'; '.join(failed)}."
    if "torch" in summary.frameworks:
        agree, total, apart = _agree(summary, [question.cell(value) for value in question.values])
        text += f" PyTorch's intervals overlap with chainrule's in {agree} of {total} cases"
        text += f"; the means are at most {100 * max(apart):.2g} percentage points apart."
    return text


def times(summary: Summary, question: Question) -> str:
    """What the times of a question show."""
    cells = [question.cell(value) for value in question.values]
    if "torch" not in summary.frameworks:
        return (
            f"Training takes {_range([1000 * summary.time('train_s', 'chainrule', '1', c).median for c in cells])} ms."
        )
    said = []
    for threads, name in (("1", "On one thread"), ("default", "with as many threads as each of them chooses")):
        train = _range([summary.ratio("train_s", cell, threads) for cell in cells])
        test = _range([summary.ratio("test_s", cell, threads) for cell in cells])
        said.append(f"{name} PyTorch takes {train} times as long to train, and {test} times as long to test")
    return "; ".join(said) + "."


def tuning(summary: Summary, plan: Plan) -> str:
    """What the learning rates of the optimizers show."""
    parts = []
    for disk in DISKS:
        best = {}
        for name in OPTIMIZERS:
            known = [(summary.error(disk, "chainrule", Cell(optimizer=name, lr=lr)), lr) for lr in plan.tuning]
            if known := [(one, lr) for one, lr in known if one.n and not one.failed]:
                best[name] = min(known, key=lambda pair: pair[0].mean)
        if best:
            ordered = sorted(best.items(), key=lambda pair: pair[1][0].mean)
            named = ", ".join(f"{name} {percent(one)} at {lr:g}" for name, (one, lr) in ordered)
            parts.append(f"{disk} disk: {named}")
    return f"Each optimizer at its best learning rate; {'; '.join(parts)}."


def followed(rows: list[dict[str, Any]]) -> list[str]:
    """The disks of which there are courses."""
    return [disk for disk in DISKS if any(row["disk"] == disk for row in rows)]


def course(rows: list[dict[str, Any]]) -> str:
    """What the two courses of the loss show."""
    apart = [abs(row["chainrule"] / row["torch"] - 1) for row in rows if row["dtype"] == "float32"]
    return (
        f"Both losses, one upon the other: in float32 they differ by {max(apart):.1g} of their value at most, "
        f"in the median by {statistics.median(apart):.1g}."
    )


def difference(rows: list[dict[str, Any]]) -> str:
    """What the differences of the parameters show."""
    said, disks = [], followed(rows)
    for dtype in ("float64", "float32"):
        last = [
            max((r for r in rows if (r["disk"], r["dtype"]) == (disk, dtype)), key=lambda r: r["epoch"])
            for disk in disks
        ]
        own, default = (", ".join(f"{row[name]:.1e}" for row in last) for name in _DIFFERENCES)
        said.append(f"{own} in {dtype}" + ("" if own == default else f" ({default} with PyTorch's default threads)"))
    return (
        f"The largest difference between two parameters after {BASE.epochs} epochs ({' and '.join(disks)} disk): "
        f"{'; '.join(said)}. Both add the same numbers, but in other orders; training makes "
        "what rounding begins grow, and in float32 it has further to go."
    )


_DIFFERENCES = ("difference", "difference_default_threads")


def percent(one: Mean) -> str:
    """1.23 ± 0.12 %."""
    if not one.n:
        return "all diverged" if one.failed else ""
    half = "" if math.isnan(one.half) else f" ± {100 * one.half:.2f}"
    return f"{100 * one.mean:.2f}{half} %"


def named(question: Question, value: Any) -> str:
    """A value in words: "1,000 training points", "Adam"."""
    if isinstance(value, str):
        return value
    number = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return {
        "points": f"{number} points",
        "lr": f"learning rate {number}",
        "epochs": f"{number} epochs",
        "batch_size": f"batches of {number}",
        "width": f"{number} units wide",
        "depth": f"{number} hidden layer{'s' if value > 1 else ''}",
    }[question.name]


def _agreement(summary: Summary, cells: list[Cell]) -> str:
    agree, total, apart = _agree(summary, cells)
    return (
        f"Both learn the same: in {agree} of {total} cases the 95 % confidence intervals of chainrule's and PyTorch's "
        f"test errors overlap; the means are {100 * statistics.median(apart):.2g} percentage points apart in the "
        f"median, and {100 * max(apart):.2g} at most."
    )


def _parameters(summary: Summary) -> str:
    rows = summary.store.courses.rows
    last = [row for row in rows if row["dtype"] == "float64" and row["epoch"] == BASE.epochs]
    if not last:
        return ""
    return (
        f"From the same start and on the same batches, {BASE.steps:,} steps later no parameter of the two differs by "
        f"more than {max(row['difference'] for row in last):.1e} in float64."
    )


def _speed(summary: Summary, cells: list[Cell]) -> str:
    ratios = [summary.ratio("train_s", cell) for cell in cells]
    tests = [summary.ratio("test_s", cell) for cell in cells]
    middle = statistics.median(ratio for ratio in ratios if math.isfinite(ratio))
    text = f"On one thread PyTorch takes {_range(ratios)} times as long to train (median {middle:.3g}), and "
    text += f"{_range(tests)} times as long to test"
    return text + ("; threads of its own choice do not help it." if _threads_do_not_help(summary, cells) else ".")


def _threads_do_not_help(summary: Summary, cells: list[Cell]) -> bool:
    pairs = [[summary.time("train_s", "torch", threads, cell).median for threads in ("1", "default")] for cell in cells]
    return statistics.median(one / default for one, default in pairs if one > 0 and default > 0) < 1.05


def _what_matters(summary: Summary, plan: Plan) -> str:
    """The best value of the questions that lower the error most, measured from the base."""
    gains = []
    for question in plan.questions:
        for value in question.values:
            ratios = []
            for disk in DISKS:
                base, one = (summary.error(disk, "chainrule", cell) for cell in (BASE, question.cell(value)))
                ratios.append(one.mean / base.mean if one.n and base.mean > 0 and not one.failed else math.nan)
            if all(math.isfinite(ratio) for ratio in ratios):
                gains.append((math.prod(ratios), question, value))
    best: dict[str, tuple[Question, Any]] = {}
    for gain, question, value in sorted(gains, key=lambda g: g[0]):
        if gain < 1:
            best.setdefault(question.name, (question, value))
    if not best:
        return ""
    parts = []
    for question, value in list(best.values())[:3]:
        reached = " and ".join(
            f"{100 * summary.error(disk, 'chainrule', question.cell(value)).mean:.2f}" for disk in DISKS
        )
        parts.append(f"{named(question, value)} ({reached} %)")
    return (
        f"The base network errs on {_on_both(summary, BASE)} % of the points ({' and '.join(DISKS)} disk); what lowers "
        f"that most, one change at a time: {', '.join(parts)}."
    )


def _on_both(summary: Summary, cell: Cell) -> str:
    return " and ".join(f"{100 * summary.error(disk, 'chainrule', cell).mean:.2f}" for disk in DISKS)


def _rate(summary: Summary) -> str:
    rate = summary.networks_per_second()
    if not math.isfinite(rate):
        return ""
    return f"A core trains {rate:.3g} networks a second, each for {BASE.steps:,} steps, while all cores do so."


def _agree(summary: Summary, cells: list[Cell]) -> tuple[int, int, list[float]]:
    """In how many cases both intervals overlap, of how many, and how far their means are apart."""
    agree, total = 0, 0
    apart: list[float] = []
    for disk in DISKS:
        for cell in cells:
            ours, theirs = (summary.error(disk, who, cell) for who in ("chainrule", "torch"))
            if not (ours.n and theirs.n):
                continue
            total += 1
            away = abs(ours.mean - theirs.mean)
            halves = sum(0.0 if math.isnan(one.half) else one.half for one in (ours, theirs))
            agree += away <= halves
            apart.append(away)
    return agree, total, apart


def _range(values: list[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return "unknown"
    low, high = f"{min(known):.3g}", f"{max(known):.3g}"
    return low if low == high else f"{low} to {high}"
