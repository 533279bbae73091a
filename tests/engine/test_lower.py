"""From Modules to a Plan. What is refused is tested where users meet it: in `fit` and `compile`."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import CannotLower, lower
from chainrule.engine.lower import OPTIMIZERS
from chainrule.optimizers import Optimizer


def _linear(*sizes, **options):
    return cr.Linear(*sizes, dtype="float64", rng=0, **options)


def kinds(plan):
    return [(op.kind, type(op.layer).__name__, op.n_in, op.n_out) for op in plan.ops]


def test_a_nested_network_lowers_to_a_flat_program():
    first, second = _linear(6, 5), _linear(5, 3, bias=False)
    inner = cr.Sequential(cr.Tanh(), cr.Sequential(cr.Identity(), second))
    plan = lower(cr.Sequential(cr.Flatten(), first, inner), sample_shape=(2, 3))
    assert kinds(plan) == [("linear", "Linear", 6, 5), ("activation", "Tanh", 5, 5), ("linear", "Linear", 5, 3)]
    assert (plan.n_in, plan.n_out, plan.dtype) == (6, 3, "float64")
    assert plan.parameters == [first.weight, first.bias, second.weight]
    assert [(op.weight, op.bias) for op in plan.ops if op.kind == "linear"] == [(0, 1), (2, -1)]


def test_shared_parameters_have_one_place():
    first = _linear(4, 4)
    model = cr.Sequential(first, cr.ReLU(), _linear(4, 4, weight=first.weight), first, _linear(4, 4, bias=first.bias))
    plan = lower(model, sample_shape=(4,))
    assert [(op.weight, op.bias) for op in plan.ops if op.kind == "linear"] == [(0, 1), (0, 2), (0, 1), (3, 1)]
    assert len(plan.parameters) == 4


def test_dropout_layers_are_numbered_as_fit_numbers_them():
    """A layer with p = 0 draws nothing and is no op, but it has its number."""
    model = cr.Sequential(
        cr.Dropout(0.5, rng=0),
        _linear(2, 2),
        cr.Dropout(0.0, rng=0),
        cr.Sequential(cr.Dropout(0.25, rng=0)),
    )
    plan = lower(model, sample_shape=(2,))
    assert [(op.layer.p, op.stream) for op in plan.ops if op.kind == "dropout"] == [(0.5, 0), (0.25, 2)]


def test_a_batch_of_plain_numbers_becomes_rows_of_one():
    assert lower(cr.Sequential(cr.Flatten(), _linear(1, 2)), sample_shape=()).n_in == 1


def test_every_activation_and_optimizer_of_the_framework_has_a_rule():
    """By discovery, so that a new one is not forgotten."""

    def subclasses(base):
        found = [kind for kind in vars(cr).values() if isinstance(kind, type) and issubclass(kind, base)]
        return [kind for kind in found if kind is not base and kind.__module__.startswith("chainrule.")]

    assert set(subclasses(Optimizer)) == set(OPTIMIZERS)
    layers = [kind for kind in subclasses(cr.Module) if kind.__module__.startswith("chainrule.layers")]
    assert len(layers) == 15
    for kind in layers:
        layer = _linear(2, 2) if kind is cr.Linear else kind()
        lower(cr.Sequential(_linear(2, 2), layer, _linear(2, 2)), sample_shape=(2,))


def test_a_wrong_width_names_the_layer():
    with pytest.raises(CannotLower, match=r"Linear\(3, 2\) on samples of 2 numbers"):
        lower(cr.Sequential(_linear(2, 2), _linear(3, 2)), sample_shape=(2,))


class WithScale(cr.Sequential):
    """A network with a Parameter of its own."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.scale = cr.Parameter(np.ones(1))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (cr.Sequential(), "a network without parameters"),
        (cr.Sequential(cr.Tanh()), "a network without parameters"),
        (WithScale(_linear(2, 2)), "WithScale"),
        (_linear(2, 2).to("torch"), "arrays that are not NumPy's"),
    ],
)
def test_what_is_no_plan_is_refused_by_name(model, reason):
    with pytest.raises(CannotLower, match=reason):
        lower(model, sample_shape=(2,))


def test_a_parameter_outside_the_layers_is_refused():
    model = cr.Sequential(_linear(2, 2))
    model.scale = cr.Parameter(np.ones(1))
    with pytest.raises(CannotLower, match="parameters outside the layers"):
        lower(model, sample_shape=(2,))


def test_parameters_of_another_byte_order_are_refused():
    layer = _linear(2, 2)
    layer.weight._value = layer.weight.value.astype(">f8")
    with pytest.raises(CannotLower, match="another byte order"):
        lower(layer, sample_shape=(2,))
