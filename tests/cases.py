"""How to build every exported Module, its PyTorch counterpart, and inputs for both.

`CASES` is what the contract test runs over. A new layer gets a line in LAYERS, a new loss one in LOSSES.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

import chainrule as cr
from chainrule import Module
from chainrule.structures import each, is_several, leaves

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
    """Numbers as an array of a library, or each part of a structure; integers keep their dtype."""
    if is_several(values):
        return each(lambda part: array(part, library, dtype), values)
    values = np.array(values)
    if values.dtype.kind == "f":
        values = values.astype(dtype)
    return values if library == "numpy" else torch.from_numpy(values)


def arrays(value: Any) -> list[np.ndarray]:
    """The parts of a structure as NumPy arrays."""
    return [numpy(part) for part in leaves(value)]


def numpy(values: Any) -> np.ndarray:
    """The same numbers as a NumPy array, which is what tests compare."""
    return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def shapes(least_axes: int = 2, most_axes: int = 4, most: int = 5) -> st.SearchStrategy[Shape]:
    """Shapes (batch, …) of few elements; batches of one and rows of one number come often."""
    axes = st.lists(st.integers(1, most), min_size=least_axes, max_size=most_axes)
    return axes.map(tuple).filter(lambda shape: math.prod(shape) <= MOST_ELEMENTS)


def even(axis: int, axes: int | None = None) -> st.SearchStrategy[Shape]:
    """The same with an axis of even length, and of so many axes."""

    def doubled(shape: Shape) -> Shape:
        lengths = list(shape)
        lengths[axis] *= 2
        return tuple(lengths)

    return shapes(axes or 2, axes or 4, most=3).map(doubled)


def signals(axes: int, channels: int = 1, least: int = 2, most: int = 4) -> st.SearchStrategy[Shape]:
    """Shapes (batch, channels, *lengths) of series, images or volumes, with a multiple of so many channels."""
    some = st.integers(1, 2)
    drawn = st.tuples(some, some.map(lambda n: channels * n), *[st.integers(least, most)] * axes)
    return drawn.filter(lambda shape: math.prod(shape) <= 2 * MOST_ELEMENTS)


def seeds() -> st.SearchStrategy[int]:
    """Seeds of the inputs' values."""
    return st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Case:
    """One way to make one Module.

    build, peer : from the shape of an input to the Module and to PyTorch's counterpart (None: there is none). Where the
        input has several parts, the shape is that from which `inputs` makes them.
    inputs : from a generator and a shape to what `forward` takes, in float64.
    row_by_row : whether the rows of a batch are independent of each other.
    """

    kind: type[Module]
    label: str
    build: Callable[[Shape], Module]
    peer: Callable[[Shape], torch.nn.Module] | None
    inputs: Callable[[np.random.Generator, Shape], tuple[Any, ...]]
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
    """Random numbers in the form, shape, dtype and library of y: the gradient that comes from above."""
    rng = np.random.default_rng(seed + 1)

    def like(part: Any) -> Any:
        library = "torch" if isinstance(part, torch.Tensor) else "numpy"
        return array(rng.normal(size=tuple(part.shape)), library, str(numpy(part).dtype))

    return each(like, y)


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


def filters(name: str, out_channels: int, *arguments: Any, least: int = 2, **options: Any) -> Case:
    """A convolution or its transpose, with as many channels as come."""
    kind, torch_kind = getattr(cr, name), getattr(torch.nn, name)
    axes, groups = int(name[-2]), options.get("groups", 1)
    text = [f"…, {out_channels}", *map(str, arguments), *(f"{key}={value}" for key, value in options.items())]
    return Case(
        kind,
        f"{name}({', '.join(text)})",
        lambda shape: kind(shape[1], out_channels, *arguments, **options, rng=0),
        lambda shape: torch_kind(shape[1], out_channels, *arguments, **options),
        numbers,
        signals(axes, groups, least),
        # Of transposes in groups ONNX's own evaluator knows only those with one channel in each, and no bias.
        fixed=((1, groups, *(least,) * axes), (2, groups * (1 if "Transpose" in name else 2), *(least + 1,) * axes)),
    )


def columns(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """What Fold((3, 4), 2) takes: for 4 · shape[1] rows the 6 places of its windows."""
    return (rng.normal(size=(shape[0], 4 * shape[1], 6)),)


def reshape(label: str, lengths: Callable[[Shape], Shape], **fields: Any) -> Case:
    """Reshape to lengths that depend on the shape of the samples."""
    return Case(
        cr.Reshape,
        f"Reshape({label})",
        lambda shape: cr.Reshape(*lengths(shape)),
        lambda shape: Peer(lambda f, x: x.reshape(len(x), *lengths(shape))),
        numbers,
        **{"shapes": shapes(2), "fixed": ((1, 1), (4, 1)), **fields},
    )


def permute(*dims: int) -> Case:
    """Permute of samples with as many axes."""
    return Case(
        cr.Permute,
        f"Permute{dims}",
        lambda shape: cr.Permute(*dims),
        lambda shape: Peer(lambda f, x: x.permute(dims)),
        numbers,
        shapes(len(dims), len(dims), most=3),
        fixed=((1,) * len(dims), (4, 3, 2, 1)[: len(dims)]),
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
    layer("Mish"),
    layer("Softsign"),
    layer("Softmax", peer={"dim": -1}),
    layer("Softmax", dim=1),
    layer("Softmax", dim=0, row_by_row=False),
    layer("LogSoftmax", peer={"dim": -1}),
    layer("LogSoftmax", dim=1),
    layer("LogSoftmax", dim=0, row_by_row=False),
    layer("GLU", shapes=even(-1), fixed=((1, 2), (4, 6))),
    layer("GLU", dim=1, shapes=even(1), fixed=((1, 2), (4, 6), (2, 4, 3))),
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
    layer("Unflatten", 1, (1, -1)),
    layer("Unflatten", -1, (-1, 1, 1), shapes=shapes(3)),
    reshape("-1", lambda shape: (-1,)),
    reshape("n, 1, -1", lambda shape: (math.prod(shape[1:]), 1, -1)),
    reshape("", lambda shape: (), shapes=st.integers(1, 5).map(lambda n: (n, 1))),
    permute(0, 2, 1),
    permute(0, -1, 1, 2),
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

# Those that work element by element: tests of the engine, of C and of ONNX, and drawn networks, take them from here.
ELEMENTWISE = [case for case in LAYERS if case.kind.__module__ == cr.layers.activations.__name__]


def elementwise() -> list[Module]:
    """One of each of them."""
    return [case.build(()) for case in ELEMENTWISE]


# -- networks with branches, next to the same written for PyTorch


class Peer(torch.nn.Module):
    """Children by name, and a forward pass written out: `run(children, x)`."""

    def __init__(self, run: Callable[[Any, Any], Any], **children: torch.nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: Any) -> Any:
        return self.run(SimpleNamespace(**self._modules), x)


def linears(nn: Any) -> Callable[..., Any]:
    """Linear of either library, with the same weights each time."""
    rng = np.random.default_rng(0)
    return (lambda *sizes: cr.Linear(*sizes, rng=rng)) if nn is cr else nn.Linear


def parts(keys: Any, *widths: int) -> Callable[[np.random.Generator, Shape], tuple[Any, ...]]:
    """Inputs of several parts, by name or in a tuple: as wide as comes, or as `widths` says."""

    def made(rng: np.random.Generator, shape: Shape) -> tuple[Any, ...]:
        width = widths or (shape[1],) * len(keys)
        found = [2 * rng.normal(size=(shape[0], n, *shape[2:])) for n in width]
        return (dict(zip(keys, found, strict=True)) if isinstance(keys, str) else tuple(found),)

    return made


def branches(
    label: str,
    build: Callable[[int, Callable[..., Any]], Module],
    peer: Callable[[int, Callable[..., Any]], torch.nn.Module],
    inputs: Callable[[np.random.Generator, Shape], tuple[Any, ...]] = numbers,
    shapes: st.SearchStrategy[Shape] = shapes(2, 2),  # noqa: B008
    **fields: Any,
) -> Case:
    """A network with branches, made from the width of its input; the peer gets the Linears of its own library."""
    made = build(1, linears(cr))
    return Case(
        type(made),
        f"{type(made).__name__}({label})",
        lambda shape: build(shape[-1], linears(cr)),
        lambda shape: peer(shape[-1], linears(torch.nn)),
        inputs,
        shapes,
        **fields,
    )


def recurrent(h: Module, y: Module) -> Module:
    """A layer that stands in two nodes, which are given in an order in which they cannot run."""
    return cr.Graph(
        {
            "again": (h, "gated"),
            "h": (h, "x"),
            "y": (y, "again"),
            "gated": (cr.Multiply(), ("t", "x")),
            "t": (cr.Tanh(), "h"),
        },
        outputs="y",
    )


def gated(f: Any, x: Any) -> Any:
    """What the graph of two inputs and outputs computes."""
    h = f.h(x["a"])
    y = h * f.gate(x["b"])
    return {"z": h + y + y, "y": y}


nn = torch.nn
BRANCHES = [
    branches(
        "Linear",
        lambda n, linear: cr.Residual(linear(n, n)),
        lambda n, linear: Peer(lambda f, x: x + f.body(x), body=linear(n, n)),
    ),
    branches(
        "a chain, shortcut",
        lambda n, linear: cr.Residual(cr.Sequential(linear(n, 3), cr.Tanh(), linear(3, 2)), linear(n, 2)),
        lambda n, linear: Peer(
            lambda f, x: f.shortcut(x) + f.body(x),
            body=nn.Sequential(linear(n, 3), nn.Tanh(), linear(3, 2)),
            shortcut=linear(n, 2),
        ),
        shapes=shapes(2, 3, most=4),
    ),
    branches(
        "twice",
        lambda n, linear: cr.Residual(cr.Residual(linear(n, n))),
        lambda n, linear: Peer(lambda f, x: x + f.body(x), body=Peer(lambda f, x: x + f.body(x), body=linear(n, n))),
    ),
    branches(
        "three readers of x",
        lambda n, linear: cr.Parallel(linear(n, 3), cr.Tanh(), cr.Identity()),
        lambda n, linear: Peer(
            lambda f, x: tuple(net(x) for net in vars(f).values()),
            **{"0": linear(n, 3), "1": nn.Tanh(), "2": nn.Identity()},
        ),
    ),
    branches(
        "heads with names",
        lambda n, linear: cr.Parallel({"a": linear(n, 3), "b": cr.Sequential(linear(n, 1), cr.Sigmoid())}),
        lambda n, linear: Peer(
            lambda f, x: {"a": f.a(x), "b": f.b(x)}, a=linear(n, 3), b=nn.Sequential(linear(n, 1), nn.Sigmoid())
        ),
    ),
    branches(
        "a part for each",
        lambda n, linear: cr.Parallel(linear(2, 3), linear(3, 1)),
        lambda n, linear: Peer(
            lambda f, x: (getattr(f, "0")(x[0]), getattr(f, "1")(x[1])), **{"0": linear(2, 3), "1": linear(3, 1)}
        ),
        parts((0, 1), 2, 3),
    ),
    branches(
        "a part for each by name",
        lambda n, linear: cr.Parallel({"a": linear(2, 3), "b": cr.Tanh()}),
        lambda n, linear: Peer(lambda f, x: {"a": f.a(x["a"]), "b": f.b(x["b"])}, a=linear(2, 3), b=nn.Tanh()),
        parts("ba", 3, 2),
    ),
    branches(
        "",
        lambda n, linear: cr.Concat(),
        lambda n, linear: Peer(lambda f, x: torch.cat(x, 1)),
        parts((0, 1, 2), 2, 1, 3),
        shapes(2, 3, most=3),
        fixed=((1, 1), (4, 3), (2, 2, 3)),
    ),
    branches(
        "dim=-1, dict",
        lambda n, linear: cr.Concat(dim=-1),
        lambda n, linear: Peer(lambda f, x: torch.cat(list(x.values()), -1)),
        parts("ab"),
        shapes(2, 4, most=3),
    ),
    branches(
        "three",
        lambda n, linear: cr.Sum(),
        lambda n, linear: Peer(lambda f, x: x[0] + x[1] + x[2]),
        parts((0, 1, 2)),
        shapes(2, 3, most=3),
    ),
    branches("dict", lambda n, linear: cr.Sum(), lambda n, linear: Peer(lambda f, x: x["a"] + x["b"]), parts("ab")),
    branches(
        "three",
        lambda n, linear: cr.Multiply(),
        lambda n, linear: Peer(lambda f, x: x[0] * x[1] * x[2]),
        parts((0, 1, 2)),
        shapes(2, 3, most=3),
    ),
    branches(
        "dict", lambda n, linear: cr.Multiply(), lambda n, linear: Peer(lambda f, x: x["a"] * x["b"]), parts("ab")
    ),
    branches("1", lambda n, linear: cr.Select(1), lambda n, linear: Peer(lambda f, x: x[1]), parts((0, 1, 2), 2, 1, 3)),
    branches(
        "'b'", lambda n, linear: cr.Select("b"), lambda n, linear: Peer(lambda f, x: x["b"]), parts("abc", 2, 1, 3)
    ),
    branches(
        "a fork with three readers",
        lambda n, linear: cr.Graph(
            {
                "h": (linear(n, 3), "x"),
                "a": (cr.Tanh(), "h"),
                "b": (linear(3, 3), "h"),
                "all": (cr.Concat(), ("a", "b", "h")),
                "y": (linear(9, 2), "all"),
            }
        ),
        lambda n, linear: Peer(
            lambda f, x: f.y(torch.cat([torch.tanh(f.h(x)), f.b(f.h(x)), f.h(x)], 1)),
            h=linear(n, 3),
            b=linear(3, 3),
            y=linear(9, 2),
        ),
    ),
    branches(
        "a layer twice, in another order",
        lambda n, linear: recurrent(linear(n, n), linear(n, 1)),
        lambda n, linear: Peer(
            lambda f, x: f.y(f.again(torch.tanh(f.h(x)) * x)),
            **dict.fromkeys(("h", "again"), linear(n, n)),
            y=linear(n, 1),
        ),
    ),
    branches(
        "two inputs and outputs by name",
        lambda n, linear: cr.Graph(
            {
                "h": (linear(2, 3), "a"),
                "gate": (linear(1, 3), "b"),
                "y": (cr.Multiply(), ("h", "gate")),
                "z": (cr.Sum(), ("h", "y", "y")),
            },
            inputs=("a", "b"),
            outputs=("z", "y"),
        ),
        lambda n, linear: Peer(gated, h=linear(2, 3), gate=linear(1, 3)),
        parts("ba", 1, 2),
    ),
    branches(
        "an input that nobody reads, networks inside",
        lambda n, linear: cr.Graph(
            {
                "two": (cr.Parallel(linear(3, 2), cr.Residual(linear(3, 3))), "b"),
                "left": (cr.Select(0), "two"),
                "right": (cr.Select(1), "two"),
                "y": (cr.Concat(), ("left", "right", "a")),
            },
            inputs=("a", "idle", "b"),
        ),
        lambda n, linear: Peer(
            lambda f, x: torch.cat([*f.two(x[2]), x[0]], 1),
            two=Peer(
                lambda f, x: (getattr(f, "0")(x), getattr(f, "1")(x)),
                **{"0": linear(3, 2), "1": Peer(lambda f, x: x + f.body(x), body=linear(3, 3))},
            ),
        ),
        parts((0, 1, 2), 1, 2, 3),
    ),
]


# -- series, images and volumes


def of_images(name: str, *arguments: Any, lengths: Shape, least: int = 1, **options: Any) -> Case:
    """A layer for x (batch, channels, *lengths); `lengths` are those of a fixed example, `least` the shortest drawn."""
    axes = len(lengths)
    most = {1: 6, 2: 5, 3: 3}[axes]
    fields = {"shapes": signals(axes, 1, least, max(least, most)), "fixed": ((1, 1, *lengths), (2, 2, *lengths))}
    return layer(name, *arguments, **{**fields, **options})


CONVOLUTIONS = [
    filters("Conv1d", 3, 2),
    filters("Conv1d", 4, 3, stride=2, padding=2, dilation=2, groups=2, bias=False, least=1),
    filters("Conv2d", 2, (1, 2)),
    filters("Conv2d", 3, 2, stride=(1, 2), padding=1, groups=3),
    filters("Conv2d", 2, (3, 2), padding="same", dilation=(1, 2)),
    filters("Conv2d", 2, 2, padding=(0, 1), padding_mode="reflect"),
    filters("Conv2d", 1, 1, stride=3, padding_mode="circular", padding="valid"),
    filters("Conv3d", 2, 2),
    filters("Conv3d", 2, (1, 2, 3), stride=(1, 2, 1), padding=(0, 1, 1), groups=2, padding_mode="replicate"),
    filters("ConvTranspose1d", 3, 2),
    filters("ConvTranspose1d", 2, 3, stride=3, padding=1, output_padding=2, groups=2, bias=False, least=1),
    filters("ConvTranspose2d", 2, (1, 2)),
    filters("ConvTranspose2d", 2, (2, 3), stride=2, padding=1, output_padding=(0, 1), dilation=(1, 2)),
    filters("ConvTranspose3d", 2, (2, 1, 2), stride=(1, 2, 1), padding=(0, 0, 1)),
    layer("Unfold", 2, shapes=signals(2), fixed=((1, 1, 2, 2), (2, 3, 4, 3))),
    layer(
        "Unfold",
        (2, 1),
        dilation=2,
        padding=(1, 0),
        stride=(1, 2),
        shapes=signals(2),
        fixed=((1, 1, 2, 2), (2, 1, 3, 1)),
    ),
    Case(
        cr.Fold,
        "Fold((3, 4), 2)",
        lambda shape: cr.Fold((3, 4), 2),
        lambda shape: torch.nn.Fold((3, 4), 2),
        columns,
        st.tuples(st.integers(1, 2), st.integers(1, 2)),
        fixed=((1, 1), (2, 3)),
    ),
]

SPATIAL = [
    *(of_images(f"ZeroPad{n}d", 1, lengths=(2,) * n) for n in (1, 2, 3)),
    of_images("ZeroPad2d", (1, -1, 0, 2), lengths=(3, 2)),
    *(of_images(f"ConstantPad{n}d", 1, 1.5, lengths=(2,) * n) for n in (1, 2, 3)),
    *(
        of_images(f"{kind}Pad{n}d", 1, lengths=(2,) * n, least=2)
        for kind in ("Reflection", "Circular")
        for n in (1, 2, 3)
    ),
    *(of_images(f"ReplicationPad{n}d", tuple(range(2 * n)), lengths=(2,) * n) for n in (1, 2)),
    of_images("ReplicationPad3d", 1, lengths=(1, 2, 1)),
    *(of_images(f"MaxPool{n}d", 2, lengths=(4, 3, 2)[:n], least=2) for n in (1, 2, 3)),
    of_images("MaxPool2d", (3, 2), (1, 2), (1, 0), (1, 2), ceil_mode=True, lengths=(3, 4), least=3),
    *(of_images(f"AvgPool{n}d", 2, lengths=(4, 3, 2)[:n], least=2) for n in (1, 2, 3)),
    of_images("AvgPool2d", (3, 2), (2, 1), (1, 0), ceil_mode=True, count_include_pad=False, lengths=(4, 3), least=2),
    of_images("AvgPool2d", 2, divisor_override=3, lengths=(2, 4), least=2),
    *(of_images(f"LPPool{n}d", 2, 2, lengths=(4, 3, 2)[:n], least=2) for n in (1, 2, 3)),
    *(of_images(f"Adaptive{kind}Pool{n}d", 1, lengths=(4, 3, 2)[:n]) for kind in ("Avg", "Max") for n in (1, 2, 3)),
    of_images("AdaptiveAvgPool2d", (2, None), lengths=(4, 3)),
    of_images("AdaptiveMaxPool2d", (None, 2), lengths=(3, 4)),
    of_images("Upsample", scale_factor=2.0, lengths=(2, 3)),
    of_images("Upsample", 4, mode="linear", lengths=(3,)),
    of_images("Upsample", (3, 4), mode="bilinear", align_corners=True, lengths=(2, 3)),
    of_images("Upsample", scale_factor=2.0, mode="bicubic", lengths=(2, 3)),
    of_images("UpsamplingNearest2d", 4, lengths=(2, 2)),
    of_images("UpsamplingBilinear2d", scale_factor=2.0, lengths=(2, 2)),
    of_images("PixelShuffle", 2, shapes=signals(2, 4, 1, 2), fixed=((1, 4, 1, 2),), lengths=(1, 1)),
    of_images("PixelUnshuffle", 2, shapes=st.sampled_from([(1, 1, 2, 4), (2, 2, 4, 2)]), lengths=(2, 4)),
    of_images("ChannelShuffle", 2, shapes=signals(2, 4, 1, 2), fixed=((2, 4, 2, 1),), lengths=(1, 1)),
]


def unpool(axes: int) -> Case:
    """MaxUnpool of what MaxPool with indices has found, which are no numbers that a network makes."""

    def inputs(rng: np.random.Generator, shape: Shape) -> tuple[Any, ...]:
        pool = getattr(cr, f"MaxPool{axes}d")(2, return_indices=True)
        return numbers(rng, tuple(n // 2 if i > 1 else n for i, n in enumerate(shape)))[0], pool(
            rng.normal(size=shape)
        )[1]

    kind, theirs = getattr(cr, f"MaxUnpool{axes}d"), getattr(torch.nn, f"MaxUnpool{axes}d")
    fixed = ((1, 1, *(2,) * axes), (2, 2, *(4,) * axes))
    even_lengths = st.sampled_from([*fixed, (2, 1, *(4, 2, 2)[:axes])])
    return Case(kind, f"{kind.__name__}(2)", lambda s: kind(2), lambda s: theirs(2), inputs, even_lengths, fixed)


SPATIAL += [unpool(axes) for axes in (1, 2, 3)]

# -- normalizations, and dropout of channels


def batches(axes: int, least: int = 1, least_batch: int = 1) -> st.SearchStrategy[Shape]:
    """Shapes (batch, channels, *lengths), with at least so many places, and so many values per channel in a batch."""
    drawn = shapes(2 + axes, 2 + axes, most={0: 6, 1: 5, 2: 4, 3: 3}[axes])
    return drawn.filter(lambda s: math.prod(s[2:]) >= least and s[0] * math.prod(s[2:]) >= least_batch)


def normalization(
    name: str,
    sizes: Callable[[Shape], tuple[Any, ...]],
    shapes: st.SearchStrategy[Shape],
    fixed: tuple[Shape, ...],
    *,
    training: bool = False,
    row_by_row: bool = True,
    **options: Any,
) -> Case:
    """A normalization whose sizes depend on the shape, with parameters and running statistics that are drawn."""
    kind, torch_kind = getattr(cr, name), getattr(torch.nn, name)

    def build(shape: Shape) -> Module:
        module: Module = kind(*sizes(shape), **options)
        rng = np.random.default_rng(3)
        for parameter in module.param():
            parameter.value = rng.normal(1, 1, parameter.shape)
        for of, buffer in module.named_buffers():
            if of.startswith("running"):
                buffer.value = rng.uniform(0.5, 2, buffer.value.shape)
        return module

    text = "".join(f", {key}={value!r}" for key, value in options.items())
    label = f"{name}({len(fixed[0])} axes{text}{', training' * training})"
    return Case(
        kind,
        label,
        build,
        lambda shape: torch_kind(*sizes(shape), **options),
        numbers,
        shapes,
        fixed,
        training,
        row_by_row,
    )


def normalizations() -> Iterator[Case]:
    """Every one of them, on as many axes as it takes."""
    sizes = {0: (), 1: (4,), 2: (3, 2), 3: (2, 1, 3)}
    channels = lambda shape: (shape[1],)  # noqa: E731
    for axes in (0, 1, 2, 3):
        name, fixed = f"BatchNorm{max(axes, 1)}d", ((2, 1, *sizes[axes]), (4, 3, *sizes[axes]))
        how = {"shapes": batches(axes, least_batch=2), "fixed": fixed}
        yield normalization(name, channels, **how)
        yield normalization(name, channels, **how, training=True, row_by_row=False, eps=2**-7)
    batch = {"shapes": batches(1, least_batch=2), "fixed": ((2, 1, 4), (4, 3, 4)), "row_by_row": False, "eps": 2**-3}
    yield normalization("BatchNorm1d", channels, **batch, training=True, momentum=None)
    yield normalization("BatchNorm1d", channels, **batch, track_running_stats=False, bias=False)
    yield normalization("BatchNorm1d", channels, **batch, training=True, affine=False, bias=False)
    for axes in (1, 2, 3):
        how = {"shapes": batches(axes, least=2), "fixed": ((1, 1, *sizes[axes]), (4, 3, *sizes[axes])), "eps": 2**-7}
        yield normalization(f"InstanceNorm{axes}d", channels, **how)
        yield normalization(f"InstanceNorm{axes}d", channels, **how, affine=True, training=True)
        yield normalization(f"InstanceNorm{axes}d", channels, **how, affine=True, track_running_stats=True)
    instance = {"shapes": batches(1, least=2), "fixed": ((1, 1, 4), (4, 3, 4)), "affine": True, "eps": 2**-3}
    yield normalization("InstanceNorm1d", channels, **instance, track_running_stats=True, training=True, momentum=0.5)
    yield normalization("InstanceNorm1d", channels, **instance, bias=False)
    for axes, fixed in ((0, ((3, 4), (4, 6))), (2, ((1, 4, 1, 2), (4, 6, 3, 2)))):
        # A group of one sample holds two values at least: of one alone nothing comes back.
        how = {"shapes": even(1, 2 + axes), "fixed": fixed, "eps": 2**-3}
        yield normalization("GroupNorm", lambda s: (s[1] // 2, s[1]), **how)
        yield normalization("GroupNorm", lambda s: (1, s[1]), **how, bias=False)
        yield normalization("GroupNorm", lambda s: (1, s[1]), **how, affine=False, bias=False)
    how = {"shapes": batches(2, least=2), "fixed": ((1, 3, 1, 2), (4, 6, 3, 2)), "eps": 2**-3}
    yield normalization("GroupNorm", lambda s: (s[1], s[1]), **how)
    rows = {"shapes": shapes(), "fixed": ((1, 1), (4, 3), (2, 3, 4))}
    for name in ("LayerNorm", "RMSNorm"):
        yield normalization(name, lambda s: (s[-1],), **rows, eps=2**-3)
        yield normalization(name, lambda s: (s[-1:],), **rows, eps=2**-3, elementwise_affine=False)
        several = {"shapes": shapes(3), "fixed": ((1, 2, 1), (4, 2, 3), (2, 2, 3, 2))}
        yield normalization(name, lambda s: (s[1:],), **several, eps=2**-3)
        yield normalization(name, lambda s: (s[-2:],), **several, **({"eps": 2**-3} if name == "LayerNorm" else {}))
    yield normalization("LayerNorm", lambda s: (s[-1],), **rows, eps=2**-3, bias=False)
    for size in (1, 2, 3, 6):
        how = {"shapes": shapes(3, 4), "fixed": ((1, 1, 1), (2, 4, 3), (2, 5, 2, 1))}
        yield normalization("LocalResponseNorm", lambda s, size=size: (size,), **how, alpha=0.5, beta=1.5, k=2.0)
    yield normalization("LocalResponseNorm", lambda s: (5,), shapes(3, 5), ((1, 1, 1), (2, 7, 3)))


def channel_dropouts(axes: int) -> Iterator[Case]:
    """Dropout of whole channels; PyTorch draws other masks."""
    name, fixed = f"Dropout{axes}d", ((1, 1, *(1,) * axes), (4, 3, *(2,) * axes))
    yield layer(name, 0.4, shapes=batches(axes), fixed=fixed)
    yield layer(name, 1.0, shapes=batches(axes), fixed=fixed, training=True)
    kind, label = getattr(cr, name), f"{name}(0.4, training)"
    yield Case(
        kind,
        label,
        lambda shape: kind(0.4, rng=0),
        None,
        numbers,
        batches(axes),
        fixed,
        training=True,
        row_by_row=False,
    )


NORMALIZATIONS = [*normalizations(), *(case for axes in (1, 2, 3) for case in channel_dropouts(axes))]


# -- losses


def two_arrays(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """What the network says, and numbers that it should have said, near and far."""
    return 2 * rng.normal(size=shape), rng.normal(size=shape)


def rates_and_counts(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """Rates (or, as any numbers will do, their logarithms), and counts."""
    return rng.uniform(0.1, 3, size=shape), rng.poisson(2.0, size=shape).astype(np.float64)


def logits_and_signs(rng: np.random.Generator, shape: Shape) -> tuple[np.ndarray, ...]:
    """Logits, and 1 for "yes", -1 for "no"."""
    return 2 * rng.normal(size=shape), rng.choice([-1.0, 1.0], size=shape)


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
    *losses("SoftMarginLoss", logits_and_signs, shapes=shapes(1)),
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


# -- a loss of several heads, next to the sum of PyTorch's


class SumOfLosses(torch.nn.Module):
    """What MultiLoss is: each loss of its own head, times its weight, added up."""

    def __init__(self, losses: dict[Any, torch.nn.Module], weights: dict[Any, float]) -> None:
        super().__init__()
        self.losses, self.weights = losses, weights

    def forward(self, y: Any, target: Any) -> torch.Tensor:
        return sum(self.weights[key] * loss(y[key], target[key]) for key, loss in self.losses.items())


def heads(rng: np.random.Generator, shape: Shape) -> tuple[Any, ...]:
    """Numbers and classes, (batch, …) and (batch, C, …): what two heads say, and what they should have said."""
    (size, number), (kind, index) = two_arrays(rng, shape), logits_and_classes(rng, shape)
    return {"size": size, "kind": kind}, {"size": number, "kind": index}


def in_order(
    inputs: Callable[[np.random.Generator, Shape], tuple[Any, ...]],
) -> Callable[[np.random.Generator, Shape], tuple[Any, ...]]:
    """The same heads without names."""
    return lambda rng, shape: tuple(tuple(x.values()) if isinstance(x, dict) else x for x in inputs(rng, shape))


def multi(label: str, named: bool, weights: tuple[float, float], *, reduction: str, weighted: bool = False) -> Case:
    """A MultiLoss of an MSELoss and a CrossEntropyLoss."""
    keys: tuple[Any, ...] = ("size", "kind") if named else (0, 1)

    def parts(library: Any) -> dict[Any, Any]:
        return dict(
            zip(
                keys, (library.MSELoss(reduction=reduction), library.CrossEntropyLoss(reduction=reduction)), strict=True
            )
        )

    def build(shape: Shape) -> Module:
        if named:
            return cr.MultiLoss(parts(cr), weights=dict(zip(keys, weights, strict=True)))
        return cr.MultiLoss(*parts(cr).values(), weights=weights)

    def peer(shape: Shape) -> torch.nn.Module:
        return SumOfLosses(parts(torch.nn), dict(zip(keys, weights, strict=True)))

    inputs = with_weights(heads) if weighted else heads
    inputs = inputs if named else in_order(inputs)
    label = f"MultiLoss({label}, {reduction}{', sample_weight' * weighted})"
    return Case(cr.MultiLoss, label, build, None if weighted else peer, inputs, shapes())


MULTI = [
    multi("by name", True, (0.5, 2.0), reduction="mean"),
    multi("by name", True, (0.5, 2.0), reduction="sum", weighted=True),
    multi("in order", False, (1.0, 0.0), reduction="sum"),
    multi("in order", False, (3.0, 1.0), reduction="mean", weighted=True),
]

CASES = LAYERS + BRANCHES + CONVOLUTIONS + SPATIAL + NORMALIZATIONS + LOSSES + MULTI


# -- the doors out of chainrule, and who is refused there

# The classes that a door refuses, and what its error says.
REFUSED: dict[str, dict[type, str]] = {
    "files": {},
    "PyTorch": {cr.QuantileLoss: "QuantileLoss is no module that PyTorch has"},
    "ONNX": {  # which is for predictions
        kind: f"there is no ONNX for {kind.__name__}"
        for kind in vars(cr.losses).values()
        if isinstance(kind, type) and issubclass(kind, cr.Loss) and kind is not cr.Loss
    }
    | {
        kind: f"there is no ONNX for {kind.__name__}"
        for kind in (cr.GLU, cr.Unfold, *(case.kind for case in SPATIAL if "Unpool" in case.label))
    },
}


def refused_in_onnx(module: Module, dtype: str = "float32") -> str:
    """What to_onnx says of a module whose class it knows, but not with these arguments; nothing if it knows it."""
    if isinstance(module, cr.LocalResponseNorm) and module.size % 2 == 0:
        return "must have an odd size"
    if type(module).__name__.startswith("BatchNorm") and module.running_mean is None:
        return "has no running statistics"
    if getattr(module, "divisor_override", None) is not None:
        return "with a divisor_override"
    is_one_node = not isinstance(module, cr.LayerNorm | cr.RMSNorm) and type(module).__name__.endswith(("Norm", "d"))
    numbers = [getattr(module, name, 0) for name in ("eps", "alpha") if is_one_node]
    if dtype == "float64" and any(n != float(np.float32(n)) for n in numbers if n is not None):
        return "which ONNX keeps in float32 only, and the model computes in float64; model.float\\(\\) makes it"
    return "changes the batch axis" if getattr(module, "start_dim", 1) == 0 else ""


IN_ONNX = [case for case in CASES if case.kind not in REFUSED["ONNX"]]
WHERE = {  # what the test says of a class that goes through none
    "files": "keep each argument of the constructor in an attribute of its name",
    "PyTorch": "write its twin in src/chainrule/exchange/pytorch/networks.py, under the same name",
    "ONNX": "give it a pattern in src/chainrule/exchange/onnx/patterns.py, or rules in write.py and read.py beside it",
}
