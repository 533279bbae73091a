import math
import re

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy, seeds, shapes
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import arrays

every_library = pytest.mark.parametrize("library", LIBRARIES)


def held(grads: list[np.ndarray], library: str = "numpy") -> list[cr.Parameter]:
    made = [cr.Parameter(array(np.zeros(grad.shape), library)) for grad in grads]
    for parameter, grad in zip(made, grads, strict=True):
        parameter.grad[...] = array(grad, library)
    return made


def peers(grads: list[np.ndarray]) -> list[torch.Tensor]:
    made = [torch.zeros(grad.shape, dtype=torch.float64, requires_grad=True) for grad in grads]
    for tensor, grad in zip(made, grads, strict=True):
        tensor.grad = torch.from_numpy(grad.copy())
    return made


@every_library
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, math.inf])
@given(first=shapes(1), second=shapes(1), seed=seeds(), max_norm=st.floats(0, 20))
def test_clipping_by_norm_is_that_of_pytorch(
    library: str, norm_type: float, first: tuple[int, ...], second: tuple[int, ...], seed: int, max_norm: float
) -> None:
    rng = np.random.default_rng(seed)
    grads = [rng.normal(size=first), rng.normal(size=second)]
    ours, theirs = held(grads, library), peers(grads)
    norm = cr.clip_grad_norm_(ours, max_norm, norm_type)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)), rel=1e-12)
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(numpy(parameter.grad), numpy(tensor.grad), rtol=1e-12)


@every_library
@given(shape=shapes(1), seed=seeds(), clip_value=st.floats(0, 3))
def test_clipping_by_value_is_that_of_pytorch(
    library: str, shape: tuple[int, ...], seed: int, clip_value: float
) -> None:
    grads = [np.random.default_rng(seed).normal(size=shape)]
    ours, theirs = held(grads, library), peers(grads)
    cr.clip_grad_value_(ours, clip_value)
    torch.nn.utils.clip_grad_value_(theirs, clip_value)
    np.testing.assert_array_equal(numpy(ours[0].grad), numpy(theirs[0].grad))


def test_in_16_bits_the_norm_is_summed_in_32() -> None:
    for library in LIBRARIES:
        parameters = [cr.Parameter(arrays.convert(np.zeros(2), xp=arrays.library(library), dtype="float16"))]
        parameters[0].grad[...] = 300  # of which the square is beyond float16
        norm = cr.clip_grad_norm_(parameters, 1.0)
        assert norm == pytest.approx(300 * math.sqrt(2))
        np.testing.assert_allclose(numpy(parameters[0].grad), math.sqrt(0.5), rtol=1e-3)


def test_a_parameter_that_is_listed_twice_counts_once() -> None:
    (parameter,) = held([np.array([3.0, 4.0])])
    assert cr.clip_grad_norm_([parameter, parameter], 1.0) == 5.0
    np.testing.assert_allclose(parameter.grad, [0.6, 0.8], rtol=1e-6)


@every_library
@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("strange", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_norm_that_is_not_finite_shows_in_every_gradient_as_in_pytorch(
    library: str, norm_type: float, strange: float, place: int
) -> None:
    grads = [np.ones(2), np.ones(3)]
    grads[place][1] = strange
    ours, theirs = held(grads, library), peers(grads)
    with np.errstate(invalid="ignore"):
        norm = cr.clip_grad_norm_(ours, 1.0, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 1.0, norm_type)
    np.testing.assert_equal(norm, float(expected))
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(numpy(parameter.grad), numpy(tensor.grad))


def test_clipping_by_hand() -> None:
    parameters = held([np.array([3.0]), np.array([-4.0])])
    assert cr.clip_grad_norm_(parameters, 10.0) == 5.0
    assert [p.grad.tolist() for p in parameters] == [[3.0], [-4.0]]
    cr.clip_grad_norm_(parameters, 1.0)
    np.testing.assert_allclose([p.grad[0] for p in parameters], [0.6, -0.8], rtol=1e-6)
    cr.clip_grad_value_(parameters, 0.7)
    assert parameters[1].grad.tolist() == [-0.7]


def test_no_gradients_have_no_norm() -> None:
    assert cr.clip_grad_norm_([], 1.0) == 0.0
    assert cr.clip_grad_norm_(held([np.zeros((0, 2))]), 1.0) == 0.0
    assert cr.clip_grad_norm_(held([np.zeros(3)]), 1.0) == 0.0


def test_generators_of_parameters_are_clipped_too() -> None:
    parameters = held([np.array([3.0]), np.array([-4.0])])
    cr.clip_grad_norm_((p for p in parameters), 1.0)
    assert abs(parameters[1].grad[0]) < 1


@pytest.mark.parametrize("clipping", [{"clip_norm": 0.5}, {"clip_value": 0.5}, {"clip_norm": 0.5, "clip_value": 0.4}])
def test_an_optimizer_clips_before_it_steps_by_value_and_then_by_norm(clipping: dict[str, float]) -> None:
    grads = [np.array([3.0, 0.1]), np.array([-4.0])]
    ours, theirs = held(grads), peers(grads)
    cr.SGD(lr=1.0, **clipping).step(ours)
    if "clip_value" in clipping:
        torch.nn.utils.clip_grad_value_(theirs, clipping["clip_value"])
    if "clip_norm" in clipping:
        torch.nn.utils.clip_grad_norm_(theirs, clipping["clip_norm"])
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(parameter.value, -numpy(tensor.grad), rtol=1e-14)


@pytest.mark.parametrize("bound", [-1.0, math.nan])
def test_bounds_that_bound_nothing_are_refused(bound: float) -> None:
    with pytest.raises(ValueError, match=re.escape(f"clip_grad_norm_: max_norm must be at least 0, got {bound}")):
        cr.clip_grad_norm_([], bound)
    with pytest.raises(ValueError, match=re.escape(f"clip_grad_value_: clip_value must be at least 0, got {bound}")):
        cr.clip_grad_value_([], bound)
    with pytest.raises(ValueError, match=re.escape(f"clip_grad_norm_: norm_type must be above 0, got {bound}")):
        cr.clip_grad_norm_([], 1.0, norm_type=bound)
