import math

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy, seeds, shapes
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr


def slopes(loss: cr.Loss, y: list[float], target: list[float]) -> list[float]:
    value, saved = loss.forward(np.array(y), np.array(target))
    gradient: list[float] = loss.backward(np.ones_like(value), saved).tolist()
    return gradient


def test_mse_by_hand() -> None:
    y, target = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    value, saved = cr.MSELoss().forward(y, target)
    assert value == (0 + 4 + 9 + 16) / 4
    assert cr.MSELoss().backward(1.0, saved).tolist() == [[0.0, 1.0], [1.5, 2.0]]


def test_l1_by_hand() -> None:
    loss = cr.L1Loss(reduction="none")
    assert loss(np.array([1.0, -3.0, 2.0]), np.array([0.0, 0.0, 2.0])).tolist() == [1.0, 3.0, 0.0]
    assert slopes(loss, [1.0, -3.0, 2.0], [0.0, 0.0, 2.0]) == [1.0, -1.0, 0.0]


def test_huber_by_hand() -> None:
    loss = cr.HuberLoss(reduction="none", delta=2.0)
    assert loss(np.array([1.0, -4.0]), np.zeros(2)).tolist() == [0.5, 6.0]
    assert slopes(loss, [1.0, -4.0], [0.0, 0.0]) == [1.0, -2.0]


def test_smooth_l1_by_hand() -> None:
    loss = cr.SmoothL1Loss(reduction="none", beta=2.0)
    assert loss(np.array([1.0, -4.0]), np.zeros(2)).tolist() == [0.25, 3.0]
    assert slopes(loss, [1.0, -4.0], [0.0, 0.0]) == [0.5, -1.0]


@given(shape=shapes(1), seed=seeds(), width=st.floats(0.01, 10))
def test_smooth_l1_is_huber_divided_by_its_width(shape: tuple[int, ...], seed: int, width: float) -> None:
    rng = np.random.default_rng(seed)
    y, target = 5 * rng.normal(size=shape), rng.normal(size=shape)
    smooth, huber = cr.SmoothL1Loss(beta=width)(y, target), cr.HuberLoss(delta=width)(y, target)
    np.testing.assert_allclose(smooth, huber / width, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_at_kinks_and_far_out_the_numbers_are_those_of_pytorch(name: str, reduction: str, library: str) -> None:
    errors = [0.0, 1.0, -1.0, 1e4, -1e4, 1e-9]
    loss, peer = getattr(cr, name)(reduction=reduction), getattr(torch.nn, name)(reduction=reduction)
    value, saved = loss.forward(array(errors, library), array(np.zeros(6), library))
    y = torch.tensor(errors, dtype=torch.float64, requires_grad=True)
    expected = peer(y, torch.zeros(6, dtype=torch.float64))
    expected.backward(torch.ones_like(expected))
    np.testing.assert_allclose(numpy(value), numpy(expected), rtol=1e-14)
    ones = array(np.ones(value.shape), library)
    np.testing.assert_allclose(numpy(loss.backward(ones, saved)), numpy(y.grad), rtol=1e-14)


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan])
def test_a_width_that_is_not_positive_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match=f"HuberLoss: delta must be above 0 and finite, got {width}"):
        cr.HuberLoss(delta=width)
    if width != 0:
        with pytest.raises(ValueError, match=f"SmoothL1Loss: beta must be at least 0 and finite, got {width}"):
            cr.SmoothL1Loss(beta=width)


def test_quantile_by_hand() -> None:
    loss = cr.QuantileLoss(0.75, reduction="none")
    assert loss(np.array([1.0, -3.0, 2.0]), np.array([0.0, 0.0, 2.0])).tolist() == [0.25, 2.25, 0.0]
    assert slopes(loss, [1.0, -3.0, 2.0], [0.0, 0.0, 2.0]) == [0.25, -0.75, 0.0]


@given(shape=shapes(1), seed=seeds(), quantile=st.floats(0.01, 0.99))
def test_quantile_loss_is_that_of_scikit_learn(shape: tuple[int, ...], seed: int, quantile: float) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    y, target = rng.normal(size=shape), rng.normal(size=shape)
    expected = metrics.mean_pinball_loss(target.reshape(-1), y.reshape(-1), alpha=quantile)
    assert cr.QuantileLoss(quantile)(y, target) == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("quantile", [0.0, 1.0, -0.1, math.nan])
def test_a_quantile_outside_of_0_to_1_is_refused(quantile: float) -> None:
    with pytest.raises(ValueError, match="QuantileLoss: quantile must be above 0 and below 1"):
        cr.QuantileLoss(quantile)


def test_the_best_constant_is_the_quantile() -> None:
    target = np.random.default_rng(0).exponential(size=(2001, 1))
    model = cr.Sequential(cr.Adam(lr=cr.ExponentialLR(0.2, 0.99)), cr.Linear(1, 1, dtype="float64", rng=0))
    x = np.zeros((2001, 1))
    history = cr.fit(model, cr.QuantileLoss(0.9), (x, target), epochs=600, batch_size=2001)
    assert history.engine.startswith("native")
    assert float(model(x[:1])[0, 0]) == pytest.approx(np.quantile(target, 0.9), rel=0.02)


def test_poisson_by_hand() -> None:
    loss = cr.PoissonNLLLoss(reduction="none")
    assert loss(np.array([0.0, 1.0]), np.array([3.0, 0.0])).tolist() == [1.0, math.e]
    assert slopes(loss, [0.0, 1.0], [3.0, 0.0]) == [-2.0, math.e]


@pytest.mark.parametrize("log_input", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_poisson_runs_natively_but_for_full(log_input: bool, full: bool) -> None:
    rng = np.random.default_rng(0)
    x, target = rng.uniform(size=(100, 2)), rng.poisson(3.0, size=(100, 1))
    results = []
    for engine in ("auto", "python"):
        layers = [cr.Linear(2, 3, dtype="float64", rng=0), cr.Softplus(), cr.Linear(3, 1, dtype="float64", rng=1)]
        model = cr.Sequential(cr.SGD(lr=0.01), *layers, *([] if log_input else [cr.Softplus()]))
        loss = cr.PoissonNLLLoss(log_input, full)
        results.append(cr.fit(model, loss, (x, target), epochs=5, engine=engine))
    assert results[0].engine.startswith("python, as" if full else "native")
    np.testing.assert_allclose(results[0].losses, results[1].losses, rtol=1e-10)
