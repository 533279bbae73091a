"""One HTML page with everything in it, and the main table for a README."""

import math
from datetime import date
from importlib import resources
from typing import Any

from ...extras import require
from ...files import write_text
from . import pictures, sentences
from .questions import BASE, DISKS, Cell, Plan, Question
from .store import Store
from .summary import Median, Summary

PAGE, TABLE = "index.html", "table.md"


def write(store: Store, plan: Plan) -> None:
    """Write index.html and table.md into the store's folder.

    Raises ValueError if nothing has been measured yet, ModuleNotFoundError without the extra "study".
    """
    if not (store.errors.rows and store.times.rows):
        raise ValueError(f"{store.folder} holds nothing to draw yet")
    summary = Summary(store)
    jinja2 = require("jinja2", "study")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(resources.files(__package__).joinpath("page.html.jinja").read_text("utf-8"))
    heading, rows = table(summary, plan)
    write_text(
        store.folder / PAGE,
        template.render(
            about=store.about,
            base=BASE,
            complete=_complete(summary, plan),
            courses=_courses(store) if store.courses.rows else [],
            day=date.today().isoformat(),
            disks=DISKS,
            findings=sentences.findings(summary, plan),
            heading=heading,
            peer="torch" in summary.frameworks,
            plan=plan,
            questions=[_section(summary, question) for question in plan.questions],
            rows=rows,
            summary=summary,
            tuning=[pictures.tuning(summary, plan, disk) for disk in DISKS],
            tuning_says=sentences.tuning(summary, plan),
        ),
    )
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    write_text(store.folder / TABLE, "".join(f"| {' | '.join(line)} |\n" for line in lines))


def findings(store: Store, plan: Plan) -> list[str]:
    """What came out, in five sentences at most."""
    return sentences.findings(Summary(store), plan)


def table(summary: Summary, plan: Plan) -> tuple[list[str], list[list[str]]]:
    """The main table: the base, and the ends of each question."""
    cells = {"the base": BASE}
    for question in plan.questions:
        ends = question.values if question.name in ("optimizer", "loss") else (question.values[0], question.values[-1])
        for value in ends:
            if question.cell(value) != BASE:
                cells[sentences.named(question, value)] = question.cell(value)
    return _heading(summary), [[name, *_figures(summary, cell)] for name, cell in cells.items()]


def _heading(summary: Summary) -> list[str]:
    names = [pictures.NAMES[who] for who in summary.frameworks]
    heading = ["network and training", *(f"{disk} disk, {name}" for disk in DISKS for name in names)]
    heading += [f"training, {name}" for name in names]
    return heading + ["times as fast"] * (len(names) > 1)


def _figures(summary: Summary, cell: Cell) -> list[str]:
    figures = [sentences.percent(summary.error(disk, who, cell)) for disk in DISKS for who in summary.frameworks]
    figures += [_time(summary.time("train_s", who, "1", cell)) for who in summary.frameworks]
    if "torch" in summary.frameworks:
        ratio = summary.ratio("train_s", cell)
        figures.append(f"{ratio:.3g}" if math.isfinite(ratio) else "")
    return figures


def _section(summary: Summary, question: Question) -> dict[str, Any]:
    """A question with its pictures, what they show, and all its figures."""
    heading = [question.title, *_heading(summary)[1:]]
    names = [pictures.NAMES[who] for who in summary.frameworks]
    heading += [f"testing, {name}" for name in names] + [f"training, {name}, default threads" for name in names]
    rows = []
    for value in question.values:
        cell = question.cell(value)
        tested = [_time(summary.time("test_s", who, "1", cell)) for who in summary.frameworks]
        threaded = [_time(summary.time("train_s", who, "default", cell)) for who in summary.frameworks]
        named = f"{value:,}" if isinstance(value, int) else str(value)
        rows.append([named, *_figures(summary, cell), *tested, *threaded])
    return {
        "title": question.title,
        "id": question.name,
        "errors": [pictures.errors(summary, question, disk) for disk in DISKS],
        "errors_say": sentences.errors(summary, question),
        "times": [pictures.times(summary, question, what) for what in ("train_s", "test_s")],
        "times_say": sentences.times(summary, question),
        "heading": heading,
        "rows": rows,
    }


def _courses(store: Store) -> list[dict[str, Any]]:
    rows = store.courses.rows
    disks = sentences.followed(rows)
    return [
        {"pictures": [pictures.course(rows, disk) for disk in disks], "says": sentences.course(rows)},
        {"pictures": [pictures.difference(rows, disk) for disk in disks], "says": sentences.difference(rows)},
    ]


def _complete(summary: Summary, plan: Plan) -> bool:
    expected = 2 * plan.seeds * (len(summary.frameworks) * len(plan.cells()) + len(plan.tuned()))
    return len(summary.store.errors.rows) >= expected and summary.rounds >= plan.rounds


def _time(one: Median) -> str:
    """1.23 s, or 45.6 ms."""
    if math.isnan(one.median):
        return ""
    return f"{one.median:.3g} s" if one.median >= 1 else f"{1000 * one.median:.3g} ms"
