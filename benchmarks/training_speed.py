"""How long does a training step take, next to the peers, on one core?

    python benchmarks/training_speed.py [--quick] [--json FILE] [--chart FILE]

ReLU, mean squared error, SGD, float32, 1,000 samples visited in a new order every epoch; each peer at its best settings
(peers.py). All that are compared run in turn; a figure is the median of the rounds.
"""

import common
import peers

SAMPLES = 1000

# network, batch, and what was asked for: times PyTorch eager, times the fastest rival
CASES = (
    ((2, 25, 25, 25, 2), 1, 700, 6),
    ((2, 25, 25, 25, 2), 10, 220, 11),
    ((2, 25, 25, 25, 2), 100, 36, 5),
    ((2, 25, 25, 25, 2), 1000, 8, 4),
    ((4, 64, 64, 2), 1, 400, 5),
    ((4, 64, 64, 2), 100, 15, 2.2),
    ((64, 64, 64, 64, 4), 100, 9, 1.8),
    ((784, 256, 128, 10), 1, 11, 1.9),
    ((784, 256, 128, 10), 100, 2.8, 1.15),
    ((1024, 1024, 1024, 10), 10, 9, 2),
    ((1024, 1024, 1024, 10), 100, 2.8, 1.2),
)
QUICK = (((2, 25, 25, 25, 2), 10, 220, 11), ((2, 25, 25, 25, 2), 100, 36, 5), ((4, 64, 64, 2), 100, 15, 2.2))


def measure(widths, batch, taking_part, **how) -> dict[str, common.Timing]:
    """Seconds of one epoch, for each peer."""
    x, target = peers.samples(widths, SAMPLES)
    trainers = {peer.name: peer.make(widths, "ReLU", "SGD", x, target, batch).run for peer in taking_part}
    return common.interleave(trainers, min_s=common.long_enough(widths, 0.05), **how)


def main() -> None:
    """Measure, print, save."""
    chart = {"type": common.Path, "metavar": "FILE", "help": "draw the ratios, as .svg or .png"}
    options = common.arguments(__doc__, chart=chart)
    common.one_core()
    taking_part, absent = peers.available()
    report = common.Report(
        "Microseconds per training step on one core, and how many times that the peers take", options
    )
    for name, reason in absent.items():
        report.note(f"absent: {name}", reason, f"{name} does not take part: {reason}")

    rows, steps, asked = [], [], []
    how = {"rounds": 5} if options.quick else {"rounds": 15, "most_s": 90}
    for widths, batch, times_eager, times_fastest in QUICK if options.quick else CASES:
        timings = measure(widths, batch, taking_part, **how)
        per_epoch = SAMPLES / batch * 1e-6
        own = timings["chainrule"].median
        rivals = {name: timings[name].median for name in peers.RIVALS if name in timings}
        fastest = min(rivals, key=rivals.get, default=None)
        label = f"{common.network_name(widths)}, batch {batch}"
        eager = timings["PyTorch eager"].median / own if "PyTorch eager" in timings else None
        rival = rivals[fastest] / own if fastest else None
        row = {"label": label, "network": common.network_name(widths), "batch": batch}
        steps.append(row | {name: timing.median / per_epoch for name, timing in timings.items()})
        rows.append(
            row
            | {
                "us": own / per_epoch,
                "spread": f"{timings['chainrule'].spread:.0%}",
                "waited": f"{timings['chainrule'].waited:.0%}",
                "eager": eager,
                "eager_asked": f"≥ {times_eager:g}",
                "fastest": rival,
                "fastest_asked": f"≥ {times_fastest:g}",
                "fastest_is": fastest,
                "timings": timings,
            }
        )
        asked += [(f"{label}: times PyTorch eager", eager, "≥", times_eager)] if eager else []
        # Without all rivals the fastest of the rest says nothing about the target.
        asked += [(f"{label}: times {fastest}", rival, "≥", times_fastest)] if len(rivals) == len(peers.RIVALS) else []
        print(f"{label}: {own / per_epoch:.3g} µs", flush=True)

    print()
    columns = {"network": "network", "batch": "batch"}
    report.table("µs per step", steps, columns | {peer.name: peer.name for peer in taking_part})
    columns |= {"us": "µs per step", "spread": "spread", "waited": "waited"}
    columns |= {"eager": "× PyTorch eager", "eager_asked": "asked", "fastest": "× fastest", "fastest_asked": "asked"}
    report.table("ratios", rows, columns | {"fastest_is": "which is"})
    report.targets(asked)
    report.save()
    if options.chart is not None:
        title = "times as fast as the peer, one core, training step with shuffling"
        common.chart(options.chart, rows, {"eager": "PyTorch eager", "fastest": "fastest other peer"}, title)


if __name__ == "__main__":
    main()
