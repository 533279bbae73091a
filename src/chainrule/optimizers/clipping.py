"""Keeping gradients within bounds."""

import math
from collections.abc import Iterable

import numpy as np

from .. import arrays
from ..arguments import number
from ..module import Parameter


def clip_grad_value_(parameters: Iterable[Parameter], clip_value: float) -> None:
    """Cut each element of the gradients to ± clip_value, in place; named as in PyTorch. Frozen parameters have none."""
    clip_value = number("clip_grad_value_", "clip_value", clip_value, least=0, finite=False)
    for parameter in _trained(parameters):
        parameter.grad[...] = arrays.namespace(parameter.grad).clip(parameter.grad, -clip_value, clip_value)


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients together, in place, so that their common norm is at most max_norm. Named as in PyTorch.

    A parameter that is listed twice counts once, and one that is frozen not at all.

    Equation  norm = (Σ |grad|ᵖ)^(1/p) over all elements of all parameters, p = norm_type (inf: the largest element);
              grad ← grad · min(1, max_norm / (norm + 1e-6)); all become NaN where the norm is NaN, as in PyTorch
    Returns   the norm before scaling
    Source    Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks", section 3.2;
              the 1e-6 is PyTorch's
    """
    max_norm = number("clip_grad_norm_", "max_norm", max_norm, least=0, finite=False)
    norm_type = number("clip_grad_norm_", "norm_type", norm_type, above=0, finite=False)
    grads = [parameter.grad for parameter in _trained(parameters)]
    sizes = [arrays.namespace(grad).abs(_summable(grad)) for grad in grads if arrays.size(grad)]
    if not sizes:
        return 0.0
    if math.isinf(norm_type):
        norm = float(np.max([float(size.max()) for size in sizes]))  # Python's max loses a NaN
    else:
        norm = sum(float((size**norm_type).sum()) for size in sizes) ** (1.0 / norm_type)
    scale = max_norm / (norm + 1e-6)
    if not scale >= 1:  # NaN too: a norm that is NaN must not end as gradients that look sound
        for grad in grads:
            grad *= scale
    return norm


def _trained(parameters: Iterable[Parameter]) -> list[Parameter]:
    """Those that are not frozen, each once."""
    return [parameter for parameter in dict.fromkeys(parameters) if parameter.trainable]


def _summable(grad: arrays.Array) -> arrays.Array:
    """The gradient, with room for the sum of its squares: in float16 that ends at 65,504."""
    return arrays.convert(grad, dtype="float32") if arrays.dtype_name(grad.dtype) in arrays.HALF else grad
