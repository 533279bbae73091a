"""What training found, as text for people; `TableModel.report` has the same as plain values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..layers import Dropout, Linear
from .model import TableModel
from .schema import counted
from .scores import FEW

COLUMNS = 40  # of a table that are listed one by one
CLASSES = 12  # of which a matrix still fits a terminal
_MARGIN = 14  # letters before what a section says
_WIDTH = 60  # letters that a cell may have


def report_text(model: TableModel) -> str:
    """All of it: the columns, the network, its training, its score."""
    report = model.report
    lines = [
        f"{report['source']}: {counted(report['rows']['all'], 'row')}; {model.task}, because {model.target.reason}",
        "",
        schema_text(model),
        "",
        *_section("network", [_network(model)]),
        *_section("training", _training(model)),
        "",
        score_text(report["score"], report["scored_on"]),
    ]
    notes = [*report["notes"], *_left_out(model)]
    return "\n".join([*lines, *(["", *_section("notes", notes)] if notes else [])])


def schema_text(model: TableModel) -> str:
    """The columns as a table: name, kind, why, and how each is encoded."""
    schema = model.schema
    rows = [("column", "kind", "why", "encoded as")]
    for row in schema[: COLUMNS if len(schema) > COLUMNS + 5 else len(schema)]:
        same = row["encoded"] == row["reason"]
        rows.append((row["name"], row["kind"], row["reason"], "" if same else row["encoded"]))
    text = grid(rows)
    if more := schema[len(rows) - 1 :]:
        kinds = Counter(row["kind"] for row in more)
        text += f"\n… and {len(more):,} more: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    return text


def score_text(score: Mapping[str, Any], part: str) -> str:
    """A score as plain values in words, with the matrix of who was taken for whom."""
    return "\n".join(_class_score(score, part) if "confusion" in score else _number_score(score, part))


def grid(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of texts as aligned columns; those at the positions `right` end at the same letter."""
    cells = [[_short(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _class_score(score: Mapping[str, Any], part: str) -> list[str]:
    rows, errors, classes, confusion = score["rows"], score["errors"], score["classes"], score["confusion"]
    said = [
        f"{rows - errors:,} of {counted(rows, 'row')} right, {score['accuracy']:.1%}"
        f"{_interval(score.get('accuracy_interval'), '.1%')}",
        f"always saying {score['most_frequent']}, the most frequent of them: "
        f"{score['accuracy_of_the_most_frequent']:.1%}",
    ]
    if score["cross_entropy"] is not None:
        said.append(f"cross-entropy {score['cross_entropy']:.4g}")
    lines = [*_section(part, [*said, *_few(rows)]), ""]
    if len(classes) <= CLASSES:
        table = [["true, and said", *classes, "right"]]
        for i, (name, counts) in enumerate(zip(classes, confusion, strict=True)):
            share = f"{counts[i] / sum(counts):.0%}" if sum(counts) else ""
            table.append([name, *(f"{count:,}" if count else "." for count in counts), share])
        return [*lines, grid(table, right=range(1, len(classes) + 2))]
    wrong = [
        (count, true, taken)
        for true, counts in zip(classes, confusion, strict=True)
        for taken, count in zip(classes, counts, strict=True)
        if count and true != taken
    ]
    table = [
        ["true", "said", "times"],
        *([true, taken, f"{n:,}"] for n, true, taken in sorted(wrong, reverse=True)[:10]),
    ]
    return [*lines, "the most frequent errors", grid(table, right=[2])] if wrong else lines[:-1]


def _number_score(score: Mapping[str, Any], part: str) -> list[str]:
    rows, r2 = score["rows"], score["r2"]
    low, quarter, _, three_quarters, high = score["residual_quantiles"].values()
    spread = score.get("rmse_of_their_mean")  # which reports of older models do not have
    meaning = "that share of the variance is explained" if r2 >= 0 else "always saying their mean would be better"
    first = f"R² {r2:.3f} on {counted(rows, 'row')}{_interval(score.get('r2_interval'), '.3f')}: {meaning}"
    if spread == 0:
        first = f"{counted(rows, 'row')} of one value, of which there is no R²"
    error = f"root mean square {score['rmse']:.4g}{_interval(score.get('rmse_interval'), '.4g')}"
    lines = [first, f"{error}, mean absolute error {score['mae']:.4g}"]
    if spread:
        lines.append(f"always saying the mean of these rows: root mean square {spread:.4g}, R² 0")
    if rows >= FEW:
        lines.append(
            f"half of the rows are {quarter:+.4g} to {three_quarters:+.4g} off, nine tenths {low:+.4g} to {high:+.4g}"
        )
    return _section(part, [*lines, *_few(rows)])


def _interval(ends: Sequence[float] | None, form: str) -> str:
    """What a score may owe to chance, in brackets, if it is known."""
    return "" if ends is None else f" (95% interval {ends[0]:{form}} to {ends[1]:{form}})"


def _few(rows: int) -> list[str]:
    """A sentence on scores that say next to nothing."""
    if rows >= FEW:
        return []
    return [
        f"{counted(rows, 'row')} {'is' if rows == 1 else 'are'} too few to judge by: other rows may say the opposite"
    ]


def _network(model: TableModel) -> str:
    layers = list(model.network)
    linears = [layer for layer in layers if isinstance(layer, Linear)]
    widths = [str(linear.in_features) for linear in linears[:1]] + [str(linear.out_features) for linear in linears]
    kinds = {type(layer).__name__: None for layer in layers if not isinstance(layer, Linear | Dropout)}
    dropout = next((f", dropout {layer.p:g}" for layer in layers if isinstance(layer, Dropout)), "")
    return f"{', '.join(['-'.join(widths), *kinds])}{dropout}; {counted(model.network.num_parameters, 'parameter')}"


def _training(model: TableModel) -> list[str]:
    report, history = model.report, model.history
    rows = report["rows"]
    parts = [f"{counted(rows['training'], 'row')} to learn from"]
    parts += [
        f"{rows[name]:,} {why}" for name, why in (("validation", "to stop by"), ("test", "to test")) if rows[name]
    ]
    lines = [f"{', '.join(parts)}; seed {report['seed']}"]
    lines.append(f"{report['loss']}, {model.network.optimizer!r}, batches of {report['batch_size']:,}")
    if history is not None:
        best = "" if history.best_epoch is None else f"; the best was epoch {history.best_epoch + 1:,}"
        lines.append(f"{counted(history.epochs, 'epoch')} in {history.total_s:.3g} s, engine {history.engine}{best}")
        lines.append(f"ended: {history.stopped}")
    return lines


def _left_out(model: TableModel) -> list[str]:
    n = model.report["rows"]["without_target"]
    return [f"{counted(n, 'row')} left out: no `{model.target.name}`"] if n else []


def _section(name: str, lines: Sequence[str]) -> list[str]:
    return [f"{name if i == 0 else '':{_MARGIN}}{line}" for i, line in enumerate(lines)]


def _short(text: str) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
