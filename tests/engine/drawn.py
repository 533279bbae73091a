"""Networks, losses and optimizers that hypothesis draws, and how far rounding may take two runs of one of them apart.

Everything is drawn as text, so that a failing example can be read and typed.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cases import ELEMENTWISE
from hypothesis import strategies as st

import chainrule as cr
from chainrule.structures import leaves

STEPS = 50

KINKED = tuple(case.label for case in ELEMENTWISE if case.kind in (cr.ReLU, cr.LeakyReLU))
SMOOTH = (
    *(case.label for case in ELEMENTWISE if case.label not in KINKED),
    *("ELU(alpha=-0.5)", "Softmax()", "LogSoftmax(dim=1)"),
)
EDGES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65)  # around the widths of panels and vectors


def numbers(n: int, seed: int) -> np.ndarray:
    """Weights of classes or elements."""
    return np.random.default_rng(seed).uniform(0.5, 2, n)


def made(text: str, **names: Any) -> Any:
    """The object that `text` makes, such as "Adam(lr=0.1)"."""
    return eval(text, vars(cr) | {"numbers": numbers} | names)


# -- networks


@dataclass(frozen=True)
class Linear:
    """A Linear layer; weight_of and bias_of name an earlier one whose Parameter it shares."""

    n_in: int
    n_out: int
    bias: bool = True
    weight_of: int | None = None
    bias_of: int | None = None


@dataclass(frozen=True)
class Network:
    """The shape of a sample, and layers: a Linear, text for another layer, a tuple of layers for a nested network."""

    shape: tuple[int, ...]
    layers: tuple[Any, ...]
    n_out: int

    @property
    def widest(self) -> int:
        return max(max(layer.n_in, layer.n_out) for layer in _flat(self.layers) if isinstance(layer, Linear))

    def build(self, dtype: str, seed: int) -> cr.Sequential:
        """The network, always with the same weights."""
        rng = np.random.default_rng(seed)
        linears: list[cr.Linear] = []

        def build(layer: Any) -> cr.Module:
            if isinstance(layer, tuple):
                return cr.Sequential(*map(build, layer))
            if isinstance(layer, str):
                return made(layer)
            options = {}
            if layer.weight_of is not None:
                options["weight"] = linears[layer.weight_of].weight
            if layer.bias_of is not None:
                options["bias"] = linears[layer.bias_of].bias
            elif not layer.bias:
                options["bias"] = False
            linears.append(cr.Linear(layer.n_in, layer.n_out, dtype=dtype, rng=rng, **options))
            return linears[-1]

        return cr.Sequential(*map(build, self.layers))


def widths(most: int = 70) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(1, most), st.sampled_from([n for n in EDGES if n <= most]))


@st.composite
def networks(draw: Any, activations: tuple[str, ...] = SMOOTH + KINKED, most_layers: int = 6) -> Network:
    """From one Linear to six, odd widths, dropout, nesting, shared weights, no bias, Flatten, Identity."""
    n_in = draw(widths(20))
    layers: list[Any] = []
    shape: tuple[int, ...] = (n_in,)
    if draw(st.booleans()):
        layers.append("Flatten()")
        shape = draw(st.sampled_from([(n_in,), (n_in, 1), (1, n_in, 1)]))
    linears: list[Linear] = []
    for depth in range(draw(st.integers(1, most_layers))):
        if depth:
            layers += draw(st.lists(st.sampled_from(activations), min_size=1, max_size=2))
            if draw(st.integers(0, 3)) == 0:
                layers.append(f"Dropout({draw(st.sampled_from([0.0, 0.1, 0.5]))}, rng=0)")
            if draw(st.integers(0, 3)) == 0:
                layers.append("Identity()")
        n_out = n_in if depth and draw(st.booleans()) else draw(widths())
        linear = Linear(n_in, n_out, bias=draw(st.integers(0, 3)) > 0)
        like = [i for i, known in enumerate(linears) if (known.n_in, known.n_out) == (n_in, n_out)]
        if like and draw(st.booleans()):
            linear = replace(linear, weight_of=draw(st.sampled_from(like)))
        like = [i for i, known in enumerate(linears) if known.n_out == n_out and known.bias]
        if linear.bias and like and draw(st.integers(0, 3)) == 0:
            linear = replace(linear, bias_of=draw(st.sampled_from(like)))
        linears.append(linear)
        layers.append(linear)
        n_in = n_out
    if draw(st.booleans()):
        i = draw(st.integers(0, len(layers) - 1))
        j = draw(st.integers(i + 1, len(layers)))
        layers[i:j] = [tuple(layers[i:j])]
    return Network(shape, tuple(layers), n_in)


# -- losses, and targets for them


@dataclass(frozen=True)
class Task:
    """A loss, the kind of its targets, and whether samples have weights."""

    loss: str
    target: str
    weights: bool
    validation_weights: bool

    @property
    def sums(self) -> bool:
        return "sum" in self.loss

    @property
    def ignores_missing(self) -> bool:
        return '"ignore"' in self.loss


def with_gaps(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Targets of which about half are missing: whole rows, and single elements. The first row is there."""
    gaps = (rng.uniform(size=(len(target), 1)) < 0.3) | (rng.uniform(size=target.shape) < 0.3)
    gaps[0] = False
    return np.where(gaps, np.nan, target)


@st.composite
def tasks(draw: Any, n_out: int, kinked: bool = True) -> Task:
    """Every loss with its options."""
    options: list[str] = []
    numbers = ["MSE", "L1", "Huber", "SmoothL1", "Quantile", "PoissonNLL"]
    kind = draw(st.sampled_from([*numbers, "BCEWithLogits", "CrossEntropy", "NLL"]))
    target = "numbers"
    if kind in ("L1", "Quantile") and not kinked:
        kind = "MSE"
    if kind == "Quantile":
        options += draw(st.sampled_from([[], ["quantile=0.9"]]))
    if kind == "PoissonNLL":
        target = "answers"
    if kind == "Huber":
        options += draw(st.sampled_from([[], ["delta=0.4"]]))
    if kind == "SmoothL1":
        options += draw(st.sampled_from([[], ["beta=0.4"], ["beta=0.0"]] if kinked else [[], ["beta=0.4"]]))
    if kind == "BCEWithLogits":
        target = "answers"
        shape = draw(st.sampled_from([f"numbers({n_out}, 1)", "[1.5]", f"numbers({n_out}, 3).reshape(1, -1)"]))
        options += [f"weight={shape}"] * draw(st.booleans())
        options += [f"pos_weight=numbers({n_out}, 2)"] * draw(st.booleans())
    if kind in ("CrossEntropy", "NLL"):
        target = draw(st.sampled_from(["classes", "probabilities"])) if kind == "CrossEntropy" else "classes"
        options += [f"weight=numbers({n_out}, 1)"] * draw(st.booleans())
        if target == "classes":
            ignored = [[], ["ignore_index=-1"]] + [["ignore_index=0"]] * (n_out > 1)
            options += draw(st.sampled_from(ignored))
    if kind == "CrossEntropy":
        options += [f"label_smoothing={draw(st.sampled_from([0.1, 0.5]))}"] * draw(st.booleans())
    options += ['reduction="sum"'] * (draw(st.integers(0, 3)) == 0)
    options += ['missing="ignore"'] * (target != "classes" and draw(st.integers(0, 2)) == 0)
    return Task(f"{kind}Loss({', '.join(options)})", target, draw(st.booleans()), draw(st.booleans()))


# -- optimizers


def rates(lr: float) -> st.SearchStrategy[str]:
    """A number or a schedule: by epochs, by steps, chained, listening."""
    half = f"{lr / 2:g}"
    return st.sampled_from(
        [
            f"{lr:g}",
            f"{lr:g}",
            f"StepLR({lr:g}, 2, 0.5)",
            f"StepLR({lr:g}, 7, 0.8, every='step')",
            f"MultiStepLR({lr:g}, [1, 3], 0.5)",
            f"ExponentialLR({lr:g}, 0.9)",
            f"ExponentialLR({lr:g}, 0.97, every='step')",
            f"CosineAnnealingLR({lr:g}, 6, {lr / 100:g})",
            f"LinearLR({lr:g}, total_iters=20, every='step')",
            f"LinearLR(CosineAnnealingLR({lr:g}, 40, every='step'), 0.1, total_iters=3)",
            f"OneCycleLR({lr:g}, 40, cycle_momentum=False)",
            f"CyclicLR({lr / 9:g}, {lr:g}, 7, mode='triangular2', cycle_momentum=False)",
            f"CosineAnnealingWarmRestarts({lr:g}, 2, 2)",
            f"SequentialLR([ConstantLR({half}, every='step'), PolynomialLR({lr:g}, every='step')], [9], every='step')",
            f"LambdaLR({lr:g}, lambda epoch: 1 / (1 + epoch))",
            f"ReduceLROnPlateau({lr:g}, factor=0.5, patience=0)",
            f"ExponentialLR(ReduceLROnPlateau({half}, factor=0.5, patience=1, cooldown=1), 0.99, every='step')",
        ]
    )


ADAPTIVE = {  # and their learning rates
    "Adam": 1e-3,
    "AdamW": 1e-3,
    "Adagrad": 5e-3,
    "NAdam": 1e-3,
    "RAdam": 1e-3,
    "Adamax": 1e-3,
    "Adadelta": 0.1,
    "Adafactor": 1e-3,
    "Muon": 1e-3,
}


@st.composite
def optimizers(draw: Any, curvature: float = 10.0) -> str:
    """Every optimizer with its options, clipping and schedules.

    Steps are so short that rounding is not amplified: the others move a weight by about lr a step, whatever the
    gradient; SGD is stable where lr · curvature < 2, and with momentum where lr · curvature < 2 (1 - momentum).
    """
    kind = draw(st.sampled_from([*ADAPTIVE, "SGD", "RMSprop", "ASGD"]))
    momentum = draw(st.sampled_from([0.0, 0.9, 0.5])) if kind in ("SGD", "RMSprop") else 0.0
    sgd = (1 - momentum) / curvature
    lr = {**ADAPTIVE, "SGD": sgd, "ASGD": sgd, "RMSprop": 3e-4 * (1 - momentum)}[kind]
    options = {"lr": draw(rates(lr))}

    def option(name: str, *values: Any) -> None:
        value = draw(st.sampled_from([None, *values]))
        if value is not None:
            options[name] = value

    option("weight_decay", 0.01, 0.0)
    option("decay_biases", False)
    if momentum:
        options["momentum"] = momentum
    if kind == "SGD" and momentum:
        option("nesterov", True)
        if "nesterov" not in options:
            option("dampening", 0.3)
    if kind in ("Adam", "AdamW"):
        option("betas", (0.8, 0.95), (0.0, 0.9))
        option("amsgrad", True)
        option("eps", 1e-4)
    if kind == "Adam":
        option("decoupled_weight_decay", True)
    if kind == "RMSprop":
        option("alpha", 0.9)
        option("centered", True)
        option("eps", 1e-4)
    if kind == "Adagrad":
        option("lr_decay", 0.01)
        option("initial_accumulator_value", 0.1)
    if kind == "NAdam":
        option("betas", (0.8, 0.95), (0.0, 0.9))
        option("eps", 1e-4)
        option("momentum_decay", 0.3, 0.0)
        option("decoupled_weight_decay", True)
    if kind == "RAdam":
        option("betas", (0.8, 0.95), (0.0, 0.9), (0.9, 0.6))
        option("eps", 1e-4)
        option("decoupled_weight_decay", True)
    if kind == "Adamax":
        option("betas", (0.8, 0.95), (0.0, 0.9))
        option("eps", 1e-4)
    if kind == "Adadelta":
        option("rho", 0.6)
        option("eps", 1e-3)
    if kind == "Adafactor":
        options["eps"] = draw(
            st.sampled_from([(1e-3, 1e-3), (1e-2, 0.5)])
        )  # with less, a sum that is 0 but for rounding
        option("beta2_decay", -0.5)  # would be divided by itself
        option("d", 2.0)
    if kind == "Muon":
        option("momentum", 0.5, 0.0)
        option("nesterov", False)
        option("ns_steps", 0, 2)
        option("ns_coefficients", (2.0, -1.5, 0.5))
        option("eps", 0.1)
        option("adjust_lr_fn", "'match_rms_adamw'")
        option("adamw_lr_ratio", 0.5)
        option("adamw_betas", (0.8, 0.95))
        option("adamw_weight_decay", 0.0)
    if kind == "ASGD":
        option("lambd", 0.1, 0.0)
        option("alpha", 0.6)
        option("t0", 2)
    clipping = draw(st.sampled_from([None, None, "clip_norm", "clip_value", "both"]))
    if clipping in ("clip_norm", "both"):
        options["clip_norm"] = draw(st.sampled_from([0.05, 1.0]))
    if clipping in ("clip_value", "both"):
        options["clip_value"] = draw(st.sampled_from([0.003, 0.1]))
    return f"{kind}({', '.join(f'{name}={value}' for name, value in options.items())})"


CONSTRAINTS = (
    "constraints.L1(0.05)",
    "constraints.L2(0.5)",
    "constraints.MaxNorm(0.4)",
    "constraints.UnitNorm()",
    "constraints.NonNegative()",
    "[constraints.NonNegative(), constraints.MaxNorm(0.3), constraints.L1(0.01)]",
)
OF_GROUPS = {  # besides those that every optimizer has
    "SGD": ["momentum=0.5", "momentum=0.0"],
    "Adam": ["amsgrad=True", "betas=(0.5, 0.9)"],
    "AdamW": ["amsgrad=True", "eps=1e-4"],
    "RMSprop": ["centered=True", "momentum=0.3", "alpha=0.8"],
    "Adagrad": ["lr_decay=0.05", "initial_accumulator_value=0.2"],
    "NAdam": ["momentum_decay=0.01", "decoupled_weight_decay=True"],
    "RAdam": ["decoupled_weight_decay=True", "betas=(0.5, 0.9)"],
    "Adamax": ["betas=(0.5, 0.9)"],
    "Adadelta": ["rho=0.8"],
    "ASGD": ["lambd=0.01", "alpha=0.5"],
    "Adafactor": ["d=1.5", "beta2_decay=-0.7"],
    "Muon": ["momentum=0.3", "ns_steps=3", "adamw_eps=1e-4"],
}


@st.composite
def ruled(draw: Any, optimizer: str, shapes: list[tuple[int, ...]]) -> str:
    """The optimizer with groups and constraints for Parameters of these shapes, which the text calls p[0], p[1], …."""
    kind, plain = optimizer.split("(")[0], made(optimizer)
    nesterov = getattr(plain, "nesterov", False)
    free = list(draw(st.permutations(range(len(shapes)))))
    groups = []
    for _ in range(draw(st.integers(0, 2))):
        members = [free.pop() for _ in range(min(len(free), draw(st.integers(1, 3))))]
        if not members:
            break
        options = draw(
            st.lists(st.sampled_from([*OF_GROUPS[kind], "weight_decay=0.02", "clip_value=0.01"]), max_size=3)
        )
        found = {option.split("=")[0]: option.split("=", 1)[1] for option in options}
        if nesterov:
            found.pop("momentum", None)
        if draw(st.booleans()):
            found["lr"] = draw(rates(plain.current_lr / 4))
        if draw(st.integers(0, 4)) == 0:
            found["maximize"] = "True"
        if len(members) == 1 and draw(st.booleans()):
            shape, seed = shapes[members[0]], draw(st.integers(0, 9))
            found["constraint"] = f"constraints.Mask(numbers({math.prod(shape)}, {seed}).reshape({shape}) > 1)"
        elif draw(st.booleans()):
            found["constraint"] = draw(st.sampled_from((*CONSTRAINTS, "None")))
        names = ", ".join(f"p[{i}]" for i in sorted(members))
        groups.append(f"{{'parameters': [{names}]{''.join(f', {k!r}: {v}' for k, v in found.items())}}}")
    more = draw(st.sampled_from(["", "", *(f", constraint={text}" for text in CONSTRAINTS)]))
    found = f"{optimizer[:-1]}{more}, groups=[{', '.join(groups)}])"
    return draw(st.sampled_from([found, found, f"Lookahead({found}, 3)", f"Lookahead({found}, 1, 0.8)"]))


# -- runs


@dataclass(frozen=True)
class Training:
    """A whole run of `fit`; `optimizer` may speak of the network's Parameters as p, of which some are frozen."""

    network: Network
    task: Task
    optimizer: str
    rows: int
    batch_size: int
    validation: bool
    shuffle: bool
    seed: int
    frozen: tuple[int, ...] = ()

    def data(self, rows: int, seed: int, weights: bool, dtype: str) -> cr.Dataset:
        rng = np.random.default_rng(seed)
        n_out = self.network.n_out
        x = rng.normal(size=(rows, *self.network.shape))
        target: np.ndarray = rng.normal(size=(rows, n_out))
        if self.task.target == "answers":
            target = rng.uniform(size=(rows, n_out))
        elif self.task.target == "probabilities":
            target = rng.exponential(size=(rows, n_out))
            target /= target.sum(axis=1, keepdims=True)
        elif self.task.target == "classes":
            target = rng.integers(n_out, size=rows)
            if "ignore_index=0" in self.task.loss:
                target[0] = n_out - 1  # the first always counts
            if "ignore_index=-1" in self.task.loss:
                target[(rng.uniform(size=rows) < 0.3) & (np.arange(rows) > 0)] = -1
        if self.task.ignores_missing:
            target = with_gaps(target, rng)
        # Some samples weigh nothing, but the first always counts: weights that are all zero are refused.
        weight = rng.uniform(0.5, 2, rows) * ((rng.uniform(size=rows) < 0.8) | (np.arange(rows) == 0))
        floating = target if target.dtype.kind == "i" else target.astype(dtype)
        return cr.Dataset(x.astype(dtype), floating, weight.astype(dtype) if weights else None)

    @property
    def epochs(self) -> int:
        return max(1, round(STEPS / math.ceil(self.rows / self.batch_size)))

    @property
    def terms(self) -> int:
        """The longest sum of a step: a product adds up the widest layer, a gradient the rows of a batch."""
        return min(self.batch_size, self.rows) + self.network.widest

    def run(self, engine: str, dtype: str = "float64", nudge: float = 0.0, **options: Any) -> dict[str, np.ndarray]:
        """All the numbers that training leaves; `nudge` moves inputs, and weights after each step, by that share."""
        model = self.network.build(dtype, self.seed)
        data = self.data(self.rows, self.seed + 1, self.task.weights, dtype)
        rng = np.random.default_rng(self.seed + 2)

        def move(*arrays: np.ndarray) -> None:
            for array in arrays if nudge else ():
                array *= 1 + nudge * rng.choice([-1.0, 1.0], size=array.shape)

        move(*leaves(data.x), *(parameter.value for parameter in model.param()))
        held_out = self.data(23, self.seed + 3, self.task.validation_weights, dtype) if self.validation else None
        optimizer = made(self.optimizer, p=model.param())
        for i in self.frozen:
            model.param()[i].trainable = False
        if nudge:
            rule = optimizer.step

            def step(parameters: list[cr.Parameter]) -> None:
                rule(parameters)
                move(*(parameter.value for parameter in parameters))

            optimizer.step = step
        history = cr.fit(
            model,
            made(self.task.loss),
            data,
            epochs=self.epochs,
            batch_size=self.batch_size,
            validation=held_out,
            optimizer=optimizer,
            seed=self.seed,
            shuffle=self.shuffle,
            engine=engine,
            **{"keep": "last"} | options,
        )
        assert history.engine.split(",")[0] == engine
        of_step = self.batch_size * options.get("accumulate", 1)
        assert history.steps == optimizer.steps == self.epochs * math.ceil(self.rows / of_step)
        found = {"losses": history.losses, "validation losses": history.validation_losses}
        found["learning rates"] = history.learning_rates
        for i, parameter in enumerate(model.param()):
            found[f"parameter {i}"] = parameter.value
            for name, array in optimizer.state.get(parameter, {}).items():
                found[f"{name} of parameter {i}"] = array
            if isinstance(optimizer, cr.Lookahead):
                for name, array in optimizer.optimizer.state.get(parameter, {}).items():
                    found[f"{name} inside, of parameter {i}"] = array
        return {name: np.array(array, dtype="float64") for name, array in found.items()}


def _flat(layers: tuple[Any, ...]) -> list[Any]:
    return [part for layer in layers for part in (_flat(layer) if isinstance(layer, tuple) else [layer])]


@st.composite
def trainings(draw: Any, kinked: bool = True, **options: Any) -> Training:
    """A network, a task for it, an optimizer, and sizes of about STEPS steps."""
    network = draw(networks(activations=SMOOTH + KINKED * kinked, **options))
    task = draw(tasks(network.n_out, kinked))
    batch_size = draw(st.one_of(st.integers(1, 64), st.sampled_from([1, 16, 32])))
    rows = draw(st.integers(1, min(STEPS * batch_size, 150)))
    # The second derivative of a squared error by the weights of the last layer is at most 2 Σ x², and x, of the widest
    # layer, is at most about log(width) (LogSoftmax). A loss that sums is so many times larger.
    widest = network.widest
    curvature = 4.0 * widest * (1 + math.log(widest)) ** 2
    curvature *= min(batch_size, rows) * network.n_out if task.sums else 1
    return Training(
        network,
        task,
        draw(optimizers(curvature)),
        rows,
        batch_size,
        validation=draw(st.booleans()),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def ruled_trainings(draw: Any, **options: Any) -> Training:
    """The same, with groups and constraints, and some of the Parameters frozen."""
    training = draw(trainings(**options))
    shapes = [parameter.shape for parameter in training.network.build("float64", 0).param()]
    optimizer = draw(ruled(training.optimizer, shapes))
    frozen = draw(st.sets(st.integers(0, len(shapes) - 1), max_size=len(shapes)))
    return replace(training, optimizer=optimizer, frozen=tuple(sorted(frozen)))


# -- how far apart two runs may be


NUDGE = 2.0**-30


def allowed(training: Training, truth: dict[str, np.ndarray], eps: float, **options: Any) -> dict[str, float]:
    """By name, how far rounding may take an array's numbers, absolutely.

    A sum of n terms, rounded, is the exact sum of terms that are off by at most about n · eps of themselves: rounding a
    step is like moving its weights and inputs by that share. What such moves do to the end is measured: the run is
    repeated with each input moved by NUDGE of itself, and each weight at the start and after each step. How far its
    result goes, over NUDGE, is how much rounding is amplified (or forgotten on the way). The moves have random signs,
    so they partly cancel, where roundings might all add up: at most STEPS times as much. And results are rounded.
    """
    moved = training.run("python", nudge=NUDGE, **options)
    shares = STEPS * training.terms * eps
    return {
        name: shares * float(np.max(np.abs(moved[name] - array) / NUDGE, initial=0) + np.max(np.abs(array), initial=0))
        for name, array in truth.items()
    }
