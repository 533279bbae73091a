"""How to build every exported Module, its PyTorch counterpart, and inputs for both.

`CASES` is what the contract test runs over. A new layer gets a line in LAYERS, a new loss one in LOSSES.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

import chainrule as cr
from chainrule import Module

Shape = tuple[int, ...]
LIBRARIES = ("numpy", "torch")
DTYPES = ("float32", "float64")
BASES = {cr.Module, cr.Loss}  # exported for users to inherit from; they compute nothing themselves
MOST_ELEMENTS = 48  # of an input, so that a gradient check stays quick


def exported_modules() -> list[type[Module]]:
    """Every Module that chainrule makes public, but for the bases."""
    names = [value for place in (cr, cr.layers, cr.losses) for name, value in vars(place).items() if name[0] != "_"]
    kinds = [value for value in names if isinstance(value, type) and issubclass(value, Module)]
    return sorted(set(kinds) - BASES, key=lambda kind: kind.__name__)


def array(values: Any, library: str = "numpy", dtype: str = "float64") -> Any:
    """Numbers as an array of a library; integers keep their dtype."""
    values = np.array(values)
    if values.dtype.kind == "f":
        values = values.astype(dtype)
    return values if library == "numpy" else torch.from_numpy(values)


def numpy(values: Any) -> np.ndarray:
    """The same numbers as a NumPy array, which is what tests compare."""
    return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def shapes(least_axes: int = 2, most_axes: int = 4, most: int = 5) -> st.SearchStrategy[Shape]:
    """Shapes (batch, …) of few elements; batches of one and rows of one number come often."""
    axes = st.lists(st.integers(1, most), min_size=least_axes, max_size=most_axes)
    return axes.map(tuple).filter(lambda shape: math.prod(shape) <= MOST_ELEMENTS)


def seeds() -> st.SearchStrategy[int]:
    """Seeds of the inputs' values."""
    return st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Case:
    """One way to make one Module.

    build, peer : from the shape of an input to the Module and to PyTorch's counterpart (None: there is none).
    inputs : from a generator and a shape to what `forward` takes, in float64.
    row_by_row : whether the rows of a batch are independent of each other.
    """

    kind: type[Module]
    label: str
    build: Callable[[Shape], Module]
    peer: Callable[[Shape], torch.nn.Module] | None
    inputs: Callable[[np.random.Generator, Shape], tuple[np.ndarray, ...]]
    shapes: st.SearchStrategy[Shape]
    fixed: tuple[Shape, ...] = ((1, 1), (4, 3))
    training: bool = False
    row_by_row: bool = True

    def __str__(self) -> str:
        return self.label

    def example(
        self, shape: Shape, seed: int = 0, library: str = "numpy", dtype: str = "float64"
    ) -> tuple[Module, tuple[Any, ...]]:
        """The Module in a library and dtype, and inputs for it."""
        module = self.build(shape).to(library, dtype=dtype).train(self.training)
        inputs = self.inputs(np.random.default_rng(seed), shape)
        return module, tuple(array(x, library, dtype) for x in inputs)

    def torch_example(self, module: Module, shape: Shape) -> torch.nn.Module:
        """PyTorch's counterpart with the weights of `module`, whose names and shapes must therefore be PyTorch's."""
        assert self.peer is not None
        peer = self.peer(shape).double().train(self.training)
        peer.load_state_dict({name: torch.from_numpy(numpy(v)).double() for name, v in module.state_dict().items()})
        return peer


def gradient_like(y: Any, seed: int = 0) -> Any:
    """Random numbers in the shape, dtype and library of y, to stand for the gradient that comes from above."""
    values = np.random.default_rng(seed + 1).normal(size=tuple(y.shape))
    return array(values, "torch" if isinstance(y, torch.Tensor) else "numpy", str(numpy(y).dtype))


# -- layers


def numbers(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """Any numbers, of both signs, none at a kink."""
    return (2 * rng.normal(size=shape),)


def layer(
    name: str,
    *arguments: Any,
    peer: dict[str, Any] | None = None,
    shapes: st.SearchStrategy[Shape] = shapes(),  # noqa: B008  a strategy never changes
    **options: Any,
) -> Case:
    """A layer whose arguments do not depend on its input; `peer` holds PyTorch's arguments where they differ."""
    fields = {key: options.pop(key) for key in ("fixed", "training", "row_by_row") if key in options}
    kind, torch_kind = getattr(cr, name), getattr(torch.nn, name)
    build = lambda shape: kind(*arguments, **options)  # noqa: E731
    torch_build = lambda shape: torch_kind(*arguments, **options) if peer is None else torch_kind(**peer)  # noqa: E731
    mode = ", training" if fields.get("training") else ""
    text = [repr(value) for value in arguments] + [f"{key}={value!r}" for key, value in options.items()]
    return Case(kind, f"{name}({', '.join(text)}{mode})", build, torch_build, numbers, shapes, **fields)


def linear(bias: bool) -> Case:
    """Linear of the width that comes."""
    return Case(
        cr.Linear,
        f"Linear(bias={bias})",
        lambda shape: cr.Linear(shape[-1], 3, bias=bias, rng=0),
        lambda shape: torch.nn.Linear(shape[-1], 3, bias=bias),
        numbers,
        shapes(),
    )


def network(
    label: str, build: Callable[[Any, int, Callable[..., Any]], Any], least_axes: int = 2, most_axes: int = 3
) -> Case:
    """The same Sequential of either library: `build(library, width, linear)`."""

    def torch_build(shape: Shape) -> torch.nn.Module:
        net: torch.nn.Module = build(torch.nn, math.prod(shape[1:]), torch.nn.Linear)
        return net

    def our_build(shape: Shape) -> Module:
        rng = np.random.default_rng(0)
        net: Module = build(cr, math.prod(shape[1:]), lambda *sizes: cr.Linear(*sizes, rng=rng))
        return net

    return Case(
        cr.Sequential, f"Sequential({label})", our_build, torch_build, numbers, shapes(least_axes, most_axes, most=4)
    )


def shared(nn: Any, width: int, linear: Callable[..., Any]) -> Any:
    """One layer that stands twice in a network."""
    twice = linear(width, width)
    return nn.Sequential(nn.Flatten(), twice, nn.Tanh(), twice)


LAYERS = [
    layer("Identity"),
    layer("ReLU"),
    layer("LeakyReLU"),
    layer("LeakyReLU", negative_slope=0.2),
    layer("ELU"),
    layer("ELU", alpha=0.5),
    layer("Tanh"),
    layer("Sigmoid"),
    layer("SiLU"),
    layer("GELU"),
    layer("GELU", approximate="tanh"),
    layer("Softplus"),
    layer("Softplus", beta=2.0, threshold=3.0),
    layer("Softmax", peer={"dim": -1}),
    layer("Softmax", dim=1),
    layer("Softmax", dim=0, row_by_row=False),
    layer("LogSoftmax", peer={"dim": -1}),
    layer("LogSoftmax", dim=1),
    layer("LogSoftmax", dim=0, row_by_row=False),
    layer("Flatten"),
    layer("Flatten", start_dim=0, end_dim=1, row_by_row=False),
    layer("Flatten", 1, 2, shapes=shapes(3), fixed=((1, 1, 1), (4, 2, 3))),
    layer("Dropout", 0.4),
    layer("Dropout", 0.0, training=True),
    layer("Dropout", 1.0, training=True),
    Case(
        cr.Dropout,
        "Dropout(0.4, training)",
        lambda shape: cr.Dropout(0.4, rng=0),
        None,  # PyTorch draws other masks
        numbers,
        shapes(),
        training=True,
        row_by_row=False,
    ),
    linear(bias=True),
    linear(bias=False),
    network("", lambda nn, width, linear: nn.Sequential()),
    network(
        "a perceptron",
        lambda nn, width, linear: nn.Sequential(nn.Flatten(), linear(width, 4), nn.Tanh(), linear(4, 2)),
    ),
    network(
        "nested",
        lambda nn, width, linear: nn.Sequential(
            nn.Flatten(),
            nn.Sequential(linear(width, 3), nn.SiLU(), nn.Dropout(0.3)),
            nn.Sequential(nn.Sequential(linear(3, 3)), nn.Softplus()),
            nn.LogSoftmax(dim=-1),
        ),
    ),
    network("a layer twice", shared),
    Case(
        cr.Sequential,
        "Sequential(Adam, …)",
        lambda shape: cr.Sequential(cr.Adam(lr=0.1), cr.Linear(shape[-1], 2, rng=0), cr.ReLU()),
        lambda shape: torch.nn.Sequential(torch.nn.Linear(shape[-1], 2), torch.nn.ReLU()),
        numbers,
        shapes(),
    ),
]


# -- losses


def two_arrays(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """What the network says, and numbers that it should have said, near and far."""
    return 2 * rng.normal(size=shape), rng.normal(size=shape)


def rates_and_counts(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """Rates (or, as any numbers will do, their logarithms), and counts."""
    return rng.uniform(0.1, 3, size=shape), rng.poisson(2.0, size=shape).astype(np.float64)


def logits_and_answers(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """Logits, and probabilities of "yes"."""
    return 2 * rng.normal(size=shape), rng.uniform(size=shape)


def logits_and_classes(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """Logits (batch, C, …) and class indices (batch, …)."""
    return 2 * rng.normal(size=shape), rng.integers(shape[1], size=(shape[0], *shape[2:]))


def logits_and_ignored(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """The same, where about a third of the indices are -100; at least one counts, for else PyTorch gives NaN."""
    y, target = logits_and_classes(rng, shape)
    ignored = rng.uniform(size=target.shape) < 1 / 3
    ignored.flat[0] = False
    return y, np.where(ignored, -100, target)


def logits_and_probabilities(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """Logits (batch, C, …) and probabilities that add up to one over the classes."""
    p = rng.exponential(size=shape)
    return 2 * rng.normal(size=shape), p / p.sum(axis=1, keepdims=True)


def log_likelihoods(
    inputs: Callable[[np.random.Generator, Shape], tuple[np.ndarray, ...]],
) -> Callable[[np.random.Generator, Shape], tuple[np.ndarray, ...]]:
    """The same with log-probabilities instead of logits."""

    def made(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
        y, target = inputs(rng, shape)
        return y - np.log(np.exp(y).sum(axis=1, keepdims=True)), target

    return made


def with_weights(
    inputs: Callable[[np.random.Generator, Shape], tuple[np.ndarray, ...]],
) -> Callable[[np.random.Generator, Shape], tuple[np.ndarray, ...]]:
    """The same with a weight for each sample, some of them 0."""

    def made(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
        weight = rng.uniform(0.5, 2, size=shape[0]) * (rng.uniform(size=shape[0]) < 0.7)
        return *inputs(rng, shape), weight

    return made


def class_weights(shape: Shape) -> np.ndarray:
    """A weight for each class of y (batch, C, …)."""
    return np.random.default_rng(7).uniform(0.5, 2, size=shape[1])


def element_weights(shape: Shape) -> np.ndarray:
    """A weight for each element of a row."""
    return np.random.default_rng(8).uniform(0.5, 2, size=shape[1:])


def losses(
    name: str,
    inputs: Callable[[np.random.Generator, Shape], tuple[np.ndarray, ...]],
    *,
    label: str = "",
    arrays: dict[str, Callable[[Shape], np.ndarray]] | None = None,
    reductions: tuple[str, ...] = ("mean", "sum", "none"),
    shapes: st.SearchStrategy[Shape] = shapes(),  # noqa: B008
    **options: Any,
) -> Iterator[Case]:
    """A loss with each reduction, and with weights of samples; `arrays` makes options that depend on the shape."""
    kind, torch_kind, arrays = getattr(cr, name), getattr(torch.nn, name, None), arrays or {}
    text = "".join(f", {key}={value!r}" for key, value in options.items()) + "".join(f", {key}" for key in arrays)
    for reduction, weighted in itertools.product(reductions, (False, True)):

        def build(shape: Shape, reduction: str = reduction) -> Module:
            made: Module = kind(reduction=reduction, **options, **{key: make(shape) for key, make in arrays.items()})
            return made

        def peer(shape: Shape, reduction: str = reduction) -> torch.nn.Module:
            tensors = {key: torch.from_numpy(make(shape)) for key, make in arrays.items()}
            made: torch.nn.Module = torch_kind(reduction=reduction, **options, **tensors)
            return made

        yield Case(
            kind,
            f"{name}({reduction}{text}{label}{', sample_weight' * weighted})",
            build,
            None if weighted or torch_kind is None else peer,
            with_weights(inputs) if weighted else inputs,
            shapes,
        )


LOSSES = [
    *losses("MSELoss", two_arrays, shapes=shapes(1)),
    *losses("L1Loss", two_arrays),
    *losses("HuberLoss", two_arrays),
    *losses("HuberLoss", two_arrays, delta=0.4, reductions=("mean",)),
    *losses("SmoothL1Loss", two_arrays),
    *losses("SmoothL1Loss", two_arrays, beta=0.4, reductions=("mean",)),
    *losses("SmoothL1Loss", two_arrays, beta=0.0, reductions=("mean",)),
    *losses("QuantileLoss", two_arrays),
    *losses("QuantileLoss", two_arrays, quantile=0.9, reductions=("mean",)),
    *losses("PoissonNLLLoss", rates_and_counts),
    *losses("PoissonNLLLoss", rates_and_counts, log_input=False, full=True, reductions=("mean", "none")),
    *losses("BCEWithLogitsLoss", logits_and_answers, shapes=shapes(1)),
    *losses(
        "BCEWithLogitsLoss",
        logits_and_answers,
        arrays={"weight": element_weights, "pos_weight": element_weights},
        reductions=("mean", "none"),
    ),
    *losses("CrossEntropyLoss", logits_and_classes),
    *losses("CrossEntropyLoss", logits_and_probabilities, label=", probabilities"),
    *losses(
        "CrossEntropyLoss",
        logits_and_ignored,
        arrays={"weight": class_weights},
        label_smoothing=0.1,
        label=", ignored",
    ),
    *losses(
        "CrossEntropyLoss",
        logits_and_probabilities,
        arrays={"weight": class_weights},
        label_smoothing=0.1,
        label=", probabilities",
        reductions=("mean",),
    ),
    *losses("NLLLoss", log_likelihoods(logits_and_classes)),
    *losses(
        "NLLLoss",
        log_likelihoods(logits_and_ignored),
        arrays={"weight": class_weights},
        label=", ignored",
        reductions=("mean", "none"),
    ),
]

CASES = LAYERS + LOSSES
