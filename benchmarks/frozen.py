"""What does training cost whose first layers are frozen?

    python benchmarks/frozen.py [--quick] [--json FILE]

`cr.fit` on one core, 1,000 samples, ReLU, mean squared error, plain SGD, float32. The network is trained whole; with
all but its last layer frozen; and with all of it frozen, which leaves the pass forward and the loss. The last layer is
also trained alone, as a network of its own. Training the head should cost no more than the pass forward and the head.
"""

import common
import peers

import chainrule as cr

SAMPLES = 1000
WIDTHS = (64, 64, 64, 64, 4)
BATCHES = (1, 10, 100)


def trainer(widths, batch, frozen):
    """A function of a number of epochs, which trains that many, with so many Linears frozen."""
    layers = []
    for weight, bias in peers.initial(widths):
        layers += [cr.Linear(*weight.shape[::-1], weight=weight, bias=bias), cr.ReLU()]
    model = cr.Sequential(*layers[:-1])
    model[: 2 * frozen].freeze()
    data, rule = cr.Dataset(*peers.samples(widths, SAMPLES)), cr.SGD(lr=peers.LR["SGD"])
    settings = {"batch_size": batch, "keep": "last", "threads": 1, "progress": False, "engine": "native"}
    return lambda epochs: cr.fit(model, cr.MSELoss(), data, epochs=epochs, optimizer=rule, **settings)


def main() -> None:
    """Measure, print, save."""
    options = common.arguments(__doc__)
    common.one_core()
    report = common.Report("What does training cost whose first layers are frozen?", options)
    how = {"rounds": 7} if options.quick else {"rounds": 25, "most_s": 30}
    linears, rows, asked = len(WIDTHS) - 1, [], []
    for batch in BATCHES:
        bodies = {"all": trainer(WIDTHS, batch, 0), "head": trainer(WIDTHS, batch, linears - 1)}
        bodies |= {"forward": trainer(WIDTHS, batch, linears), "head alone": trainer(WIDTHS[-2:], batch, 0)}
        timings = common.interleave(bodies, min_s=common.long_enough(WIDTHS, 0.02), **how)
        row = {"batch": batch} | {name: timings[name].median / SAMPLES * batch * 1e6 for name in bodies}
        row["share"] = row["head"] / row["all"]
        rows.append(row | {"timings": timings})
        ratio = row["head"] / (row["forward"] + row["head alone"])
        asked.append((f"batch {batch}: the head, over the pass forward and the head alone", ratio, "≤", 1.0))
    columns = {"batch": "batch", "all": "all trained, µs", "head": "the head trained, µs", "forward": "none, µs"}
    report.table("µs per step", rows, columns | {"head alone": "the head alone, µs", "share": "head / all"})
    report.targets(asked)
    report.save()


if __name__ == "__main__":
    main()
