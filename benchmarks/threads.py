"""Do threads ever hurt, what do they gain, and what happens if another process takes a core?

    python benchmarks/threads.py [--quick] [--json FILE] [--wait SECONDS]

`cr.fit` with its default threads and with threads=1, in turn, by the clock on the wall. Then the same with a process
beside it that keeps one core busy. This needs two cores that are otherwise idle, which is measured first; where they
are not, the figures are printed, but no target is judged by them.
"""

import multiprocessing
import os
import time

import common
import peers

SAMPLES = 1000
NETWORKS = (
    (2, 8, 2),
    (2, 25, 25, 25, 2),
    (4, 64, 64, 2),
    (64, 64, 64, 64, 4),
    (128, 128, 128, 10),
    (784, 256, 128, 10),
    (1024, 1024, 1024, 10),
)
BATCHES = (1, 10, 100, 1000)
QUIET = 0.9  # the share of two cores that has to be free
QUICK = NETWORKS[1], NETWORKS[3], NETWORKS[5]


class DefaultThreads(peers.Chainrule):
    """`cr.fit` as it comes."""

    threads = None


def measure(widths, batch, **how) -> dict[str, common.Timing]:
    """Seconds of an epoch, with one thread and by default."""
    x, target = peers.samples(widths, SAMPLES)
    kinds = {"one thread": peers.Chainrule, "default": DefaultThreads, "one thread again": peers.Chainrule}
    bodies = {name: kind.make(widths, "ReLU", "SGD", x, target, batch).run for name, kind in kinds.items()}
    return common.interleave(bodies, wall=True, **how)


def spin(stop) -> None:
    """Keep a core busy."""
    while not stop.is_set():
        for _ in range(10_000):
            pass


def free_cores(seconds: float = 0.5) -> float:
    """How many cores' worth of arithmetic two busy processes get at the moment."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        pool.map(_busy_share, [0.05, 0.05])
        return sum(pool.map(_busy_share, [seconds, seconds], chunksize=1))


def _busy_share(seconds: float) -> float:
    start, busy = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        pass
    return (time.process_time() - busy) / (time.perf_counter() - start)


def table(networks, batches, **how) -> list[dict]:
    """A row for each network and batch."""
    rows = []
    for widths in networks:
        for batch in batches:
            timings = measure(widths, batch, **how)
            one, again, default = (timings[k].median for k in ("one thread", "one thread again", "default"))
            alone = min(one, again)
            rows.append(
                {
                    "network": common.network_name(widths),
                    "narrowest hidden": min(widths[1:-1]),
                    "batch": batch,
                    "one": alone / SAMPLES * batch * 1e6,
                    "default": default / SAMPLES * batch * 1e6,
                    "noise": f"{abs(one / again - 1):.0%}",
                    "speed-up": alone / default,
                    "timings": timings,
                }
            )
    return rows


def main() -> None:
    """Measure, print, save."""
    wait = {"type": float, "default": 0.0, "metavar": "SECONDS", "help": "how long to wait for two idle cores"}
    options = common.arguments(__doc__, wait=wait)
    report = common.Report("Do threads ever hurt, and what do they gain?", options)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    free = free_cores()
    waited, idle = 0.0, min(2, cores or 1) * QUIET
    while free < idle and waited < options.wait:
        time.sleep(5)
        waited += 5
        free = free_cores()
    report.note("free_cores", free, f"two busy processes get {free:.2f} cores' worth of time, of {cores} cores\n")
    how = {"rounds": 7, "min_s": 0.01} if options.quick else {"rounds": 25, "min_s": 0.02, "most_s": 15}
    columns = {"network": "network", "batch": "batch", "one": "threads=1, µs", "default": "default, µs"}
    columns |= {"speed-up": "speed-up", "noise": "two runs of threads=1 differ by"}
    rows = table(QUICK if options.quick else NETWORKS, BATCHES, **how)
    report.table("alone", rows, columns)
    slowest = min(rows, key=lambda row: row["speed-up"])
    label = f"longest of all, {slowest['network']}, batch {slowest['batch']}: time by default over that of threads=1"
    asked = [(label, 1 / slowest["speed-up"], "≤", 1.03)]
    asked += [
        (f"{row['network']}, batch 100: speed-up on two cores", row["speed-up"], "≥", 1.7)
        for row in rows
        if row["narrowest hidden"] >= 64 and row["batch"] == 100
    ]

    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    neighbours = [context.Process(target=spin, args=(stop,), daemon=True) for _ in range((cores or 2) - 1)]
    for neighbour in neighbours:
        neighbour.start()
    time.sleep(0.5)
    try:
        beside = table(QUICK, (10, 100, 1000), **how)
    finally:
        stop.set()
        for neighbour in neighbours:
            neighbour.join()
    print(f"With {len(neighbours)} other process(es) that keep a core busy each\n")
    report.table("beside a busy process", beside, columns)
    slowest = min(beside, key=lambda row: row["speed-up"])
    label = (
        f"longest beside a busy process, {slowest['network']}, batch {slowest['batch']}: "
        "time by default over that of threads=1"
    )
    asked.append((label, 1 / slowest["speed-up"], "≤", 1.5))  # no collapse: a spin barrier alone gives 6 to 16
    if min(free, free_cores()) >= idle:
        report.targets(asked)
    else:
        report.note("judged", False, "Others were using the cores, so this says nothing about the targets.")
    report.save()


if __name__ == "__main__":
    main()
