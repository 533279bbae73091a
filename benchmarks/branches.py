"""What does a training step of a network with branches cost, next to PyTorch eager and JAX, on one core?

    python benchmarks/branches.py [--quick] [--json FILE]

A chain of 64-64-64-1, and networks of its size with skips, two inputs, two heads: ReLU, mean squared error, SGD,
float32, 1,024 samples visited in a new order every epoch. Each network is written down twice: in chainrule's layers,
and as the equation that PyTorch and JAX compute. Before anything is timed, all have to arrive at the same weights. The
peers are those of peers.py, at their best settings; all run in turn, and a figure is the median of the rounds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import common
import numpy as np
import peers

import chainrule as cr

SAMPLES = 1024
BATCHES = {1: 100, 32: 15, 256: 5}  # and what was asked for: times PyTorch eager
TIMES_JAX = 1.6
Parts = tuple[np.ndarray, ...]  # of x: one for each input; of target: one for each head


@dataclass(frozen=True)
class Network:
    """One network, for everybody.

    linears : (n_in, n_out) of its Linears, in the order of the model's parameters.
    layers : makes chainrule's layers, given the Linears.
    equation : the outputs, one for each head: `equation(f, relu, concat, *x)` with functions f[i] for the Linears. Its
        docstring is what tables say of the network.
    inputs, outputs, weights : the columns of each input and output, and what the loss of each output counts.
    asked : whether a speed was asked for.
    """

    linears: Sequence[tuple[int, int]]
    layers: Callable[[Sequence[cr.Linear]], list[cr.Module]]
    equation: Callable[..., tuple[Any, ...]]
    inputs: tuple[int, ...] = (64,)
    outputs: tuple[int, ...] = (1,)
    weights: tuple[float, ...] = (1.0,)
    asked: bool = False

    @property
    def text(self) -> str:
        """What it computes."""
        return str(self.equation.__doc__).removesuffix(".")

    def samples(self, n: int) -> tuple[Parts, Parts]:
        """x with rows of length about one in each input, and random targets."""
        rng = np.random.default_rng(1)
        x = [rng.standard_normal((n, columns)) / math.sqrt(columns) for columns in self.inputs]
        target = [rng.standard_normal((n, columns)) for columns in self.outputs]
        return tuple(a.astype(np.float32) for a in x), tuple(a.astype(np.float32) for a in target)

    def loss(self, squared_error: Callable[[Any, Any], Any], y: Sequence[Any], target: Sequence[Any]) -> Any:
        """The weighted sum over the heads, without a product by one or a sum with zero."""
        losses = map(squared_error, y, target)
        first, *rest = [loss if w == 1 else w * loss for w, loss in zip(self.weights, losses, strict=True)]
        return sum(rest, start=first)


# -- the networks: in layers, and as equations


def skip(*body: cr.Module) -> cr.Residual:
    """x + body(x)."""
    return cr.Residual(cr.Sequential(*body))


def plain(f, relu, concat, x):
    """A chain: h = relu(Linear x), twice, then a Linear to one output."""
    h = relu(f[0](x))
    h = relu(f[1](h))
    return (f[2](h),)


def residual(f, relu, concat, x):
    """The same with a skip around each layer: h = x + relu(Linear x), twice."""
    h = x + relu(f[0](x))
    h = h + relu(f[1](h))
    return (f[2](h),)


def blocks(f, relu, concat, x):
    """A skip around two layers: h = relu(x + Linear relu(Linear x)), twice, so with four Linears of 64."""
    h = relu(x + f[1](relu(f[0](x))))
    h = relu(h + f[3](relu(f[2](h))))
    return (f[4](h),)


def two_inputs(f, relu, concat, a, b):
    """Two arrays of 32 columns, each with a branch of 32 units; joined, a layer of 64, and one output."""
    h = concat((relu(f[0](a)), relu(f[1](b))))
    h = relu(f[2](h))
    return (f[3](h),)


def two_heads(f, relu, concat, x):
    """The chain with a second output, of four columns, whose squared error counts half."""
    h = relu(f[0](x))
    h = relu(f[1](h))
    return f[2](h), f[3](h)


INNER, OUTER, HALF = (64, 64), (64, 1), (32, 32)
PLAIN = "64-64-64-1"
NETWORKS = {
    PLAIN: Network(
        [INNER, INNER, OUTER],
        lambda f: [f[0], cr.ReLU(), f[1], cr.ReLU(), f[2]],
        plain,
    ),
    "residual": Network(
        [INNER, INNER, OUTER],
        lambda f: [skip(f[0], cr.ReLU()), skip(f[1], cr.ReLU()), f[2]],
        residual,
        asked=True,
    ),
    "blocks of two": Network(
        [INNER, INNER, INNER, INNER, OUTER],
        lambda f: [skip(f[0], cr.ReLU(), f[1]), cr.ReLU(), skip(f[2], cr.ReLU(), f[3]), cr.ReLU(), f[4]],
        blocks,
    ),
    "two inputs": Network(
        [HALF, HALF, INNER, OUTER],
        lambda f: [
            cr.Parallel(cr.Sequential(f[0], cr.ReLU()), cr.Sequential(f[1], cr.ReLU())),
            cr.Concat(),
            f[2],
            cr.ReLU(),
            f[3],
        ],
        two_inputs,
        inputs=(32, 32),
        asked=True,
    ),
    "two heads": Network(
        [INNER, INNER, OUTER, (64, 4)],
        lambda f: [f[0], cr.ReLU(), f[1], cr.ReLU(), cr.Parallel(f[2], f[3])],
        two_heads,
        outputs=(1, 4),
        weights=(1.0, 0.5),
    ),
}


# -- the peers, told what to train by a Network


class Chainrule(peers.Chainrule):
    """`cr.fit` on a Sequential of the network's layers."""

    def __init__(self, network: Network, x: Parts, target: Parts, batch: int) -> None:
        self.cr, self.batch, self.epoch = cr, batch, 0
        linears = [cr.Linear(*w.shape[::-1], weight=w, bias=b) for w, b in peers.drawn(network.linears)]
        self.model = cr.Sequential(cr.SGD(lr=peers.LR["SGD"]), *network.layers(linears))
        heads = [cr.MSELoss() for _ in target]
        self.loss = cr.MultiLoss(*heads, weights=network.weights) if len(heads) > 1 else heads[0]
        self.data = cr.Dataset(*(parts if len(parts) > 1 else parts[0] for parts in (x, target)))


class TorchEager(peers.TorchEager):
    """The equation as PyTorch's tutorials write it."""

    def __init__(self, network: Network, x: Parts, target: Parts, batch: int, **settings: Any) -> None:
        self.torch = torch = peers.torch_module()
        self.network, self.batch, self.inputs = network, batch, len(x)
        self.linears = peers.torch_linears(torch, peers.drawn(network.linears))
        self.model = torch.nn.ModuleList(self.linears)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=peers.LR["SGD"], **settings)
        self.arrays = [torch.from_numpy(part) for part in (*x, *target)]

    def run(self, epochs: int) -> None:
        network, linears, optimizer, inputs = self.network, self.linears, self.optimizer, self.inputs
        relu, squared_error = self.torch.relu, self.torch.nn.functional.mse_loss
        concat = partial(self.torch.cat, dim=1)
        for _ in range(epochs):
            order = self.torch.randperm(SAMPLES)
            for batch in zip(*(part[order].split(self.batch) for part in self.arrays), strict=True):
                optimizer.zero_grad(set_to_none=True)
                y = network.equation(linears, relu, concat, *batch[:inputs])
                network.loss(squared_error, y, batch[inputs:]).backward()
                optimizer.step()


class JaxScan(peers.JaxScan):
    """The equation in a compiled scan over an epoch."""

    def __init__(self, network: Network, x: Parts, target: Parts, batch: int, transposed: bool) -> None:
        import jax.numpy as jnp

        def linear(weight, bias):
            return lambda x: x @ (weight.T if transposed else weight) + bias

        def loss(parameters, x, target):
            f = [linear(*pair) for pair in parameters]
            y = network.equation(f, lambda y: jnp.maximum(y, 0), partial(jnp.concatenate, axis=1), *x)
            return network.loss(lambda y, target: jnp.mean((y - target) ** 2), y, target)

        self.compile(loss, peers.drawn(network.linears), "SGD", x, target, batch, transposed)


PEERS: tuple[type[peers.Peer], ...] = (Chainrule, TorchEager, JaxScan)


def distances(network: Network) -> dict[str, float]:
    """How far each peer's weights are from chainrule's after three steps on all samples, which no order can change.

    Raises ArithmeticError if it is more than sums of 64 numbers in another order can explain.
    """
    x, target = network.samples(SAMPLES)
    made = [peer(network, x, target, SAMPLES, **peer.settings()[0]) for peer in PEERS if not peer.missing()]
    for trainer in made:
        trainer.run(3)
    own, *others = made
    found = {other.name: peers.distance(other, own) for other in others}
    if any(far > 64 * np.finfo(np.float32).eps for far in found.values()):
        raise ArithmeticError(f"the peers do not train the same network ({network.text}): {found}")
    return found


# -- the figures


def measure(batch: int, taking_part: Sequence[type[peers.Peer]], **how: Any) -> dict[str, dict[str, common.Timing]]:
    """Seconds of one epoch, by network and peer; all are timed in turn, so that networks can be compared too."""
    bodies = {}
    for name, network in NETWORKS.items():
        x, target = network.samples(SAMPLES)
        bodies |= {f"{name}/{peer.name}": peer.make(network, x, target, batch).run for peer in taking_part}
    timings = common.interleave(bodies, min_s=0.05, **how)
    return {name: {peer.name: timings[f"{name}/{peer.name}"] for peer in taking_part} for name in NETWORKS}


def main() -> None:
    """Check, measure, print, save."""
    options = common.arguments(__doc__)
    common.one_core()
    taking_part = [peer for peer in PEERS if not peer.missing()]
    report = common.Report("What does a training step of a network with branches cost?", options)
    report.absent({peer.name: peer.missing() for peer in PEERS if peer.missing()})
    report.table(
        "networks",
        [{"network": name, "text": network.text} for name, network in NETWORKS.items()],
        {"network": "network", "text": "what it computes"},
    )
    names = [peer.name for peer in taking_part]
    print("Largest difference of any weight to chainrule's after three equal steps\n")
    report.table(
        "distances",
        [{"network": name} | distances(network) for name, network in NETWORKS.items()],
        {name: name for name in ("network", *names[1:])},
    )

    steps, rows, asked = [], [], []
    how = {"rounds": 3, "most_s": 5} if options.quick else {"rounds": 15, "most_s": 90}
    for batch, times_eager in BATCHES.items():
        found = measure(batch, taking_part, **how)
        per_epoch = SAMPLES / batch * 1e-6
        for name, timings in found.items():
            own = timings["chainrule"]
            row = {"label": f"{name}, batch {batch}", "network": name, "batch": batch}
            steps.append(row | {peer: timing.median / per_epoch for peer, timing in timings.items()})
            row |= {"us": own.median / per_epoch, "plain": own.median / found[PLAIN]["chainrule"].median}
            row |= {"spread": f"{own.spread:.0%}", "waited": f"{own.waited:.0%}"}
            for key, peer, times in (("eager", "PyTorch eager", times_eager), ("jax", "JAX scan", TIMES_JAX)):
                row[key] = timings[peer].median / own.median if peer in timings else None
                row[f"{key}_asked"] = f"≥ {times:g}" if NETWORKS[name].asked else None
                if NETWORKS[name].asked and row[key]:
                    asked.append((f"{row['label']}: times {peer}", row[key], "≥", times))
            rows.append(row | {"timings": timings})
            print(f"{row['label']}: {row['us']:.3g} µs", flush=True)

    print()
    columns = {"network": "network", "batch": "batch"}
    report.table("µs per step", steps, columns | {name: name for name in names})
    columns |= {"us": "µs per step", "plain": f"times {PLAIN}", "spread": "spread", "waited": "waited"}
    columns |= {"eager": "× PyTorch eager", "eager_asked": "asked", "jax": "× JAX scan", "jax_asked": "asked"}
    report.table("ratios", rows, columns)
    report.targets(asked)
    report.save()


if __name__ == "__main__":
    main()
