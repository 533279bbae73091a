import math
import warnings

import numpy as np
import pytest
import torch
from cases import ELEMENTWISE, LIBRARIES, array, numpy

import chainrule as cr

ACTIVATIONS = [(case.build(()), case.peer(())) for case in ELEMENTWISE]
every_activation = pytest.mark.parametrize(("module", "peer"), ACTIVATIONS, ids=lambda value: repr(value))
every_library = pytest.mark.parametrize("library", LIBRARIES)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@every_activation
@every_library
@every_dtype
def test_huge_and_tiny_inputs_give_what_pytorch_gives(
    module: cr.Module, peer: torch.nn.Module, library: str, dtype: str
) -> None:
    sizes = [1e4, 750.0, 100.0, 30.0, 1e-3, 1e-8, 1e-30, 0.0]
    x = array([sizes, [-size for size in sizes]], library, dtype)
    y, saved = module.forward(x)
    dx = module.backward(array(np.ones(x.shape), library, dtype), saved)
    input_of_peer = array(numpy(x), "torch", dtype).requires_grad_(True)
    expected = peer(input_of_peer)
    expected.sum().backward()
    # A dozen roundings, each relative to what it rounds; where 1 - y cancels, relative to 1.
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(numpy(y), numpy(expected), rtol=16 * eps, atol=16 * eps)
    np.testing.assert_allclose(numpy(dx), numpy(input_of_peer.grad), rtol=16 * eps, atol=16 * eps)


@every_activation
@every_library
@every_dtype
def test_nan_passes_through(module: cr.Module, peer: torch.nn.Module, library: str, dtype: str) -> None:
    y = numpy(module(array([[1.0, math.nan, -1.0]], library, dtype)))
    assert np.isnan(y).tolist() == [[False, True, False]]


@every_activation
@every_library
def test_at_zero_the_derivative_is_that_of_pytorch(module: cr.Module, peer: torch.nn.Module, library: str) -> None:
    x = array([[0.0, -0.0]], library)
    _, saved = module.forward(x)
    dx = module.backward(array([[1.0, 1.0]], library), saved)
    input_of_peer = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    peer(input_of_peer).sum().backward()
    np.testing.assert_allclose(numpy(dx), numpy(input_of_peer.grad), rtol=1e-15)


@every_activation
def test_a_list_is_refused_by_name(module: cr.Module, peer: torch.nn.Module) -> None:
    with pytest.raises(TypeError) as error:
        module.forward([[1.0, 2.0]])
    assert str(error.value) == f"{module!r}.forward: x must be an array (NumPy, PyTorch or CuPy), got a list"


@every_activation
def test_big_endian_numbers_are_read_as_numbers(module: cr.Module, peer: torch.nn.Module) -> None:
    x = np.linspace(-2.0, 2.0, 5)
    np.testing.assert_array_equal(module(x.astype(">f8")), module(x))


@every_activation
def test_an_empty_batch_stays_empty(module: cr.Module, peer: torch.nn.Module) -> None:
    y, saved = module.forward(np.zeros((0, 3)))
    assert y.shape == module.backward(y, saved).shape == (0, 3)


def test_relu_by_hand() -> None:
    y, saved = cr.ReLU().forward(np.array([[-1.0, 0.0, 2.0]]))
    assert y.tolist() == [[0.0, 0.0, 2.0]]
    assert cr.ReLU().backward(np.array([[5.0, 6.0, 7.0]]), saved).tolist() == [[0.0, 0.0, 7.0]]


def test_leaky_relu_by_hand() -> None:
    y, saved = cr.LeakyReLU(0.5).forward(np.array([-2.0, 4.0]))
    assert y.tolist() == [-1.0, 4.0]
    assert cr.LeakyReLU(0.5).backward(np.array([3.0, 3.0]), saved).tolist() == [1.5, 3.0]


def test_tanh_and_sigmoid_by_hand_at_the_logarithm_of_two() -> None:
    x, one = np.array([math.log(2.0)]), np.ones(1)
    y, saved = cr.Tanh().forward(x)  # (2 - 1/2) / (2 + 1/2)
    assert (y[0], cr.Tanh().backward(one, saved)[0]) == pytest.approx((0.6, 0.64), rel=1e-15)
    y, saved = cr.Sigmoid().forward(x)  # 1 / (1 + 1/2)
    assert (y[0], cr.Sigmoid().backward(one, saved)[0]) == pytest.approx((2 / 3, 2 / 9), rel=1e-15)


def test_elu_and_softplus_by_hand_at_the_logarithm_of_one_half() -> None:
    x, one = np.array([-math.log(2.0)]), np.ones(1)
    y, saved = cr.ELU(3.0).forward(x)  # 3 (1/2 - 1)
    assert (y[0], cr.ELU(3.0).backward(one, saved)[0]) == pytest.approx((-1.5, 1.5), rel=1e-15)
    y, saved = cr.Softplus().forward(x)  # log(1 + 1/2)
    assert (y[0], cr.Softplus().backward(one, saved)[0]) == pytest.approx((math.log(1.5), 1 / 3), rel=1e-15)


def test_sigmoid_keeps_the_digits_of_both_tails() -> None:
    y = cr.Sigmoid()(np.array([-700.0, 40.0]))
    assert y.tolist() == pytest.approx([math.exp(-700.0), 1.0], rel=1e-14)


def test_gelu_refuses_an_unknown_approximation() -> None:
    with pytest.raises(ValueError, match='GELU: approximate must be "none" or "tanh", got \'erf\''):
        cr.GELU("erf")


def test_no_activation_warns_about_what_it_drops() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            for module, _ in ACTIVATIONS:
                _, saved = module.forward(np.array([[-1e4, 1e4]]))
                module.backward(np.ones((1, 2)), saved)
