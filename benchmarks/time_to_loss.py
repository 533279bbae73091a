"""How long until the validation loss is as low as it has to be?

    python benchmarks/time_to_loss.py [--quick] [--json FILE]

The balanced disk and scikit-learn's digits (Alpaydin, Kaynak 1998), Adam, ReLU, mean squared error on one-hot targets,
one core. The loss to reach is what the NumPy loop has after a given number of epochs. Counted is training: of the peers
without looking at the validation data, and compiling stands in a column of its own; of chainrule all of `cr.fit`,
validation after every epoch included.
"""

import statistics
import time

import common
import numpy as np
import peers

import chainrule as cr

BATCH, SEEDS, MOST_EPOCHS = 50, 5, 2000


def disk():
    """1,000 points to learn from, and as many others."""
    pair = [cr.data.disk(1000, seed=seed, radius="balanced") for seed in (0, 1)]
    return (2, 25, 25, 25, 2), 100, [(data.x, data.target) for data in pair]


def digits():
    """1,300 images to learn from, and the rest."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, target = (images / 16).astype(np.float32), np.eye(10, dtype=np.float32)[labels]
    order = np.random.default_rng(0).permutation(len(x))
    return (64, 64, 64, 10), 20, [(x[part], target[part]) for part in (order[:1300], order[1300:])]


def loss_of(layers: peers.Layers, x: np.ndarray, target: np.ndarray) -> float:
    """The mean squared error of a ReLU network."""
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        x = np.maximum(x, 0) if i < len(layers) - 1 else x
    return float(((x - target) ** 2).mean())


def by_epochs(trainer: peers.Peer, wanted: float, held_out) -> tuple[float, float, int]:
    """Seconds of training, seconds of the first epoch over the others, and epochs."""
    times: list[float] = []
    while len(times) < MOST_EPOCHS:
        start = time.process_time()
        trainer.run(1)
        times.append(time.process_time() - start)
        if loss_of(trainer.weights(), *held_out) <= wanted:
            break
    usual = statistics.median(times)
    return sum(times[1:]) + usual, max(0.0, times[0] - usual), len(times)


def by_fit(trainer: peers.Chainrule, wanted: float, held_out) -> tuple[float, float, int]:
    """The same for one call of `cr.fit`."""
    start = time.process_time()
    history = trainer.fit(
        MOST_EPOCHS, validation=held_out, stop=lambda history: history.validation_losses[-1] <= wanted
    )
    return time.process_time() - start, 0.0, history.epochs


def main() -> None:
    """Measure, print, save."""
    options = common.arguments(__doc__)
    common.one_core()
    taking_part, absent = peers.available()
    report = common.Report("How long until the validation loss is as low as it has to be?", options)
    report.absent(absent)
    have_digits = peers.ScikitLearn not in taking_part
    for name, data in {"disk": disk, **({} if have_digits else {"digits": digits})}.items():
        widths, epochs, ((x, target), held_out) = data()
        right = peers.NumPy(widths, "ReLU", "Adam", x, target, BATCH)
        right.run(epochs)
        wanted = loss_of(right.weights(), *held_out)
        made = {peer: peer.make(widths, "ReLU", "Adam", x, target, BATCH).chosen for peer in taking_part}
        found: dict[str, list[tuple[float, float, int]]] = {peer.name: [] for peer in taking_part}
        for _ in range(1 if options.quick else SEEDS):
            for peer, settings in made.items():
                trainer = peer(widths, "ReLU", "Adam", x, target, BATCH, **settings)
                reach = by_fit if peer is peers.Chainrule else by_epochs
                found[peer.name].append(reach(trainer, wanted, held_out))
        rows = []
        for peer, runs in found.items():
            seconds, compiling, needed = (statistics.median(column) for column in zip(*runs, strict=True))
            rows.append({"peer": peer, "ms": seconds * 1e3, "compiling": compiling, "epochs": needed, "runs": runs})
        for row in rows:
            row["times"] = row["ms"] / rows[0]["ms"]
        print(f"{name}: {common.network_name(widths)}, batch {BATCH}, down to a validation loss of {wanted:.4g}\n")
        columns = {"peer": "peer", "ms": "ms", "times": "times chainrule", "epochs": "epochs"}
        report.table(name, rows, columns | {"compiling": "compiling, s"})
    report.save()


if __name__ == "__main__":
    main()
