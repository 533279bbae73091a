"""Layers in C whose every number is one of x, or a constant: padding, and nearest upsampling; channels as pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import layers
from ...engine.plan import Op
from ...engine.rules.rule import CannotLower, Handle, Lowering, Rule, name_of
from ...layers.padding import check_room, padded
from ...structures import Structure
from .body import Body, Place
from .kind import Bounded
from .spatial import Lengths, Spatial, add, as_images, as_row, image, probe, rows_and_columns
from .spelling import array, short

GATHER = """\
/* Each number of y is one of x: by tables of the row and the column that it comes from; or `value`, where one is -1. */
static void gather(const float *x, int channels, int height, int width, float *y, int out_height, int out_width,
                   const short *rows, const short *columns, float value)
{
    int c, i, j;
    for (c = 0; c < channels; c++, x += height * width)
        for (i = 0; i < out_height; i++)
            for (j = 0; j < out_width; j++)
                *y++ = rows[i] < 0 || columns[j] < 0 ? value : x[rows[i] * width + columns[j]];
}
"""


class Gather(Spatial):
    """Rows and columns of x, in any order."""

    def forward(self, body: Body, op: Op, x: list[Place], y: Place) -> None:
        (channels, *lengths), (_, *out) = op.settings["reads"], op.settings["gives"]
        named = {f"{name}_of_{op.output}": op.settings[name] for name in ("rows", "columns")}
        tables = [array(name, places, kind="short") for name, places in named.items()]
        sizes = channels, *rows_and_columns(lengths), y, *rows_and_columns(out)
        body.call((*tables, GATHER), x[0], *sizes, *named, short(op.settings["elsewhere"]))

    def bounded(self, op: Op, parameters: list[np.ndarray], x: list[Bounded]) -> Bounded:
        rows, columns = (np.array(op.settings[name]) for name in ("rows", "columns"))
        outside = (rows[:, None] < 0) | (columns < 0)
        shape = op.settings["reads"][0], *rows_and_columns(op.settings["reads"][1:])
        before, error = (part.reshape(-1, *shape)[:, :, rows][..., columns] for part in as_images(op, x[0]))
        return as_row(np.where(outside, op.settings["elsewhere"], before)), as_row(np.where(outside, 0.0, error))


def gathered(
    lowering: Lowering, layer: Any, x: Handle, shape: Lengths, seen: Callable[[np.ndarray], Any], value: float = 0.0
) -> Handle:
    """An op that makes of x what `seen` makes of an image, if that is to put its rows and columns elsewhere.

    seen : given an image (1, 1, *lengths) of numbers; -1 is where the value stands.
    """
    tables = []
    for axis, n in enumerate(shape[1:]):
        numbers = np.arange(n, dtype=np.float64).reshape([-1 if i == axis else 1 for i in range(len(shape) - 1)])
        found = np.asarray(seen(np.broadcast_to(numbers, (1, 1, *shape[1:])).copy()))
        if found.size == 0:
            raise CannotLower(f"{name_of(layer)}, which leaves nothing of samples of shape {shape}")
        along = found.max(axis=tuple(i for i in range(found.ndim) if i != axis + 2))  # of which a value hides none
        tables.append([int(place) for place in along])
    if max(map(max, tables)) > np.iinfo(np.int16).max:
        raise CannotLower(f"{name_of(layer)} on samples of shape {shape}, which are too long")
    rows, columns = ([0], *tables)[-2:]
    out = shape[0], *map(len, tables)
    kind = name_of(layer) if name_of(layer) in KINDS else "Pad"
    told = {"reads": shape, "rows": rows, "columns": columns, "elsewhere": value}
    return add(lowering, layer, x, out, kind=kind, **told)


def around(
    lowering: Lowering, layer: Any, x: Handle, shape: Lengths, amounts: Any, mode: str, value: float = 0.0
) -> Handle:
    """An op that puts more around x."""
    try:
        check_room(layer, probe(shape), amounts, mode)
    except ValueError:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}") from None
    return gathered(lowering, layer, x, shape, lambda numbers: padded(numbers, amounts, mode, -1), value)


def _pad(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    only, shape = image(lowering, layer, x)
    return around(lowering, layer, only, shape, layer._amounts, layer.mode, getattr(layer, "value", 0.0))


def _upsample(lowering: Lowering, layer: layers.Upsample, x: Structure) -> Handle:
    only = lowering.one(layer, x)
    shape = lowering.shape(layer, only)
    if not layer.mode.startswith("nearest") or len(shape) not in (2, 3):
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}")
    return gathered(lowering, layer, lowering.flat(layer, only), shape, layer)


def _permuted(lowering: Lowering, layer: Any, x: Structure) -> Handle:
    """What only puts numbers in another order is a Permute, which comes back too."""
    only = lowering.one(layer, x)
    shape = lowering.shape(layer, only)
    try:
        y = layer(np.arange(np.prod(shape), dtype=np.float64).reshape(1, *shape))
    except ValueError:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shape {shape}") from None
    flat, places = lowering.flat(layer, only), [int(place) for place in y.reshape(-1)]
    if places == sorted(places):
        return only.seen_as(y.shape[1:])
    return lowering.alike("Permute", layer, flat, columns=places).seen_as(y.shape[1:])


_PADS = [
    f"{mode}Pad{axes}d" for mode in ("Zero", "Constant", "Reflection", "Replication", "Circular") for axes in (1, 2)
]
_PIXELS = (layers.PixelShuffle, layers.PixelUnshuffle, layers.ChannelShuffle)
KINDS = dict.fromkeys([*_PADS, "Upsample", "Pad"], Gather())  # Pad is what comes before a Conv
RULES: dict[type, Rule] = {
    **{getattr(layers, name): _pad for name in _PADS},
    **dict.fromkeys(_PIXELS, _permuted),
    layers.Upsample: _upsample,
}
