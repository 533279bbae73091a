"""Bad input: a clear error that names who, what was expected and what came, or the right answer. Never a changed input.

Every refusal happens before anything is trained: parameters, gradients, dtype and the arrays that came stay as they
are.
"""

import math

import numpy as np
import pytest
import torch
from networks import bits, small_network

import chainrule as cr

N = 24
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 2))
NUMBERS = RNG.normal(size=(N, 2))
LABELS = RNG.integers(0, 2, N)


def _with(array, position, value):
    array = np.array(array, dtype=float if isinstance(value, float) else None)
    array[position] = value
    return array


def refused(error, message, x=X, target=NUMBERS, weight=None, *, loss=None, doors=("fit", "evaluate"), **options):
    """Assert that every door refuses these data, and that nothing has changed."""
    given = [array for array in (x, target, weight) if isinstance(array, np.ndarray)]
    before = [(array.dtype, array.shape, array.tobytes()) for array in given]
    loss = loss or cr.MSELoss()
    for door in doors:
        model = small_network(cr.SGD(lr=0.1), dtype="float32")
        parameters = bits(model)
        data = (x, target, weight)
        enter = {
            "fit": lambda model=model, data=data: cr.fit(model, loss, data, **({"epochs": 1} | options)),
            "validation": lambda model=model, data=data: cr.fit(model, loss, (X, NUMBERS), validation=data, epochs=1),
            "evaluate": lambda model=model, data=data: cr.evaluate(model, loss, data),
            "predict": lambda model=model: cr.predict(model, x),
        }[door]
        with pytest.raises(error, match=message):
            enter()
        assert bits(model) == parameters
        assert model.optimizer.steps == 0
        assert not any(parameter.grad.any() for parameter in model.param())
        assert model.training
    assert [(array.dtype, array.shape, array.tobytes()) for array in given] == before


ALL_OF_X = ("fit", "evaluate", "validation", "predict")
ALL_DATA = ("fit", "evaluate", "validation")


# -- shapes


def test_wrong_width_names_the_layer_and_both_shapes():
    refused(
        ValueError,
        r"Linear\(2, 8\)\.forward: x must be \(batch, 2\), got \(\d+, 3\)",
        x=np.zeros((N, 3)),
        doors=ALL_OF_X,
    )


def test_wrong_number_of_axes_names_the_layer():
    refused(ValueError, r"Linear\(2, 8\)\.forward: x must be \(batch, 2\), got", x=np.zeros(N), doors=ALL_OF_X)


@pytest.mark.parametrize("target", [np.zeros((N, 3)), np.zeros(N), np.zeros((N, 2, 1))])
def test_wrong_shape_of_targets_names_the_loss(target):
    refused(
        ValueError,
        r"MSELoss\(\)\.forward: target must have the shape of y, \(\d+, 2\), got \(",
        target=target,
        doors=ALL_DATA,
    )


def test_class_indices_must_not_have_an_axis_more():
    refused(
        ValueError,
        r"CrossEntropyLoss\(\)\.forward: target must be \(\d+,\) for y \(\d+, 2\), got \(\d+, 1\)",
        target=LABELS[:, None],
        loss=cr.CrossEntropyLoss(),
    )


def test_lengths_must_match():
    refused(
        ValueError, f"Dataset: target must have {N} samples like x, got {N - 1}", target=NUMBERS[1:], doors=ALL_DATA
    )
    refused(
        ValueError, f"Dataset: sample_weight must have {N} samples like x, got 3", weight=np.ones(3), doors=ALL_DATA
    )


def test_an_empty_data_set_is_refused():
    message = r"Dataset: there are no samples; x has the shape \(0, 2\)"
    refused(ValueError, message, x=np.zeros((0, 2)), target=np.zeros((0, 2)), doors=ALL_DATA)
    refused(ValueError, r"predict: x must be .* at least one row, got \(0, 2\)", x=np.zeros((0, 2)), doors=("predict",))


# -- dtypes

NOT_NUMBERS = {
    "strings": np.full((N, 2), "a"),
    "objects": np.full((N, 2), None),
    "complex": np.ones((N, 2), dtype=complex),
    "dates": np.zeros((N, 2), dtype="datetime64[s]"),
    "a list of words": [["a", "b"]] * N,
    "a complex tensor": torch.ones((N, 2), dtype=torch.complex128),
}


@pytest.mark.parametrize("values", NOT_NUMBERS.values(), ids=NOT_NUMBERS)
def test_what_are_no_numbers_is_refused_by_name_and_dtype(values):
    refused(TypeError, "x must hold real numbers, got dtype ", x=values, doors=ALL_OF_X)
    refused(TypeError, "Dataset: target must hold real numbers, got dtype ", target=values, doors=ALL_DATA)


@pytest.mark.parametrize("loss", [cr.CrossEntropyLoss(), cr.NLLLoss()])
@pytest.mark.parametrize(("labels", "dtype"), [(LABELS * 1.0, "float32"), (LABELS > 0, "bool")])
def test_floating_numbers_and_booleans_are_no_class_indices(loss, labels, dtype):
    message = (
        rf"Loss\(\)\.forward: target must hold class indices, integers, got a numpy {dtype} array \(\d+,\); convert"
    )
    refused(TypeError, message, target=labels, loss=loss)


@pytest.mark.parametrize("data", [X, (X,), None, "data", 5], ids=["array", "single", "None", "string", "number"])
def test_what_is_no_data_is_refused_by_its_type(data):
    model = small_network(cr.SGD())
    with pytest.raises(TypeError, match=f"fit: train must be a Dataset or a pair .* got {type(data).__name__}"):
        cr.fit(model, cr.MSELoss(), data, epochs=1)
    with pytest.raises(TypeError, match=f"evaluate: data must be a Dataset or a pair .* got {type(data).__name__}"):
        cr.evaluate(model, cr.MSELoss(), data)


# -- values


@pytest.mark.parametrize("label", [2, -1, 99, -(2**40)])
def test_labels_out_of_range_are_named_with_their_position_before_training(label):
    target = LABELS.copy()
    target[[17, 20]] = label
    message = rf"CrossEntropyLoss\(\)\.forward: target must be in 0 … 1, got {label} at position 17"
    refused(ValueError, message, target=target, loss=cr.CrossEntropyLoss(), batch_size=4)
    model = small_network(cr.SGD(lr=0.1))
    before = bits(model)
    with pytest.raises(ValueError, match=message):
        cr.fit(model, cr.CrossEntropyLoss(), (X, LABELS), validation=(X, target), epochs=1)
    assert bits(model) == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_named_with_their_row(value):
    expected = rf"must be finite in float32, got {value} in row 19 \(not finite in all: 1\)"
    refused(ValueError, f"x {expected}", x=_with(X, (19, 1), value), doors=ALL_OF_X)
    for door, name in (("fit", "fit: train"), ("evaluate", "evaluate: data"), ("validation", "fit: validation")):
        refused(ValueError, rf"{name}\.x {expected}", x=_with(X, (19, 1), value), doors=(door,))
        refused(ValueError, rf"{name}\.target {expected}", target=_with(NUMBERS, (19, 0), value), doors=(door,))
        refused(ValueError, rf"{name}\.sample_weight {expected}", weight=_with(np.ones(N), 19, value), doors=(door,))


def test_numbers_that_float32_cannot_hold_are_named_too():
    refused(ValueError, r"x must be finite in float32, got inf in row 3", x=_with(X, (3, 0), 1e300), doors=ALL_OF_X)


def test_negative_weights_and_weights_that_are_all_zero_are_refused():
    refused(
        ValueError, r"sample_weight must not be negative, got -2\.0", weight=_with(np.ones(N), 5, -2.0), doors=ALL_DATA
    )
    refused(ValueError, "sample_weight must not be all zero", weight=np.zeros(N), doors=ALL_DATA)


def test_some_weights_of_zero_are_fine():
    weight = np.ones(N)
    weight[::2] = 0
    model, half = small_network(), small_network()
    options = {"epochs": 1, "batch_size": N, "optimizer": cr.SGD(lr=0.1), "keep": "last", "shuffle": False}
    cr.fit(model, cr.MSELoss(), (X, NUMBERS, weight), **options)
    cr.fit(half, cr.MSELoss(), (X[1::2], NUMBERS[1::2]), **options)
    for one, two in zip(model.param(), half.param(), strict=True):
        np.testing.assert_allclose(one.value, two.value, rtol=1e-12, atol=1e-15)


# -- options


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, 3.0, "3", None, True, math.nan])
def test_counts_must_be_positive_integers(name, value):
    refused(ValueError, f"fit: {name} must be a positive integer, got {value!r}", doors=("fit",), **{name: value})


@pytest.mark.parametrize(
    ("seed", "error"),
    [(1.5, TypeError), ("1", TypeError), (None, TypeError), (True, TypeError), (-1, ValueError), (2**64, ValueError)],
)
def test_seeds_must_be_integers_of_64_bits(seed, error):
    refused(error, f"seed must be .*, got {seed!r}", doors=("fit",), seed=seed)


@pytest.mark.parametrize("integer", [np.int32, np.uint8, np.int64])
def test_integers_of_numpy_are_integers(integer):
    options = {"epochs": integer(1), "batch_size": integer(8), "seed": integer(3)}
    assert cr.fit(small_network(cr.SGD()), cr.MSELoss(), (X, NUMBERS), **options).steps == 3


def test_a_missing_optimizer_is_asked_for():
    with pytest.raises(ValueError, match="fit: no optimizer; give optimizer=…, or make one the first argument"):
        cr.fit(small_network(), cr.MSELoss(), (X, NUMBERS), epochs=1)


@pytest.mark.parametrize("keep", ["worst", None, 1])
def test_unknown_keep_is_refused(keep):
    refused(ValueError, f'fit: keep must be "best" or "last", got {keep!r}', doors=("fit",), keep=keep)


@pytest.mark.parametrize("max_seconds", [0, -1, math.nan, "5"])
def test_time_must_be_positive(max_seconds):
    message = f"fit: max_seconds must be a positive number, got {max_seconds!r}"
    refused(ValueError, message, doors=("fit",), max_seconds=max_seconds)


@pytest.mark.parametrize("options", [{"stop": 5}, {"callbacks": [5]}, {"metrics": [5]}])
def test_what_cannot_be_called_is_refused(options):
    name, given = next(iter(options.items()))
    who = name if given == 5 else f"each of {name}"
    refused(TypeError, f"fit: {who} must be a function, got 5", doors=("fit",), **options)


def test_a_loss_of_many_numbers_is_refused():
    refused(ValueError, 'the loss must be one number, got reduction="none"', loss=cr.MSELoss(reduction="none"))


# -- what is unusual and right


def _numbers_of(x, target, weight=None, *, loss=None, library="numpy", **options):
    """Everything that training and looking give, as bits."""
    model = small_network(dtype="float32", n_in=5, n_out=3).to(library)
    loss = loss or cr.MSELoss()
    options = {"epochs": 2, "batch_size": 7, "optimizer": cr.Adam(lr=0.01)} | options
    history = cr.fit(model, loss, (x, target, weight), validation=(x, target, weight), **options)
    model.to("numpy")
    assert {parameter.value.dtype.name for parameter in model.param()} == {"float32"}
    return bits(model), history.losses, history.validation_losses, cr.predict(model, x).tobytes()


def _unaligned(array):
    raw = np.zeros(array.nbytes + 1, dtype=np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


FORMS = {
    "read-only": _read_only,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "Fortran order": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "columns backwards": lambda a: a[..., ::-1].copy()[..., ::-1],
    "unaligned": _unaligned,
    "lists": lambda a: a.tolist(),
    "float64": lambda a: a.astype(np.float64),
}
WIDE = RNG.normal(size=(N, 5)).astype(np.float32)
THREE = RNG.normal(size=(N, 3)).astype(np.float32)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_an_array_gives_the_bits_of_the_plain_one(form, shuffle, library):
    weight = np.linspace(0.5, 2, N, dtype=np.float32)
    given = [FORMS[form](array) for array in (WIDE, THREE, weight)]
    before = [np.array(array) for array in given]
    options = {"shuffle": shuffle, "library": library}
    assert _numbers_of(*given, **options) == _numbers_of(WIDE, THREE, weight, **options)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        if isinstance(array, np.ndarray):
            assert array.dtype == copy.dtype


@pytest.mark.parametrize("dtype", ["int8", "uint8", ">i4", "uint64", "int64"])
def test_labels_of_any_integer_type_give_the_same_bits(dtype):
    labels = RNG.integers(0, 3, N)
    loss = cr.CrossEntropyLoss()
    assert _numbers_of(WIDE, labels.astype(dtype), loss=loss) == _numbers_of(WIDE, labels, loss=loss)


def test_integers_and_booleans_are_numbers():
    whole = RNG.integers(0, 2, (N, 5))
    for dtype in ("bool", "int8", "float16", ">i8"):
        assert _numbers_of(whole.astype(dtype), THREE) == _numbers_of(whole.astype("float32"), THREE)


def test_anything_numpy_can_read_will_do():
    class Frame:
        """What a pandas DataFrame looks like from here."""

        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return np.array(self.values, dtype=dtype, copy=copy)

        def __len__(self):
            return len(self.values)

    assert _numbers_of(Frame(WIDE), Frame(THREE)) == _numbers_of(WIDE, THREE)


def test_matrices_and_memory_maps_are_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "x", dtype=np.float32, mode="w+", shape=WIDE.shape)
    mapped[...] = WIDE
    assert _numbers_of(mapped, THREE) == _numbers_of(WIDE, THREE)


def test_tensors_that_are_not_contiguous_give_the_same_bits():
    x, target = torch.from_numpy(WIDE), torch.from_numpy(THREE)
    given = (x.T.contiguous().T, torch.repeat_interleave(target, 2, dim=1)[:, ::2])
    for library in ("numpy", "torch"):
        assert _numbers_of(*given, library=library, shuffle=False) == _numbers_of(
            WIDE, THREE, library=library, shuffle=False
        )


@pytest.mark.parametrize("batch_size", [N, N + 1, 10**9])
def test_a_batch_larger_than_the_data_is_one_batch(batch_size):
    assert _numbers_of(WIDE, THREE, batch_size=batch_size) == _numbers_of(WIDE, THREE, batch_size=N)


def test_a_single_sample_is_a_data_set():
    history = cr.fit(small_network(cr.SGD(lr=0.1)), cr.MSELoss(), (X[:1], NUMBERS[:1]), epochs=3)
    assert history.steps == 3


def test_masked_arrays_are_refused_because_the_mask_would_be_lost():
    masked = np.ma.masked_array(X, mask=X > 1)
    with pytest.raises(TypeError, match="predict: x must be a plain array, got a masked one"):
        cr.predict(small_network(), masked)
    with pytest.raises(TypeError, match="Dataset: x must be a plain array, got a masked one"):
        cr.fit(small_network(cr.SGD()), cr.MSELoss(), (masked, NUMBERS), epochs=1)
