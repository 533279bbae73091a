"""What all losses share: reductions, weights of samples, and the refusal of what does not fit together."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, LOSSES, Case, gradient_like, numpy, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr

WEIGHTED = [case for case in LOSSES if "sample_weight" in case.label]
every_weighted = pytest.mark.parametrize("case", WEIGHTED, ids=str)
every_loss = pytest.mark.parametrize("case", LOSSES, ids=str)
every_library = pytest.mark.parametrize("library", LIBRARIES)


def both(loss: cr.Module, *inputs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient."""
    value, saved = loss.forward(*inputs)
    return numpy(value), numpy(loss.backward(gradient_like(value), saved))


@every_weighted
@settings(max_examples=10)
@given(data=st.data(), seed=seeds())
def test_a_weight_of_two_is_the_sample_twice_and_a_weight_of_zero_is_none(
    case: Case, data: st.DataObject, seed: int
) -> None:
    loss, (y, target, _) = case.example(data.draw(case.shapes), seed)
    times = np.random.default_rng(seed).integers(0, 4, size=len(y))
    times[0] = 1
    value, dy = both(loss, y, target, times.astype(float))
    repeated_value, repeated_dy = both(loss, np.repeat(y, times, axis=0), np.repeat(target, times, axis=0))
    if loss.reduction == "none":
        once = np.cumsum(times)[times > 0] - 1
        expected = repeated_value[once] * times[times > 0].reshape((-1,) + (1,) * (value.ndim - 1))
        np.testing.assert_allclose(value[times > 0], expected, rtol=1e-13)
        assert not value[times == 0].any()
    else:
        np.testing.assert_allclose(value, repeated_value, rtol=1e-12)
        starts = (np.cumsum(times) - times)[times > 0]
        gathered = np.add.reduceat(repeated_dy, starts, axis=0)
        np.testing.assert_allclose(dy[times > 0], gathered, rtol=1e-12, atol=1e-15)
    assert not dy[times == 0].any()


@every_weighted
@settings(max_examples=10)
@given(data=st.data(), seed=seeds())
def test_equal_weights_are_no_weights(case: Case, data: st.DataObject, seed: int) -> None:
    loss, (y, target, _) = case.example(data.draw(case.shapes), seed)
    value, dy = both(loss, y, target)
    weighted_value, weighted_dy = both(loss, y, target, np.ones(len(y)))
    np.testing.assert_allclose(weighted_value, value, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(weighted_dy, dy, rtol=1e-13, atol=1e-15)


@every_weighted
@every_library
def test_weights_that_are_all_zero_give_zero(case: Case, library: str) -> None:
    loss, (y, target, weight) = case.example((4, 3), library=library)
    value, dy = both(loss, y, target, weight * 0)
    assert not value.any()
    assert not dy.any()


@every_weighted
def test_the_mean_does_not_depend_on_the_scale_of_the_weights(case: Case) -> None:
    loss, (y, target, _) = case.example((4, 3), seed=2)
    weight = np.array([1.0, 2.0, 0.0, 0.5])
    value, dy = both(loss, y, target, weight)
    scaled_value, scaled_dy = both(loss, y, target, weight * 16)  # a power of two scales without rounding
    factor = 1 if loss.reduction == "mean" else 16
    np.testing.assert_allclose(scaled_value, factor * value, rtol=1e-13)
    np.testing.assert_allclose(scaled_dy, factor * dy, rtol=1e-13)


@every_loss
def test_the_reductions_agree_with_each_other(case: Case) -> None:
    loss, inputs = case.example((4, 3), seed=3)
    loss.reduction = "none"
    each = numpy(loss.forward(*inputs)[0])
    loss.reduction = "sum"
    total = numpy(loss.forward(*inputs)[0])
    loss.reduction = "mean"
    mean = numpy(loss.forward(*inputs)[0])
    np.testing.assert_allclose(total, each.sum(), rtol=1e-13)
    elements = each[0].size  # of a sample
    np.testing.assert_allclose(mean * loss.total_weight(*inputs) * elements, total, rtol=1e-13)


@every_loss
def test_the_gradient_is_proportional_to_what_comes_from_above(case: Case) -> None:
    loss, inputs = case.example((4, 3))
    value, saved = loss.forward(*inputs)
    dy = loss.backward(gradient_like(value), saved)
    np.testing.assert_allclose(loss.backward(-3 * gradient_like(value), saved), -3 * dy, rtol=1e-14)
    if value.ndim == 0:
        assert loss.backward(1.0, saved).shape == inputs[0].shape  # a plain number will do


@every_loss
def test_an_empty_batch_costs_nothing(case: Case) -> None:
    loss, inputs = case.example((2, 3))
    value, saved = loss.forward(*(x[:0] for x in inputs))
    assert numpy(value).sum() == 0
    assert loss.backward(value, saved).shape == (0, 3)


def test_weights_by_hand() -> None:
    y, target, weight = np.array([[1.0, 2.0], [3.0, 4.0]]), np.zeros((2, 2)), np.array([3.0, 1.0])
    # Squares 1 4 | 9 16, weighed 3 : 1, two elements a sample: (3·5 + 25) / (4·2)
    assert cr.MSELoss()(y, target, weight) == 5.0
    assert cr.MSELoss(reduction="sum")(y, target, weight) == 40.0
    assert cr.MSELoss(reduction="none")(y, target, weight).tolist() == [[3.0, 12.0], [9.0, 16.0]]


y = np.ones((4, 3))
integers = np.zeros(4, dtype="int64")


@pytest.mark.parametrize("kind", [cr.MSELoss, cr.L1Loss, cr.HuberLoss, cr.SmoothL1Loss, cr.BCEWithLogitsLoss])
@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((y, y[:3]), ValueError, "target must have the shape of y, (4, 3), got (3, 3)"),
        ((y, y[:, 0]), ValueError, "target must have the shape of y, (4, 3), got (4,)"),
        ((y, y.astype("float32")), TypeError, "target must be a numpy float64 array like y, got a numpy float32 array"),
        ((y, integers), TypeError, "target must be a numpy float64 array like y, got a numpy int64 array"),
        ((y, torch.ones(4, 3)), TypeError, "target must be a numpy float64 array like y, got a torch float32 array"),
        ((torch.ones(4, 3), y), TypeError, "target must be a torch float32 array like y, got a numpy float64 array"),
        ((y, y.astype(">f8")), TypeError, "target must be a numpy float64 array like y, got a numpy >f8 array"),
        ((y, y.tolist()), TypeError, "target must be a numpy float64 array like y, got a list"),
        ((y.tolist(), y), TypeError, "y must be a floating-point array, got a list"),
        ((integers, integers), TypeError, "y must be a floating-point array, got a numpy int64 array"),
        ((None, y), TypeError, "y must be a floating-point array, got a NoneType"),
        ((np.ones(()), np.ones(())), ValueError, "y must be (batch, …), got a single number"),
        ((y, y, np.ones(3)), ValueError, "sample_weight must be (4,), got (3,)"),
        ((y, y, y), ValueError, "sample_weight must be (4,), got (4, 3)"),
        ((y, y, integers), TypeError, "sample_weight must be a numpy float64 array like y, got a numpy int64 array"),
        ((y, y, [1.0] * 4), TypeError, "sample_weight must be a numpy float64 array like y, got a list"),
        (
            (y, y, np.array([1.0, -1.0, 1.0, 1.0])),
            ValueError,
            "sample_weight must not be negative or NaN, got [ 1. -1.",
        ),
        (
            (y, y, np.array([1.0, np.nan, 1.0, 1.0])),
            ValueError,
            "sample_weight must not be negative or NaN, got [ 1. n",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(
    kind: type[cr.Loss], inputs: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    message = message.replace("[ 1. n", "[ 1. nan") if "[ 1. n" in message else message
    with pytest.raises(error, match=re.escape(f"{kind.__name__}().forward: {message}")):
        kind().forward(*inputs)


@pytest.mark.parametrize("case", [case for case in LOSSES if case.label.endswith("Loss(mean)")], ids=str)
def test_an_unknown_reduction_is_refused(case: Case) -> None:
    message = f'{case.kind.__name__}: reduction must be "mean", "sum" or "none", got \'avg\''
    with pytest.raises(ValueError, match=re.escape(message)):
        case.kind(reduction="avg")
