"""Targets that are missing: a loss with missing="ignore" is the loss of what is there."""

import inspect
import re
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, LOSSES, Case, array, gradient_like, numpy, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.checks import check_gradients

Arrays = tuple[np.ndarray, ...]


def takes_missing(case: Case) -> bool:
    """Whether the targets of a case can be NaN."""
    return "missing" in inspect.signature(case.kind).parameters and case.example((4, 3))[1][1].dtype.kind == "f"


CASES = [case for case in LOSSES if takes_missing(case)]
every_case = pytest.mark.parametrize("case", CASES, ids=str)
WITH_A_PEER = pytest.mark.parametrize("case", [case for case in CASES if case.peer is not None], ids=str)


def with_gaps(loss: cr.Loss, target: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The target with gaps, and where there is what has a share, of its shape; the first row always is."""
    rng = np.random.default_rng(seed)
    gaps = (rng.uniform(size=(len(target),) + (1,) * (target.ndim - 1)) < 0.3) | (rng.uniform(size=target.shape) < 0.3)
    gaps[:1] = False
    target = np.where(gaps, np.nan, target)
    there = ~gaps
    if isinstance(loss, cr.CrossEntropyLoss):
        there = np.broadcast_to(there.all(axis=1, keepdims=True), target.shape)
    return target, there


def example(case: Case, shape: tuple[int, ...], seed: int) -> tuple[cr.Loss, Arrays, np.ndarray]:
    loss: Any
    loss, (y, target, *weight) = case.example(shape, seed)
    loss.missing = "ignore"
    target, there = with_gaps(loss, target, seed)
    return loss, (y, target, *weight), there


def both(loss: cr.Module, *inputs: Any) -> Arrays:
    """Value and gradient."""
    value, saved = loss.forward(*inputs)
    return numpy(value), numpy(loss.backward(gradient_like(value), saved))


def test_every_loss_whose_targets_can_be_nan_has_the_option() -> None:
    without = {kind for case in LOSSES if not takes_missing(case) for kind in [case.kind]} - {c.kind for c in CASES}
    assert without == {cr.NLLLoss}  # whose targets are class indices, which have ignore_index


@every_case
@settings(max_examples=15)
@given(data=st.data(), seed=seeds())
def test_value_and_gradient_are_those_of_what_is_there(case: Case, data: st.DataObject, seed: int) -> None:
    """Against the loss with reduction="none" of targets without gaps, masked and divided here."""
    loss, (y, target, *weight), there = example(case, data.draw(case.shapes), seed)
    reduction, loss.reduction = loss.reduction, "none"
    each = numpy(loss.forward(y, np.where(there, target, 0.5), *weight)[0])
    loss.reduction = reduction
    of_each = there[:, 0] if isinstance(loss, cr.CrossEntropyLoss) else there
    rows = np.ones(len(y)) if not weight else weight[0]
    total = float((rows.reshape((-1,) + (1,) * (of_each.ndim - 1)) * of_each).sum())
    expected = np.where(of_each, each, 0)
    if reduction != "none":
        expected = expected.sum()
    if reduction == "mean":
        expected = expected / total if total else 0.0
    value, dy = both(loss, y, target, *weight)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    assert dy.shape == y.shape
    assert not dy[~there].any()
    assert np.isfinite(dy).all()


@WITH_A_PEER
@pytest.mark.parametrize("seed", range(5))
def test_pytorch_says_the_same_of_the_elements_that_are_there(case: Case, seed: int) -> None:
    loss, (y, target), there = example(case, (6, 4), seed)
    if isinstance(loss, cr.BCEWithLogitsLoss) and loss.weight.value is not None:
        pytest.skip("weights of elements lie beside rows, which are no rows once elements are left out")
    peer = case.torch_example(loss, (6, 4))
    of_y = torch.from_numpy(y).requires_grad_()
    if isinstance(loss, cr.CrossEntropyLoss):
        rows = torch.from_numpy(there[:, 0].copy())
        expected = peer(of_y[rows], torch.from_numpy(target)[rows])
    else:
        where = torch.from_numpy(there)
        expected = peer(of_y[where], torch.from_numpy(target)[where])
    value, saved = loss.forward(y, target)
    found = numpy(value)[there[:, 0] if isinstance(loss, cr.CrossEntropyLoss) else there] if np.ndim(value) else value
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-12)
    expected.sum().backward()
    assert of_y.grad is not None
    np.testing.assert_allclose(loss.backward(np.ones_like(value), saved), of_y.grad.numpy(), rtol=1e-12, atol=1e-15)


@every_case
def test_the_gradient_is_the_slope(case: Case) -> None:
    loss, inputs, _ = example(case, (4, 3), seed=1)
    check_gradients(loss, *inputs)


@every_case
@pytest.mark.parametrize("library", LIBRARIES)
def test_what_y_says_where_nothing_is_there_changes_no_bit(case: Case, library: str) -> None:
    loss, (y, target, *weight), there = example(case, (6, 4), seed=2)
    assert not there.all()
    assert there.any()
    wild = np.where(there, y, np.resize([np.nan, np.inf, -np.inf, 1e300, -1e300], y.shape))
    given = [array(x, library) for x in (target, *weight)]
    value, dy = both(loss, array(y, library), *given)
    other, other_dy = both(loss, array(wild, library), *given)
    assert np.isfinite(value).all()
    assert value.tobytes() == other.tobytes()
    assert dy.tobytes() == other_dy.tobytes()
    assert not dy[~there].any()


@every_case
def test_where_nothing_is_missing_the_bits_are_those_without_the_option(case: Case) -> None:
    loss, inputs = case.example((6, 4), seed=3)
    plain = both(loss, *inputs)
    loss.missing = "ignore"
    for found, expected in zip(both(loss, *inputs), plain, strict=True):
        assert found.tobytes() == expected.tobytes()


@every_case
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_batch_with_nothing_there_costs_nothing(case: Case, library: str) -> None:
    loss, (y, target, *weight) = case.example((3, 2), library=library)
    loss.missing = "ignore"
    value, dy = both(loss, y, target * np.nan, *weight)
    assert not value.any()
    assert not dy.any()
    assert loss.total_weight(y, target * np.nan, *weight) == 0


@every_case
def test_means_of_batches_make_the_mean_of_all_by_what_each_divides_by(case: Case) -> None:
    loss, inputs, _ = example(case, (12, 3), seed=4)
    if loss.reduction != "mean":
        return
    parts = [tuple(x[at] for x in inputs) for at in (slice(0, 5), slice(5, 6), slice(6, 12))]
    weights = np.array([loss.total_weight(*part) for part in parts])
    means = np.array([float(loss(*part)) for part in parts])
    np.testing.assert_allclose(weights.sum(), loss.total_weight(*inputs), rtol=1e-13)
    np.testing.assert_allclose((means * weights).sum() / weights.sum(), loss(*inputs), rtol=1e-12)


@every_case
def test_nan_stays_nan_unless_it_is_to_be_ignored(case: Case) -> None:
    loss, (y, target, *weight) = case.example((4, 3), seed=5)
    target[0, 0] = np.nan
    weight = [np.ones(4)] * len(weight)
    assert loss.missing == "error"
    assert np.isnan(loss(y, target, *weight)).any()


def test_an_example_by_hand() -> None:
    y, nan = np.array([[1.0, 2.0], [3.0, 4.0]]), np.nan
    target = np.array([[0.0, nan], [nan, 2.0]])
    loss = cr.MSELoss(missing="ignore")
    value, saved = loss.forward(y, target)
    assert value == (1 + 4) / 2
    assert loss.backward(1.0, saved).tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert loss(y, target, np.array([3.0, 1.0])) == (3 * 1 + 4) / 4
    assert loss.counts(target).tolist() == [[True, False], [False, True]]
    assert loss.counts(np.zeros((2, 2))) is None
    assert repr(loss) == "MSELoss(missing='ignore')"


def test_a_distribution_is_there_as_a_whole_or_not_at_all() -> None:
    loss, even = cr.CrossEntropyLoss(missing="ignore"), np.zeros((3, 2))
    target = np.array([[np.nan, 1.0], [0.5, 0.5], [1.0, 0.0]])
    assert loss(even, target) == np.log(2)
    assert loss.counts(target).tolist() == [False, True, True]
    indices = np.array([0, -100, 1])
    assert loss(even, indices) == np.log(2)  # class indices have ignore_index
    assert loss.counts(indices).tolist() == [True, False, True]


def test_a_loss_of_ones_own_takes_it_by_one_call() -> None:
    class Cubed(cr.Loss):
        def forward(self, y: Any, target: Any, sample_weight: Any = None) -> Any:
            self.check(y, target, sample_weight)
            y, target, share = self.compared(y, target, sample_weight)
            error = np.abs(y - target)
            return self.reduce(error**3 * share), (y - target, share)

        def backward(self, dvalue: Any, saved: Any) -> Any:
            error, share = saved
            return dvalue * 3 * error * np.abs(error) * share

    target = np.array([[np.nan, 1.0], [0.0, np.nan]])
    y = np.array([[7.0, 2.0], [3.0, np.inf]])
    assert Cubed(missing="ignore")(y, target) == (1 + 27) / 2
    check_gradients(Cubed(missing="ignore"), np.where(np.isnan(target), 1.0, y), target)


@pytest.mark.parametrize("kind", sorted({case.kind for case in CASES}, key=lambda kind: kind.__name__))
def test_another_word_is_refused(kind: Any) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f'{kind.__name__}: missing must be "error" or "ignore", got \'drop\'')
    ):
        kind(missing="drop")


def test_each_head_ignores_what_is_missing_by_itself() -> None:
    loss = cr.MultiLoss(
        {"a": cr.MSELoss(missing="ignore"), "b": cr.MSELoss(missing="ignore"), "c": cr.CrossEntropyLoss()}
    )
    nan = np.nan
    y = {"a": np.zeros((3, 2)), "b": np.zeros((3, 1)), "c": np.zeros((3, 2))}
    target = {
        "a": np.array([[nan, 1], [nan, nan], [2, 3]]),
        "b": np.array([[nan], [2], [nan]]),
        "c": np.array([0, 1, 0]),
    }
    value, saved = loss.forward(y, target)
    assert value == pytest.approx((1 + 4 + 9) / 3 + 4 + np.log(2))
    dy = loss.backward(1.0, saved)
    assert dy["a"].tolist() == [[0, -2 / 3], [0, 0], [-4 / 3, -2]]
    assert dy["b"].tolist() == [[0], [-4], [0]]
    two = cr.MultiLoss({key: loss.heads[key] for key in ("a", "b")})
    assert two.counts({key: target[key] for key in ("a", "b")}).tolist() == [True, True, True]
    assert two.counts({"a": target["a"], "b": np.full((3, 1), nan)}).tolist() == [True, False, True]
