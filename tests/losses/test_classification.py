import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, logits_and_ignored, logits_and_probabilities, numpy, seeds, shapes
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr

every_library = pytest.mark.parametrize("library", LIBRARIES)
OPTIONS = list(itertools.product(("mean", "sum", "none"), (False, True), (0.0, 0.1, 1.0)))


def against_pytorch(loss: cr.Loss, peer: torch.nn.Module, library: str, y: np.ndarray, target: np.ndarray) -> None:
    """The same value, and for random gradients from above the same gradient."""
    value, saved = loss.forward(array(y, library), array(target, library))
    logits = torch.from_numpy(y).requires_grad_(True)
    expected = peer(logits, torch.from_numpy(target))
    dvalue = np.random.default_rng(0).normal(size=tuple(expected.shape))
    expected.backward(torch.from_numpy(np.asarray(dvalue)))
    dy = loss.backward(array(dvalue, library), saved)
    # atol: where terms of size 1 cancel, the rounding of at most 64 of them is left
    np.testing.assert_allclose(numpy(value), numpy(expected), rtol=1e-10, atol=64 * 2e-16)
    np.testing.assert_allclose(numpy(dy), numpy(logits.grad), rtol=1e-10, atol=64 * 2e-16)


@every_library
@pytest.mark.parametrize(("reduction", "weighted", "smoothing"), OPTIONS)
@given(shape=shapes(2, 4), seed=seeds(), ignored_class=st.booleans())
def test_cross_entropy_of_classes_is_that_of_pytorch(
    library: str,
    reduction: str,
    weighted: bool,
    smoothing: float,
    shape: tuple[int, ...],
    seed: int,
    ignored_class: bool,
) -> None:
    rng = np.random.default_rng(seed)
    y, target = logits_and_ignored(rng, shape)
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    weight = rng.uniform(0.1, 2, size=shape[1])
    if ignored_class:  # an ordinary class may be the ignored one
        other = (int(target.flat[0]) + 1) % shape[1]
        options["ignore_index"] = other if other != target.flat[0] else -7
        target = np.where(target == -100, options["ignore_index"], target)
    loss = cr.CrossEntropyLoss(weight if weighted else None, **options)
    peer = torch.nn.CrossEntropyLoss(torch.from_numpy(weight) if weighted else None, **options)
    against_pytorch(loss, peer, library, y, target)


@every_library
@pytest.mark.parametrize(("reduction", "weighted", "smoothing"), OPTIONS)
@given(shape=shapes(2, 4), seed=seeds())
def test_cross_entropy_of_probabilities_is_that_of_pytorch(
    library: str, reduction: str, weighted: bool, smoothing: float, shape: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y, target = logits_and_probabilities(rng, shape)
    weight = rng.uniform(0.1, 2, size=shape[1])
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    loss = cr.CrossEntropyLoss(weight if weighted else None, **options)
    peer = torch.nn.CrossEntropyLoss(torch.from_numpy(weight) if weighted else None, **options)
    against_pytorch(loss, peer, library, y, target)


@every_library
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@given(shape=shapes(2, 4), seed=seeds())
def test_negative_log_likelihood_is_that_of_pytorch(
    library: str, reduction: str, weighted: bool, shape: tuple[int, ...], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y, target = logits_and_ignored(rng, shape)
    weight = rng.uniform(0.1, 2, size=shape[1])
    loss = cr.NLLLoss(weight if weighted else None, reduction=reduction)
    peer = torch.nn.NLLLoss(torch.from_numpy(weight) if weighted else None, reduction=reduction)
    against_pytorch(loss, peer, library, -np.abs(y), target)


@every_library
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weights", ["", "weight", "pos_weight", "weight pos_weight"])
@given(shape=shapes(1, 4), seed=seeds(), axes=st.integers(0, 4))
def test_binary_cross_entropy_is_that_of_pytorch(
    library: str, reduction: str, weights: str, shape: tuple[int, ...], seed: int, axes: int
) -> None:
    rng = np.random.default_rng(seed)
    y, target = 3 * rng.normal(size=shape), rng.uniform(size=shape).round(rng.integers(2))
    given = {name: rng.uniform(0.1, 3, size=shape[len(shape) - min(axes, len(shape)) :]) for name in weights.split()}
    loss = cr.BCEWithLogitsLoss(reduction=reduction, **given)
    tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in given.items()}
    peer = torch.nn.BCEWithLogitsLoss(reduction=reduction, **tensors)
    against_pytorch(loss, peer, library, y, target)


def test_cross_entropy_by_hand() -> None:
    y, target = np.log([[1.0, 3.0], [4.0, 1.0]]), np.array([1, 1])
    value, saved = cr.CrossEntropyLoss().forward(y, target)
    assert value == pytest.approx((math.log(4 / 3) + math.log(5)) / 2, rel=1e-14)
    dy = cr.CrossEntropyLoss().backward(1.0, saved)  # (p - target) / 2
    np.testing.assert_allclose(dy, [[0.125, -0.125], [0.4, -0.4]], rtol=1e-14)


def test_negative_log_likelihood_by_hand() -> None:
    loss = cr.NLLLoss(weight=[1.0, 3.0])
    value, saved = loss.forward(np.array([[-1.0, -2.0], [-4.0, -8.0]]), np.array([0, 1]))
    assert value == (1 + 3 * 8) / 4
    assert loss.backward(1.0, saved).tolist() == [[-0.25, 0.0], [0.0, -0.75]]


def test_binary_cross_entropy_by_hand() -> None:
    loss = cr.BCEWithLogitsLoss(reduction="sum", pos_weight=[2.0])
    value, saved = loss.forward(np.array([[0.0], [math.log(3.0)]]), np.array([[1.0], [0.0]]))
    assert value == pytest.approx(2 * math.log(2) + math.log(4), rel=1e-14)
    np.testing.assert_allclose(loss.backward(1.0, saved), [[-1.0], [0.75]], rtol=1e-14)


@every_library
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pos_weight", [None, [3.0]])
def test_binary_cross_entropy_keeps_its_digits_where_the_answer_is_right(
    library: str, dtype: str, pos_weight: list[float] | None
) -> None:
    size = np.array([[9.0], [17.0], [30.0], [60.0]])
    loss = cr.BCEWithLogitsLoss(reduction="none", pos_weight=pos_weight)
    for target, y in ((0.0, -size), (1.0, size)):
        value, saved = loss.forward(array(y.astype(dtype), library), array(np.full(y.shape, target, dtype), library))
        dy = loss.backward(array(np.ones(y.shape, dtype), library), saved)
        share = pos_weight[0] if pos_weight and target else 1.0
        # log(1 + exp(-size)), and for its slope σ(-size); exp rounds its argument, so that errors grow with it
        rtol = 60 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(numpy(value), share * np.log1p(np.exp(-size)), rtol=rtol)
        np.testing.assert_allclose(numpy(dy), share * (1 - 2 * target) / (1 + np.exp(size)), rtol=rtol)


@every_library
def test_cross_entropy_is_softmax_and_likelihood_in_one(library: str) -> None:
    rng = np.random.default_rng(0)
    y, target = array(rng.normal(size=(5, 4)), library), array(rng.integers(4, size=5), library)
    one = numpy(cr.CrossEntropyLoss()(y, target))
    np.testing.assert_allclose(numpy(cr.NLLLoss()(cr.LogSoftmax()(y), target)), one, rtol=1e-14)


@every_library
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits_give_what_pytorch_gives_without_a_warning(library: str, dtype: str) -> None:
    y = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [1e4, 1e4, -1e4]])
    for loss, peer, target in [
        (cr.CrossEntropyLoss(reduction="none"), torch.nn.CrossEntropyLoss(reduction="none"), np.array([0, 0, 1])),
        (cr.BCEWithLogitsLoss(reduction="none"), torch.nn.BCEWithLogitsLoss(reduction="none"), np.eye(3)),
    ]:
        value, saved = loss.forward(array(y, library, dtype), array(target, library, dtype))
        logits = array(y, "torch", dtype).requires_grad_(True)
        expected = peer(logits, array(target, "torch", dtype))
        expected.sum().backward()
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(numpy(value), numpy(expected), rtol=8 * eps)
        dy = loss.backward(array(np.ones(value.shape), library, dtype), saved)
        np.testing.assert_allclose(numpy(dy), numpy(logits.grad), rtol=8 * eps, atol=8 * eps)


@every_library
def test_an_impossible_class_costs_nothing_unless_it_is_asked_for(library: str) -> None:
    y, target = array([[0.0, -math.inf], [0.0, -math.inf]], library), array([0, 0], library)
    for loss in (cr.CrossEntropyLoss(), cr.NLLLoss(), cr.CrossEntropyLoss(weight=[1.0, 0.0], label_smoothing=0.5)):
        value, saved = loss.forward(y, target)
        assert float(value) == 0.0
        assert np.isfinite(numpy(loss.backward(1.0, saved))).all()
        assert float(loss(y, array([0, 1], library))) in (math.inf, 0.0)
    assert float(cr.CrossEntropyLoss()(y, array([0, 1], library))) == math.inf
    assert float(cr.CrossEntropyLoss(label_smoothing=0.1)(y, target)) == math.inf


@every_library
def test_if_every_sample_is_ignored_the_loss_is_zero(library: str) -> None:
    y, target = array(np.ones((2, 3)), library), array([-100, -100], library)
    for loss in (cr.CrossEntropyLoss(), cr.NLLLoss(), cr.CrossEntropyLoss(weight=[1, 2, 3], label_smoothing=0.1)):
        value, saved = loss.forward(y, target)
        assert float(value) == 0.0
        assert not numpy(loss.backward(1.0, saved)).any()


@every_library
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_classes_may_be_integers_of_any_size(library: str, dtype: str) -> None:
    # 300 classes do not fit into 8 bits, nor does the index -100 into those without a sign.
    y = np.random.default_rng(0).normal(size=(3, 300))
    target = np.array([1, 127, 100 if dtype == "uint8" else -100])
    expected = numpy(cr.CrossEntropyLoss()(array(y, library), array(target, library)))
    found = numpy(cr.CrossEntropyLoss()(array(y, library), array(target.astype(dtype), library)))
    np.testing.assert_array_equal(found, expected)


@every_library
@pytest.mark.parametrize("kind", [cr.CrossEntropyLoss, cr.NLLLoss])
def test_class_weights_keep_all_their_digits(library: str, kind: type[cr.Loss]) -> None:
    y, target = array(np.log([[0.2, 0.8], [0.7, 0.3]]), library), array([0, 1], library)
    expected = -(0.1 * math.log(0.2) + 0.7 * math.log(0.3)) / 0.8
    loss = kind([0.1, 0.7])
    single = loss(y.astype("float32") if library == "numpy" else y.float(), target)
    assert float(single) == pytest.approx(expected, rel=1e-6)
    assert float(loss(y, target)) == pytest.approx(expected, rel=1e-14)  # after a pass in float32, too
    assert loss.weight.value.tolist() == [0.1, 0.7]


y = np.ones((4, 3))
classes = np.array([0, 1, 2, 0])


@pytest.mark.parametrize("kind", [cr.CrossEntropyLoss, cr.NLLLoss])
@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((y, np.array([0, 1, 3, 0])), ValueError, "target must be in 0 … 2, got 3 at position 2"),
        ((y, np.array([0, -1, 2, 0])), ValueError, "target must be in 0 … 2, got -1 at position 1"),
        ((y, classes[:3]), ValueError, "target must be (4,) for y (4, 3), got (3,)"),
        ((y, classes[:, None]), ValueError, "target must be (4,) for y (4, 3), got (4, 1)"),
        ((np.ones((4, 3, 2)), classes), ValueError, "target must be (4, 2) for y (4, 3, 2), got (4,)"),
        ((y, classes.tolist()), TypeError, "target must hold class indices, integers, got a list"),
        ((y, classes > 0), TypeError, "target must hold class indices, integers, got a numpy bool array"),
        ((y, torch.tensor([0, 1, 2, 0])), TypeError, "target must hold class indices, integers, got a torch int64"),
        ((torch.ones(4, 3), classes), TypeError, "target must hold class indices, integers, got a numpy int64"),
        ((y.tolist(), classes), TypeError, "y must be a floating-point array, got a list"),
        ((y.astype(int), classes), TypeError, "y must be a floating-point array, got a numpy int64 array"),
        ((np.ones(3), classes), ValueError, "y must be (batch, classes), got (3,)"),
        ((y, classes, np.ones(3)), ValueError, "sample_weight must be (4,), got (3,)"),
        ((y, classes, -np.ones(4)), ValueError, "sample_weight must not be negative or NaN, got [-1. -1. -1. -1.]"),
    ],
)
def test_wrong_targets_are_refused_by_name(
    kind: type[cr.Loss], inputs: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(f"{kind.__name__}().forward: {message}")):
        kind().forward(*inputs)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (y[:, :2], ValueError, "target must have the shape of y, (4, 3), got (4, 2)"),
        (y.astype("float32"), TypeError, "target must be a numpy float64 array like y, got a numpy float32 array"),
        (torch.ones(4, 3), TypeError, "target must be a numpy float64 array like y, got a torch float32 array"),
    ],
)
def test_wrong_probabilities_are_refused_by_name(target: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(f"CrossEntropyLoss().forward: {message}")):
        cr.CrossEntropyLoss().forward(y, target)


def test_likelihood_takes_no_probabilities() -> None:
    with pytest.raises(TypeError, match=re.escape("NLLLoss().forward: target must hold class indices, integers, got")):
        cr.NLLLoss().forward(y, y)


@pytest.mark.parametrize("kind", [cr.CrossEntropyLoss, cr.NLLLoss])
def test_class_weights_of_another_number_are_refused(kind: type[cr.Loss]) -> None:
    with pytest.raises(ValueError, match=re.escape("weight must hold 3 numbers, one for each class, got (2,)")):
        kind([1.0, 2.0]).forward(y, classes)


@pytest.mark.parametrize("weight", [[-1.0, 1.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_weights_that_weigh_nothing_sensible_are_refused(weight: list[float]) -> None:
    for kind in (cr.CrossEntropyLoss, cr.NLLLoss, cr.BCEWithLogitsLoss):
        message = f"{kind.__name__}: weight must hold finite numbers that are not negative"
        with pytest.raises(ValueError, match=message):
            kind(weight=weight)


def test_binary_weights_that_do_not_broadcast_are_refused() -> None:
    for name in ("weight", "pos_weight"):
        with pytest.raises(ValueError, match=re.escape(f"{name} must broadcast against y (4, 3), got (2,)")):
            cr.BCEWithLogitsLoss(**{name: np.ones(2)}).forward(y, y)
        with pytest.raises(ValueError, match=re.escape(f"{name} must broadcast against y (4, 3), got (2, 4, 3)")):
            cr.BCEWithLogitsLoss(**{name: np.ones((2, 4, 3))}).forward(y, y)


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_a_smoothing_outside_zero_to_one_is_refused(smoothing: float) -> None:
    message = f"CrossEntropyLoss: label_smoothing must be at least 0 and at most 1, got {smoothing}"
    with pytest.raises(ValueError, match=message):
        cr.CrossEntropyLoss(label_smoothing=smoothing)


def test_soft_margin_by_hand_and_where_exp_would_overflow() -> None:
    y, target = np.array([[np.log(3.0), 1e4]]), np.array([[1.0, -1.0]])
    loss = cr.SoftMarginLoss(reduction="none")
    value, saved = loss.forward(y, target)
    np.testing.assert_allclose(value, [[np.log(4 / 3), 1e4]], rtol=1e-15)  # log(1 + 1/3); PyTorch's second is infinite
    np.testing.assert_allclose(loss.backward(np.ones((1, 2)), saved), [[-0.25, 1.0]], rtol=1e-15)
