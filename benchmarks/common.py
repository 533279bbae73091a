"""What every benchmark here shares: one core, interleaved rounds, medians, and results with machine and versions.

On a shared machine a mean measures the neighbours. So whatever is compared runs in turn, round after round, a slow
minute falls on all of them alike, and the median of the rounds is what counts; the quartiles say how sure it is. On one
core the clock is that of the process, which stands still while others have the core: nothing here sleeps, so on a quiet
machine it is the same as the clock on the wall.
"""

import argparse
import datetime as dt
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

PACKAGES = ("chainrule", "numpy", "torch", "jax", "scikit-learn", "onnxruntime", "thinc")
COPYING_S = 4e-9  # of `fit` for each parameter, as prediction_latency.py shows for wide networks
LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")

AVX2_ONLY = {
    "CHAINRULE_INSTRUCTION_SET": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}


# -- the core


def one_core(avx2: bool = False) -> None:
    """Go on as a process of one thread on one core; with `avx2`, as on a CPU without AVX-512."""
    cores(1, avx2)


def cores(n: int, avx2: bool = False) -> None:
    """Go on as a process of n threads on n cores.

    Libraries read their number of threads when they are imported, so the program starts itself anew with the
    environment set. Where the system can tie a process to cores, it is tied to the last ones it may use.
    """
    eigen = "true" if n > 1 else "false"
    wanted = dict.fromkeys(LIBRARIES, str(n)) | {
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={n}",
        "JAX_PLATFORMS": "cpu",
    }
    if avx2:
        wanted |= AVX2_ONLY | {"XLA_FLAGS": f"{wanted['XLA_FLAGS']} --xla_cpu_max_isa=AVX2"}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.environ.update(wanted)
        arguments = [sys.executable, *sys.argv]
        if os.name == "nt":  # which has no exec that waits
            raise SystemExit(subprocess.run(arguments, check=False).returncode)
        sys.stdout.flush()
        os.execv(sys.executable, arguments)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-n:])


# -- time


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over the rounds: median, quartiles, best.

    waited : the share of the time in which this process did not have its core, because others had it.
    """

    median: float
    low: float
    high: float
    best: float
    rounds: int
    waited: float

    @property
    def spread(self) -> float:
        """The distance of the quartiles, as a share of the median."""
        return (self.high - self.low) / self.median


def long_enough(widths: Sequence[int], at_least: float, share: float = 0.01) -> float:
    """Seconds that a timing lasts at least, so that what `fit` does once (memory, copies) is a small share of it."""
    parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))
    return at_least + COPYING_S * parameters / share


def interleave(
    bodies: dict[str, Callable[[int], Any]],
    *,
    rounds: int = 9,
    min_s: float = 0.03,
    most_s: float = float("inf"),
    wall: bool = False,
) -> dict[str, Timing]:
    """Time every body in turn, round after round; `body(n)` does its work n times.

    Parameters
    ----------
    rounds : how often each is timed.
    min_s : how long one timing lasts at least; n is doubled until it does.
    most_s : the time for all; when it is over, no further round begins after the third.
    wall : take the clock on the wall, which several threads need, and not that of the process.
    """
    calls = {name: _calls(body, min_s) for name, body in bodies.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in bodies}
    order, begin = list(bodies), time.perf_counter()
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - begin > most_s:
            break
        for name in order:
            start, busy = time.perf_counter(), time.process_time()
            bodies[name](calls[name])
            busy, taken = time.process_time() - busy, time.perf_counter() - start
            times[name].append((taken / calls[name], busy / calls[name]))
        order.append(order.pop(0))  # so that nobody always runs after the same neighbour
    return {name: _timing(pairs, wall) for name, pairs in times.items()}


def _calls(body: Callable[[int], Any], min_s: float) -> int:
    """How many calls take `min_s`: twice, as the first time may have been slow for another reason."""
    body(1)  # compiles, fills caches
    calls = 1
    while True:
        taken = _busy(body, calls)
        if taken >= min_s:
            taken = min(taken, _busy(body, calls))
        if taken >= min_s:
            return calls
        calls = max(2 * calls, min(16 * calls, int(calls * min_s / max(taken, 1e-7))))


def _busy(body: Callable[[int], Any], calls: int) -> float:
    start = time.process_time()
    body(calls)
    return time.process_time() - start


def _timing(pairs: list[tuple[float, float]], wall: bool) -> Timing:
    walls, busy = zip(*pairs, strict=True)
    counted = list(walls if wall else busy)
    low, median, high = statistics.quantiles(counted, n=4, method="inclusive") if len(counted) > 1 else counted * 3
    return Timing(median, low, high, min(counted), len(counted), max(0.0, 1 - sum(busy) / sum(walls)))


# -- the machine


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "cores_used": affinity,
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "engine": _engine(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def _engine() -> str:
    """The instruction set that the engine runs on here; why there is none, if it is missing."""
    native = importlib.import_module("chainrule.engine.native")
    try:
        return str(native.module().instruction_set)
    except ImportError as missing:
        return str(missing)


def _cpu() -> str:
    """The name that the CPU gives itself, with family and model where the name says little."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    pairs = (line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in pairs}
    parts = [fields.get("model name", platform.machine())]
    parts += [f"{key.removeprefix('cpu ')} {fields[key]}" for key in ("cpu family", "model") if key in fields]
    return ", ".join(parts)


def version(package: str) -> str | None:
    """The version of an installed package; None if it is absent. Ours may lie in the tree uninstalled."""
    if package == "chainrule":
        return str(importlib.import_module("chainrule").__version__)
    try:
        return importlib.import_module("importlib.metadata").version(package)
    except ImportError:  # PackageNotFoundError is one
        return None


def clean_environment(**changes: str) -> dict[str, str]:
    """The environment for a process of its own, in which Python may keep its bytecode."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return environment | changes


# -- arguments and results


def arguments(description: str | None, **options: dict[str, Any]) -> argparse.Namespace:
    """The command line: --quick and --json, and what a benchmark adds as name=dict(…) of add_argument."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and cases: does it run, roughly how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, with machine and versions")
    for name, settings in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **settings)
    return parser.parse_args()


class Report:
    """Prints as a benchmark goes along, and gathers what is written to JSON at its end.

    question : what the figures answer.
    """

    def __init__(self, question: str, options: argparse.Namespace) -> None:
        self.options = options
        self.results: dict[str, Any] = {
            "benchmark": Path(sys.argv[0]).stem,
            "question": question,
            "began": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            "quick": options.quick,
            "machine": machine(),
        }
        described = self.results["machine"]
        print(f"{question}\n{described['cpu']}, engine {described['engine']}, {_versions(described)}\n", flush=True)

    def table(self, name: str, rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> None:
        """Print rows as Markdown, and keep them. `columns` maps the key of a row to its heading."""
        print(markdown(rows, columns), flush=True)
        print(flush=True)
        self.results[name] = [plain(row) for row in rows]

    def note(self, name: str, value: Any, text: str) -> None:
        """Print one line, and keep its value."""
        print(text, flush=True)
        self.results[name] = plain(value)

    def absent(self, reasons: dict[str, str]) -> None:
        """Say who does not take part, and why."""
        for name, reason in reasons.items():
            print(f"{name} does not take part, {reason}", flush=True)
        self.results["absent"] = reasons

    def targets(self, rows: Iterable[tuple[str, float, str, float]]) -> None:
        """Print what was asked for next to what was measured: (what, measured, "≤" or "≥", target)."""
        checked = [
            {"what": what, "measured": measured, "target": f"{sign} {target:g}", "met": met(measured, sign, target)}
            for what, measured, sign, target in rows
        ]
        self.table("targets", checked, {"what": "target", "measured": "measured", "target": "asked", "met": "met"})

    def save(self) -> None:
        """Write the JSON file, if one was asked for."""
        if self.options.json is not None:
            self.options.json.write_text(json.dumps(self.results, indent=1, ensure_ascii=False) + "\n", "utf-8")


def met(measured: float, sign: str, target: float) -> bool:
    """Whether a target is met."""
    return measured <= target if sign == "≤" else measured >= target


def _versions(described: dict[str, Any]) -> str:
    present = [f"{name} {number}" for name, number in described["versions"].items() if number]
    return ", ".join([f"Python {described['python']}", *present])


def plain(value: Any) -> Any:
    """value in terms of JSON."""
    if isinstance(value, Timing):
        return asdict(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def markdown(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> str:
    """Rows as a Markdown table; numbers to three digits, a missing one as a dash."""
    lines = [f"| {' | '.join(columns.values())} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(_cell(row.get(key)) for key in columns)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return three_digits(value) if isinstance(value, float) else str(value)


def three_digits(value: float) -> str:
    """A number with three digits that count."""
    if value == 0 or not 0.001 <= abs(value) < 100:
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def network_name(widths: Sequence[int]) -> str:
    """2-25-25-25-2."""
    return "-".join(str(width) for width in widths)


# -- pictures

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"  # Okabe, Ito 2008, "Color universal design"


def chart(path: Path, rows: Sequence[dict[str, Any]], series: dict[str, str], title: str) -> None:
    """Bars on a logarithmic axis, one group for each row: row["label"], and a number for each key of `series`."""
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 0.7 + 0.42 * len(rows)), layout="constrained")
    height = 0.8 / len(series)
    for place, (key, label) in enumerate(series.items()):
        values = [row[key] or float("nan") for row in rows]
        at = [i + (place - (len(series) - 1) / 2) * height for i in range(len(rows))]
        bars = axes.barh(at, values, height, label=label, color=(BLUE, ORANGE, GREEN, GREY)[place % 4])
        axes.bar_label(bars, [f"{v:,.0f}×" if v >= 10 else f"{v:.1f}×" for v in values], padding=2, fontsize=7)
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(left=0.7, right=3 * max(row[key] or 1 for row in rows for key in series))
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel(title, fontsize=9)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
