"""Is any size slower than at the fastest peer, and what share of the core's peak is reached?

    python benchmarks/grid.py [--quick | --full] [--json FILE]

One core, ReLU, mean squared error, SGD, shuffling, float32: networks of one and three layers with nine widths from 1 to
1024, of up to six layers with some of them, three of odd sizes, and the two with which people fit curves and learn XOR,
with batches of 1 to 4096. The default takes about ten minutes on an idle core, --full, 26 widths with every depth,
hours. The peers are those that are fastest anywhere: PyTorch eager is nowhere, and torch.compile, which compiles for
seconds, takes part with --full only.

The peak is measured before and after by a loop of fused multiply-adds (peak.c). Without a C compiler it is a lower
bound, the best of large products by NumPy, and is called so.
"""

import ctypes
import math
import os
import shutil
import subprocess
import tempfile
import time
from itertools import chain, pairwise, product
from pathlib import Path

import common
import numpy as np
import peers

ODD = ((3, 17, 33, 5), (7, 50, 1), (100, 1000, 1))
TINY = ((1, 8, 1), (2, 4, 1))
WIDTHS, BATCHES = (1, 4, 10, 25, 64, 128, 256, 512, 1024), (1, 16, 128, 1024, 4096)
DEEP_WIDTHS, DEEP_BATCHES = (1, 4, 25, 64, 256, 1024), (1, 128)
FULL_WIDTHS = (1, 2, 3, 4, 5, 7, 8, 10, 13, 16, 17, 25, 31, 32, 33, 48, 64, 65, 100, 128, 200, 256, 300, 512, 777, 1024)
DEPTHS, FULL_BATCHES = (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 8, 13, 16, 32, 64, 100, 128, 256, 512, 1024, 4096)
RIVALS = ("JAX scan", "NumPy")
SAMPLES, LEAST_STEPS = 1000, 8  # of an epoch, so that what a peer does once in an epoch is shared by several steps
MOST_OPERATIONS = 4e9  # of an epoch, some 20 ms


def operations(widths, batch: int) -> int:
    """Multiplications and additions of a step: y, dW and, except for the first layer, dx."""
    products = [n_in * n_out for n_in, n_out in pairwise(widths)]
    return 2 * batch * (3 * sum(products) - products[0])


def cells(options) -> list[tuple[tuple[int, ...], int]]:
    """What is measured: pairs of a network's widths and a batch."""
    batches = BATCHES
    if options.quick:
        batches, sizes = (1, 128), product((4, 25, 64), (1, 3), (1, 128))
    elif options.full:
        batches, sizes = FULL_BATCHES, product(FULL_WIDTHS, DEPTHS, FULL_BATCHES)
    else:
        sizes = chain(product(WIDTHS, (1, 3), BATCHES), product(DEEP_WIDTHS, (2, 4, 5, 6), DEEP_BATCHES))
    regular = [((width,) * (depth + 1), batch) for width, depth, batch in sizes]
    return regular + list(product(ODD + TINY, batches))


def steps_of(work: int, batch: int) -> int:
    """How many steps an epoch has."""
    return min(max(math.ceil(SAMPLES / batch), LEAST_STEPS), math.ceil(MOST_OPERATIONS / work))


def peak(seconds: float = 0.5) -> tuple[float, str]:
    """Operations a second of the core at its best, and what has been measured."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        a, b = (np.ones((1536, 1536), np.float32) for _ in range(2))
        out = np.empty_like(a)
        return _best(lambda: 2.0 * len(np.dot(a, b, out=out)) ** 3, seconds), "a lower bound, by NumPy"
    with tempfile.TemporaryDirectory() as folder:
        library, source = Path(folder) / "peak.so", Path(__file__).with_name("peak.c")
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        if common.AVX2_ONLY.items() <= os.environ.items():
            flags.append("-mno-avx512f")
        subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
        run = ctypes.CDLL(str(library)).multiply_add
        run.restype, run.argtypes = ctypes.c_double, [ctypes.c_long, ctypes.c_float, ctypes.POINTER(ctypes.c_float)]
        sink = ctypes.c_float()
        return _best(lambda: run(100_000, 0.5, ctypes.byref(sink)), seconds), "independent fused multiply-adds"


def _best(operations_done, seconds: float) -> float:
    """The most operations a second."""
    best, begin = 0.0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.process_time()
        done = operations_done()
        best = max(best, done / (time.process_time() - start))
    return best


def cell(widths, batch, taking_part, **how) -> dict:
    """One row: our time and those of the peers."""
    work = operations(widths, batch)
    steps = steps_of(work, batch)
    x, target = peers.samples(widths, steps * batch)
    trainers = {peer.name: peer.make(widths, "ReLU", "SGD", x, target, batch).run for peer in taking_part}
    timings = common.interleave(trainers, min_s=common.long_enough(widths, 0.02, share=0.03), **how)
    own = timings["chainrule"].median / steps
    rivals = {name: timing.median / steps for name, timing in timings.items() if name != "chainrule"}
    fastest = min(rivals, key=rivals.get)
    return {
        "network": common.network_name(widths),
        "width": max(widths[:-1]),
        "depth": len(widths) - 1,
        "regular": len(set(widths)) == 1,
        "batch": batch,
        "us": own * 1e6,
        "fastest": fastest,
        "rival_us": rivals[fastest] * 1e6,
        "ratio": rivals[fastest] / own,
        "rate": work / own,
        "timings": timings,
    }


def main() -> None:
    """Measure, print, save."""
    full = {"action": "store_true", "help": "every size, and torch.compile; takes hours"}
    options = common.arguments(__doc__, full=full)
    common.one_core()
    report = common.Report("Is any size slower than at the fastest peer?", options)
    taking_part, absent = peers.available("chainrule", *RIVALS, *(["torch.compile"] if options.full else []))
    report.absent(absent)
    how = {"rounds": 3} if options.quick else {"rounds": 5, "most_s": 3}

    before, kind = peak()
    rows: list[dict] = []
    for network, batch in cells(options):
        row = cell(network, batch, taking_part, **how)
        rows.append(row)
        print(f"{row['network']}, batch {batch}: {row['us']:.3g} µs, {row['ratio']:.2f} × {row['fastest']}", flush=True)
    highest = max(before, peak()[0])
    for row in rows:
        row["share"] = row["rate"] / highest
    report.results["peak_kind"] = kind
    report.note("peak", highest, f"\npeak of the core: {highest / 1e9:.0f} GF/s ({kind})\n")

    columns = {"network": "network", "batch": "batch", "us": "µs per step", "fastest": "fastest peer"}
    columns |= {"rival_us": "its µs", "ratio": "times as fast", "share": "share of the peak"}
    worst = sorted(rows, key=lambda row: row["ratio"])[:20]
    print("The weakest cells\n")
    report.table("weakest", worst, columns)
    report.results["cells"] = [common.plain(row) for row in rows]

    slower = [row for row in rows if row["ratio"] < 1]
    report.note("slower", len(slower), f"{len(slower)} of {len(rows)} cells are slower than the fastest peer\n")
    asked = [("weakest cell: times the fastest peer", worst[0]["ratio"], "≥", 1.0)]
    for low, high, share in ((25, 25, 0.62), (64, 1024, 0.88)):
        group = [row for row in rows if row["regular"] and low <= row["width"] <= high and row["batch"] >= 100]
        if group:
            weakest = min(group, key=lambda row: row["share"])
            widths = f"width {low}" if low == high else f"widths {low} to {high}"
            label = f"share of the peak, {widths}, batch ≥ 100; weakest {weakest['network']}"
            asked.append((f"{label}, batch {weakest['batch']}", weakest["share"], "≥", share))
    report.targets(asked)
    report.save()


if __name__ == "__main__":
    main()
