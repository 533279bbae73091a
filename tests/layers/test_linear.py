import re
from typing import Any

import numpy as np
import pytest
import torch
from cases import array, numpy

import chainrule as cr
from chainrule import initializers


def by_hand() -> cr.Linear:
    return cr.Linear(2, 3, weight=np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), bias=np.array([0.5, 0.0, -0.5]))


def test_forward_by_hand() -> None:
    assert by_hand()(np.array([[10.0, 1.0]])).tolist() == [[12.5, 34.0, 55.5]]


def test_backward_by_hand() -> None:
    layer = by_hand()
    _, saved = layer.forward(np.array([[10.0, 1.0], [0.0, 2.0]]))
    dx = layer.backward(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), saved)
    assert dx.tolist() == [[1.0, 2.0], [8.0, 10.0]]
    assert layer.weight.grad.tolist() == [[10.0, 1.0], [0.0, 2.0], [0.0, 2.0]]


def test_backward_gathers_the_bias_over_rows_and_further_axes() -> None:
    layer = cr.Linear(2, 3, dtype="float64")
    _, saved = layer.forward(np.ones((4, 5, 2)))
    layer.backward(np.ones((4, 5, 3)), saved)
    assert layer.bias.grad.tolist() == [20.0, 20.0, 20.0]


def test_given_values_are_copied() -> None:
    weight, bias = np.ones((1, 2)), np.zeros(1)
    layer = cr.Linear(2, 1, weight=weight, bias=bias)
    weight[...] = bias[...] = 7
    assert layer.weight.value.tolist() == [[1.0, 1.0]]
    assert layer.bias.value.tolist() == [0.0]


def test_a_given_parameter_is_shared_and_its_gradients_add_up() -> None:
    first = cr.Linear(2, 2, dtype="float64", rng=0)
    second = cr.Linear(2, 2, bias=first.bias, weight=first.weight)
    net = cr.Sequential(first, cr.Tanh(), second)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert net.num_parameters == 6
    cr.check_gradients(net, np.random.default_rng(1).normal(size=(3, 2)))
    before = numpy(first.weight.value).copy()
    y, saved = net.forward(np.ones((1, 2)))
    net.backward(np.ones_like(y), saved)
    net.optimize(cr.SGD(lr=1.0))
    np.testing.assert_allclose(second.weight.value, before - second.weight.grad, rtol=1e-15)  # once, not twice


def test_the_bias_can_be_left_out() -> None:
    layer = cr.Linear(2, 3, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]
    assert repr(layer) == "Linear(2, 3, bias=False)"


def test_initial_values_are_uniform_within_one_over_the_root_of_the_width() -> None:
    layer = cr.Linear(25, 400, rng=0)
    for values in (layer.weight.value, layer.bias.value):
        assert np.abs(values).max() <= 0.2
        assert np.abs(values).max() > 0.195  # of 400 numbers the largest is below this with probability 4e-5
        # The mean of n numbers uniform on ±0.2 has the standard deviation 0.2/√(3n); four of them.
        assert abs(values.mean()) < 4 * 0.2 / np.sqrt(3 * values.size)


def test_seed_makes_initial_values_repeat() -> None:
    cr.seed(3)
    first = cr.Linear(4, 4).state_dict()
    cr.seed(3)
    second = cr.Linear(4, 4).state_dict()
    other = cr.Linear(4, 4).state_dict()
    np.testing.assert_array_equal(first["weight"], second["weight"])
    np.testing.assert_array_equal(first["bias"], second["bias"])
    assert not np.array_equal(second["weight"], other["weight"])


def test_rng_overrides_the_default_generator() -> None:
    first, second = cr.Linear(4, 4, rng=5), cr.Linear(4, 4, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(first.weight.value, second.weight.value)


def test_with_an_initializer_the_bias_starts_from_zero() -> None:
    layer = cr.Linear(30, 20, init=initializers.orthogonal, dtype="float64", rng=0)
    weight = layer.weight.value
    np.testing.assert_allclose(weight @ weight.T, np.eye(20), atol=30 * np.finfo(float).eps)
    assert not layer.bias.value.any()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([[1, 2]], "float32"),
        (np.ones((1, 2), dtype="int64"), "float32"),
        (np.ones((1, 2), dtype=">f8"), "float64"),
        (np.ones((1, 2), dtype="float16"), "float16"),
    ],
)
def test_the_dtype_is_that_of_the_given_weight(given: Any, kind: str) -> None:
    layer = cr.Linear(2, 1, weight=given)
    assert layer.weight.value.dtype == layer.bias.value.dtype == np.dtype(kind)
    assert layer.weight.value.dtype.isnative


def test_a_given_tensor_makes_a_layer_of_tensors() -> None:
    layer = cr.Linear(2, 1, weight=torch.nn.Parameter(torch.ones(1, 2, dtype=torch.float64)))
    assert layer.bias.value.dtype == torch.float64
    assert not layer.weight.value.requires_grad
    assert isinstance(layer(torch.ones(3, 2, dtype=torch.float64)), torch.Tensor)


def test_a_parameter_of_pytorch_is_an_input_too() -> None:
    layer = cr.Linear(2, 1).to("torch")
    with torch.no_grad():
        assert layer(torch.nn.Parameter(torch.ones(3, 2))).shape == (3, 1)


@pytest.mark.parametrize(
    ("x", "error", "expected", "came"),
    [
        (np.ones((100, 3), "float32"), ValueError, "x must be (batch, 2)", "(100, 3)"),
        (np.ones(2, "float32"), ValueError, "x must be (batch, 2)", "(2,); if it is one sample, x[None]"),
        (np.float32(1), TypeError, "x must be a numpy float32 array like the weight", "a numpy float32 array"),
        (np.ones((3, 2)), TypeError, "x must be a numpy float32 array like the weight", "a numpy float64 array"),
        (np.ones((3, 2), "int64"), TypeError, "x must be a numpy float32 array like the weight", "a numpy int64 array"),
        (np.ones((3, 2), ">f4"), TypeError, "x must be a numpy float32 array like the weight", "a numpy >f4 array"),
        (torch.ones(3, 2), TypeError, "x must be a numpy float32 array like the weight", "a torch float32 array"),
        ([[1.0, 2.0]], TypeError, "x must be a numpy float32 array like the weight", "a list"),
        (None, TypeError, "x must be a numpy float32 array like the weight", "a NoneType"),
    ],
)
def test_a_wrong_input_is_refused_by_name(x: Any, error: type[Exception], expected: str, came: str) -> None:
    if isinstance(x, np.generic):
        error, expected, came = ValueError, "x must be (batch, 2)", "()"
    with pytest.raises(error, match=re.escape(f"Linear(2, 25).forward: {expected}, got {came}")):
        cr.Linear(2, 25).forward(x)


@pytest.mark.parametrize(
    ("dy", "error", "message"),
    [
        (np.ones((4, 2), "float32"), ValueError, "dy must be (4, 3) for x (4, 2), got (4, 2)"),
        (np.ones(3, "float32"), ValueError, "dy must be (4, 3) for x (4, 2), got (3,)"),
        (np.ones((1, 3), "float32"), ValueError, "dy must be (4, 3) for x (4, 2), got (1, 3)"),
        (np.ones((2, 2, 3), "float32"), ValueError, "dy must be (4, 3) for x (4, 2), got (2, 2, 3)"),
        (np.ones((4, 3)), TypeError, "dy must be a numpy float32 array like the weight, got a numpy float64 array"),
        ([[1.0] * 3] * 4, TypeError, "dy must be a numpy float32 array like the weight, got a list"),
        (1.0, TypeError, "dy must be a numpy float32 array like the weight, got a float"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused_and_changes_nothing(
    dy: Any, error: type[Exception], message: str
) -> None:
    layer = cr.Linear(2, 3)
    _, saved = layer.forward(np.ones((4, 2), "float32"))
    with pytest.raises(error, match=re.escape(f"Linear(2, 3).backward: {message}")):
        layer.backward(dy, saved)
    assert not any(parameter.grad.any() for parameter in layer.param())


@pytest.mark.parametrize("kind", ["matrix", "masked"])
def test_matrices_and_masked_arrays_are_refused(kind: str) -> None:
    x = np.ma.masked_array(np.ones((3, 2), "float32"))
    if kind == "matrix":
        with pytest.warns(PendingDeprecationWarning):
            x = np.matrix(np.ones((3, 2), "float32"))
    with pytest.raises(TypeError, match=r"Linear\(2, 25\).forward: x must be a numpy float32 array"):
        cr.Linear(2, 25).forward(x)


@pytest.mark.parametrize("size", [0, -1, 2.5, "2", True, None])
def test_a_wrong_size_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"Linear: in_features must be a positive integer, got {size!r}")):
        cr.Linear(size, 2)
    with pytest.raises(ValueError, match=re.escape(f"Linear: out_features must be a positive integer, got {size!r}")):
        cr.Linear(2, size)


def test_given_values_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("Linear(2, 3): weight must be (3, 2), got (2, 3)")):
        cr.Linear(2, 3, weight=np.ones((2, 3)))
    with pytest.raises(ValueError, match=re.escape("Linear(2, 3): bias must be (3,), got (2,)")):
        cr.Linear(2, 3, bias=np.ones(2))
    with pytest.raises(ValueError, match=re.escape("Linear(2, 3): weight must be (3, 2), got (2, 2)")):
        cr.Linear(2, 3, weight=cr.Linear(2, 2).weight)


def test_an_empty_batch_gives_no_rows_and_no_gradient() -> None:
    layer = cr.Linear(2, 3)
    y, saved = layer.forward(array(np.zeros((0, 2)), dtype="float32"))
    assert y.shape == (0, 3)
    assert layer.backward(y, saved).shape == (0, 2)
    assert not layer.weight.grad.any()
