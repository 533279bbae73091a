"""The peers: each trains the same network on the same data, at its best settings for one core and many small steps.

    trainer = Peer.make(widths, activation, optimizer, x, target, batch)
    trainer.run(epochs)          # whole epochs, shuffled anew each time, and back when the last step is done

All of them start from the same initial weights, use the mean squared error over all elements, plain SGD or Adam with
the same learning rate, and float32; `python benchmarks/peers.py` shows that they arrive at the same weights. A peer
that is not installed is absent; nothing fails because of it.
"""

import contextlib
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

LR = {"SGD": 1e-3, "Adam": 1e-3}
Layers = list[tuple[np.ndarray, np.ndarray]]


def initial(widths: Sequence[int], seed: int = 0) -> Layers:
    """The weights and biases of a chain of Linears."""
    return drawn(pairwise(widths), seed)


def drawn(sizes: Iterable[tuple[int, int]], seed: int = 0) -> Layers:
    """Weights (n_out, n_in) and biases as PyTorch draws them: uniform on ±1/√n_in; `sizes` are pairs (n_in, n_out)."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int, n_in: int) -> np.ndarray:
        bound = 1 / math.sqrt(n_in)
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    return [(draw(n_out, n_in, n_in=n_in), draw(n_out, n_in=n_in)) for n_in, n_out in sizes]


def samples(widths: Sequence[int], n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """x with rows of length about one, so that one learning rate suits every width, and random targets."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, widths[0])) / math.sqrt(widths[0])
    return x.astype(np.float32), rng.standard_normal((n, widths[-1])).astype(np.float32)


class Peer:
    """A way to train a network.

    name : what tables call it.
    module : what must be importable.
    chosen : the settings that `make` found to be the fastest.
    """

    name: str
    module: str
    chosen: dict[str, Any]

    @classmethod
    def missing(cls) -> str:
        """Why it cannot take part; empty if it can."""
        try:
            __import__(cls.module)
        except ImportError as problem:
            return f"absent: {problem}"
        return ""

    @classmethod
    def make(cls, *task: Any) -> "Peer":
        """A trainer for a task: widths, the activation between them ("ReLU", "Tanh"), optimizer, x, target, batch.

        Where no setting is the best for all sizes, those that may be are tried briefly, and the fastest is kept.
        """
        tried = []
        for settings in cls.settings():
            tried.append(cls(*task, **settings))
            tried[-1].chosen = settings
        if len(tried) == 1:
            return tried[0]
        for trainer in tried:
            trainer.run(1)
        return min(tried, key=_brief)

    @classmethod
    def settings(cls) -> list[dict[str, Any]]:
        """The settings to choose from."""
        return [{}]

    def run(self, epochs: int) -> None:
        """Train whole epochs, and return when they are done."""
        raise NotImplementedError

    def weights(self) -> Layers:
        """The weights (n_out, n_in) and biases as they are now."""
        raise NotImplementedError


def _brief(trainer: Peer) -> float:
    """The shortest of a few epochs."""
    times: list[float] = []
    while sum(times) < 0.1 and len(times) < 20:
        start = time.process_time()
        trainer.run(1)
        times.append(time.process_time() - start)
    return min(times)


class Chainrule(Peer):
    """`cr.fit` on one thread: everything that fit does, its checks and its History included."""

    name = "chainrule"
    module = "chainrule"
    threads: int | None = 1

    def __init__(self, widths, activation, optimizer, x, target, batch):
        import chainrule as cr

        self.cr, self.batch, self.epoch, self.loss = cr, batch, 0, cr.MSELoss()
        layers: list[Any] = []
        for weight, bias in initial(widths):
            n_out, n_in = weight.shape
            layers += [cr.Linear(n_in, n_out, weight=weight, bias=bias), getattr(cr, activation)()]
        self.model = cr.Sequential(getattr(cr, optimizer)(lr=LR[optimizer]), *layers[:-1])
        self.data = cr.Dataset(x, target)

    def run(self, epochs):
        self.fit(epochs)
        self.epoch += 1

    def fit(self, epochs, **more):
        """`cr.fit`, whose History it returns."""
        return self.cr.fit(
            self.model,
            self.loss,
            self.data,
            epochs=epochs,
            batch_size=self.batch,
            seed=self.epoch,  # another order every time
            keep="last",
            progress=False,
            threads=self.threads,
            engine="native",
            **more,
        )

    def weights(self):
        values = [parameter.value for parameter in self.model.param()]
        return list(zip(values[::2], values[1::2], strict=True))


class TorchEager(Peer):
    """PyTorch as its tutorials write it, one gather for each epoch, views for the batches, the fastest optimizer."""

    name = "PyTorch eager"
    module = "torch"

    @classmethod
    def settings(cls):
        return [{"fused": True}, {"foreach": True}, {"foreach": False}]

    def __init__(self, widths, activation, optimizer, x, target, batch, **settings):
        self.torch = torch = torch_module()
        self.model = torch_model(torch, widths, activation)
        self.loss, self.batch = torch.nn.MSELoss(), batch
        self.optimizer = getattr(torch.optim, optimizer)(self.model.parameters(), lr=LR[optimizer], **settings)
        self.x, self.target = torch.from_numpy(x), torch.from_numpy(target)

    def run(self, epochs):
        model, loss, optimizer = self.model, self.loss, self.optimizer
        for _ in range(epochs):
            order = self.torch.randperm(len(self.x))
            batches = self.x[order].split(self.batch), self.target[order].split(self.batch)
            for x, target in zip(*batches, strict=True):
                optimizer.zero_grad(set_to_none=True)
                loss(model(x), target).backward()
                optimizer.step()

    def weights(self):
        values = [parameter.detach().numpy() for parameter in self.model.parameters()]
        return list(zip(values[::2], values[1::2], strict=True))


class TorchCompile(Peer):
    """The whole step, derivatives and update included, as one compiled graph behind a wrapper in C++."""

    name = "torch.compile"
    module = "torch"

    @classmethod
    def missing(cls):
        reason = super().missing()
        if reason:
            return reason
        import torch

        try:
            with _no_warnings():
                torch.compile(lambda x: x * x + 1, dynamic=False)(torch.ones(3))
        except Exception as problem:
            # Whatever goes wrong here, a missing compiler most of all, is the reason that the report will show.
            return f"skipped: {type(problem).__name__}: {str(problem).strip().splitlines()[0]}"
        return ""

    def __init__(self, widths, activation, optimizer, x, target, batch):
        self.torch = torch = torch_module()
        import torch._inductor.config as inductor

        inductor.cpp_wrapper = True
        torch._dynamo.reset()  # or the next network counts as a recompilation of this one
        model, rate = torch_model(torch, widths, activation), LR[optimizer]
        self.parameters = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        self.moments = [{k: torch.zeros_like(v) for k, v in self.parameters.items()} for _ in range(2)]
        self.count = torch.zeros(())
        adam = optimizer == "Adam"

        def loss(parameters, x, target):
            return torch.nn.functional.mse_loss(torch.func.functional_call(model, parameters, (x,)), target)

        def step(parameters, moments, count, x, target):
            gradients = torch.func.grad(loss)(parameters, x, target)
            count.add_(1)
            for name, value in parameters.items():
                gradient = gradients[name]
                if adam:
                    first, second = (moment[name] for moment in moments)
                    first.lerp_(gradient, 1 - 0.9)
                    second.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
                    spread = second.sqrt() / (1 - 0.999**count).sqrt() + 1e-8
                    value.sub_(rate / (1 - 0.9**count) * first / spread)
                else:
                    value.sub_(rate * gradient)

        self.step, self.batch = torch.compile(step, dynamic=False, fullgraph=True), batch
        self.x, self.target = torch.from_numpy(x), torch.from_numpy(target)

    def run(self, epochs):
        with self.torch.no_grad(), _no_warnings():
            for _ in range(epochs):
                order = self.torch.randperm(len(self.x))
                batches = self.x[order].split(self.batch), self.target[order].split(self.batch)
                for x, target in zip(*batches, strict=True):
                    self.step(self.parameters, self.moments, self.count, x, target)

    def weights(self):
        values = [value.numpy() for value in self.parameters.values()]
        return list(zip(values[::2], values[1::2], strict=True))


class JaxScan(Peer):
    """A whole epoch as one compiled `lax.scan` that gets its parameters donated.

    The order of samples comes from NumPy: `jax.random.permutation` sorts, which takes ten times as long on a CPU. XLA
    multiplies by a weight stored as (n_in, n_out) or (n_out, n_in) at quite different speeds, so both are tried.
    """

    name = "JAX scan"
    module = "jax"

    @classmethod
    def settings(cls):
        return [{"transposed": False}, {"transposed": True}]

    def __init__(self, widths, activation, optimizer, x, target, batch, transposed):
        import jax.numpy as jnp

        squash = {"ReLU": lambda y: jnp.maximum(y, 0), "Tanh": jnp.tanh}[activation]

        def forward(parameters, x):
            for i, (weight, bias) in enumerate(parameters):
                x = x @ (weight.T if transposed else weight) + bias
                x = squash(x) if i < len(parameters) - 1 else x
            return x

        def loss(parameters, x, target):
            return jnp.mean((forward(parameters, x) - target) ** 2)

        self.compile(loss, initial(widths), optimizer, x, target, batch, transposed)

    def compile(
        self, loss: Callable, layers: Layers, optimizer: str, x: Any, target: Any, batch: int, transposed: bool
    ) -> None:
        """Make the scan for `loss(parameters, x, target)`; x and target may be tuples of arrays."""
        import jax
        import jax.numpy as jnp

        self.jax, self.transposed, self.rng = jax, transposed, np.random.default_rng(2)
        self.n = n = len(jax.tree.leaves(x)[0])
        rate, steps = LR[optimizer], n // batch

        def sgd(state, sample):
            (parameters,) = state
            gradients = jax.grad(loss)(parameters, *sample)
            return (jax.tree.map(lambda p, g: p - rate * g, parameters, gradients),), None

        def adam(state, sample):
            parameters, first, second, count = state
            gradients, count = jax.grad(loss)(parameters, *sample), count + 1
            first = jax.tree.map(lambda m, g: 0.9 * m + (1 - 0.9) * g, first, gradients)
            second = jax.tree.map(lambda v, g: 0.999 * v + (1 - 0.999) * g * g, second, gradients)
            size, root = rate / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
            parameters = jax.tree.map(
                lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + 1e-8), parameters, first, second
            )
            return (parameters, first, second, count), None

        def epoch(state, x, target, order):
            batches = jax.tree.map(lambda a: a[order].reshape(steps, batch, -1), (x, target))
            return jax.lax.scan(adam if optimizer == "Adam" else sgd, state, batches)[0]

        if n % batch:
            raise ValueError(f"the scan needs batches of one size: {n} samples, {batch} in a batch")
        self.epoch = jax.jit(epoch, donate_argnums=0)
        parameters = [(jnp.asarray(w if transposed else w.T.copy()), jnp.asarray(b)) for w, b in layers]
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        again = jax.tree.map(jnp.zeros_like, parameters)
        self.state = (parameters, zeros, again, jnp.zeros(())) if optimizer == "Adam" else (parameters,)
        self.x, self.target = jax.tree.map(jnp.asarray, (x, target))

    def run(self, epochs):
        for _ in range(epochs):
            self.state = self.epoch(self.state, self.x, self.target, self.rng.permutation(self.n))
        self.jax.block_until_ready(self.state)

    def weights(self):
        return [(np.asarray(w if self.transposed else w.T), np.asarray(b)) for w, b in self.state[0]]


class NumPy(Peer):
    """Written by hand, every result into memory that was taken before."""

    name = "NumPy"
    module = "numpy"

    def __init__(self, widths, activation, optimizer, x, target, batch):
        self.parameters = initial(widths)
        self.x, self.target, self.batch = x, target, batch
        self.relu, self.adam, self.rate = activation == "ReLU", optimizer == "Adam", np.float32(LR[optimizer])
        self.rng, self.count = np.random.default_rng(2), 0
        self.order_x, self.order_target = np.empty_like(x), np.empty_like(target)
        self.moments = [[(np.zeros_like(w), np.zeros_like(b)) for w, b in self.parameters] for _ in range(2)]
        self.gradients = [(np.empty_like(w), np.empty_like(b)) for w, b in self.parameters]
        self.scratch = [(np.empty_like(w), np.empty_like(b)) for w, b in self.parameters]
        self.buffers = {rows: self._buffers(widths, rows) for rows in {batch, len(x) % batch} if rows}

    def _buffers(self, widths: Sequence[int], rows: int) -> tuple[list[np.ndarray], ...]:
        ys, dys = ([np.empty((rows, n), np.float32) for n in widths[1:]] for _ in range(2))
        return ys, dys, [np.empty((rows, n), bool if self.relu else np.float32) for n in widths[1:-1]]

    def run(self, epochs):
        for _ in range(epochs):
            order = self.rng.permutation(len(self.x))
            np.take(self.x, order, axis=0, out=self.order_x, mode="clip")
            np.take(self.target, order, axis=0, out=self.order_target, mode="clip")
            for start in range(0, len(self.x), self.batch):
                stop = start + self.batch
                self._step(self.order_x[start:stop], self.order_target[start:stop])

    def _step(self, x: np.ndarray, target: np.ndarray) -> None:
        ys, dys, slopes = self.buffers[len(x)]
        last = len(ys) - 1
        for i, ((weight, bias), y) in enumerate(zip(self.parameters, ys, strict=True)):
            np.dot(ys[i - 1] if i else x, weight.T, out=y)
            y += bias
            if i < last:
                np.maximum(y, 0, out=y) if self.relu else np.tanh(y, out=y)
        np.subtract(ys[last], target, out=dys[last])
        dys[last] *= np.float32(2 / target.size)
        for i in range(last, -1, -1):
            dweight, dbias = self.gradients[i]
            np.dot(dys[i].T, ys[i - 1] if i else x, out=dweight)
            np.sum(dys[i], axis=0, out=dbias)
            if i:
                np.dot(dys[i], self.parameters[i][0], out=dys[i - 1])
                if self.relu:
                    np.greater(ys[i - 1], 0, out=slopes[i - 1])
                else:
                    np.multiply(ys[i - 1], ys[i - 1], out=slopes[i - 1])
                    np.subtract(1, slopes[i - 1], out=slopes[i - 1])
                dys[i - 1] *= slopes[i - 1]
        self._update()

    def _update(self) -> None:
        self.count += 1
        for pair, gradients, free, first, second in zip(
            self.parameters, self.gradients, self.scratch, *self.moments, strict=True
        ):
            for value, gradient, scratch, m, v in zip(pair, gradients, free, first, second, strict=True):
                if self.adam:
                    self._adam(gradient, scratch, m, v)
                else:
                    gradient *= self.rate
                value -= gradient

    def _adam(self, gradient: np.ndarray, scratch: np.ndarray, m: np.ndarray, v: np.ndarray) -> None:
        """Leave in `gradient` what is to be subtracted."""
        np.multiply(gradient, np.float32(1 - 0.9), out=scratch)
        m *= np.float32(0.9)
        m += scratch
        np.multiply(gradient, gradient, out=scratch)
        scratch *= np.float32(1 - 0.999)
        v *= np.float32(0.999)
        v += scratch
        np.sqrt(v, out=scratch)
        scratch /= np.float32(math.sqrt(1 - 0.999**self.count))
        scratch += np.float32(1e-8)
        np.divide(m, scratch, out=gradient)
        gradient *= np.float32(self.rate / (1 - 0.9**self.count))

    def weights(self):
        return self.parameters


class ScikitLearn(Peer):
    """MLPRegressor without penalty, momentum and early end.

    Its `fit` goes on where it stopped, but with new moments, so Adam takes `partial_fit`, epoch by epoch.
    """

    name = "scikit-learn"
    module = "sklearn"

    def __init__(self, widths, activation, optimizer, x, target, batch):
        from sklearn.neural_network import MLPRegressor

        self.x, self.target = x, target[:, 0] if target.shape[1] == 1 else target
        self.model = MLPRegressor(
            hidden_layer_sizes=tuple(widths[1:-1]),
            activation=activation.lower(),
            solver=optimizer.lower(),
            # It takes half the square, summed over the outputs; Adam does not care.
            learning_rate_init=LR[optimizer] * (2 / widths[-1] if optimizer == "SGD" else 1),
            batch_size=min(batch, len(x)),
            alpha=0.0,
            momentum=0.0,
            nesterovs_momentum=False,
            warm_start=True,
            tol=0.0,
            n_iter_no_change=1 << 30,
            max_iter=1,
            random_state=0,
        )
        with _no_warnings():
            self.model.fit(self.x, self.target)  # takes its memory
        if hasattr(self.model, "_optimizer"):
            del self.model._optimizer  # which has moments already; partial_fit makes a new one
        for i, (weight, bias) in enumerate(initial(widths)):
            self.model.coefs_[i][...], self.model.intercepts_[i][...] = weight.T, bias

    def run(self, epochs):
        with _no_warnings():
            if self.model.solver == "adam":
                for _ in range(epochs):
                    self.model.partial_fit(self.x, self.target)
            else:
                self.model.max_iter = epochs
                self.model.fit(self.x, self.target)

    def weights(self):
        return [(w.T, b) for w, b in zip(self.model.coefs_, self.model.intercepts_, strict=True)]


class Thinc(Peer):
    """Thinc on NumPy's matrix product, which its own (use_blis) does not beat."""

    name = "thinc"
    module = "thinc.api"

    def __init__(self, widths, activation, optimizer, x, target, batch):
        from thinc import api

        api.set_current_ops(api.NumpyOps(use_blis=False))
        self.batch, self.x, self.target = batch, x, target
        layers: list[Any] = []
        for n_in, n_out in pairwise(widths[:-1]):
            layers += [api.Relu(n_out, n_in)] if activation == "ReLU" else [api.Linear(n_out, n_in), _thinc_tanh(api)]
        layers.append(api.Linear(widths[-1], widths[-2]))
        self.model = api.chain(*layers) if len(layers) > 1 else layers[0]
        self.model.initialize(X=x[:2], Y=target[:2])
        self.linears = [node for node in self.model.walk() if node.has_param("W")]
        for node, (weight, bias) in zip(self.linears, initial(widths), strict=True):
            node.set_param("W", weight)
            node.set_param("b", bias)
        rule = api.SGD if optimizer == "SGD" else api.Adam
        self.optimizer = rule(LR[optimizer], L2=0.0, grad_clip=0.0, use_averages=False)

    def run(self, epochs):
        model, optimizer = self.model, self.optimizer
        for _ in range(epochs):
            for x, target in model.ops.multibatch(self.batch, self.x, self.target, shuffle=True):
                y, backward = model.begin_update(x)
                backward((y - target) * np.float32(2 / y.size))
                model.finish_update(optimizer)

    def weights(self):
        return [(node.get_param("W"), node.get_param("b")) for node in self.linears]


def _thinc_tanh(api: Any) -> Any:
    """Thinc ships no layer of tanh alone."""

    def forward(model, x, is_train):
        y = np.tanh(x)
        return y, lambda dy: dy * (1 - y * y)

    return api.Model("tanh", forward)


PEERS: tuple[type[Peer], ...] = (Chainrule, TorchEager, TorchCompile, JaxScan, NumPy, ScikitLearn, Thinc)
RIVALS = ("JAX scan", "NumPy", "torch.compile", "scikit-learn")  # of whom the fastest counts


def available(*names: str) -> tuple[list[type[Peer]], dict[str, str]]:
    """The peers that can take part (those named, or all), and why the others cannot."""
    wanted = [peer for peer in PEERS if not names or peer.name in names]
    reasons = {peer.name: peer.missing() for peer in wanted}
    return [peer for peer in wanted if not reasons[peer.name]], {k: v for k, v in reasons.items() if v}


def torch_module() -> Any:
    """PyTorch, told to use as many threads as everybody."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return torch


def torch_model(torch: Any, widths: Sequence[int], activation: str) -> Any:
    """The network as a torch.nn.Sequential, with the initial weights that all have."""
    layers: list[Any] = []
    for linear in torch_linears(torch, initial(widths)):
        layers += [linear, getattr(torch.nn, activation)()]
    return torch.nn.Sequential(*layers[:-1])


def torch_linears(torch: Any, layers: Layers) -> list[Any]:
    """A torch.nn.Linear for each weight and bias."""
    linears = []
    for weight, bias in layers:
        linear = torch.nn.Linear(*weight.shape[::-1])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        linears.append(linear)
    return linears


@contextlib.contextmanager
def _no_warnings() -> Any:
    """PyTorch's compiler and scikit-learn's count of epochs warn of what is meant here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check(widths: Sequence[int] = (3, 17, 5), activation: str = "ReLU", optimizer: str = "SGD") -> dict[str, float]:
    """How far each peer's weights are from NumPy's after three epochs of whole-set steps, which no order can change."""
    x, target = samples(widths, 40)
    trainers = {
        peer.name: peer(widths, activation, optimizer, x, target, len(x), **peer.settings()[0])
        for peer in available()[0]
    }
    for trainer in trainers.values():
        trainer.run(3)
    return {name: distance(trainer, trainers["NumPy"]) for name, trainer in trainers.items()}


def distance(one: Peer, other: Peer) -> float:
    """The largest difference of any weight or bias."""
    pairs = zip(one.weights(), other.weights(), strict=True)
    return max(float(np.abs(a - b).max()) for layers in pairs for a, b in zip(*layers, strict=True))


if __name__ == "__main__":
    from common import markdown, one_core

    one_core()
    rows = [
        {"activation": activation, "optimizer": optimizer, **check(activation=activation, optimizer=optimizer)}
        for activation in ("ReLU", "Tanh")
        for optimizer in ("SGD", "Adam")
    ]
    print("Largest difference of any weight to NumPy's after three equal steps\n")
    print(markdown(rows, {key: key for key in rows[0]}))
    for name, reason in available()[1].items():
        print(f"{name}: {reason}")
