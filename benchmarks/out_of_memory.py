"""How fast does `fit` train from a file larger than the memory it may take, next to the same samples in memory?

    python benchmarks/out_of_memory.py [--quick] [--json FILE] [--gb N] [--folder FOLDER]

Networks of 64-64-64 at batch 256 from files of float32, which the system has in its cache if it is large enough. Each
run is a process of its own, whose highest resident memory the system tells; the clock is that on the wall, as one
thread reads and one trains. The files are deleted at the end.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import numpy as np

import chainrule as cr

WIDTH, BATCH, EPOCHS, PIECE = 64, 256, 3, 1 << 16
ALLOWED_MB = 1000


def write(folder: Path, samples: int) -> None:
    """Two .npy files of normal numbers, piece by piece."""
    numbers = np.random.default_rng(0).normal(size=(PIECE, WIDTH)).astype(np.float32)
    for name in ("x", "target"):
        with (folder / f"{name}.npy").open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (samples, WIDTH)}
            np.lib.format.write_array_header_2_0(file, header)
            for first in range(0, samples, PIECE):
                file.write(numbers[: samples - first].data)


def run(folder: Path, where: str) -> dict[str, float]:
    """Train in this process; returns samples a second after the first epoch, and the highest resident memory in MB."""
    data = cr.Dataset.open(folder)
    if where == "memory":
        data = data.read()
    model = cr.Sequential(cr.Linear(WIDTH, WIDTH, rng=0), cr.ReLU(), cr.Linear(WIDTH, WIDTH, rng=1))
    how = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": cr.SGD(lr=0.01), "threads": 1, "progress": False}
    seconds = cr.fit(model, cr.MSELoss(), data, **how).epoch_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return {"samples": len(data) * (EPOCHS - 1) / (seconds[-1] - seconds[0]), "mb": peak}


def child(folder: Path, where: str, cores: set[int] | None) -> dict[str, float]:
    """`run` in a process of its own, on these cores."""
    command = [sys.executable, __file__, "--run", where, "--folder", str(folder)]
    tied = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    done = subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=tied)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, print, save."""
    options = common.arguments(
        __doc__,
        gb={"type": float, "default": 0.0, "help": "GB of the file  [default: 4, and 0.5 with --quick]"},
        folder={"type": Path, "default": Path(tempfile.gettempdir()), "help": "where the file is to be"},
        run={"choices": ("memory", "files"), "help": "train once, in this process"},
    )
    if options.run:
        print(json.dumps(run(options.folder, options.run)))
        return
    report = common.Report("How fast does fit train from a file larger than its memory?", options)
    gb = options.gb or (0.5 if options.quick else 4.0)
    one = {max(os.sched_getaffinity(0))} if hasattr(os, "sched_getaffinity") else None
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write(Path(folder), int(gb * 1e9 / (8 * WIDTH)))
        for cores, tied in {"one core": one, "all cores": None}.items():
            rounds = [
                {w: child(Path(folder), w, tied) for w in ("memory", "files")} for _ in range(1 if options.quick else 5)
            ]
            shares = [found["files"]["samples"] / found["memory"]["samples"] for found in rounds]
            for where in ("memory", "files"):
                speed = statistics.median(found[where]["samples"] for found in rounds)
                peak = max(found[where]["mb"] for found in rounds)
                share = statistics.median(shares) if where == "files" else None
                rows.append({"cores": cores, "from": where, "samples": speed, "mb": peak, "share": share})
    report.note("gb", gb, f"{gb:g} GB, {cr.Linear(WIDTH, WIDTH).weight.value.dtype}, batch {BATCH}\n")
    headings = {"cores": "cores", "from": "from", "samples": "samples a second", "mb": "MB at most", "share": "share"}
    report.table("runs", rows, headings)
    files = [row for row in rows if row["from"] == "files"]
    report.targets(
        [(f"share of the speed in memory, {row['cores']}", row["share"], "≥", 0.7) for row in files]
        + [("resident memory from files, MB", max(row["mb"] for row in files), "≤", ALLOWED_MB)]
    )
    report.save()


if __name__ == "__main__":
    main()
