"""How many networks a second does `fit_many` train, and what does a network cost it beyond its steps?

    python benchmarks/many_networks.py [--quick] [--json FILE] [--wait SECONDS]

The network 2-25-25-25-2 on the disk, each with weights of its own, in three ways, by the clock on the wall, in turn:
one after another by `fit`; by `fit_many` on one thread; by `fit_many` on all cores. Then the memory that the results of
many networks take.
"""

import time
import tracemalloc

import common
import numpy as np

# The cores have to be idle, or the figures are those of the neighbours.
from threads import QUIET, free_cores

import chainrule as cr
from chainrule.engine import native

NETWORKS = 64
EPOCHS = (2, 20, 200)
BATCH = 100


def build(seed: int) -> cr.Sequential:
    """The report's network."""
    rng = np.random.default_rng(seed)
    return cr.Sequential(
        cr.SGD(lr=0.05),
        cr.Linear(2, 25, rng=rng),
        cr.ReLU(),
        cr.Linear(25, 25, rng=rng),
        cr.ReLU(),
        cr.Linear(25, 25, rng=rng),
        cr.ReLU(),
        cr.Linear(25, 2, rng=rng),
    )


def measure(epochs: int, networks: int, cores: int, **how) -> dict[str, common.Timing]:
    """Seconds that `networks` networks take."""
    data, loss = cr.data.disk(1000, seed=0), cr.MSELoss()
    settings = {"epochs": epochs, "batch_size": BATCH, "keep": "last", "progress": False}

    def one_by_one(times: int) -> None:
        for _ in range(times):
            for seed in range(networks):
                cr.fit(build(seed), loss, data, seed=seed, threads=1, **settings)

    def many(times: int, threads: int) -> None:
        for _ in range(times):
            cr.fit_many(build, loss, data, seeds=networks, threads=threads, **settings)

    bodies = {"fit": one_by_one, "one thread": lambda n: many(n, 1), "all cores": lambda n: many(n, cores)}
    return common.interleave(bodies, wall=True, **how)


def bytes_per_network(networks: int) -> float:
    """What a network that was trained and is kept takes."""
    data = cr.data.disk(100, seed=0)
    how = {"epochs": 100, "batch_size": 50, "keep": "last", "progress": False}
    cr.fit_many(build, cr.MSELoss(), data, seeds=2, **how)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    results = cr.fit_many(build, cr.MSELoss(), data, seeds=networks, **how)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / len(results)


def main() -> None:
    """Measure, print, save."""
    wait = {"type": float, "default": 0.0, "metavar": "SECONDS", "help": "how long to wait for idle cores"}
    options = common.arguments(__doc__, wait=wait)
    report = common.Report("How many networks a second?", options)
    cores = native.cores()
    free, waited = free_cores(), 0.0
    while free < min(2, cores) * QUIET and waited < options.wait:
        time.sleep(5)
        waited += 5
        free = free_cores()
    report.note("free_cores", free, f"two busy processes get {free:.2f} cores' worth of time, of {cores} cores\n")
    how = {"rounds": 3, "min_s": 0.01} if options.quick else {"rounds": 15, "min_s": 0.2}
    rows = []
    for epochs in EPOCHS[:2] if options.quick else EPOCHS:
        timings = measure(epochs, NETWORKS, cores, **how)
        fit, one, every = (timings[name].median for name in ("fit", "one thread", "all cores"))
        rows.append(
            {
                "epochs": epochs,
                "fit": NETWORKS / fit,
                "one": NETWORKS / one,
                "all": NETWORKS / every,
                "over fit": one / fit,
                "speed-up": fit / every,
                "timings": timings,
            }
        )
    columns = {"epochs": "epochs of 1,000 samples", "fit": "fit, networks a second", "one": "fit_many, one thread"}
    columns |= {"all": f"fit_many, {cores} threads", "over fit": "one thread: time over that of fit"}
    columns |= {"speed-up": "all cores: times as fast as fit"}
    report.table("throughput", rows, columns)
    size = bytes_per_network(200 if options.quick else 2000)
    report.note(
        "bytes", size, f"a network and its history take {size / 1024:.1f} KiB, ten thousand {size / 100:.0f} MB\n"
    )
    longest = rows[-1]
    asked = [
        (
            f"{longest['epochs']} epochs: share of {cores} times one network after another",
            longest["speed-up"] / cores,
            "≥",
            0.95,
        ),
        (f"{longest['epochs']} epochs: time per step over that of fit", longest["over fit"], "≤", 1.03),
        ("ten thousand networks, MB", size / 100, "≤", 1000),
    ]
    if min(free, free_cores()) >= min(2, cores) * QUIET:
        report.targets(asked)
    else:
        report.note("judged", False, "Others were using the cores, so this says nothing about the targets.")
    report.save()


if __name__ == "__main__":
    main()
