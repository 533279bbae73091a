"""How long until a LeNet reads Fashion-MNIST as well as it has to, next to PyTorch eager and JAX?

    python benchmarks/fashion_accuracy.py [--quick] [--json FILE] [--threads N]

LeNet as in convolution.py, on Fashion-MNIST (Xiao, Rasul, Vollgraf 2017) as Debian has it: cross-entropy, Adam with its
defaults, batches of 64, float32. The training images pass in two halves, each time in a new order, and after each half
the accuracy on the 10,000 test images is taken, by the same program for all and with the clock stopped. All start from
the same weights and see the same batches, which is looked at first. PyTorch takes its better layout of memory and its
fused optimizer, JAX the better of lax.conv and of shifted slices with one product, a half in one compiled scan.

On one core the clock is the process's, on two the one on the wall. The first half of each run counts as long as the
usual one: what it took more, which is mostly compiling, stands in a column of its own. Without --threads this measures
one core and then two, each in a process of its own.
"""

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import common
import convolution
import numpy as np
import peers
from threads import free_cores

import chainrule as cr
from chainrule.random import order

FOLDER = Path("/usr/share/datasets/fashion-mnist")
BATCH, SEEDS, MOST_HALVES = 64, 3, 80
LEVELS, QUICK_LEVELS = (0.87, 0.89), (0.80, 0.84)
LENET = convolution.NETWORKS["LeNet"]
QUESTION = "How long until a LeNet reads Fashion-MNIST as well as it has to?"
RESULTS = ("machine", "absent", "free_cores", "distances", "chosen", "reached", "courses")
Pair = tuple[np.ndarray, np.ndarray]
Course = list[tuple[float, float]]  # seconds of each half, and the accuracy after it


def fashion(part: str) -> Pair:
    """Images (n, 1, 28, 28) from 0 to 1 and their classes; `part` is "train" or "t10k"."""
    if not FOLDER.exists():
        raise SystemExit(f"{FOLDER} is absent: apt install dataset-fashion-mnist")
    images, labels = (
        np.frombuffer(gzip.decompress((FOLDER / f"{part}-{name}-ubyte.gz").read_bytes()), np.uint8, offset=head)
        for name, head in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return images.reshape(-1, 1, 28, 28) / np.float32(255), labels.astype(np.int64)


class Task:
    """What all have to do: the halves of the training images, in whole batches, from the weights of a seed."""

    def __init__(self, data: Pair, seed: int, threads: int, batches: int | None = None) -> None:
        half = BATCH * (batches or len(data[0]) // (2 * BATCH))
        self.halves = [(data[0][at : at + half], data[1][at : at + half]) for at in (0, half)]
        self.half, self.seed, self.threads = half, seed, threads

    def model(self) -> cr.Sequential:
        """chainrule's, with the initial weights that all have."""
        cr.seed(self.seed)
        return cr.Sequential(cr.Adam(lr=peers.LR["Adam"]), *LENET.layers())

    def order(self, number: int) -> np.ndarray:
        """In which the half `number` passes: the one that `cr.fit` draws from `order_seed`."""
        return order(self.half, seed=self.order_seed(number), epoch=0)

    def order_seed(self, number: int) -> int:
        return self.seed * MOST_HALVES + number


# -- the peers: `run(n)` trains n halves


class Chainrule(peers.Chainrule):
    """`cr.fit`, once for each half."""

    def __init__(self, task: Task) -> None:
        self.cr, self.batch, self.threads, self.task, self.done = cr, BATCH, task.threads, task, 0
        self.model, self.loss = task.model(), LENET.loss()
        self.halves = [cr.Dataset(*half) for half in task.halves]

    def run(self, epochs):
        for _ in range(epochs):
            self.data, self.epoch = self.halves[self.done % 2], self.task.order_seed(self.done)
            self.fit(1)
            self.done += 1

    def weights(self) -> Any:
        return [parameter.value for parameter in self.model.param()]


class TorchEager(peers.TorchEager):
    """torch.nn's layers as tutorials write them, channels first in memory or last."""

    @classmethod
    def settings(cls):
        return [{"last": False}, {"last": True}]

    def __init__(self, task: Task, last: bool) -> None:
        self.torch, self.task, self.done = peers.torch_module(), task, 0
        layout = self.torch.channels_last if last else self.torch.contiguous_format
        self.model = cr.to_torch(task.model()).to(memory_format=layout)
        self.halves = [
            (self.torch.from_numpy(x).contiguous(memory_format=layout), self.torch.from_numpy(target))
            for x, target in task.halves
        ]
        self.loss = self.torch.nn.CrossEntropyLoss()
        self.optimizer = self.torch.optim.Adam(self.model.parameters(), lr=peers.LR["Adam"], fused=True)

    def run(self, epochs):
        for _ in range(epochs):
            order = self.torch.from_numpy(self.task.order(self.done))
            batches = (part[order].split(BATCH) for part in self.halves[self.done % 2])
            for x, target in zip(*batches, strict=True):
                self.optimizer.zero_grad(set_to_none=True)
                self.loss(self.model(x), target).backward()
                self.optimizer.step()
            self.done += 1

    def weights(self) -> Any:
        return [parameter.detach().numpy() for parameter in self.model.parameters()]


class JaxScan(peers.JaxScan):
    """A half as one compiled scan."""

    @classmethod
    def settings(cls):
        return [{"slices": False}, {"slices": True}]

    def __init__(self, task: Task, slices: bool) -> None:
        import jax
        import jax.numpy as jnp

        self.task, self.done = task, 0
        ops = convolution.Ops(slices)

        def loss(parameters, x, target):
            y = LENET.equation(ops, parameters, x.reshape((-1, 1, 28, 28)))
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(y), target, axis=1))

        values = [parameter.value for parameter in task.model().param()]
        pairs = list(zip(values[::2], values[1::2], strict=True))
        self.compile(loss, pairs, "Adam", *task.halves[0], BATCH, transposed=True)
        self.halves = [tuple(jnp.asarray(part) for part in half) for half in task.halves]

    def run(self, epochs):
        for _ in range(epochs):
            x, target = self.halves[self.done % 2]
            self.state = self.epoch(self.state, x, target, self.task.order(self.done))
            self.done += 1
        self.jax.block_until_ready(self.state)

    def weights(self) -> Any:
        return [np.asarray(value) for pair in self.state[0] for value in pair]


PEERS: tuple[type[peers.Peer], ...] = (Chainrule, TorchEager, JaxScan)


def distances(data: Pair) -> dict[str, float]:
    """How far each peer's weights are from chainrule's after four equal steps: root mean squares, as a share.

    Raises ArithmeticError if it is more than sums of some thousand numbers in another order can explain. Adam makes a
    whole step even of a gradient that is nothing but rounding, so that single weights say little.
    """
    trainers = [peer(Task(data, 0, 1, batches=2), **peer.settings()[0]) for peer in PEERS if not peer.missing()]
    for trainer in trainers:
        trainer.run(2)
    own, *others = trainers
    found = {
        other.name: max(
            float(np.sqrt(np.mean((a - b) ** 2) / np.mean(a**2)))
            for a, b in zip(own.weights(), other.weights(), strict=True)
        )
        for other in others
    }
    if any(far > 1024 * np.finfo(np.float32).eps for far in found.values()):
        raise ArithmeticError(f"the peers do not train the same network: {found}")
    return found


# -- the figures


def courses(
    trainers: dict[str, peers.Peer], accuracy: Callable[[Any], float], goal: float, clock: Callable[[], float]
) -> dict[str, Course]:
    """(seconds, accuracy) of each half until the goal is reached, of all in turn at changing places."""
    found: dict[str, Course] = {name: [] for name in trainers}
    left = list(trainers)
    for _ in range(MOST_HALVES):
        for name in tuple(left):
            start = clock()
            trainers[name].run(1)
            taken = clock() - start
            found[name].append((taken, accuracy(trainers[name].weights())))
            if found[name][-1][1] >= goal:
                left.remove(name)
        left = left[1:] + left[:1]
    if left:
        raise ArithmeticError(f"{', '.join(left)}: an accuracy of {goal} is not reached in {MOST_HALVES} halves")
    return found


def reached(course: Course, level: float) -> tuple[int, float]:
    """Halves until the accuracy is first as high as `level`, and their seconds; the first counts like the usual one."""
    seconds, accuracies = zip(*course, strict=True)
    halves = next(i for i, accuracy in enumerate(accuracies, 1) if accuracy >= level)
    return halves, statistics.median(seconds) + sum(seconds[1:halves])


def table(runs: Sequence[dict[str, Course]], levels: Sequence[float]) -> list[dict[str, Any]]:
    """A row for each level and peer: medians over the runs."""
    rows = []
    for level in levels:
        found = {name: [reached(run[name], level) for run in runs] for name in runs[0]}
        seconds = {name: statistics.median(s for _, s in pairs) for name, pairs in found.items()}
        for name, pairs in found.items():
            usual = [statistics.median(taken for taken, _ in run[name]) for run in runs]
            more = [run[name][0][0] - u for run, u in zip(runs, usual, strict=True)]
            rows.append(
                {
                    "level": level,
                    "peer": name,
                    "epochs": statistics.median(halves for halves, _ in pairs) / 2,
                    "s": seconds[name],
                    "times": seconds[name] / seconds["chainrule"],
                    "epoch_s": 2 * statistics.median(usual),
                    "compiling": max(0.0, statistics.median(more)),
                }
            )
    return rows


def measure(options: argparse.Namespace) -> None:
    """Check, measure, print, save, on options.threads cores."""
    threads, levels = options.threads, QUICK_LEVELS if options.quick else LEVELS
    report = common.Report(f"{QUESTION} {threads} {'core' if threads == 1 else 'cores'}", options)
    taking_part = [peer for peer in PEERS if not peer.missing()]
    report.absent({peer.name: peer.missing() for peer in PEERS if peer.missing()})
    if threads > 1:
        free = free_cores()
        report.note("free_cores", free, f"two busy processes get {free:.2f} cores' worth of time")
    data, test = fashion("train"), cr.Dataset(*fashion("t10k"))
    far = distances(data)
    report.note("distances", far, f"distance to chainrule's weights after four equal steps: {far}\n")
    judge = Task(data, 0, threads).model()

    def accuracy(weights: Iterable[np.ndarray]) -> float:
        for parameter, value in zip(judge.param(), weights, strict=True):
            parameter.value[...] = value
        return float(cr.evaluate(judge, LENET.loss(), test, metrics=[cr.metrics.accuracy]).accuracy)

    chosen = {peer: peer.make(Task(data, 0, threads, batches=16)).chosen for peer in taking_part}
    report.results["chosen"] = {peer.name: settings for peer, settings in chosen.items()}
    clock = time.process_time if threads == 1 else time.perf_counter
    runs = []
    for seed in range(1 if options.quick else SEEDS):
        trainers = {peer.name: peer(Task(data, seed, threads), **settings) for peer, settings in chosen.items()}
        runs.append(courses(trainers, accuracy, max(levels), clock))
    report.results["courses"] = common.plain(runs)
    columns = {"level": "test accuracy", "peer": "peer", "epochs": "epochs", "s": "s", "times": "times chainrule"}
    report.table("reached", table(runs, levels), columns | {"epoch_s": "an epoch, s", "compiling": "compiling, s"})
    report.save()


def main() -> None:
    """Measure on one core and on two, each in a process of its own, and save both."""
    options = common.arguments(__doc__, threads={"type": int, "metavar": "N", "help": "only on so many cores"})
    if options.threads:
        common.cores(options.threads)
        measure(options)
        return
    report = common.Report(QUESTION, options)
    for threads in range(1, min(2, os.cpu_count() or 1) + 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "results.json")
            command = [sys.executable, __file__, "--threads", str(threads), "--json", path]
            subprocess.run(command + ["--quick"] * options.quick, check=True)
            found = json.loads(path.read_text("utf-8"))
        report.results[f"threads={threads}"] = {key: found[key] for key in RESULTS if key in found}
    report.save()


if __name__ == "__main__":
    main()
