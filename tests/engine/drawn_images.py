"""Networks of series, images and volumes that hypothesis draws: convolutions, pools, padding, residual blocks.

As in drawn.py everything is drawn as text, so that a failing example can be read and typed.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from engine.drawn import STEPS, Training, made, optimizers, tasks
from hypothesis import strategies as st

import chainrule as cr

ACTIVATIONS = ("ReLU()", "ReLU()", "Tanh()", "Sigmoid()", "SiLU()", "LeakyReLU(0.01)", "Softplus()")
LONGEST = {1: 20, 2: 8, 3: 4}  # of an image's axes, by how many there are
MOST = 800  # numbers of a sample that a layer writes


@dataclass(frozen=True)
class Images:
    """The shape of a sample, and layers as text; "= 1" is layer 1 again. What has weights gets the test's dtype."""

    shape: tuple[int, ...]
    layers: tuple[str, ...]
    sizes: tuple[int, ...]  # of the samples that they write
    n_out: int

    @property
    def widest(self) -> int:
        return max(math.prod(self.shape), *self.sizes)

    def build(self, dtype: str, seed: int) -> cr.Sequential:
        """The network, always with the same weights."""
        rng = np.random.default_rng(seed)
        found: list[cr.Module] = []
        for text in self.layers:
            found.append(found[int(text[2:])] if text.startswith("= ") else made(text, **weighted(dtype, rng)))
        return cr.Sequential(*found)


def weighted(dtype: str, rng: np.random.Generator) -> dict[str, Any]:
    """The layers with weights, by name, in this dtype, with weights drawn from here."""

    def one(kind: Any) -> Any:
        return lambda *sizes, **options: kind(*sizes, dtype=dtype, rng=rng, **options)

    names = ["Linear", *(f"{name}{axes}d" for name in ("Conv", "ConvTranspose") for axes in (1, 2, 3))]
    return {name: one(getattr(cr, name)) for name in names}


def _options(**chosen: Any) -> str:
    return "".join(f", {name}={value!r}" for name, value in chosen.items())


@st.composite
def _layer(draw: Any, axes: int, shape: tuple[int, ...], dropout: bool) -> str:
    """Text for a layer that may take samples of this shape; whether it does, it says itself."""
    channels, lengths, suffix = shape[0], shape[1:], f"{axes}d"
    out = draw(st.one_of(st.integers(1, 6), st.sampled_from([1, 9, 17])))

    def each(least: int, most: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(least, most)) for _ in range(axes))

    kernel = draw(st.sampled_from([each(1, 3), tuple(min(n, 8) for n in lengths)]))  # also as large as the image
    kind = draw(
        st.sampled_from(
            ["Conv"] * 4 + ["ConvTranspose", "MaxPool", "MaxPool", "AvgPool", "Adaptive", "Pad", "Upsample", "Residual"]
            + ["ChannelShuffle", "LocalResponseNorm"] + ["PixelShuffle", "PixelUnshuffle", "Unfold"] * (axes == 2)
            + ["activation"] * 3 + ["Dropout", "Dropouts"] * dropout
        )
    )  # fmt: skip
    if kind == "Conv":
        groups = draw(st.sampled_from([d for d in range(1, channels + 1) if channels % d == 0]))
        padding, stride = draw(st.sampled_from([each(0, 2), "same", "valid"])), each(1, 3)
        more = _options(
            stride=(1,) * axes if padding == "same" else stride,
            padding=padding,
            dilation=each(1, 2),
            groups=groups,
            bias=draw(st.booleans()),
            padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"])),
        )
        return f"Conv{suffix}({channels}, {out * groups if groups > 1 else out}, {kernel}{more})"
    if kind == "ConvTranspose":
        groups = draw(st.sampled_from([1, channels]))
        more = _options(stride=each(1, 2), padding=each(0, 1), output_padding=each(0, 1), dilation=each(1, 2))
        out = channels if groups > 1 else out
        return f"ConvTranspose{suffix}({channels}, {out}, {each(1, 3)}{more}{_options(groups=groups)})"
    if kind == "MaxPool":
        more = _options(stride=each(1, 3), padding=each(0, 1), dilation=each(1, 2), ceil_mode=draw(st.booleans()))
        return f"MaxPool{suffix}({kernel}{more})"
    if kind == "AvgPool":
        more = _options(stride=each(1, 3), padding=each(0, 1), ceil_mode=draw(st.booleans()))
        return f"AvgPool{suffix}({kernel}{more}{_options(count_include_pad=draw(st.booleans()))})"
    if kind == "Adaptive":
        return f"Adaptive{draw(st.sampled_from(['Avg', 'Max']))}Pool{suffix}({each(1, 4)})"
    if kind == "Pad":
        amounts = tuple(draw(st.integers(-1, 2)) for _ in range(2 * axes))
        pad = draw(st.sampled_from(["Zero", "Constant", "Reflection", "Replication", "Circular"]))
        return f"{pad}Pad{suffix}({amounts}{', 0.5' if pad == 'Constant' else ''})"
    if kind == "Upsample":
        mode = draw(st.sampled_from(["nearest", {1: "linear", 2: "bilinear", 3: "trilinear"}[axes]]))
        size = draw(st.sampled_from([f"size={each(1, 6)}", "scale_factor=2.0", "scale_factor=1.5", "scale_factor=0.6"]))
        return f"Upsample({size}{_options(mode=mode)})"
    if kind == "Residual":
        same = _options(padding="same")
        body = f"Conv{suffix}({channels}, {out}, 3{same}), ReLU(), Conv{suffix}({out}, {channels}, 3{same})"
        return f"Residual(Sequential({body}))"
    if kind == "ChannelShuffle":
        return f"ChannelShuffle({draw(st.integers(1, channels))})"
    if kind == "LocalResponseNorm":
        return f"LocalResponseNorm({draw(st.integers(1, 5))}, alpha=0.5, beta=0.75, k=1.5)"
    if kind in ("PixelShuffle", "PixelUnshuffle"):
        return f"{kind}({draw(st.integers(1, 3))})"
    if kind == "Unfold":
        more = _options(dilation=each(1, 2), padding=each(0, 1), stride=each(1, 2))
        return f"Unfold({each(1, 2)}{more})"
    if kind.startswith("Dropout"):
        return f"Dropout{suffix if kind == 'Dropouts' else ''}(0.3, rng=0)"
    return draw(st.sampled_from(ACTIVATIONS))


def written(layer: cr.Module, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of what a layer makes of such samples; None: it refuses them, or makes too much of them."""
    try:
        y = layer.eval()(np.zeros((1, *shape)))
    except ValueError:
        return None
    return y.shape[1:] if 0 < y.size <= MOST else None


@st.composite
def images(draw: Any, most_layers: int = 6, dropout: bool = True) -> Images:
    """Up to six layers on a series, an image or a volume, some of them twice, and a Linear behind them."""
    axes = draw(st.sampled_from([1, 2, 2, 3]))
    shape = (draw(st.integers(1, 5)), *(draw(st.integers(1, LONGEST[axes])) for _ in range(axes)))
    now, layers, sizes = shape, [], []
    read: dict[int, tuple[int, ...]] = {}  # by convolution, what it takes
    for _ in range(draw(st.integers(1, most_layers))):
        again = [i for i, taken in read.items() if taken == now]
        if again and draw(st.booleans()):
            text = f"= {draw(st.sampled_from(again))}"
            y = written(made(layers[int(text[2:])], **weighted("float64", np.random.default_rng(0))), now)
        else:
            text = draw(_layer(axes, now, dropout))
            try:
                y = written(made(text, **weighted("float64", np.random.default_rng(0))), now)
            except ValueError:  # a padding that is larger than half the kernel, and the like
                y = None
            if y is not None and text.startswith("Conv"):
                read[len(layers)] = now
        if y is None:
            continue
        layers.append(text)
        sizes.append(math.prod(y))
        now = y
        axes = len(y) - 1  # Unfold makes a series
    n_out = draw(st.integers(1, 4))
    layers += ["Flatten()", f"Linear({math.prod(now)}, {n_out})"]
    return Images(shape, tuple(layers), (*sizes, n_out), n_out)


@dataclass(frozen=True)
class ImageTraining(Training):
    """A whole run of `fit`; sums run over the places of an image too."""

    network: Any

    @property
    def terms(self) -> int:
        return min(self.batch_size, self.rows) * self.network.widest


@st.composite
def image_trainings(draw: Any, **options: Any) -> ImageTraining:
    """A network of images, a task for it, an optimizer, and sizes of about STEPS steps."""
    network = draw(images(**options))
    task = draw(tasks(network.n_out))
    batch_size = draw(st.one_of(st.integers(1, 40), st.sampled_from([1, 16, 32])))
    rows = draw(st.integers(1, min(STEPS * batch_size // 2, 60)))
    curvature = 40.0 * network.widest * (1 + math.log(network.widest)) ** 2 * len(network.layers)
    curvature *= min(batch_size, rows) * network.n_out if task.sums else 1
    return ImageTraining(
        network,
        task,
        draw(optimizers(curvature).filter(lambda text: "Adafactor" not in text)),  # whose means of kernels are no rows
        rows,
        batch_size,
        validation=draw(st.booleans()),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )
