"""Every loss has a rule or a refusal by name, and what the engine is told of one makes the same numbers as Python."""

import re

import numpy as np
import pytest
from cases import LOSSES, array, exported_modules
from numpy.testing import assert_allclose

import chainrule as cr
from chainrule import signature
from chainrule.engine import CannotLower
from chainrule.engine.rules.losses import RULES, settings

# A MultiLoss is several of them: tests/engine/test_lower.py.
KINDS = [kind for kind in exported_modules() if issubclass(kind, cr.Loss) and kind is not cr.MultiLoss]
SHAPE = (6, 3)
SUMMED = [case for case in LOSSES if "(none" not in case.label]


def told(loss, class_targets=None, columns=SHAPE[1]):
    return settings(loss, (columns,), loss.classes if class_targets is None else class_targets)


@pytest.mark.parametrize("kind", KINDS)
def test_every_loss_travels_by_the_arguments_of_its_constructor(kind):
    """Or is refused by name."""
    assert kind in RULES
    found = told(kind(reduction="sum"))
    assert found["kind"] == kind.__name__
    assert found["mean"] is False
    arguments = {argument.name: argument.default for argument in signature.parameters(kind)}
    del arguments["reduction"]
    assert arguments.pop("missing", "error") == "error"  # told where it is "ignore" alone
    assert {name: value or None for name, value in found.items() if name not in ("kind", "mean")} == {
        name: value or None for name, value in arguments.items()
    }


def fitted(loss, y, target, *weight):
    """The loss of one native step, and the gradient by y: the weight of a Linear changes by -lr dyᵀ x, here x = y."""
    eye = np.eye(SHAPE[1])
    model = cr.Sequential(cr.Linear(SHAPE[1], SHAPE[1], weight=eye, bias=False, dtype="float64"))
    options = {"batch_size": len(y), "shuffle": False, "keep": "last", "optimizer": cr.SGD(lr=1.0)}
    history = cr.fit(model, loss, (y, target, *weight), epochs=1, engine="native", **options)
    return history.losses[0], eye - model[0].weight.value


def assert_same_as_python(loss, y, target, *weight):
    value, saved = loss.forward(y, target, *weight)
    native, gradient = fitted(loss, y, target, *weight)
    assert_allclose(native, value, rtol=1e-12)
    assert_allclose(gradient, loss.backward(1.0, saved).T @ y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", SUMMED, ids=str)
def test_the_engine_computes_the_loss_that_it_is_told(case):
    loss, (y, target, *weight) = case.example(SHAPE)
    try:
        told(loss, class_targets=target.dtype.kind != "f")
    except CannotLower as reason:
        with pytest.raises(ValueError, match=re.escape(str(reason))):
            fitted(loss, y, target, *weight)
    else:
        assert_same_as_python(loss, y, target, *weight)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3)])
def test_weights_of_elements_hold_for_every_row(shape):
    rng = np.random.default_rng(0)
    weight, pos_weight = rng.uniform(0.5, 2, size=(2, *shape))
    for weights in ({"weight": weight}, {"pos_weight": pos_weight}, {"weight": weight, "pos_weight": pos_weight}):
        loss = cr.BCEWithLogitsLoss(**weights).to("numpy", dtype="float64")
        assert_same_as_python(loss, rng.normal(size=SHAPE), rng.uniform(size=SHAPE))


@pytest.mark.parametrize(
    ("loss", "class_targets", "reason"),
    [
        (cr.HuberLoss(), True, "HuberLoss with class indices as targets"),
        (cr.NLLLoss(), False, "NLLLoss with targets that are not class indices"),
        (cr.MSELoss(reduction="none"), False, 'MSELoss with reduction="none"'),
        (cr.PoissonNLLLoss(full=True), False, "PoissonNLLLoss with full=True"),
        (cr.CrossEntropyLoss([1.0, 2.0]), True, r"CrossEntropyLoss with \(2,\) class weights for \(3,\) classes"),
        (cr.NLLLoss(ignore_index=2**53 + 1), True, "NLLLoss with ignore_index=9007199254740993"),
        (cr.BCEWithLogitsLoss(np.ones((6, 3))), False, "BCEWithLogitsLoss with a weight for each sample"),
        (cr.BCEWithLogitsLoss(pos_weight=[1.0, 2.0]), False, "BCEWithLogitsLoss with a weight for each sample"),
    ],
)
def test_what_the_engine_has_no_twin_of_is_refused_by_name(loss, class_targets, reason):
    with pytest.raises(CannotLower, match=f"^{reason}$"):
        told(loss, class_targets)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_several_axes_are_elements_but_no_classes(kind):
    loss = kind()
    if loss.classes:
        with pytest.raises(CannotLower, match=rf"^{kind.__name__} on outputs of shape \(3, 2\)$"):
            settings(loss, (3, 2), True)
    else:
        assert settings(loss, (3, 2), False) == told(loss)


@pytest.mark.parametrize("kind", KINDS)
def test_a_subclass_is_never_taken_for_its_base(kind):
    changed = type("Changed", (kind,), {})
    with pytest.raises(CannotLower, match=r"^Changed$"):
        told(changed())


def test_the_largest_index_to_ignore_is_kept_exactly():
    loss = cr.CrossEntropyLoss(ignore_index=-(2**53))
    model = cr.Sequential(cr.Linear(3, 3, rng=0))
    compiled = cr.compile(model, loss, cr.SGD(lr=0.1), class_targets=True)
    x = array(np.ones((2, 3)), dtype="float32")
    y = compiled.predict(x)
    assert_allclose(compiled.step(x, np.array([1, -(2**53)])), loss(y, np.array([1, -(2**53)])), rtol=1e-6)
    with pytest.raises(ValueError, match="must be in 0"):
        compiled.step(x, np.array([1, -(2**53) + 1]))
