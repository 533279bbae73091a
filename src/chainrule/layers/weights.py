"""What layers with weights have in common: which numbers their constructors take, and which inputs go with them."""

import math
from typing import Any

import numpy as np

from .. import arrays, initializers
from ..arguments import as_array
from ..arrays import Array
from ..module import Module, Parameter
from ..random import generator


def weight_and_bias(
    layer: Module,
    called: str,
    shape: tuple[int, ...],
    n_out: int,
    *,
    weight: Any,
    bias: Any,
    init: initializers.Initializer | None,
    dtype: Any,
    rng: np.random.Generator | int | None,
) -> tuple[Parameter, Parameter | None]:
    """The weight, whose first axis counts outputs, and the bias (n_out,) of a layer, as its constructor is asked.

    Drawn as in PyTorch: uniform on ±1/√n_in for n_in = all axes of the weight but the first. An `init` sees the weight
    as a matrix with these as its rows, and lets the bias start from zero. `called` is what errors call the layer.
    """
    rng, n_in = generator(rng), math.prod(shape[1:])
    if init is not None and not callable(init):
        raise TypeError(f"{type(layer).__name__}: init must be a function of chainrule.initializers, got {init!r}")
    if weight is None:
        drawn = (init or initializers.torch_default)((shape[0], n_in), rng)
        weight = arrays.convert(drawn.reshape(shape), dtype=floating_dtype(layer, dtype))
    made = parameter(called, "weight", weight, shape)
    if bias is True:
        bound = 0.0 if init else 1.0 / math.sqrt(n_in)
        bias = arrays.convert_like(rng.uniform(-bound, bound, (n_out,)), made.value)
    return made, None if bias is None or bias is False else parameter(called, "bias", bias, (n_out,))


def parameter(layer: str, name: str, value: Any, shape: tuple[int, ...]) -> Parameter:
    """A given Parameter, to share it, or one that starts from given numbers: arrays keep their dtype, lists and
    everything else become float32.

    Raises ValueError if the shape is another; `layer` is what the error calls the layer.
    """
    if isinstance(value, Parameter):
        made = value
    else:
        array = as_array(layer.partition("(")[0], name, value)
        made = Parameter(array if arrays.is_array(value) else array.astype("float32"))
    if made.shape != shape:
        raise ValueError(f"{layer}: {name} must be {shape}, got {made.shape}")
    return made


def floating_dtype(layer: Module, dtype: Any) -> str:
    """The name of a dtype that weights may have, by default float32."""
    kind = type(layer).__name__
    try:
        name = arrays.dtype_name("float32" if dtype is None else dtype)
    except TypeError:  # what can be no dtype of any library
        name = ""
    if name == "bfloat16":
        raise TypeError(
            f"{kind}: dtype must be one that NumPy has, got bfloat16; "
            'make the layer in float32 and move it: .to("torch", dtype="bfloat16")'
        )
    if name not in arrays.FLOATING:
        raise TypeError(f"{kind}: dtype must be float16, float32 or float64, got {dtype!r}")
    return name


def require_kind(layer: Module, weight: Array, method: str, name: str, x: Any) -> None:
    """Refuse what is no array of the weight's library and dtype."""
    if type(x) is type(weight) and x.dtype == weight.dtype:
        return
    expected = arrays.describe_kind(weight)
    if not arrays.is_array(x) or arrays.describe_kind(x) != expected:
        both = isinstance(x, np.ndarray) and isinstance(weight, np.ndarray)  # NumPy makes float64 unless told to
        advice = f'; {name}.astype("{weight.dtype}") converts it' if both else ""
        got = f"{arrays.describe_kind(x)}{advice}"
        layer.refuse(method, f"{name} must be {expected} like the weight", got, TypeError)
