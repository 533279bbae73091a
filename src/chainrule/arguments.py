"""The border of constructors: an argument is what it has to be, or an error says whose it is and what came.

`owner` is the object that is being made, or the name of a function.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from . import arrays
from .arrays import Array
from .structures import Structure, is_several, leaves, named, rebuild


def number(
    owner: object,
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    finite: bool = True,
) -> float:
    """value, if it is a number with least <= value <= most and above < value < below; finite=False lets infinity in."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{_name(owner)}: {name} must be a number, got {value!r}")
    x = float(value)
    open_below = above < x or (not finite and x == above == -math.inf)
    if not (least <= x <= most and open_below and (x < below or not finite)):
        words = {"at least": least, "above": above, "at most": most, "below": below}
        bounds = [f"{word} {bound:g}" for word, bound in words.items() if math.isfinite(bound)]
        if finite and math.isinf(min(most, below)):
            bounds.append("finite")
        raise ValueError(f"{_name(owner)}: {name} must be {' and '.join(bounds)}, got {value}")
    return x


def several(
    owner: object, name: str, values: Any, n: int, *, least: float = -math.inf, below: float = math.inf
) -> tuple[float, ...]:
    """values as a tuple, if they are n numbers with least <= value < below."""
    if not isinstance(values, tuple | list) or len(values) != n:
        words = {2: "two", 3: "three"}
        raise TypeError(f"{_name(owner)}: {name} must be {words.get(n, n)} numbers, got {values!r}")
    return tuple(number(owner, f"{name}[{i}]", value, least=least, below=below) for i, value in enumerate(values))


def whole(owner: object, name: str, value: Any, *, least: int | None = None) -> int:
    """value, if it is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{_name(owner)}: {name} must be an integer, got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{_name(owner)}: {name} must be at least {least}, got {value}")
    return int(value)


def positive(owner: object, name: str, value: Any) -> int:
    """value, if it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{_name(owner)}: {name} must be a positive integer, got {value!r}")
    return int(value)


def flag(owner: object, name: str, value: Any) -> bool:
    """value, if it is True or False."""
    if not isinstance(value, int | np.bool_ | np.integer) or value not in (0, 1):
        raise TypeError(f"{_name(owner)}: {name} must be True or False, got {value!r}")
    return bool(value)


def choice(owner: object, name: str, value: Any, options: tuple[str, ...]) -> str:
    """value, if it is one of the options."""
    if not isinstance(value, str) or value not in options:
        *most, last = (f'"{option}"' for option in options)
        raise ValueError(f"{_name(owner)}: {name} must be {', '.join(most)} or {last}, got {value!r}")
    return value


def function(owner: object, name: str, value: Any) -> Callable[..., Any]:
    """value, if it can be called and is no class, which would only be made."""
    if isinstance(value, type) or not callable(value):
        raise TypeError(f"{_name(owner)}: {name} must be a function, got {value!r}")
    called: Callable[..., Any] = value
    return called


def as_array(owner: object, name: str, values: Any) -> Array:
    """values as a plain array of real numbers; docs/arrays.md says what becomes of which kind of array.

    Arrays of NumPy, PyTorch and CuPy stay what they are, and everything else becomes what NumPy makes of it. Of dtypes
    in which layers cannot compute, longdouble becomes float64, and 8 bits or a guest of NumPy's float32.

    Raises TypeError for what are not real numbers, and for what would lose a part of what it says: masked arrays,
    sparse ones.
    """
    array = values if arrays.is_array(values) else _read(owner, name, values)
    if isinstance(array, np.ndarray | np.generic):
        array = np.asarray(array)  # without a subclass, whose arithmetic may be any other
    elif getattr(array, "is_nested", False):
        _refuse(owner, name, "be a dense array", f"a nested {type(array).__name__}; use its to_padded_tensor(value)")
    elif str(getattr(array, "layout", "torch.strided")) != "torch.strided":
        _refuse(owner, name, "be a dense array", f"a sparse {type(array).__name__}; use its to_dense()")
    array = arrays.widened(_of_objects(array))
    if arrays.kind(array) not in ("real floating", "integral", "bool"):
        got = f"dtype {arrays.dtype_name(array.dtype)}{_hint(name, array, values)}"
        _refuse(owner, name, "hold real numbers", got)
    return array


def as_arrays(owner: object, name: str, values: Any) -> Structure:
    """values as a plain array, or a tuple or dict with each of its parts as one; errors name the part: x['image'].

    A tuple that holds no array at all, but numbers or rows of them, is one array, as it is to NumPy.

    Raises TypeError for what `as_array` refuses, for tuples and dicts inside of others and keys that are no words, and
    ValueError for no arrays at all.
    """
    if not is_several(values) or (isinstance(values, tuple) and values and not any(map(_like_array, values))):
        return as_array(owner, name, values)
    if not values:
        raise ValueError(f"{_name(owner)}: {name} must hold arrays, got an empty {type(values).__name__}")
    for key in values if isinstance(values, dict) else ():
        if not isinstance(key, str):
            _refuse(owner, name, "name its arrays by words", f"the name {key!r}")
    for of, part in named(name, values):
        if is_several(part):
            _refuse(owner, of, "be one array", f"a {type(part).__name__}; several arrays are not nested")
    return rebuild(values, [as_array(owner, of, part) for of, part in named(name, values)])


def as_input(owner: object, name: str, x: Any, like: Array | None) -> Structure:
    """What a network is shown: x as an array in the library, dtype and on the device of `like`, one of its parameters.

    Where there are no parameters (None), floating-point numbers keep their dtype, and all others become float32. Of a
    tuple or a dict all this is said of each of its arrays.
    """
    x = as_arrays(owner, name, x)
    if is_several(x):
        return rebuild(x, [as_input(owner, name, part, like) for part in leaves(x)])
    if like is None:
        return arrays.bring(x, x, dtype=x.dtype if arrays.is_floating(x) else "float32")
    return arrays.bring(x, like, dtype=like.dtype)


def as_indices(owner: object, name: str, values: Any) -> np.ndarray:
    """values as class indices, a NumPy array (batch,) of int64."""
    array = as_array(owner, name, values)
    if not arrays.is_integer(array):
        got = f"{arrays.describe_kind(array)}; convert class indices to int64"
        _refuse(owner, name, "hold class indices, integers", got)
    if array.ndim != 1:
        raise ValueError(f"{_name(owner)}: {name} must be (batch,), got {tuple(array.shape)}")
    indices: np.ndarray = arrays.bring(array, np.empty(0), dtype="int64")
    return indices


def _like_array(value: Any) -> bool:
    """Whether `value` is an array of any library with at least one axis, or a structure of them."""
    is_one = hasattr(value, "__array__") or hasattr(value, "__dlpack__")
    return (is_one and getattr(value, "shape", None) != ()) or isinstance(value, dict)


def _read(owner: object, name: str, values: Any) -> np.ndarray:
    """What NumPy makes of something that is no array of a library that we know."""
    parts = values if isinstance(values, list | tuple) else ()
    if isinstance(values, np.ma.MaskedArray) or any(isinstance(part, np.ma.MaskedArray) for part in parts):
        _refuse(owner, name, "be a plain array", f"a masked one; {arrays.UNMASK}")
    if hasattr(values, "toarray"):  # scipy.sparse, of which NumPy makes one object
        _refuse(owner, name, "be a dense array", f"a sparse {type(values).__name__}; use its toarray()")
    try:
        if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            return np.from_dlpack(values)
        return np.asarray(values)
    except (ValueError, TypeError, BufferError, RuntimeError) as error:  # rows of different lengths, another device, …
        hint = "; several arrays are a tuple, no list" if any(map(arrays.is_array, parts)) else ""
        raise type(error)(f"{_name(owner)}: {name} must be an array of numbers, but {error}{hint}") from None


def _of_objects(array: Array) -> Array:
    """An array of Python's numbers, such as pandas makes of columns of several kinds, as NumPy's; others stay."""
    if isinstance(array, np.ndarray) and array.dtype == object and array.ndim:
        try:
            found = np.asarray(array.tolist())
        except (ValueError, OverflowError):  # lists of different lengths among them
            return array
        return found if found.shape == array.shape and found.dtype.kind in "biuf" else array
    return array


def _hint(name: str, array: Array, values: Any) -> str:
    """What to do about an array that holds no real numbers."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "OUST":
        return ""
    if array.ndim == 0:
        return f", a {type(values).__name__}"
    if name.endswith("target") and array.size and isinstance(array.flat[0], str | bytes):
        return "; number the classes: names, target = numpy.unique(target, return_inverse=True)"
    if array.dtype == object:
        place = next((i for i, one in np.ndenumerate(array) if not isinstance(one, numbers.Real)), None)
        return "" if place is None else f" with {array[place]!r} in row {place[0]}"
    return ""


def _refuse(owner: object, name: str, expected: str, got: str) -> NoReturn:
    raise TypeError(f"{_name(owner)}: {name} must {expected}, got {got}")


def _name(owner: object) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
