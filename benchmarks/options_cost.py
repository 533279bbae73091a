"""What do options cost: tanh for ReLU, Adam for SGD, dropout with validation and shuffling?

    python benchmarks/options_cost.py [--quick] [--json FILE]

`cr.fit` on one core, 1,000 samples, mean squared error, float32. What is compared runs in turn.
"""

from functools import partial

import common
import numpy as np
import peers

import chainrule as cr

SAMPLES = 1000
NETWORKS = ((2, 25, 25, 25, 2), (4, 64, 64, 2), (64, 64, 64, 64, 4), (784, 256, 128, 10))
BATCHES = (1, 10, 100)

# name, the options of the variant, the batches that the target is for, and the most it may cost
VARIANTS = (
    ("Tanh for ReLU", {"activation": "Tanh"}, (1, 10, 100), 1.35),
    ("Adam for SGD", {"optimizer": "Adam"}, (100,), 1.15),
    ("dropout, validation, shuffling", {"dropout": 0.1, "validation": True, "shuffle": True}, (1, 10, 100), 1.3),
    ("shuffling alone", {"shuffle": True}, (), None),
    ("validation alone", {"validation": True}, (), None),
    ("dropout alone", {"dropout": 0.1}, (), None),
    ("keep the best parameters", {"keep": "best"}, (), None),
)
VALIDATION_SAMPLES = 200  # a fifth of what is trained on


def trainer(widths, batch, *, activation="ReLU", optimizer="SGD", dropout=0.0, validation=False, **how):
    """A function of a number of epochs, which trains that many."""
    layers = []
    for weight, bias in peers.initial(widths):
        n_out, n_in = weight.shape
        layers += [cr.Linear(n_in, n_out, weight=weight, bias=bias), getattr(cr, activation)()]
        layers += [cr.Dropout(dropout)] if dropout else []
    model = cr.Sequential(*layers[: -2 if dropout else -1])
    data = cr.Dataset(*peers.samples(widths, SAMPLES))
    held_out = cr.Dataset(*peers.samples(widths, VALIDATION_SAMPLES, seed=2)) if validation else None
    rule = getattr(cr, optimizer)(lr=peers.LR[optimizer])
    settings = {"keep": "last", "shuffle": False, "threads": 1, "progress": False, "engine": "native"} | how

    def run(epochs: int) -> None:
        cr.fit(
            model,
            cr.MSELoss(),
            data,
            epochs=epochs,
            batch_size=batch,
            optimizer=rule,
            validation=held_out,
            **settings,
        )

    return run


def main() -> None:
    """Measure, print, save."""
    options = common.arguments(__doc__)
    common.one_core()
    report = common.Report("What do options cost, in times the step without them?", options)
    how = {"rounds": 7} if options.quick else {"rounds": 25, "most_s": 30}
    rows, asked = [], []
    for widths in NETWORKS[:2] if options.quick else NETWORKS:
        for batch in BATCHES:
            make = partial(trainer, widths, batch)
            bodies = {"plain": make()} | {name: make(**changes) for name, changes, _, _ in VARIANTS}
            timings = common.interleave(bodies, min_s=common.long_enough(widths, 0.02), **how)
            label = f"{common.network_name(widths)}, batch {batch}"
            plain = timings["plain"].median
            row = {"network": common.network_name(widths), "batch": batch, "µs": plain / SAMPLES * batch * 1e6}
            rows.append(row | {name: timings[name].median / plain for name, *_ in VARIANTS} | {"timings": timings})
            asked += [
                (f"{label}: {name}", timings[name].median / plain, "≤", most)
                for name, _, batches, most in VARIANTS
                if most is not None and batch in batches
            ]
            print(label, flush=True)
    print()
    names = [name for name, *_ in VARIANTS]
    report.table("ratios", rows, {key: key for key in ("network", "batch", "µs", *names)})
    worst = {name: float(np.max([row[name] for row in rows])) for name in names}
    report.note("worst", worst, "Worst: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in worst.items()))
    print()
    report.targets(asked)
    report.save()


if __name__ == "__main__":
    main()
