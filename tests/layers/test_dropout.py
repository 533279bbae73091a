import re
from typing import Any

import numpy as np
import pytest
from cases import LIBRARIES, array, numpy

import chainrule as cr


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_kept_is_scaled_so_that_the_mean_stays(library: str) -> None:
    y, mask = cr.Dropout(0.2, rng=0).forward(array(np.ones((1000, 40)), library))
    values, counts = np.unique(numpy(y), return_counts=True)
    p = round(0.2 * 2**16) / 2**16  # p counts in steps of 2⁻¹⁶
    np.testing.assert_allclose(values, [0.0, 1 / (1 - p)], rtol=1e-15)
    # The number of zeros is binomial; five standard deviations are exceeded once in two million seeds.
    assert abs(counts[0] / 40_000 - p) < 5 * np.sqrt(p * (1 - p) / 40_000)
    np.testing.assert_array_equal(numpy(y), numpy(mask))


def test_backward_drops_what_forward_dropped() -> None:
    layer, x = cr.Dropout(0.5, rng=0), np.full((4, 5), 3.0)
    y, mask = layer.forward(x)
    dx = layer.backward(np.full((4, 5), 7.0), mask)
    np.testing.assert_array_equal(dx == 0, y == 0)
    assert set(np.unique(dx)) == {0.0, 14.0}


def test_each_pass_draws_another_mask_and_reseed_begins_again() -> None:
    layer, x = cr.Dropout(0.5), np.ones((8, 8))
    layer.reseed(seed=5, layer=2)
    first, second = layer.forward(x)[0], layer.forward(x)[0]
    assert not np.array_equal(first, second)
    layer.reseed(seed=5, layer=2)
    np.testing.assert_array_equal(layer.forward(x)[0], first)
    layer.reseed(seed=5, layer=3)
    assert not np.array_equal(layer.forward(x)[0], first)


def test_evaluation_changes_nothing_and_draws_nothing() -> None:
    layer, x = cr.Dropout(0.5, rng=0), np.ones((3, 3))
    assert layer(x) is x
    assert layer.eval().forward(x) == (x, None)
    assert layer.passes.value == 0


def test_the_mask_does_not_depend_on_library_or_dtype() -> None:
    masks = [
        numpy(cr.Dropout(0.5, rng=0).forward(array(np.ones((5, 7)), library, dtype))[0])
        for library in LIBRARIES
        for dtype in ("float32", "float64")
    ]
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])


def test_state_dict_holds_nothing_as_in_pytorch() -> None:
    assert cr.Dropout().state_dict() == {}
    assert [name for name, _ in cr.Dropout().named_buffers()] == ["passes"]


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_probability_outside_zero_to_one_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"Dropout: p must be at least 0 and at most 1, got {p}")):
        cr.Dropout(p)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0]], TypeError, "x must be a floating-point array, got a list"),
        (np.ones((2, 2), "int64"), TypeError, "x must be a floating-point array, got a numpy int64 array"),
        (np.ones(()), ValueError, "x must be (batch, …), got a single number"),
    ],
)
def test_what_cannot_be_scaled_is_refused(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(f"Dropout(p=0.3).forward: {message}")):
        cr.Dropout(0.3).forward(x)
