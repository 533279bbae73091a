"""What does a training step of a network of images or series cost, next to PyTorch eager and JAX, on one core?

    python benchmarks/convolution.py [--avx2] [--quick] [--json FILE]

LeNet on images of 28×28, a keyword spotter over 40 channels × 100 steps, a depthwise 3×3 with a 1×1 at 16×16×32, and
64-64-64-1 with a LayerNorm or a BatchNorm behind each hidden layer: ReLU, cross-entropy (mean squared error for the
last two), SGD, float32, 512 samples visited in a new order every epoch. PyTorch takes its better layout of memory, JAX
the better of lax.conv and of shifted slices with one product. Before anything is timed, all have to arrive at the same
weights.

The share of the peak counts the operations of the products, forward and for both gradients (but not the gradient by
the network's input), against what a loop of fused multiply-adds reaches in the same run (peak.c). With --avx2
everybody, that loop too, is told to do without AVX-512. JAX keeps no running statistics of a BatchNorm, the others do.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import common
import numpy as np
import peers
from grid import peak

import chainrule as cr

SAMPLES = 512
Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Network:
    """One network, for everybody.

    text : what tables say of it.
    shape : of a sample.
    layers : makes chainrule's layers; PyTorch's come of them.
    equation : the outputs as JAX computes them: `equation(ops, parameters, x)`.
    classes : of the target; 0: a number, with the mean squared error.
    asked : by batch: share of the peak, times PyTorch eager, times JAX; None where nothing was asked for.
    """

    text: str
    shape: tuple[int, ...]
    layers: Callable[[], list[cr.Module]]
    equation: Callable[[Any, Sequence[Any], Any], Any]
    classes: int
    asked: dict[int, tuple[float | None, float, float]]

    def samples(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard normal x, and random targets."""
        rng = np.random.default_rng(1)
        x = rng.standard_normal((SAMPLES, *self.shape)) / (math.sqrt(self.shape[0]) if len(self.shape) == 1 else 1)
        if self.classes:
            return x.astype(np.float32), rng.integers(self.classes, size=SAMPLES)
        return x.astype(np.float32), rng.standard_normal((SAMPLES, 1)).astype(np.float32)

    def model(self) -> cr.Sequential:
        """chainrule's, with the initial weights that all have."""
        cr.seed(0)
        return cr.Sequential(cr.SGD(lr=peers.LR["SGD"]), *self.layers())

    def loss(self) -> cr.Module:
        """chainrule's."""
        return cr.CrossEntropyLoss() if self.classes else cr.MSELoss()


# -- the networks: in layers, and as equations. p are (weight, bias) pairs in the order of the layers.


def lenet(ops, p, x):
    """5×5 to 6, pool, 5×5 to 16, pool, 256-120-84-10."""
    h = ops.pool(ops.relu(ops.conv2d(x, *p[0])))
    h = ops.pool(ops.relu(ops.conv2d(h, *p[1])))
    h = h.reshape((h.shape[0], -1))
    for pair in p[2:-1]:
        h = ops.relu(ops.linear(h, *pair))
    return ops.linear(h, *p[-1])


def keywords(ops, p, x):
    """5 steps to 32, pool, 5 steps to 64, mean, 10."""
    h = ops.pool(ops.relu(ops.conv1d(x, *p[0])))
    h = ops.relu(ops.conv1d(h, *p[1]))
    return ops.linear(h.mean(axis=2), *p[2])


def depthwise(ops, p, x):
    """3×3 depthwise, 1×1 to 64, mean, 10."""
    h = ops.relu(ops.conv2d(ops.depthwise(x, *p[0]), *p[1]))
    return ops.linear(h.mean(axis=(2, 3)), *p[2])


def with_layer_norm(ops, p, x):
    """Linear, LayerNorm, ReLU, twice; a Linear to one output."""
    h = ops.relu(ops.layer_norm(ops.linear(x, *p[0]), *p[1]))
    h = ops.relu(ops.layer_norm(ops.linear(h, *p[2]), *p[3]))
    return ops.linear(h, *p[4])


def with_batch_norm(ops, p, x):
    """The same with BatchNorm."""
    h = ops.relu(ops.batch_norm(ops.linear(x, *p[0]), *p[1]))
    h = ops.relu(ops.batch_norm(ops.linear(h, *p[2]), *p[3]))
    return ops.linear(h, *p[4])


def _both(share: Sequence[float | None], eager: Sequence[float], jax: Sequence[float], batches: Sequence[int]) -> Any:
    return {batch: asked for batch, *asked in zip(batches, share, eager, jax, strict=True)}


NETWORKS = {
    "LeNet": Network(
        "28×28, 6@5×5, pool, 16@5×5, pool, 256-120-84-10",
        (1, 28, 28),
        lambda: [
            *(cr.Conv2d(1, 6, 5), cr.ReLU(), cr.MaxPool2d(2), cr.Conv2d(6, 16, 5), cr.ReLU(), cr.MaxPool2d(2)),
            *(cr.Flatten(), cr.Linear(256, 120), cr.ReLU(), cr.Linear(120, 84), cr.ReLU(), cr.Linear(84, 10)),
        ],
        lenet,
        10,
        _both((0.55, 0.60, 0.65), (50, 11, 5), (6.5, 5.5, 7.5), (1, 8, 64)),
    ),
    "keywords": Network(
        "40 × 100, 32@5, pool, 64@5, mean, 10",
        (40, 100),
        lambda: [
            *(cr.Conv1d(40, 32, 5), cr.ReLU(), cr.MaxPool1d(2), cr.Conv1d(32, 64, 5), cr.ReLU()),
            *(cr.AdaptiveAvgPool1d(1), cr.Flatten(), cr.Linear(64, 10)),
        ],
        keywords,
        10,
        _both((0.78, 0.81, 0.82), (14, 5.3, 2.5), (1.8, 1.9, 2.4), (1, 8, 64)),
    ),
    "depthwise": Network(
        "16×16×32, 3×3 depthwise, 1×1 to 64, mean, 10",
        (32, 16, 16),
        lambda: [
            *(cr.Conv2d(32, 32, 3, padding=1, groups=32), cr.Conv2d(32, 64, 1), cr.ReLU()),
            *(cr.AdaptiveAvgPool2d(1), cr.Flatten(), cr.Linear(64, 10)),
        ],
        depthwise,
        10,
        _both((0.73, 0.74, 0.74), (26, 5.5, 3.6), (3.4, 4.2, 7), (1, 8, 64)),
    ),
    "LayerNorm": Network(
        "64-64-64-1, each hidden layer with a LayerNorm",
        (64,),
        lambda: [
            *(cr.Linear(64, 64), cr.LayerNorm(64), cr.ReLU(), cr.Linear(64, 64), cr.LayerNorm(64), cr.ReLU()),
            cr.Linear(64, 1),
        ],
        with_layer_norm,
        0,
        _both((None, None, None), (100, 12, 4), (2.2, 1.8, 1.8), (1, 32, 256)),
    ),
    "BatchNorm": Network(
        "64-64-64-1, each hidden layer with a BatchNorm",
        (64,),
        lambda: [
            *(cr.Linear(64, 64), cr.BatchNorm1d(64), cr.ReLU(), cr.Linear(64, 64), cr.BatchNorm1d(64), cr.ReLU()),
            cr.Linear(64, 1),
        ],
        with_batch_norm,
        0,
        _both((None, None), (12, 4), (1.8, 1.8), (32, 256)),
    ),
}


# -- the peers, told what to train by a Network


class Chainrule(peers.Chainrule):
    """`cr.fit` on a Sequential of the network's layers."""

    def __init__(self, network: Network, batch: int) -> None:
        self.cr, self.batch, self.epoch = cr, batch, 0
        self.model, self.loss = network.model(), network.loss()
        self.data = cr.Dataset(*network.samples())

    def weights(self) -> Any:
        return [(parameter.value,) for parameter in self.model.param()]


class TorchEager(peers.TorchEager):
    """torch.nn's layers as tutorials write them, channels first in memory or last."""

    @classmethod
    def settings(cls):
        return [{"last": False}, {"last": True}]

    def __init__(self, network: Network, batch: int, last: bool) -> None:
        self.torch = torch = peers.torch_module()
        self.model, self.batch = cr.to_torch(network.model()), batch
        x, target = (torch.from_numpy(part) for part in network.samples())
        if last and x.ndim == 4:
            self.model = self.model.to(memory_format=torch.channels_last)
            x = x.contiguous(memory_format=torch.channels_last)
        self.x, self.target = x, target
        self.loss = torch.nn.CrossEntropyLoss() if network.classes else torch.nn.MSELoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=peers.LR["SGD"], fused=True)

    def weights(self) -> Any:
        return [(parameter.detach().numpy(),) for parameter in self.model.parameters()]


class Ops:
    """What equations are made of, in JAX: convolutions by lax.conv, or by shifted slices and one product."""

    def __init__(self, slices: bool) -> None:
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp, self.slices = jax, jnp, slices

    def relu(self, x):
        return self.jnp.maximum(x, 0)

    def linear(self, x, weight, bias):
        return x @ weight.T + bias

    def layer_norm(self, x, weight, bias):
        return self._standardized(x, 1) * weight + bias

    def batch_norm(self, x, weight, bias):
        return self._standardized(x, 0) * weight + bias

    def _standardized(self, x, axis):
        mean = x.mean(axis=axis, keepdims=True)
        var = ((x - mean) ** 2).mean(axis=axis, keepdims=True)
        return (x - mean) / self.jnp.sqrt(var + 1e-5)

    def pool(self, x):
        """The greatest of windows of two, along each axis."""
        for axis in range(2, x.ndim):
            n = x.shape[axis] // 2
            shape = (*x.shape[:axis], n, 2, *x.shape[axis + 1 :])
            cut = self.jax.lax.slice_in_dim(x, 0, 2 * n, axis=axis)
            x = cut.reshape(shape).max(axis=axis + 1)
        return x

    def conv1d(self, x, weight, bias):
        return self._conv(x, weight, bias, "NCH", "OIH")

    def conv2d(self, x, weight, bias):
        return self._conv(x, weight, bias, "NCHW", "OIHW")

    def _conv(self, x, weight, bias, image, kernel):
        axes = len(image) - 2
        if not self.slices:
            y = self.jax.lax.conv_general_dilated(
                x, weight, (1,) * axes, "VALID", dimension_numbers=(image, kernel, image)
            )
            return y + bias.reshape((1, -1, *(1,) * axes))
        # Rows: samples and places; columns: what a window sees.
        seen = self.jnp.stack(list(self._taps(x, weight.shape[2:])), axis=-1)  # (n, c, *out, taps)
        order = (0, *range(2, 2 + axes), 1, 2 + axes)
        rows = seen.transpose(order).reshape((-1, weight[0].size))
        y = rows @ weight.reshape((weight.shape[0], -1)).T + bias
        y = y.reshape((x.shape[0], *seen.shape[2 : 2 + axes], weight.shape[0]))
        return y.transpose((0, axes + 1, *range(1, axes + 1)))

    def depthwise(self, x, weight, bias):
        """3×3, with a border of zeros."""
        x = self.jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        if not self.slices:
            numbers = ("NCHW", "OIHW", "NCHW")
            y = self.jax.lax.conv_general_dilated(
                x, weight, (1, 1), "VALID", dimension_numbers=numbers, feature_group_count=x.shape[1]
            )
        else:
            each = zip(self._taps(x, (3, 3)), weight.reshape((x.shape[1], 9)).T, strict=True)
            y = sum(part * w.reshape((1, -1, 1, 1)) for part, w in each)
        return y + bias.reshape((1, -1, 1, 1))

    def _taps(self, x, kernel):
        """x as each tap of a kernel sees it."""
        out = [n - k + 1 for n, k in zip(x.shape[2:], kernel, strict=True)]
        for tap in np.ndindex(*kernel):
            yield x[(..., *(slice(t, t + n) for t, n in zip(tap, out, strict=True)))]


class JaxScan(peers.JaxScan):
    """The equation in a compiled scan over an epoch."""

    @classmethod
    def settings(cls):
        return [{"slices": False}, {"slices": True}]

    def __init__(self, network: Network, batch: int, slices: bool) -> None:
        import jax
        import jax.numpy as jnp

        self.jax, self.rng, self.n = jax, np.random.default_rng(2), SAMPLES
        ops, rate = Ops(slices), peers.LR["SGD"]

        def loss(parameters, x, target):
            y = network.equation(ops, list(zip(parameters[::2], parameters[1::2], strict=True)), x)
            if not network.classes:
                return jnp.mean((y - target) ** 2)
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(y), target[:, None], axis=1))

        def step(parameters, sample):
            gradients = jax.grad(loss)(parameters, *sample)
            return [p - rate * g for p, g in zip(parameters, gradients, strict=True)], None

        def epoch(parameters, x, target, order):
            steps = SAMPLES // batch
            batches = [part[order].reshape((steps, batch, *part.shape[1:])) for part in (x, target)]
            return jax.lax.scan(step, parameters, tuple(batches))[0]

        self.epoch = jax.jit(epoch, donate_argnums=0)
        self.state = [jnp.asarray(parameter.value) for parameter in network.model().param()]
        self.x, self.target = (jnp.asarray(part) for part in network.samples())

    def weights(self) -> Any:
        return [(np.asarray(parameter),) for parameter in self.state]


PEERS: tuple[type[peers.Peer], ...] = (Chainrule, TorchEager, JaxScan)


def distances(network: Network) -> dict[str, float]:
    """How far each peer's weights are from chainrule's after three steps on all samples, which no order can change.

    Raises ArithmeticError if it is more than sums of some thousand numbers in another order can explain.
    """
    own = Chainrule(network, SAMPLES)
    own.run(3)
    found = {}
    for peer in PEERS[1:]:
        if peer.missing():
            continue
        for settings in peer.settings():
            other = peer(network, SAMPLES, **settings)
            other.run(3)
            far = max(
                float(np.abs(a - b).max() / np.abs(a).max())
                for (a,), (b,) in zip(own.weights(), other.weights(), strict=True)
            )
            found[peer.name] = max(far, found.get(peer.name, 0.0))
    if any(far > 1024 * np.finfo(np.float32).eps for far in found.values()):
        raise ArithmeticError(f"the peers do not train the same network ({network.text}): {found}")
    return found


# -- the figures


def operations(network: Network) -> int:
    """Multiplications and additions of a step on one sample."""
    plan = cr.compile(network.model(), network.loss(), sample_shape=network.shape, **_classes(network)).plan
    total, needs_dx = 0, False
    for op in plan.ops:
        total += plan.flops(op) * (3 if needs_dx else 2)
        needs_dx = needs_dx or plan.flops(op) > 0
    return total


def _classes(network: Network) -> dict[str, bool]:
    return {"class_targets": bool(network.classes)}


def main() -> None:
    """Check, measure, print, save."""
    options = common.arguments(__doc__, avx2={"action": "store_true", "help": "as on a CPU without AVX-512"})
    common.one_core(options.avx2)
    taking_part = [peer for peer in PEERS if not peer.missing()]
    report = common.Report("What does a training step of a network of images cost?", options)
    report.absent({peer.name: peer.missing() for peer in PEERS if peer.missing()})
    print("Largest difference of any weight to chainrule's after three equal steps, relative to the largest weight\n")
    report.table(
        "distances",
        [{"network": name, "text": network.text} | distances(network) for name, network in NETWORKS.items()],
        {"network": "network", "text": "what it is"} | {peer.name: peer.name for peer in taking_part[1:]},
    )

    rows, asked = [], []
    how = {"rounds": 3, "most_s": 5} if options.quick else {"rounds": 11, "most_s": 60}
    reached, kind = peak()
    for name, network in NETWORKS.items():
        for batch, (share, times_eager, times_jax) in network.asked.items():
            bodies = {peer.name: peer.make(network, batch).run for peer in taking_part}
            timings = common.interleave(bodies, min_s=0.05, **how)
            reached = max(reached, peak()[0])
            own, steps = timings["chainrule"], SAMPLES / batch
            row: dict[str, Any] = {"network": name, "batch": batch, "us": own.median / steps * 1e6}
            row["share"] = operations(network) * SAMPLES / own.median / reached if share else None
            row |= {"spread": f"{own.spread:.0%}", "waited": f"{own.waited:.0%}"}
            if share:
                asked.append((f"{name}, batch {batch}: share of the peak", row["share"], "≥", share))
            for key, peer, times in (("eager", "PyTorch eager", times_eager), ("jax", "JAX scan", times_jax)):
                row[key] = timings[peer].median / own.median if peer in timings else None
                row[f"{key}_us"] = timings[peer].median / steps * 1e6 if peer in timings else None
                if row[key]:
                    asked.append((f"{name}, batch {batch}: times {peer}", row[key], "≥", times))
            rows.append(row | {"timings": timings})
            print(f"{name}, batch {batch}: {row['us']:.3g} µs", flush=True)

    report.note("peak", reached, f"\npeak of the core: {reached / 1e9:.0f} GF/s ({kind})\n")
    columns = {"network": "network", "batch": "batch", "us": "µs per step", "share": "share of the peak"}
    columns |= {
        "eager_us": "PyTorch eager, µs",
        "eager": "× PyTorch eager",
        "jax_us": "JAX scan, µs",
        "jax": "× JAX scan",
    }
    report.table("steps", rows, columns | {"spread": "spread", "waited": "waited"})
    report.targets(asked)
    report.save()


if __name__ == "__main__":
    main()
