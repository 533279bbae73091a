"""The checker is checked: wrong backward passes must be caught, right ones accepted."""

import copy
import re
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy

import chainrule as cr
from chainrule.arrays import namespace
from chainrule.checks import GradientError

every_library = pytest.mark.parametrize("library", LIBRARIES)
X = np.random.default_rng(0).normal(size=(5, 3))


class WrongSign(cr.Tanh):
    def backward(self, dy: Any, y: Any) -> Any:
        return -super().backward(dy, y)


class MissingFactor(cr.Module):
    """y = x², dx = dy x."""

    def forward(self, x: Any) -> tuple[Any, Any]:
        return x * x, x

    def backward(self, dy: Any, x: Any) -> Any:
        return dy * x


class MissingDerivative(cr.Tanh):
    def backward(self, dy: Any, y: Any) -> Any:
        return dy


class OnlyTheDiagonal(cr.Softmax):
    """Forgets that every output depends on every input."""

    def backward(self, dy: Any, y: Any) -> Any:
        return dy * y * (1 - y)


class ForgottenBias(cr.Linear):
    def backward(self, dy: Any, x: Any) -> Any:
        self.weight.grad += dy.T @ x
        return dy @ self.weight.value


class FirstRowOnly(cr.Linear):
    """The bias gradient of one row."""

    def backward(self, dy: Any, x: Any) -> Any:
        self.weight.grad += dy.T @ x
        self.bias.grad += dy[0]
        return dy @ self.weight.value


class Overwriting(cr.Linear):
    """= where += is meant."""

    def backward(self, dy: Any, x: Any) -> Any:
        self.weight.grad[...] = dy.T @ x
        self.bias.grad[...] = dy.sum(axis=0)
        return dy @ self.weight.value


class Replacing(cr.Linear):
    """A new array where the old one should be added to."""

    def backward(self, dy: Any, x: Any) -> Any:
        self.weight.grad = dy.T @ x
        self.bias.grad = dy.sum(axis=0)
        return dy @ self.weight.value


class Transposed(cr.Linear):
    def backward(self, dy: Any, x: Any) -> Any:
        super().backward(dy, x)
        return dy @ self.weight.value.T


class AboveTheKink(cr.ReLU):
    """A slope of 2 at the kink, where one-sided slopes are 0 and 1."""

    def backward(self, dy: Any, y: Any) -> Any:
        return namespace(y).where(y > 0, dy, namespace(y).where(y == 0, 2 * dy, 0 * dy)) if (y == 0).any() else dy


class LittleOff(cr.Tanh):
    """Wrong by one part in ten thousand."""

    def backward(self, dy: Any, y: Any) -> Any:
        return super().backward(dy, y) * 1.0001


class OneElementOff(cr.Tanh):
    """Wrong in one place of the input."""

    def backward(self, dy: Any, y: Any) -> Any:
        dx = super().backward(dy, y)
        dx[-1, -1] *= 1.01
        return dx


class GivesNan(cr.Tanh):
    def backward(self, dy: Any, y: Any) -> Any:
        return super().backward(dy, y) * float("nan")


class WrongConstant(cr.MSELoss):
    """Forgets to divide by the elements."""

    def backward(self, dvalue: Any, saved: Any) -> Any:
        error, _ = saved
        return dvalue * 2 * error


BROKEN = [
    (WrongSign(), "x"),
    (MissingFactor(), "x"),
    (MissingDerivative(), "x"),
    (OnlyTheDiagonal(), "x"),
    (ForgottenBias(3, 2, rng=0), "bias"),
    (FirstRowOnly(3, 2, rng=0), "bias"),
    (Transposed(3, 3, rng=0), "x"),
    (LittleOff(), "x"),
    (OneElementOff(), "x"),
    (GivesNan(), "x"),
]


@pytest.mark.parametrize(("module", "name"), BROKEN, ids=lambda value: repr(value))
@every_library
def test_a_wrong_backward_pass_is_caught_and_named(module: cr.Module, name: str, library: str) -> None:
    module = copy.deepcopy(module).to(library, dtype="float64")
    with pytest.raises(GradientError, match=rf"{type(module).__name__}: backward is wrong for {name}\n") as error:
        cr.check_gradients(module, array(X, library))
    report = error.value.report
    wrong = [key for key, size in report.errors.items() if not size <= report.tolerance]
    assert wrong == [name]
    assert not report.ok
    assert re.search(rf"  {name} +\S+  WRONG", repr(report))
    assert not cr.check_gradients(module, array(X, library), raises=False).ok


@pytest.mark.parametrize("kind", [Overwriting, Replacing])
def test_gradients_that_are_overwritten_are_caught_alone(kind: type[cr.Linear]) -> None:
    with pytest.raises(GradientError, match="weight, bias"):
        cr.check_gradients(kind(3, 2, rng=0), X)


@pytest.mark.parametrize("kind", [Overwriting, Replacing])
def test_gradients_that_are_overwritten_are_caught_in_a_network(kind: type[cr.Linear]) -> None:
    shared = kind(3, 3, rng=0)
    with pytest.raises(GradientError, match=r"0\.weight, 0\.bias"):
        cr.check_gradients(cr.Sequential(shared, cr.Tanh(), shared), X)


def test_a_wrong_gradient_in_a_network_is_named_by_its_place() -> None:
    net = cr.Sequential(cr.Linear(3, 2, rng=0), cr.Tanh(), ForgottenBias(2, 2, rng=0))
    with pytest.raises(GradientError, match=r"Sequential: backward is wrong for 2\.bias\n"):
        cr.check_gradients(net, X)


def test_a_wrong_loss_is_caught() -> None:
    with pytest.raises(GradientError, match="WrongConstant: backward is wrong for x"):
        cr.check_gradients(WrongConstant(), X, X[::-1].copy())


def test_a_slope_outside_the_one_sided_ones_is_caught_at_a_kink() -> None:
    x = np.array([[0.0, 1.0, 2.0]])
    with pytest.raises(GradientError, match="backward is wrong for x"):
        cr.check_gradients(AboveTheKink(), x)


def test_a_gradient_of_the_wrong_shape_is_refused() -> None:
    class Flat(cr.Tanh):
        def backward(self, dy: Any, y: Any) -> Any:
            return super().backward(dy, y).reshape(-1)

    with pytest.raises(ValueError, match=re.escape("the gradient by x must be (5, 3), got (15,)")):
        cr.check_gradients(Flat(), X)


# -- what is right


@every_library
@pytest.mark.parametrize("module", [cr.ReLU(), cr.LeakyReLU(0.1), cr.ELU(0.5), cr.HuberLoss(), cr.L1Loss()], ids=repr)
def test_right_layers_are_accepted_at_their_kinks(module: cr.Module, library: str) -> None:
    x = array([[0.0, 1.0, -1.0], [0.0, -0.0, 1e-9]], library)
    inputs = (x, x * 0) if isinstance(module, cr.Loss) else (x,)
    report = cr.check_gradients(module, *inputs)
    assert report.ok
    if not isinstance(module, cr.HuberLoss):  # whose slope has a kink at ±1, and it has none itself
        assert report.kinks["x"] >= 3
        assert "at a kink" in repr(report)


@every_library
def test_dropout_in_training_is_checked_with_one_mask(library: str) -> None:
    layer = cr.Dropout(0.5, rng=0).train()
    assert cr.check_gradients(layer, array(X, library)).ok
    assert layer.passes.value == 0
    assert cr.check_gradients(cr.Sequential(cr.Linear(3, 8, rng=0), layer, cr.Linear(8, 2, rng=1)), X).ok


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_right_layers_are_accepted_whatever_the_size_of_the_numbers(size: float) -> None:
    assert cr.check_gradients(cr.Linear(3, 2, rng=0), size * X).ok
    assert cr.check_gradients(cr.MSELoss(), size * X, np.zeros_like(X)).ok
    assert cr.check_gradients(cr.LogSoftmax(), size * X).ok


def test_module_and_inputs_stay_as_they_are() -> None:
    layer = cr.Linear(3, 2, rng=0)
    layer.weight.grad[...] = 3
    before, x = layer.state_dict(), X.astype("float32")
    x.setflags(write=False)
    cr.check_gradients(layer, x)
    np.testing.assert_equal(layer.state_dict(), before)
    assert layer.weight.grad.tolist() == [[3.0] * 3] * 2
    assert layer.weight.value.dtype == np.float32


def test_a_report_says_what_was_found() -> None:
    report = cr.check_gradients(cr.Linear(3, 2, rng=0), X)
    assert list(report.errors) == list(report.kinks) == ["x", "weight", "bias"]
    assert repr(report).splitlines()[0] == "largest relative error of each gradient (at most 1e-06 is right)"
    assert repr(report).count("right") == 4
    assert all(error < 1e-8 for error in report.errors.values())  # f is linear: only rounding, eps / h ≈ 4e-11


@every_library
def test_inputs_may_be_lists_and_the_library_is_that_of_the_parameters(library: str) -> None:
    layer = cr.Linear(3, 2, rng=0).to(library)
    assert cr.check_gradients(layer, X.tolist()).ok
    assert cr.check_gradients(layer, torch.from_numpy(X)).ok
    assert isinstance(layer.weight.value, type(array([1.0], library)))
    assert numpy(layer.weight.value).dtype == np.float32


def test_without_an_input_there_is_nothing_to_check() -> None:
    with pytest.raises(ValueError, match="check_gradients: give the module and at least one input"):
        cr.check_gradients(cr.Tanh())


def test_an_empty_input_has_no_wrong_gradient() -> None:
    assert cr.check_gradients(cr.Linear(3, 2, rng=0), np.zeros((0, 3))).ok


class Swapped(cr.Module):
    """y = (2a, b) with the gradients of a and b taken for each other."""

    def forward(self, x: Any) -> tuple[Any, Any]:
        return (2 * x["a"], x["b"]), None

    def backward(self, dy: Any, saved: None) -> Any:
        return {"a": dy[0], "b": 2 * dy[1]}


class ATuple(Swapped):
    def backward(self, dy: Any, saved: None) -> Any:
        return dy


@every_library
def test_every_part_of_an_input_is_checked(library: str) -> None:
    x = {"a": array(X, library), "b": array(X[:, :2], library)}
    report = cr.check_gradients(Swapped(), x, raises=False)
    assert report.errors == {"x['a']": pytest.approx(0.5), "x['b']": pytest.approx(0.5)}
    with pytest.raises(GradientError, match=re.escape("Swapped: backward is wrong for x['a'], x['b']")):
        cr.check_gradients(Swapped(), x)
    assert list(cr.check_gradients(cr.Sum(), (X, X)).errors) == ["x[0]", "x[1]"]


def test_a_gradient_in_another_form_than_the_input_is_refused() -> None:
    words = "the gradient by x must have the form of x, {'a': None, 'b': None}, got (None, None)"
    with pytest.raises(ValueError, match=re.escape(words)):
        cr.check_gradients(ATuple(), {"a": X, "b": X})
