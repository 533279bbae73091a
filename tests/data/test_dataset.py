import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chainrule import Dataset

X = np.arange(20.0).reshape(10, 2)
TARGET = np.arange(10)
WEIGHT = np.linspace(1, 2, 10)


def test_length_and_repr_tell_shapes_and_dtypes():
    data = Dataset(X, TARGET, WEIGHT)
    assert len(data) == 10
    assert repr(data) == "Dataset(x (10, 2) float64, target (10,) int64, sample_weight (10,) float64)"
    assert repr(Dataset(X, TARGET)) == "Dataset(x (10, 2) float64, target (10,) int64)"


def test_arrays_are_neither_copied_nor_changed():
    data = Dataset(X, TARGET, WEIGHT)
    assert data.x is X
    assert data.target is TARGET
    assert data.sample_weight is WEIGHT


def test_lists_become_arrays():
    data = Dataset([[1, 2], [3, 4]], [0.5, 1.5])
    assert data.x.tolist() == [[1, 2], [3, 4]]
    assert data.target.dtype == np.float64


def test_tensors_stay_tensors():
    data = Dataset(torch.arange(6.0).reshape(3, 2), torch.arange(3))
    assert isinstance(data.take(np.array([2, 0])).x, torch.Tensor)
    assert data.take(np.array([2, 0])).target.tolist() == [2, 0]
    assert [target.tolist() for _, target in data.batches(2, shuffle=False)] == [[0, 1], [2]]


def test_tensors_come_in_the_same_order_as_arrays():
    of_numpy = [target.tolist() for _, target in Dataset(X, TARGET).batches(3, seed=5, epoch=2)]
    of_torch = Dataset(torch.from_numpy(X), torch.from_numpy(TARGET)).batches(3, seed=5, epoch=2)
    assert of_numpy == [target.tolist() for _, target in of_torch]


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**40))
def test_every_sample_comes_once_an_epoch_with_its_own_target_and_weight(n, batch_size, seed, epoch):
    data = Dataset(np.arange(n)[:, None], np.arange(n) * 10, np.arange(n) * 100.0)
    batches = list(data.batches(batch_size, seed=seed, epoch=epoch))
    assert [len(x) for x, _, _ in batches] == [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0)
    x, target, weight = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(np.sort(x[:, 0]), np.arange(n))
    np.testing.assert_array_equal(target, x[:, 0] * 10)
    np.testing.assert_array_equal(weight, x[:, 0] * 100)


def _order(data, **options):
    return [label for _, target in data.batches(3, **options) for label in target.tolist()]


def test_order_is_a_pure_function_of_seed_and_epoch():
    data = Dataset(X, TARGET)
    assert _order(data, seed=1, epoch=4) == _order(data, seed=1, epoch=4)
    assert _order(data, seed=1, epoch=4) != _order(data, seed=1, epoch=5)
    assert _order(data, seed=1, epoch=4) != _order(data, seed=2, epoch=4)
    np.random.seed(0)  # noqa: NPY002 - the global generator must have no say
    assert _order(data, seed=1, epoch=4) == _order(data, seed=1, epoch=4)


def test_order_does_not_depend_on_the_batch_size():
    data = Dataset(X, TARGET)
    whole = next(iter(data.batches(10, seed=3, epoch=1)))[1].tolist()
    assert _order(data, seed=3, epoch=1) == whole


def test_first_place_is_taken_by_each_sample_equally_often():
    n, epochs = 5, 2000
    data = Dataset(np.zeros((n, 1)), np.arange(n))
    first = [next(iter(data.batches(1, seed=0, epoch=epoch)))[1][0] for epoch in range(epochs)]
    counts = np.bincount(first, minlength=n)
    expected = epochs / n
    assert ((counts - expected) ** 2 / expected).sum() < 23.5  # chi², 4 degrees of freedom: probability 1e-4


def test_without_shuffle_samples_come_as_they_are():
    assert _order(Dataset(X, TARGET), shuffle=False, seed=9, epoch=9) == list(range(10))


@pytest.mark.parametrize("batch_size", [0, -3, 2.5, "3", None, True])
def test_batch_size_must_be_a_positive_integer(batch_size):
    with pytest.raises(ValueError, match=r"Dataset\.batches: batch_size must be a positive integer, got"):
        next(Dataset(X, TARGET).batches(batch_size))


def test_epoch_and_seed_must_not_be_negative():
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        next(Dataset(X, TARGET).batches(3, epoch=-1))
    with pytest.raises(ValueError, match="seed must be in"):
        next(Dataset(X, TARGET).batches(3, seed=-1))


def test_take_picks_from_all_three_arrays():
    part = Dataset(X, TARGET, WEIGHT).take(np.array([3, 1]))
    assert part.x.tolist() == [[6, 7], [2, 3]]
    assert part.target.tolist() == [3, 1]
    assert part.sample_weight.tolist() == WEIGHT[[3, 1]].tolist()
    assert Dataset(X, TARGET).take(slice(2, 4)).target.tolist() == [2, 3]


@given(fraction=st.floats(0.06, 0.94), seed=st.integers(0, 1000))
def test_split_gives_every_sample_to_one_of_two_parts(fraction, seed):
    first, second = Dataset(X, TARGET, WEIGHT).split(fraction, seed=seed)
    assert len(first) == round(fraction * 10)
    assert sorted([*first.target.tolist(), *second.target.tolist()]) == list(range(10))
    np.testing.assert_array_equal(first.x, X[first.target])
    np.testing.assert_array_equal(first.sample_weight, WEIGHT[first.target])


def test_split_is_reproducible_and_random():
    data = Dataset(X, TARGET)
    assert data.split(0.5, seed=1)[0].target.tolist() == data.split(0.5, seed=1)[0].target.tolist()
    assert data.split(0.5, seed=1)[0].target.tolist() != data.split(0.5, seed=2)[0].target.tolist()


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), "half"])
def test_split_needs_a_fraction(fraction):
    with pytest.raises(ValueError, match=r"Dataset\.split: fraction must be between 0 and 1, got"):
        Dataset(X, TARGET).split(fraction)


def test_split_leaves_no_part_empty():
    with pytest.raises(ValueError, match=r"Dataset\.split: 0\.01 of 10 samples leaves one part empty"):
        Dataset(X, TARGET).split(0.01)


def test_no_samples_are_refused_with_the_shape_that_came():
    with pytest.raises(ValueError, match=r"Dataset: there are no samples; x has the shape \(0, 2\)"):
        Dataset(np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, TARGET[:9]), "Dataset: target must have 10 samples like x, got 9"),
        ((X, TARGET, WEIGHT[:3]), "Dataset: sample_weight must have 10 samples like x, got 3"),
        ((X, TARGET, WEIGHT[:, None]), r"Dataset: sample_weight must be \(10,\), got \(10, 1\)"),
        ((5.0, TARGET), "Dataset: x must have an axis of samples, got a single number"),
        ((X, 1), "Dataset: target must have an axis of samples, got a single number"),
    ],
)
def test_what_does_not_fit_together_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Dataset(*arguments)


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a"] * 10),
        np.array([None] * 10),
        np.ones(10, dtype=complex),
        np.zeros(10, dtype="datetime64[s]"),
        torch.ones(10, dtype=torch.complex64),
    ],
    ids=["strings", "objects", "complex", "dates", "complex tensor"],
)
def test_what_are_no_real_numbers_is_refused_by_name_and_dtype(values):
    for arguments, name in (((values, TARGET), "x"), ((X, values), "target"), ((X, TARGET, values), "sample_weight")):
        with pytest.raises(TypeError, match=f"Dataset: {name} must hold real numbers, got dtype "):
            Dataset(*arguments)


def test_masked_arrays_are_refused_because_the_mask_would_be_lost():
    with pytest.raises(TypeError, match="Dataset: x must be a plain array, got a masked one"):
        Dataset(np.ma.masked_array(X, mask=X > 3), TARGET)


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="Dataset: x must be an array of numbers"):
        Dataset([[1, 2], [3]], [0, 1])


IMAGE, NUMBERS = np.arange(40.0).reshape(10, 2, 2), np.arange(10.0)
SEVERAL = Dataset({"image": IMAGE, "numbers": NUMBERS}, (TARGET, X), WEIGHT)


def test_several_inputs_and_targets_are_kept_in_their_form():
    assert len(SEVERAL) == 10
    assert SEVERAL.x["image"] is IMAGE
    assert SEVERAL.target[1] is X
    assert repr(SEVERAL) == (
        "Dataset(x['image'] (10, 2, 2) float64, x['numbers'] (10,) float64, target[0] (10,) int64, "
        "target[1] (10, 2) float64, sample_weight (10,) float64)"
    )


@given(batch_size=st.integers(1, 12), shuffle=st.booleans(), seed=st.integers(0, 99))
def test_batches_cut_every_part_at_the_same_places(batch_size, shuffle, seed):
    batches = list(SEVERAL.batches(batch_size, seed=seed, shuffle=shuffle))
    for x, target, weight in batches:
        assert isinstance(x, dict)
        assert isinstance(target, tuple)
        np.testing.assert_array_equal(x["image"], IMAGE[target[0]])
        np.testing.assert_array_equal(x["numbers"], NUMBERS[target[0]])
        np.testing.assert_array_equal(target[1], X[target[0]])
        np.testing.assert_array_equal(weight, WEIGHT[target[0]])
    seen = np.concatenate([target[0] for _, target, _ in batches])
    plain = [target for _, target in Dataset(X, TARGET).batches(batch_size, seed=seed, shuffle=shuffle)]
    np.testing.assert_array_equal(seen, np.concatenate(plain))  # in the order of a single array


def test_take_and_split_pick_from_every_part():
    first, second = SEVERAL.split(0.4, seed=3)
    assert (len(first), len(second)) == (4, 6)
    for part in (first, second, SEVERAL.take(slice(2, 5)), SEVERAL.take(np.array([7, 1]))):
        np.testing.assert_array_equal(part.x["image"], IMAGE[part.target[0]])
        np.testing.assert_array_equal(part.sample_weight, WEIGHT[part.target[0]])


def test_tensors_among_several_stay_tensors():
    data = Dataset((torch.arange(6.0).reshape(3, 2), [1, 2, 3]), torch.arange(3))
    x, target = data.take(np.array([2, 0])).x, data.take(np.array([2, 0])).target
    assert isinstance(x[0], torch.Tensor)
    assert (x[1].tolist(), target.tolist()) == ([3, 1], [2, 0])


EXTRA = {"low": np.arange(10) * 7.0, "group": np.arange(20).reshape(10, 2)}


def test_extra_arrays_are_cut_at_the_same_places_and_come_last():
    for weight in ((), (WEIGHT,)):
        data = Dataset(X, TARGET, *weight, extra=EXTRA)
        for x, target, *rest, extra in data.batches(3, seed=4, epoch=1):
            np.testing.assert_array_equal(extra["low"], target * 7.0)
            np.testing.assert_array_equal(extra["group"], x)
            assert len(rest) == len(weight)
        for part in (data.take(np.array([3, 1, 1])), data.take(slice(4, 9)), *data.split(0.3, seed=1)):
            np.testing.assert_array_equal(part.extra["low"], part.target * 7.0)
            np.testing.assert_array_equal(part.extra["group"], part.x)
    assert Dataset(X, TARGET).extra == Dataset(X, TARGET, extra={}).extra == {}
    assert repr(Dataset(X, TARGET, extra=EXTRA)).endswith(", extra['low'] (10,) float64, extra['group'] (10, 2) int64)")


def test_extra_arrays_are_kept_as_they_are():
    low = torch.arange(10.0)
    extra = Dataset(X, TARGET, extra={"low": low, "high": [1, 2] * 5}).extra
    assert extra["low"] is low
    assert extra["high"].tolist() == [1, 2] * 5
    assert EXTRA["low"] is Dataset(X, TARGET, extra=EXTRA).extra["low"]


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ({"low": np.ones(9)}, ValueError, r"Dataset: extra\['low'\] must have 10 samples like x, got 9"),
        ({"low": 3.0}, ValueError, r"Dataset: extra\['low'\] must have an axis of samples, got a single number"),
        ({"low": ["a"] * 10}, TypeError, r"Dataset: extra\['low'\] must hold real numbers"),
        ({"y": np.ones(10)}, ValueError, "by words other than x, y, target, sample_weight, got 'y'"),
        ({"no word": np.ones(10)}, ValueError, "by words other than x, y, target, sample_weight, got 'no word'"),
        ({3: np.ones(10)}, ValueError, "by words other than x, y, target, sample_weight, got 3"),
        (np.ones(10), TypeError, "Dataset: extra must map names to arrays, .* got a ndarray"),
    ],
)
def test_what_extra_cannot_be_is_named(extra, error, message):
    with pytest.raises(error, match=message):
        Dataset(X, TARGET, extra=extra)


def test_a_tuple_of_numbers_or_rows_is_one_array():
    assert repr(Dataset(((1, 2), (3, 4)), (0.5, 1))) == "Dataset(x (2, 2) int64, target (2,) float64)"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({"a": X, "b": X[:9]}, TARGET), ValueError, r"Dataset: x\['b'\] must have 10 samples like x\['a'\], got 9"),
        ((X, (TARGET, TARGET[:3])), ValueError, r"Dataset: target\[1\] must have 10 samples like x, got 3"),
        (({"a": X, "b": 1.0}, TARGET), ValueError, r"Dataset: x\['b'\] must have an axis of samples"),
        (({"a": X[:0]}, TARGET[:0]), ValueError, r"there are no samples; x\['a'\] has the shape \(0, 2\)"),
        (({}, TARGET), ValueError, "Dataset: x must hold arrays, got an empty dict"),
        (((), TARGET), ValueError, "Dataset: x must hold arrays, got an empty tuple"),
        (
            ({"a": (X, X)}, TARGET),
            TypeError,
            r"Dataset: x\['a'\] must be one array, got a tuple; several arrays are not",
        ),
        (({1: X}, TARGET), TypeError, "Dataset: x must name its arrays by words, got the name 1"),
        (({"a": np.array(["b"] * 10)}, TARGET), TypeError, r"Dataset: x\['a'\] must hold real numbers, got dtype <U1"),
        (([X, X[:, :1]], TARGET), ValueError, "Dataset: x must be an array .*; several arrays are a tuple, no list"),
        ((X, TARGET, (WEIGHT, WEIGHT)), ValueError, r"Dataset: sample_weight must have 10 samples like x, got 2"),
    ],
)
def test_what_does_not_fit_among_several_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Dataset(*arguments)
