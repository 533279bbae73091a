import contextlib
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy

from chainrule import arrays

every_library = pytest.mark.parametrize("library", LIBRARIES)


def test_the_library_of_a_numpy_array_is_numpy_itself() -> None:
    assert arrays.namespace(np.ones(2)) is np
    assert arrays.namespace(np.float32(1)) is np


def test_the_library_of_a_type_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    xp = arrays.namespace(torch.ones(2))
    monkeypatch.setattr(arrays, "_find_namespace", None)
    assert arrays.namespace(torch.ones(3)) is xp
    assert xp.__name__ == "array_api_compat.torch"


def test_a_subclass_of_a_known_type_is_found_too() -> None:
    assert arrays.namespace(torch.nn.Parameter(torch.ones(2))) is arrays.namespace(torch.ones(2))
    assert arrays.namespace(np.memmap) is np if isinstance(np.memmap, np.ndarray) else True


@pytest.mark.parametrize("thing", [[1.0], 1.0, None, "x", {"a": 1}, object()])
def test_what_is_no_array_is_refused(thing: object) -> None:
    message = f"expected an array (NumPy, PyTorch or CuPy), got {type(thing).__name__}"
    with pytest.raises(TypeError, match=re.escape(message)):
        arrays.namespace(thing)
    assert not arrays.is_array(thing)


def test_masked_arrays_are_refused_with_advice() -> None:
    masked = np.ma.masked_array([1.0, 2.0], mask=[True, False])
    with pytest.raises(TypeError, match=r"expected a plain array, got a MaskedArray; .* use its filled"):
        arrays.namespace(masked)
    assert not arrays.is_array(masked)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_library_is_known_by_name_and_by_module(name: str) -> None:
    xp = arrays.library(name)
    assert arrays.library({"numpy": np, "torch": torch}[name]) is xp
    assert arrays.library(xp) is xp
    assert arrays.namespace(array([1.0], name)) is xp


@pytest.mark.parametrize("name", ["jax", "Torch", ""])
def test_an_unknown_library_is_refused(name: str) -> None:
    message = f'library must be "numpy", "torch" or "cupy", got {name!r}'
    with pytest.raises(ValueError, match=re.escape(message)):
        arrays.library(name)
    with pytest.raises(ValueError, match="got 'math'"):
        arrays.library(math)


@every_library
@pytest.mark.parametrize(
    ("dtype", "floating", "integer"),
    [
        ("float32", True, False),
        ("float64", True, False),
        ("int8", False, True),
        ("int64", False, True),
        ("uint8", False, True),
        ("bool", False, False),
        ("complex64", False, False),
    ],
)
def test_kinds_of_numbers_are_told_apart(library: str, dtype: str, floating: bool, integer: bool) -> None:
    x = array(np.ones(2, dtype), library, dtype)
    assert arrays.is_floating(x) == floating
    assert arrays.is_integer(x) == integer
    assert arrays.dtype_name(x.dtype) == dtype
    assert arrays.describe_kind(x) == f"a {library} {dtype} array"


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [(">f4", "real floating"), ("u1", "integral"), ("?", "bool"), ("c8", "complex floating"), ("U3", "other")],
)
def test_the_kind_of_an_array_is_said_in_the_words_of_the_standard(dtype: str, kind: str) -> None:
    for _ in range(2):  # the second time it is remembered
        assert arrays.kind(np.zeros(2, dtype)) == kind


def test_kinds_of_anything_else_are_named_by_type() -> None:
    assert arrays.describe_kind([1]) == "a list"
    assert arrays.describe_kind(np.ones(2, ">f4")) == "a numpy >f4 array"
    assert arrays.dtype_name(np.float32) == arrays.dtype_name(torch.float32) == arrays.dtype_name("float32")


@every_library
def test_size_counts_elements(library: str) -> None:
    assert arrays.size(array(np.ones((2, 3, 4)), library)) == 24
    assert arrays.size(array(np.ones(()), library)) == 1
    assert arrays.size(array(np.ones((2, 0)), library)) == 0


def test_to_numpy_brings_everything_to_native_order() -> None:
    x = np.array([1.0, 2.0])
    assert arrays.to_numpy(x) is x
    swapped = arrays.to_numpy(x.astype(">f8"))
    assert swapped.dtype.isnative
    assert swapped.tolist() == [1.0, 2.0]
    assert arrays.to_numpy(torch.tensor([1.0, 2.0], requires_grad=True)).tolist() == [1.0, 2.0]
    assert arrays.to_numpy([1.0, 2.0]).tolist() == [1.0, 2.0]
    assert arrays.to_numpy(np.float32(3)).tolist() == 3.0


@every_library
@pytest.mark.parametrize("there", LIBRARIES)
@pytest.mark.parametrize("dtype", [None, "float32", np.float32, torch.float32])
def test_convert_makes_a_copy_that_shares_nothing(library: str, there: str, dtype: Any) -> None:
    x = array([[1.0, 2.0]], library)
    copied = arrays.convert(x, xp=arrays.library(there), dtype=dtype)
    assert arrays.namespace(copied) is arrays.library(there)
    assert arrays.dtype_name(copied.dtype) == ("float64" if dtype is None else "float32")
    copied[...] = 7
    assert x.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("there", LIBRARIES)
@pytest.mark.parametrize(
    "x",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6.0)[::-1],
        np.arange(6.0)[::2],
        np.arange(6.0).astype(">f8"),
        np.broadcast_to(np.float64(1), (2, 3)),
        np.ones((0, 2)),
        np.float64(3),
    ],
    ids=["transposed", "backwards", "strided", "big-endian", "read-only", "empty", "scalar"],
)
def test_convert_takes_any_layout(there: str, x: Any) -> None:
    copied = arrays.convert(x, xp=arrays.library(there))
    assert numpy(copied).tolist() == np.asarray(x).tolist()
    assert arrays.dtype_name(copied.dtype) == "float64"


def test_convert_takes_tensors_out_of_their_graph() -> None:
    x = torch.ones(2, requires_grad=True)
    assert not arrays.convert(x).requires_grad
    assert not arrays.convert(x * 2).requires_grad
    assert arrays.convert(x * 2, xp=np).tolist() == [2.0, 2.0]


def test_convert_refuses_what_a_library_does_not_have() -> None:
    with contextlib.suppress(ImportError):
        import ml_dtypes  # noqa: F401 - whose bfloat16 NumPy then knows by name
    with pytest.raises(TypeError, match="dtype 'bfloat16' has no counterpart in NumPy"):
        arrays.convert(np.ones(2), dtype="bfloat16")
    with pytest.raises(ValueError, match="NumPy arrays live on device \"cpu\", got 'cuda'; choose another library too"):
        arrays.convert(np.ones(2), device="cuda")


@every_library
@pytest.mark.parametrize("there", LIBRARIES)
def test_convert_like_takes_library_dtype_and_device(library: str, there: str) -> None:
    reference = array(np.ones(1), there, "float32")
    x = arrays.convert_like(array([1.0, 2.0], library), reference)
    assert type(x) is type(reference)
    assert x.dtype == reference.dtype
    assert x.device == reference.device


@every_library
def test_one_hot_by_hand(library: str) -> None:
    like = array(np.ones(1), library, "float32")
    index = array([[0, 2], [1, -100]], library)
    found = arrays.one_hot(index, 3, like)
    assert found.dtype == like.dtype
    assert found.tolist() == [[[1, 0], [0, 0], [0, 1]], [[0, 0], [1, 0], [0, 0]]]
    assert arrays.one_hot(index, 3, like, axis=2).tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]]


@every_library
def test_one_hot_does_not_confuse_classes_in_eight_bits(library: str) -> None:
    index = array(np.array([-100, 3], "int8"), library)
    found = numpy(arrays.one_hot(index, 200, array(np.ones(1), library)))
    assert found.sum() == 1
    assert found[1, 3] == 1


@every_library
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_is_the_error_function(library: str, dtype: str) -> None:
    x = array(np.linspace(-6, 6, 101).reshape(1, 101), library, dtype)
    expected = [[math.erf(value) for value in numpy(x)[0].astype(float).tolist()]]
    found = arrays.erf(x)
    assert found.dtype == x.dtype
    np.testing.assert_allclose(numpy(found), expected, rtol=4 * np.finfo(dtype).eps)
    assert np.isnan(numpy(arrays.erf(array([math.nan], library, dtype))))
    assert numpy(arrays.erf(array([math.inf, -math.inf], library, dtype))).tolist() == [1.0, -1.0]


def test_own_copies_what_cannot_be_written_into_and_nothing_else(tmp_path):
    plain = np.arange(3.0)
    assert arrays.own(plain) is plain
    fixed = plain.copy()
    fixed.flags.writeable = False
    np.save(tmp_path / "x.npy", plain)
    for x in (fixed, np.load(tmp_path / "x.npy", mmap_mode="r")):
        copy = arrays.own(x)
        assert type(copy) is np.ndarray
        assert copy.flags.writeable
        np.testing.assert_array_equal(copy, plain)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_add_at_adds_up_all_that_goes_to_one_place(library):
    xp = arrays.library(library)
    x, index, values = xp.zeros(3), xp.asarray([2, 0, 2]), xp.asarray([1.0, 2.0, 4.0], dtype=xp.zeros(1).dtype)
    arrays.add_at(x, index, values)
    assert x.tolist() == [2, 0, 5]
