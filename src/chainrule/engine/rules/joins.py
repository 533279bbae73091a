"""Concat, Sum and Multiply: ops that read several values."""

from math import prod

from ... import layers
from ...module import Module
from ...structures import Structure, is_several, leaves
from ..plan import Value
from .rule import CannotLower, Handle, Lowering, Source, name_of, rule


@rule(layers.Sum, layers.Multiply)
def _elementwise(lowering: Lowering, layer: layers.Sum | layers.Multiply, x: Structure) -> Handle:
    return joined(name_of(layer), lowering, layer, _parts(lowering, layer, x))


@rule(layers.Concat)
def _concat(lowering: Lowering, layer: layers.Concat, x: Structure) -> Handle:
    parts = _parts(lowering, layer, x)
    shapes = [lowering.shape(layer, part) for part in parts]
    if any(part.is_image for part in parts):
        if layer.dim in (1, 1 - len(shapes[0])) and len({shape[1:] for shape in shapes}) == 1:  # channels, side by side
            images = [lowering.image(layer, part) for part in parts]
            channels = sum(shape[0] for shape in shapes)
            value = Value(channels, prod(shapes[0][1:]))
            return lowering.add("Concat", layer, images, value, (channels, *shapes[0][1:]), is_image=True)
        parts = [lowering.one(layer, part) for part in parts]
    first = shapes[0]
    axis = layer.dim + len(first) if layer.dim < 0 else layer.dim - 1
    others = [shape[:axis] + shape[axis + 1 :] for shape in shapes]
    if not 0 <= axis < len(first) or any(len(s) != len(first) for s in shapes) or len(set(others)) > 1:
        raise CannotLower(f"{name_of(layer)}({layer.extra_repr()}) on samples of shapes {', '.join(map(str, shapes))}")
    shape = (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])
    if axis == len(first) - 1:  # channels, side by side in each row
        parts, value = [lowering.rows(layer, part) for part in parts], Value(shape[-1], prod(shape[:-1]))
    elif axis == 0:  # one sample's numbers behind the other's
        parts, value = [lowering.flat(layer, part) for part in parts], Value(prod(shape))
    else:
        raise CannotLower(f"{name_of(layer)} along dim {layer.dim}, which is neither the first nor the last")
    return lowering.add("Concat", layer, parts, value, shape)


def joined(kind: str, lowering: Lowering, layer: Module, parts: list[Handle]) -> Handle:
    """An op that combines values of one shape element by element."""
    known = next((part for part in parts if not lowering.is_unknown(part)), None)
    if known is not None:
        for part in parts:
            lowering.expect(part, lowering.shape(layer, known))
    shapes = [lowering.shape(layer, part) for part in parts]
    if len(set(shapes)) > 1:
        raise CannotLower(f"{name_of(layer)} of samples of shapes {', '.join(map(str, shapes))}")
    is_image = any(part.is_image for part in parts)
    if is_image:
        parts = [lowering.image(layer, part) for part in parts]
    parts = [lowering.like(layer, part, parts[-1]) for part in parts]
    return lowering.add(kind, layer, parts, lowering.values[parts[-1].number], shapes[-1], is_image=is_image)


def _parts(lowering: Lowering, layer: Module, x: Structure) -> list[Handle]:
    if isinstance(x, Source):
        raise CannotLower(f"how many arrays {name_of(layer)} gets; sample_shape=… says it")
    if not is_several(x) or not x:
        raise CannotLower(f"{name_of(layer)} on what is not several arrays")
    return [lowering.one(layer, part, any_order=True) for part in leaves(x)]
