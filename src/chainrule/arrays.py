"""Which library an array belongs to, and the few things the array-API standard leaves out.

Layers are written against the standard (https://data-apis.org/array-api), so the same lines run on NumPy arrays,
PyTorch tensors and CuPy arrays: `xp = namespace(x)` is the library of x. NumPy follows the standard by itself since
2.1; the others come through array-api-compat, which is imported when the first of their arrays turns up. What comes
from outside may be many more things; docs/arrays.md says what becomes of them, and `arguments.as_array` sees to it.
"""

import math
import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # an array of any library; no common base class exists

FLOATING = ("float16", "bfloat16", "float32", "float64")  # the dtypes that layers compute in, bfloat16 in PyTorch only
HALF = ("float16", "bfloat16")  # those in which sums and small numbers are soon lost

UNMASK = "its mask would be lost; use its filled(value)"  # advice on masked arrays

_dtype_names: dict[Any, str] = {}  # NumPy takes microseconds to spell a dtype
_kinds: dict[Any, str] = {}  # and to say what kind it is of

# Asking array-api-compat costs microseconds and the answer depends on the type alone, so each type is asked once.
_namespaces: dict[type, Any] = {np.ndarray: np}


def namespace(x: Array) -> Any:
    """The array-API namespace of x: `numpy` itself, or array-api-compat's view of x's library.

    Raises TypeError if x is no array.
    """
    xp = _namespaces.get(type(x))
    if xp is None:
        xp = _namespaces[type(x)] = _find_namespace(x)
    return xp


def _find_namespace(x: Array) -> Any:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"expected a plain array, got a {type(x).__name__}; {UNMASK}")
    if isinstance(x, np.matrix):
        raise TypeError(f"expected a plain array, got a {type(x).__name__}; use numpy.asarray(x)")
    if isinstance(x, np.ndarray | np.generic):
        return np
    import array_api_compat

    if array_api_compat.is_torch_array(x) or array_api_compat.is_cupy_array(x):
        return array_api_compat.array_namespace(x)
    raise TypeError(f"expected an array (NumPy, PyTorch or CuPy), got {type(x).__name__}")


def is_array(x: object) -> bool:
    """Whether x is an array that layers can work on."""
    try:
        namespace(x)
    except TypeError:
        return False
    return True


def library(name: str | ModuleType) -> Any:
    """The array-API namespace of a library given by name ("numpy", "torch", "cupy") or as the module itself."""
    name = name if isinstance(name, str) else name.__name__.removeprefix("array_api_compat.")
    if name == "numpy":
        return np
    if name not in ("torch", "cupy"):
        raise ValueError(f'library must be "numpy", "torch" or "cupy", got {name!r}')
    import importlib

    return importlib.import_module(f"array_api_compat.{name}")


def kind(x: Array) -> str:
    """What x holds, in the words of the standard: "real floating", "integral", "bool", …; "other" for no numbers."""
    found = _kinds.get(x.dtype)
    if found is None:
        isdtype, kinds = namespace(x).isdtype, ("real floating", "integral", "bool", "complex floating")
        known = () if is_guest(x.dtype) else kinds  # of guests the standard knows nothing
        found = _kinds[x.dtype] = next((kind for kind in known if isdtype(x.dtype, kind)), "other")
    return found


def widened(x: Array) -> Array:
    """x itself, or, where no layer can compute in its dtype, x in one that holds its numbers, or comes closest."""
    if isinstance(x, np.ndarray):
        if is_guest(x.dtype) and np.can_cast(x.dtype, np.float32):
            return x.astype(np.float32)
        return x.astype(np.float64) if x.dtype.type is np.longdouble else x
    odd = is_floating(x) and dtype_name(x.dtype) not in FLOATING  # PyTorch's numbers of 8 bits
    return convert(x, dtype="float32") if odd else x


def is_guest(dtype: Any) -> bool:
    """Whether a dtype is one that another package has brought into NumPy, such as ml_dtypes' bfloat16."""
    return isinstance(dtype, np.dtype) and dtype.type.__module__ != "numpy"


def is_floating(x: Array) -> bool:
    """Whether x holds real floating-point numbers."""
    return kind(x) == "real floating"


def is_integer(x: Array) -> bool:
    """Whether x holds integers; booleans are none."""
    return kind(x) == "integral"


def size(x: Array) -> int:
    """The number of elements; `x.size` is a method in PyTorch."""
    return math.prod(x.shape)


def dtype_name(dtype: Any) -> str:
    """The name that every library gives this dtype: "float32" for numpy.float32 and for torch.float32."""
    if isinstance(dtype, str):
        return dtype
    name = _dtype_names.get(dtype)
    if name is None:
        name = str(np.dtype(dtype)) if isinstance(dtype, type | np.dtype) else str(dtype).removeprefix("torch.")
        _dtype_names[dtype] = name
    return name


def describe_kind(x: object) -> str:
    """Library and dtype of x for error messages: "a numpy float32 array"; the bare type for what is no array."""
    if not is_array(x):
        return f"a {type(x).__name__}"
    name = namespace(x).__name__.removeprefix("array_api_compat.")
    return f"a {name} {dtype_name(x.dtype)} array"  # type: ignore[attr-defined]


def to_numpy(x: Array) -> np.ndarray:
    """x as a NumPy array in native byte order, copied only where it has to be."""
    if type(x) is not np.ndarray and is_array(x) and namespace(x) is not np:
        import array_api_compat

        x = array_api_compat.to_device(x, "cpu")
        if "torch" in sys.modules and isinstance(x, sys.modules["torch"].Tensor):
            x = x.detach()  # array-api-compat leaves a tensor in its graph, and NumPy refuses that
            if x.is_floating_point() and x.element_size() < 4 and dtype_name(x.dtype) != "float16":
                x = x.float()  # NumPy has neither bfloat16 nor 8 bits; float32 holds all of their numbers
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"expected a plain array, got a {type(x).__name__}; {UNMASK}")
    values: np.ndarray = np.asarray(x)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def convert(x: Array, *, xp: Any = None, dtype: Any = None, device: Any = None) -> Array:
    """x in another library, dtype or on another device, as a new array that shares no memory with x.

    What is None stays as it is; `dtype` may be a name or any library's dtype. Between libraries x goes through memory
    of the CPU.
    """
    source = namespace(x)
    xp = source if xp is None else xp
    name = dtype_name(x.dtype if dtype is None else dtype)
    if xp is not source or xp is np:
        if xp is np and device not in (None, "cpu"):
            raise ValueError(f'NumPy arrays live on device "cpu", got {device!r}; choose another library too')
        if xp is np:
            return np.array(to_numpy(x), dtype=_numpy_dtype(name), order="C")
        # A contiguous array in native byte order: other libraries refuse anything else.
        moved = xp.asarray(np.ascontiguousarray(to_numpy(x)).reshape(x.shape), device=device, copy=True)
        return xp.astype(moved, getattr(xp, name if name in FLOATING else str(_numpy_dtype(name))), copy=False)
    import array_api_compat

    x = xp.astype(x.detach() if hasattr(x, "detach") else x, getattr(xp, name), copy=True)
    return x if device is None else array_api_compat.to_device(x, device)


def convert_like(x: Array, reference: Array) -> Array:
    """A copy of x in the library, dtype and device of reference."""
    return convert(x, xp=namespace(reference), dtype=reference.dtype, device=getattr(reference, "device", None))


def _numpy_dtype(name: str) -> np.dtype:
    try:
        dtype: np.dtype = np.dtype(name).newbyteorder("=")
    except TypeError:
        dtype = np.dtype("V1")
    if is_guest(dtype) or dtype.kind == "V":  # guests can do little
        hint = '; use float32, or PyTorch, which has it: .to("torch", dtype="bfloat16")' if name == "bfloat16" else ""
        raise TypeError(f"dtype {name!r} has no counterpart in NumPy{hint}")
    return dtype


def bring(x: Array, like: Array, *, dtype: Any) -> Array:
    """x where `like` is, in the given dtype, row after row in memory; x itself if it is all that already.

    The order in memory matters because matrix products add in another order where it is another, and the same numbers
    are to give the same bits.
    """
    xp, device = namespace(like), getattr(like, "device", None)
    there = namespace(x) is xp and getattr(x, "device", None) == device
    # The dtype is compared as it is, not by name: a byte-swapped float32 must be converted.
    same = x.dtype == (getattr(xp, dtype) if isinstance(dtype, str) else dtype)
    if not there or not same:
        with np.errstate(over="ignore"):  # numbers too large for the dtype become infinite
            x = convert(x, xp=xp, dtype=dtype, device=device)
    if hasattr(x, "contiguous"):  # PyTorch; a tensor of somebody's graph would drag the parameters into it
        return x.detach().contiguous()
    return xp.asarray(x, order="C")


def following(x: Array, like: Array) -> Array:
    """x where `like` is, and real numbers in its dtype too; x itself if it is all that already."""
    there = type(x) is type(like) and getattr(x, "device", None) == getattr(like, "device", None)
    if there and (x.dtype == like.dtype or not is_floating(x)):
        return x
    dtype = like.dtype if is_floating(x) else None
    return convert(x, xp=namespace(like), dtype=dtype, device=getattr(like, "device", None))


def own(x: Array) -> Array:
    """x itself, or a copy of a NumPy array that is mapped from a file or read-only, as an unpickled one may be."""
    mapped = isinstance(x, np.ndarray) and (type(x) is not np.ndarray or not x.flags.writeable)
    return np.array(x) if mapped else x


def steps(x: Array) -> tuple[int, ...]:
    """How far apart in memory neighbours along each axis are, in elements; the standard knows nothing of memory."""
    return tuple(x.stride()) if hasattr(x, "stride") else tuple(step // x.itemsize for step in x.strides)


def strided(x: Array, shape: tuple[int, ...], steps: tuple[int, ...]) -> Array:
    """A view of x's memory, from its first element on, in another shape with other `steps`; it is only for reading."""
    if hasattr(x, "as_strided"):  # PyTorch
        return x.as_strided(shape, steps)
    strides = tuple(step * x.itemsize for step in steps)
    if namespace(x) is np:
        return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)
    import cupy  # type: ignore[import-not-found]

    return cupy.lib.stride_tricks.as_strided(x, shape, strides)


def one_hot(index: Array, n_classes: int, like: Array, axis: int = 1) -> Array:
    """Ones where `index` names the class and zeros elsewhere, with the classes along a new axis; dtype of `like`.

    Shapes    index (batch, …) -> (batch, n_classes, …) for axis=1
    """
    xp = namespace(index)
    index = xp.astype(index, xp.int64)  # in 8 bits, class 156 and the index -100 would be the same number
    shape = [1] * (index.ndim + 1)
    shape[axis] = n_classes
    classes = xp.reshape(xp.arange(n_classes, dtype=index.dtype, device=index.device), tuple(shape))
    return xp.astype(xp.expand_dims(index, axis=axis) == classes, like.dtype)


def erf(x: Array) -> Array:
    """The error function, 2/√π ∫₀ˣ exp(-t²) dt, which the standard and NumPy lack. PyTorch and CuPy bring their own."""
    if namespace(x) is np:
        # math.erf is right to the last digit or so; the native engine has the fast one.
        return np.fromiter(map(math.erf, x.ravel().tolist()), dtype=x.dtype, count=x.size).reshape(x.shape)
    if type(x).__module__.startswith("cupy"):
        from cupyx.scipy import special  # type: ignore[import-not-found]

        return special.erf(x)
    import torch

    return torch.erf(x)


def add_at(x: Array, index: Array, values: Array) -> None:
    """x[index] += values, in place, where every place adds up all that goes there; the standard has no such thing.

    Shapes    x (n,); index (m,) of integers below n; values (m,)
    """
    if namespace(x) is np:
        np.add.at(x, index, values)
    elif hasattr(x, "index_add_"):  # PyTorch
        x.index_add_(0, index, values)
    else:
        import cupyx  # type: ignore[import-not-found]

        cupyx.scatter_add(x, index, values)
