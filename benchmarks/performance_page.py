"""Write docs/performance.md and its charts, and README's table and picture, from the results of the other benchmarks.

    python benchmarks/performance_page.py [--results FOLDER] [--out FOLDER] [--readme FILE]

The prose stands in performance_page.md, and is true whatever the figures are; {{ names }} in it are replaced by what
the functions here make of the results. Reasons for what a figure is belong there too, where "why" says so.
"""

import argparse
import datetime as dt
import json
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from common import three_digits

import chainrule as cr
from chainrule.data import RADII

HERE = Path(__file__).parent
NAMES = (
    "training_speed",
    "branches",
    "convolution",
    "fashion_accuracy",
    "grid",
    "options_cost",
    "prediction_latency",
    "threads",
    "many_networks",
    "time_to_loss",
    "import_time",
)
# Benchmarks without whose results there is a page, which leaves out their sections.
LATER = {"branches", "convolution", "fashion_accuracy"}
NUMBER = re.compile(r"[–≤≥]|\d+(?!\d*-)")  # but not 2-25-25-2
MARK = "<!-- gain: made by benchmarks/performance_page.py -->"
OTHERS = ("torch.compile", "JAX scan", "JAX", "NumPy", "scikit-learn", "thinc", "onnxruntime", "torch.jit")
TINY = 8  # units of a layer, up to which native/src/tiny.h makes a network's steps
SHOWN = (1, 4, 25, 64, 256, 1024)  # widths, where every one would be too many lines
Results = dict[str, dict[str, Any]]


# -- pieces


def table(rows: Iterable[Sequence[Any]], heads: Sequence[str]) -> str:
    """A Markdown table, its numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [all(NUMBER.match(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = [heads, ["---:" if right else "---" for right in numeric], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return three_digits(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def picture(name: str, description: str) -> str:
    """A chart as GitHub shows it on light and dark pages."""
    return (
        f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="images/{name}-dark.svg">\n'
        f'  <img alt="{description}" src="images/{name}-light.svg">\n</picture>'
    )


def missed(result: dict[str, Any], which: str = "") -> str:
    """What was asked for and is not reached, one by one."""
    if "targets" not in result:
        return "Other processes were using the cores, so that this run says nothing about what was asked."
    asked = [target for target in result["targets"] if which in target["what"]]
    short = [target for target in asked if not target["met"]]
    if not asked:
        return ""
    if not short:
        return {1: "The target is reached.", 2: "Both targets are reached."}.get(
            len(asked), f"All {len(asked)} targets are reached."
        )
    head = f"**{len(short)} of {len(asked)} targets {'is' if len(short) == 1 else 'are'} missed:**"
    return "\n".join(
        [
            head,
            "",
            *(f"- {target['what']}: {three_digits(target['measured'])}, asked {target['target']}" for target in short),
        ]
    )


def _count(targets: Sequence[dict[str, Any]]) -> str:
    """How many targets are missed, where a table marks which."""
    short = sum(not target["met"] for target in targets)
    if not short:
        return f"All {len(targets)} targets are reached."
    return f"**{short} of {len(targets)} targets {'is' if short == 1 else 'are'} missed**, marked ✗."


def ratio(value: float) -> str:
    """A ratio in which two digits count: 0.95, 1.2, 36."""
    return f"{value:.2f}" if value < 2 else three_digits(value)


def ratios(values: Sequence[float]) -> str:
    """From the lowest to the highest of them."""
    low, high = ratio(min(values)), ratio(max(values))
    return low if low == high else f"{low} to {high}"


def marked(value: float | None, asked: str | None) -> str:
    """A ratio, with ✗ if it is less than was asked for: "≥ 700", or None."""
    if value is None:
        return "–"
    return ratio(value) + ("" if asked is None or value >= float(asked.removeprefix("≥ ")) else " ✗")


# -- sections: each returns the pieces of text that it is for


def summary(results: Results) -> dict[str, str]:
    """The answer in one paragraph."""
    rows = results["training_speed"]["ratios"]
    peers = len(_names(results["training_speed"]["µs per step"])) - 1
    eager = [row["eager"] for row in rows if row["eager"]]
    fastest = [row["fastest"] for row in rows if row["fastest"]]
    targets = [target for result in results.values() for target in result.get("targets", [])]
    met = sum(target["met"] for target in targets)
    cells = results["grid"]["cells"]
    slower = sum(cell["ratio"] < 1 for cell in cells)
    return {
        "summary": f"A training step on one core is {ratio(min(eager))} to {ratio(max(eager))} times as fast as "
        f"PyTorch eager's, and {ratio(min(fastest))} to {ratio(max(fastest))} times as fast as the fastest of "
        f"{peers} peers, for the {len(rows)} networks and batches [below](#a-training-step). Of {len(cells)} sizes in "
        f"a grid, {slower or 'none'} {'is' if slower == 1 else 'are'} "
        "[slower than at the fastest peer](#where-peers-are-faster). "
        f"{met} of {len(targets)} targets are reached; each that is missed is marked or named in its section."
    }


def machine(results: Results) -> dict[str, str]:
    """What it was measured on, and warnings if that was not one quiet machine."""
    described = results["training_speed"]["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in described["versions"].items() if number)
    rows = [
        ("CPU", described["cpu"]),
        ("cores", f"{described['cores']}"),
        ("engine", described["engine"]),
        ("system", f"{described['system']}, {described['architecture']}"),
        ("Python", described["python"]),
        ("packages", versions),
    ]
    warnings = []
    if any(result["quick"] for result in results.values()):
        quick = ", ".join(name for name, result in results.items() if result["quick"])
        warnings.append(f"**A first look only:** {quick} ran with `--quick`.")
    same = [
        {k: v for k, v in result["machine"].items() if k not in ("load_before", "cores_used")}
        for result in results.values()
    ]
    if any(other != same[0] for other in same):
        warnings.append("**Not all of it was measured on the same machine with the same versions.**")
    when = [
        (
            f"`{name}`",
            dt.datetime.fromisoformat(result["began"]).strftime("%Y-%m-%d %H:%M UTC"),
            (result["machine"]["load_before"] or ["–"])[0],
        )
        for name, result in results.items()
    ]
    return {
        "machine": table(rows, ("", "")),
        "caution": "\n\n".join(warnings),
        "when": table(when, ("benchmark", "began", "load of the machine before")),
    }


def steps(result: dict[str, Any]) -> dict[str, str]:
    """Training steps next to the peers."""
    rows = [
        (
            row["network"],
            row["batch"],
            row["us"],
            marked(row["eager"], row["eager_asked"]),
            row["eager_asked"],
            marked(row["fastest"], row["fastest_asked"]),
            row["fastest_asked"],
            row["fastest_is"],
        )
        for row in result["ratios"]
    ]
    heads = ("network", "batch", "µs a step", "× PyTorch eager", "asked", "× fastest peer", "asked", "which")
    names = _names(result["µs per step"])
    every = [[row["network"], row["batch"], *(row.get(name) for name in names)] for row in result["µs per step"]]
    return {
        "steps": table(rows, heads),
        "steps_chart": picture("performance-steps", "Microseconds of a training step, of chainrule and its peers"),
        "steps_missed": _count(result["targets"]),
        "steps_all": table(every, ("network", "batch", *names)),
    }


def branches(result: dict[str, Any]) -> dict[str, str]:
    """Training steps of networks with branches."""
    rows = result["ratios"]
    networks = [f"- *{row['network']}*: {row['text'][0].lower()}{row['text'][1:]}." for row in result["networks"]]
    plain = result["networks"][0]["network"]
    listed = [
        (
            row["network"],
            row["batch"],
            row["us"],
            ratio(row["plain"]),
            marked(row["eager"], row["eager_asked"]),
            row["eager_asked"],
            marked(row["jax"], row["jax_asked"]),
            row["jax_asked"],
        )
        for row in rows
    ]
    heads = ("network", "batch", "µs a step", f"times {plain}", "× PyTorch eager", "asked", "× JAX scan", "asked")
    skips = [row["plain"] for row in rows if row["network"] == "residual"]
    far = max(far for row in result["distances"] for name, far in row.items() if name != "network")
    return {
        "branches_networks": "\n".join(networks),
        "branches_same": f"{far:.0e}",
        "branches": table(listed, heads),
        "branches_chart": picture("performance-branches", "Microseconds of a training step of networks with branches"),
        "branches_missed": _count(result["targets"]),
        "branches_skips": ratios(skips),
    }


def convolution(result: dict[str, Any], avx2: dict[str, Any] | None) -> dict[str, str]:
    """Training steps of networks of images and series; the second results are those without AVX-512."""
    networks = [f"- *{row['network']}*: {row['text']}." for row in result["distances"]]
    far = max(far for row in result["distances"] for name, far in row.items() if name not in ("network", "text"))
    bound = next(row for row in (avx2 or result)["steps"] if (row["network"], row["batch"]) == ("keywords", 1))
    without_avx512 = ""
    if avx2:
        peaks = f"{result['peak'] / 1e9:.0f} GFLOP/s, and {avx2['peak'] / 1e9:.0f} without AVX-512"
        without_avx512 = (
            f"The peak of this core is {peaks}. `python benchmarks/convolution.py --avx2` tells everybody to do "
            f"without, which is what was asked for:\n\n{_images(avx2)}\n\n{_count(avx2['targets'])}"
        )
    return {
        "convolution_networks": "\n".join(networks),
        "convolution": _images(result),
        "convolution_missed": _count(result["targets"]),
        "convolution_avx2": without_avx512,
        "convolution_bound": ratio(bound["eager"] / bound["share"]),
        "convolution_same": f"{far:.0e}",
    }


def _images(result: dict[str, Any]) -> str:
    """The table of convolution.py, with what was asked for."""
    asked = {row["what"]: (row["target"], row["met"]) for row in result["targets"]}

    def against(row: dict[str, Any], key: str, what: str) -> str | None:
        target, is_met = asked.get(f"{row['network']}, batch {row['batch']}: {what}", (None, True))
        if row.get(key) is None:
            return None
        value = f"{100 * row[key]:.0f} %" if key == "share" else ratio(row[key])
        if target is None:
            return value
        wanted = f"{100 * float(target.split()[1]):.0f} %" if key == "share" else target.split()[1]
        return f"{value}{'' if is_met else ' ✗'} ({wanted})"

    rows = [
        (
            row["network"],
            row["batch"],
            row["us"],
            against(row, "share", "share of the peak"),
            against(row, "eager", "times PyTorch eager"),
            against(row, "jax", "times JAX scan"),
        )
        for row in result["steps"]
    ]
    heads = ("network", "batch", "µs a step", "of the peak (asked)", "× PyTorch eager (asked)", "× JAX scan (asked)")
    return table(rows, heads)


def fashion(result: dict[str, Any]) -> dict[str, str]:
    """Time to the same test accuracy, a row for each number of cores and level."""
    of_cores = {name.removeprefix("threads="): found for name, found in result.items() if name.startswith("threads=")}
    peers = dict.fromkeys(row["peer"] for row in of_cores["1"]["reached"] if row["peer"] != "chainrule")
    rows = []
    for cores, found in of_cores.items():
        for level in dict.fromkeys(row["level"] for row in found["reached"]):
            own, *others = [row for row in found["reached"] if row["level"] == level]
            of_peer = {row["peer"]: (row["epochs"], row["s"], ratio(row["times"])) for row in others}
            cells = [cell for peer in peers for cell in of_peer.get(peer, (None, None, None))]
            rows.append((int(cores), f"{100 * level:.0f} %", own["epochs"], own["s"], *cells))
    heads = ["cores", "test accuracy", "epochs", "s"]
    heads += [head for peer in peers for head in (f"{peer}: epochs", "s", "times chainrule")]
    compiling = [
        row["compiling"] for found in of_cores.values() for row in found["reached"] if row["peer"] == "JAX scan"
    ]
    far = max(far for found in of_cores.values() for far in found["distances"].values())
    return {
        "fashion": table(rows, heads),
        "fashion_chart": picture("performance-fashion", "Test accuracy over seconds of training on one core"),
        "fashion_seeds": str(len(of_cores["1"]["courses"])),
        "fashion_compiling": f" (JAX: {three_digits(max(compiling))} s)" if compiling else "",
        "fashion_same": f"{far:.0e}",
    }


def _names(rows: Sequence[dict[str, Any]], *others: str) -> list[str]:
    """The implementations that a row has times of."""
    return [name for name in rows[0] if name not in ("label", "network", "batch", "timings", *others)]


def grid(result: dict[str, Any]) -> dict[str, str]:
    """Who is faster where, and what share of the peak is reached."""
    cells = result["cells"]
    slower = sorted((cell for cell in cells if cell["ratio"] < 1), key=lambda cell: cell["ratio"])
    peers = sorted({name for cell in cells for name in cell["timings"]} - {"chainrule"})
    compared = (
        f"{len(cells)} pairs of a network and a batch, next to {_and(peers)}, the peers that are fastest anywhere."
    )
    shown = slower or sorted(cells, key=lambda cell: cell["ratio"])[:5]
    if slower:
        text = f"{compared} A peer is faster in {len(slower)} of them, every one listed here."
    else:
        text = f"{compared} No peer is faster in any of them; the {len(shown)} closest are these."
    rows = [
        (cell["network"], cell["batch"], cell["us"], cell["fastest"], cell["rival_us"], ratio(cell["ratio"]))
        for cell in shown
    ]
    heads = ("network", "batch", "µs a step", "fastest peer", "its µs", "times as fast as it")

    wide = [cell for cell in cells if cell["regular"] and cell["batch"] >= 100]
    shares = []
    for width in sorted({cell["width"] for cell in wide}):
        of_width = sorted((cell for cell in wide if cell["width"] == width), key=lambda cell: cell["share"])
        worst, best = of_width[0], of_width[-1]
        middle = statistics.median(cell["share"] for cell in of_width)
        shares.append((width, _percent(worst), f"{middle:.1%}", _percent(best)))
    tiny = [cell for cell in cells if max(map(int, cell["network"].split("-"))) <= TINY]
    below = ", a lower bound" if "bound" in result.get("peak_kind", "") else ""
    return {
        "grid_slower": text,
        "grid_weakest": table(rows, heads),
        "grid_tiny": _tiny(tiny),
        "grid_large": _large([cell for cell in wide if cell["width"] >= 512 and cell["batch"] >= 1024]),
        "peak": f"{result['peak'] / 1e9:.0f} GFLOP/s{below}",
        "peak_table": "Batches of 100 and more, over all depths:\n\n"
        + table(shares, ("width", "least", "median", "most")),
        "peak_missed": missed(result, "share of the peak"),
        "width_chart": picture("performance-width", "Microseconds of a step over the width, for several batches"),
        "depth_chart": picture("performance-depth", "Microseconds of a step over the number of layers"),
        "batch_chart": picture("performance-batch", "Microseconds of a step for each sample over the batch"),
        "peak_chart": picture("performance-peak", "Share of the core's peak over the width, for several batches"),
    }


def _tiny(cells: Sequence[dict[str, Any]]) -> str:
    """How networks of a few units compare with the fastest peer, at batch 1 and at the others."""
    said = []
    for where, group in (
        ("at batch 1", [cell for cell in cells if cell["batch"] == 1]),
        ("at the larger batches", [cell for cell in cells if cell["batch"] > 1]),
    ):
        behind = sum(cell["ratio"] < 1 for cell in group)
        if group:
            how = f"{ratios([cell['ratio'] for cell in group])} times as fast as at the fastest peer"
            said.append(f"{where} they are {how}, and slower in {behind or 'none'} of {len(group)} cells")
    return f"In the grid, {'; '.join(said)}."


def _large(cells: Sequence[dict[str, Any]]) -> str:
    """How near all are to each other where a step is all arithmetic."""
    if not cells:
        return ""
    shares = [cell["share"] for cell in cells]
    return (
        "Where layers are at least 512 wide and batches have 1,024 samples or more, a step runs at "
        f"{min(shares):.0%} to {max(shares):.0%} of what the core can do at all, and is "
        f"{ratios([cell['ratio'] for cell in cells])} times as fast as at the fastest peer: the closer all of them "
        "are to the peak, the closer they are to each other."
    )


def _percent(cell: dict[str, Any]) -> str:
    return f"{cell['share']:.1%} ({cell['network'].count('-')} × batch {cell['batch']})"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def options(result: dict[str, Any]) -> dict[str, str]:
    """The cost of tanh, Adam, dropout, validation, shuffling."""
    names = _names(result["ratios"], "µs")
    asked = {target["what"]: target for target in result["targets"]}

    def measured(row: dict[str, Any], name: str) -> str:
        target = asked.get(f"{row['network']}, batch {row['batch']}: {name}")
        return f"{row[name]:.2f}" + ("" if target is None or target["met"] else " ✗")

    rows = [[row["network"], row["batch"], *(measured(row, name) for name in names)] for row in result["ratios"]]
    limits = {what.split(": ")[1]: target["target"] for what, target in asked.items()}
    batches = {
        name: sorted({int(what.split("batch ")[1].split(":")[0]) for what in asked if what.endswith(f": {name}")})
        for name in limits
    }
    said = [f"{name} {limit} (batch {_and([str(b) for b in batches[name]])})" for name, limit in limits.items()]
    return {
        "options": table(rows, ("network", "batch", *names)),
        "options_missed": f"Asked: {'; '.join(said)}. {_count(result['targets'])}",
    }


def latency(result: dict[str, Any]) -> dict[str, str]:
    """One row from Python."""
    rows = result["µs for one row"]
    own = {
        "predict": "chainrule, `predict`",
        "predict, out=": "chainrule, `predict` with `out`",
        "step": "chainrule, a training `step`",
    }
    names = [name for name in _names(rows) if not name.startswith("fit")]
    lines = [[own.get(name, f"{name}, prediction"), *(row.get(name) for row in rows)] for name in names]
    fits = result["what fit costs by itself"]
    small, large = fits[0], fits[-1]
    many = result.get("µs for 100 rows", [])
    of_rows = {
        "compiled": "chainrule, compiled, `predict`",
        "predict": "chainrule, `cr.predict`",
        "evaluate": "chainrule, `cr.evaluate`",
        "PyTorch eager": "PyTorch eager, prediction",
    }
    tall = table(
        [[name, *(row.get(key) for row in many)] for key, name in of_rows.items()],
        ("100 rows", *(row["network"] for row in many)),
    )
    return {
        "latency_rows": tall if many else "",
        "latency": table(lines, ("", *(row["network"] for row in rows))),
        "fit_cost": f"`fit` by itself, before its first step, costs {three_digits(small['before'])} µs "
        f"for {small['network']}, and {three_digits(large['before'])} µs for {large['network']}.",
        "latency_missed": missed(result),
    }


def threads(result: dict[str, Any]) -> dict[str, str]:
    """What threads gain, and whether they ever hurt."""
    alone, beside = result["alone"], result["beside a busy process"]
    best, worst = (pick(alone, key=lambda row: row["speed-up"]) for pick in (max, min))
    crowded = min(beside, key=lambda row: row["speed-up"])

    def where(row: dict[str, Any]) -> str:
        return f"{ratio(row['speed-up'])} times as fast ({row['network']}, batch {row['batch']})"

    heads = ("network", "batch", "one thread, µs", "default, µs", "times as fast", "two runs of one thread differ by")
    listed = [
        [(r["network"], r["batch"], r["one"], r["default"], ratio(r["speed-up"]), r["noise"]) for r in rows]
        for rows in (alone, beside)
    ]
    return {
        "threads_text": "`fit` with its default threads, next to `threads=1`, on "
        f"{result['machine']['cores_used']} cores, by the clock on the wall. At best it is {where(best)}, "
        f"at worst {where(worst)}; "
        f"with another process that keeps one core busy, at worst {where(crowded)}.",
        "threads_chart": picture("performance-threads", "Speed-up by threads over the duration of a step"),
        "threads_missed": missed(result),
        "threads_table": table(listed[0], heads),
        "threads_beside": table(listed[1], heads),
    }


def many(result: dict[str, Any]) -> dict[str, str]:
    """How many networks a second `fit_many` trains."""
    rows, cores = result["throughput"], result["machine"]["cores_used"]
    heads = ("epochs", "`fit` in a loop", "`fit_many`, one thread", f"`fit_many`, {cores} threads")
    heads += ("one thread: time over that of `fit`", "times as fast as `fit`")
    listed = [
        (
            r["epochs"],
            *(f"{r[name]:,.0f}" for name in ("fit", "one", "all")),
            ratio(r["over fit"]),
            ratio(r["speed-up"]),
        )
        for r in rows
    ]
    return {
        "many_text": "Networks a second: 2-25-25-25-2, 1,000 samples in batches of 100, each network with weights and "
        "an order of its own, by the clock on the wall. A trained network with its history takes "
        f"{result['bytes'] / 1024:.1f} KiB, ten thousand {result['bytes'] / 100:.0f} MB.",
        "many_table": table(listed, heads),
        "many_missed": missed(result),
    }


def loss(result: dict[str, Any]) -> dict[str, str]:
    """Time to the same validation loss."""
    tasks = [name for name in ("disk", "digits") if name in result]
    of_peer = {row["peer"]: {} for row in result[tasks[0]]}
    for task in tasks:
        for row in result[task]:
            of_peer.setdefault(row["peer"], {})[task] = row
    rows = []
    for peer, found in of_peer.items():
        compiles = max((row["compiling"] for row in found.values()), default=0.0)
        cells = [found[task][key] if task in found else None for task in tasks for key in ("ms", "times", "epochs")]
        cells = [ratio(cell) if isinstance(cell, float) and i % 3 == 1 else cell for i, cell in enumerate(cells)]
        rows.append([peer, *cells, f"{compiles:.2g}" if compiles >= 0.01 else "–"])
    heads = [f"{task}, {what}" for task in tasks for what in ("ms", "× chainrule", "epochs")]
    network = {"disk": "100 epochs of 2-25-25-25-2 (the balanced disk)", "digits": "20 of 64-64-64-10 (digits)"}
    return {
        "loss_table": table(rows, ("", *heads, "compiling, s")),
        "loss_epochs": _and([network[task] for task in tasks]),
    }


def importing(result: dict[str, Any]) -> dict[str, str]:
    """Import time and size."""
    rows = [(row["import"], row["ms"]) for row in result["ms"]]
    sizes = [target for target in result["targets"] if "MB" in target["what"]]
    more = "".join(f" The {size['what'].removesuffix(', MB')} has {size['measured']:.1f} MB." for size in sizes)
    own = next(target["measured"] for target in result["targets"] if "over NumPy" in target["what"])
    return {
        "import_text": f"`import chainrule` takes {own:.0f} ms of processor time more than `import numpy`.{more}\n\n"
        + table(rows, ("a process that imports", "ms")),
        "import_missed": missed(result),
    }


def gain(results: Results) -> str:
    """README's table: what a few pieces of work take here, in PyTorch, and at the fastest of the others."""
    steps = {(row["network"], row["batch"]): row for row in results["training_speed"]["µs per step"]}
    rows = [
        (f"training step, {network}, {batch} samples", steps[network, batch])
        for network, batch in zip(
            ("2-25-25-25-2", "64-64-64-64-4", "784-256-128-10", "1024-1024-1024-10"), (10, 100, 100, 100), strict=True
        )
    ]
    row = results["prediction_latency"]["µs for one row"][0]
    rows.append((f"prediction, {row['network']}, 1 sample", row | {"chainrule": row["predict"]}))
    lines = []
    for work, row in rows:
        own, torch = row["chainrule"], row["PyTorch eager"]
        best = min((name for name in OTHERS if name in row), key=lambda name: row[name])
        own_us, torch_us, best_us = (f"{three_digits(us)} µs" for us in (own, torch, row[best]))
        lines.append((work, own_us, torch_us, ratio(torch / own), f"{best}, {best_us}", ratio(row[best] / own)))
    heads = ("on one core", "chainrule", "PyTorch", "times as fast", "fastest other", "times as fast")
    text = table(lines, heads)
    machine = results["training_speed"]["machine"]
    return f"{text}\n\n*{machine['cpu']}, {machine['engine']}; written here by `make performance`, which measures it.*"


# -- the page


def page(results: Results) -> str:
    """docs/performance.md."""
    pieces = summary(results) | machine(results) | steps(results["training_speed"]) | grid(results["grid"])
    if "branches" in results:
        pieces |= branches(results["branches"])
    if "convolution" in results:
        pieces |= convolution(results["convolution"], results.get("convolution_avx2"))
    if "fashion_accuracy" in results:
        pieces |= fashion(results["fashion_accuracy"])
    pieces |= options(results["options_cost"]) | latency(results["prediction_latency"])
    pieces |= (
        threads(results["threads"])
        | many(results["many_networks"])
        | loss(results["time_to_loss"])
        | importing(results["import_time"])
    )
    text = (HERE / "performance_page.md").read_text("utf-8")
    for name in LATER - set(results):
        text = without(text, name)
    unused = set(pieces) - set(re.findall(r"{{ (\w+) }}", text))
    if unused:
        raise ValueError(f"performance_page.md leaves out {', '.join(sorted(unused))}")
    text = re.sub(r"{{ (\w+) }}", lambda match: pieces[match[1]], text)
    text = re.sub(r"<!-- why.*?-->", "", text)
    head = "<!-- Written by `make performance`: edit benchmarks/performance_page.md. -->\n"
    return head + re.sub(r"\n{3,}", "\n\n", text)


def without(text: str, benchmark: str) -> str:
    """The page without the sections that name a benchmark's command."""
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return "".join(section for section in sections if f"`python benchmarks/{benchmark}.py`" not in section)


def charts(results: Results, folder: Path) -> None:
    """The pictures of the page."""
    import performance_charts as draw

    folder.mkdir(parents=True, exist_ok=True)
    for chart, name in (("performance-steps", "training_speed"), ("performance-branches", "branches")):
        if name not in results:
            continue
        rows = results[name]["µs per step"]
        rows = [row | {"label": f"{row['network']}\nbatch {row['batch']:,}"} for row in rows]
        body = draw.dots(rows, _names(rows), "µs a step, one core")
        draw.save(folder, chart, (6, 1.2 + 0.45 * len(rows)), body)

    if "fashion_accuracy" in results:
        body = draw.courses(results["fashion_accuracy"]["threads=1"]["courses"], "s of training, one core")
        draw.save(folder, "performance-fashion", (6, 3.6), body)

    regular = [cell for cell in results["grid"]["cells"] if cell["regular"]]
    depths = {cell["network"].count("-") for cell in regular}
    three = [cell for cell in regular if cell["network"].count("-") == (3 if 3 in depths else max(depths))]
    at_128 = [cell for cell in regular if cell["batch"] == 128 and cell["width"] in SHOWN]
    for cell in regular:
        cell |= {"depth": cell["network"].count("-"), "percent": 100 * cell["share"]}
        cell |= {"of a sample": cell["us"] / cell["batch"], "rival of a sample": cell["rival_us"] / cell["batch"]}
    batch = "batch {:,}"
    body = draw.lines(
        _series(three, "batch", batch, "width", "us"),
        "width",
        "µs a step",
        below=_series(three, "batch", batch, "width", "rival_us"),
    )
    draw.save(folder, "performance-width", (6, 4.6), body)
    body = draw.lines(
        _series(at_128, "width", "width {:,}", "depth", "us"),
        "layers",
        "µs a step, batch 128",
        below=_series(at_128, "width", "width {:,}", "depth", "rival_us"),
        linear_x=True,
    )
    draw.save(folder, "performance-depth", (6, 4.6), body)
    some = [cell for cell in three if cell["width"] in SHOWN]
    body = draw.lines(
        _series(some, "width", "width {:,}", "batch", "of a sample"),
        "batch",
        "µs a sample",
        below=_series(some, "width", "width {:,}", "batch", "rival of a sample"),
    )
    draw.save(folder, "performance-batch", (6, 4.6), body)
    body = draw.lines(
        _series(three, "batch", batch, "width", "percent"), "width", "share of the core's peak", percent=True
    )
    draw.save(folder, "performance-peak", (6, 4.2), body)

    train = cr.data.disk(1000, seed=0, radius="balanced")
    cr.seed(0)
    layers = [layer for n_in in (2, 25, 25) for layer in (cr.Linear(n_in, 25), cr.ReLU())]
    model = cr.Sequential(*layers, cr.Linear(25, 2))
    cr.fit(model, cr.MSELoss(), train, epochs=100, batch_size=50, optimizer=cr.Adam(), keep="last", progress=False)
    times = sorted(((row["peer"], row["ms"]) for row in results["time_to_loss"]["disk"]), key=lambda pair: pair[1])
    body = draw.gain(model, train.take(slice(0, 400)), RADII["balanced"], times)
    draw.save(folder, "gain", (8.6, 3.3), body, widths=(1, 1.75))

    groups = {"alone": "alone", "beside a busy process": "beside a busy process"}
    points = {name: [(row["one"], row["speed-up"]) for row in results["threads"][key]] for name, key in groups.items()}
    body = draw.scatter(points, "µs a step with one thread", "times as fast with default threads", 1)
    draw.save(folder, "performance-threads", (6, 3.8), body)


def _series(cells: list[dict[str, Any]], group: str, name: str, x: str, y: str) -> dict[str, list[tuple[float, float]]]:
    """Points (x, y), one line for each value of `group`, the largest first."""
    values = sorted({cell[group] for cell in cells}, reverse=True)
    return {name.format(v): sorted((cell[x], cell[y]) for cell in cells if cell[group] == v) for v in values}


def read(folder: Path) -> Results:
    """The results of all benchmarks; those in LATER may be missing."""
    there = [name for name in (*NAMES, "convolution_avx2") if (folder / f"{name}.json").exists()]
    absent = [name for name in NAMES if name not in there and name not in LATER]
    if absent:
        commands = "; ".join(f"python benchmarks/{name}.py --json {folder / name}.json" for name in absent)
        raise SystemExit(f"{folder} lacks results; run {commands}")
    return {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in there}


def put(path: Path, text: str) -> None:
    """Write README's table where it stands: between two marks."""
    before, mark, rest = path.read_text("utf-8").partition(MARK)
    _, end, after = rest.partition("<!-- end -->")
    if not (mark and end):
        raise SystemExit(f"{path} lacks {MARK!r} and <!-- end -->")
    path.write_text(f"{before}{mark}\n{text}\n{end}{after}", "utf-8")


def main() -> None:
    """Read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="the folder of the JSON files")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs", help="the folder of performance.md")
    parser.add_argument("--readme", type=Path, default=HERE.parent / "README.md", help="the page that gets the table")
    where = parser.parse_args()
    results = read(where.results)
    charts(results, where.out / "images")
    (where.out / "performance.md").write_text(page(results), "utf-8")
    put(where.readme, gain(results))
    print(where.out / "performance.md")


if __name__ == "__main__":
    main()
