"""MultiLoss: the weighted sum of the heads' losses, by hand and by PyTorch, and what it refuses."""

import re

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr


def heads(library="numpy", batch=5, seed=0):
    """What a network with two heads says, and what it should have said."""
    rng = np.random.default_rng(seed)
    y = {"kind": rng.normal(size=(batch, 3)), "size": rng.normal(size=(batch, 2))}
    target = {"size": rng.normal(size=(batch, 2)), "kind": rng.integers(0, 3, batch)}
    return tuple({name: array(part, library) for name, part in parts.items()} for parts in (y, target))


def test_two_numbers_worked_by_hand():
    loss = cr.MultiLoss(cr.MSELoss(), cr.L1Loss(), weights=(0.5, 2))
    y, target = (np.array([[3.0]]), np.array([[1.0]])), (np.array([[1.0]]), np.array([[4.0]]))
    value, saved = loss.forward(y, target)
    assert value == 0.5 * (3 - 1) ** 2 + 2 * abs(1 - 4)
    first, second = loss.backward(1.0, saved)
    assert (first, second) == (0.5 * 2 * (3 - 1), 2 * -1.0)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@settings(max_examples=10)
@given(
    batch=st.integers(1, 6),
    seed=st.integers(0, 999),
    kind=st.floats(0, 3),
    size=st.floats(0, 3),
    weighted=st.booleans(),
)
def test_it_is_the_sum_of_its_parts(library, reduction, batch, seed, kind, size, weighted):
    y, target = heads(library, batch, seed)
    weight = (array(np.random.default_rng(seed).uniform(0.1, 2, batch), library),) if weighted else ()
    alone = {"kind": cr.CrossEntropyLoss(reduction=reduction), "size": cr.SmoothL1Loss(reduction=reduction)}
    weights = {"size": size, "kind": kind}
    loss = cr.MultiLoss(alone, weights=weights)
    value, saved = loss.forward(y, target, *weight)
    dy = loss.backward(1.5, saved)
    assert list(dy) == ["kind", "size"]
    expected = 0.0
    for name, part in alone.items():
        single, kept = part.forward(y[name], target[name], *weight)
        expected += weights[name] * float(single)
        np.testing.assert_allclose(numpy(dy[name]), numpy(part.backward(1.5 * weights[name], kept)), rtol=1e-15)
    assert float(value) == pytest.approx(expected, rel=1e-14)


def test_pytorch_agrees():
    y, target = heads("torch")
    leaves = {name: part.clone().requires_grad_() for name, part in y.items()}
    theirs = 0.7 * torch.nn.CrossEntropyLoss()(leaves["kind"], target["kind"])
    theirs = theirs + 0.2 * torch.nn.MSELoss()(leaves["size"], target["size"])
    theirs.backward()
    loss = cr.MultiLoss({"kind": cr.CrossEntropyLoss(), "size": cr.MSELoss()}, weights={"kind": 0.7, "size": 0.2})
    value, saved = loss.forward(y, target)
    assert isinstance(value, torch.Tensor)
    assert float(value) == pytest.approx(float(theirs.detach()), rel=1e-14)
    for name, dy in loss.backward(1.0, saved).items():
        np.testing.assert_allclose(numpy(dy), numpy(leaves[name].grad), rtol=1e-13)


def test_the_dtype_stays_that_of_the_heads():
    y, target = heads()
    y = {name: part.astype("float32") for name, part in y.items()}
    target["size"] = target["size"].astype("float32")
    loss = cr.MultiLoss({"kind": cr.CrossEntropyLoss(), "size": cr.MSELoss()}, weights={"kind": 0.1, "size": 3})
    value, saved = loss.forward(y, target)
    assert {np.asarray(part).dtype for part in (value, *loss.backward(1.0, saved).values())} == {np.dtype("float32")}


def test_a_sample_counts_if_one_head_counts_it():
    loss = cr.MultiLoss(cr.CrossEntropyLoss(), cr.NLLLoss())
    target = np.array([0, -100, -100, 1]), np.array([0, 1, -100, -100])
    assert loss.counts(target).tolist() == [True, True, False, True]
    assert cr.MultiLoss(cr.CrossEntropyLoss(), cr.MSELoss()).counts((target[0], target[1])) is None


@pytest.mark.parametrize(
    "loss",
    [
        cr.MultiLoss(cr.MSELoss()),
        cr.MultiLoss(cr.MSELoss(), cr.HuberLoss(delta=2.0), weights=(1, 0.5)),
        cr.MultiLoss({"a": cr.MSELoss(), "b": cr.L1Loss()}, weights={"b": 0, "a": 1}),
    ],
    ids=repr,
)
def test_repr_is_the_call_that_makes_it(loss):
    assert repr(eval(repr(loss), vars(cr))) == repr(loss)


def test_its_losses_are_its_children():
    kinds = cr.CrossEntropyLoss(weight=[1.0, 2.0, 3.0])
    loss = cr.MultiLoss({"kind": kinds, "size": cr.MSELoss()})
    assert list(loss.state_dict()) == ["kind.weight"]
    assert loss.children() == [kinds, loss.losses[1]]
    assert loss.heads == {"kind": kinds, "size": loss.losses[1]}


Y, TARGET = heads()
NAMED = cr.MultiLoss({"kind": cr.CrossEntropyLoss(), "size": cr.MSELoss()})


@pytest.mark.parametrize(
    ("y", "target", "error", "says"),
    [
        (Y["kind"], TARGET, TypeError, "y must be a dict with 'kind', 'size', got a numpy float64 array"),
        (Y, tuple(TARGET.values()), TypeError, "target must be a dict with 'kind', 'size', got a tuple"),
        ({"kind": Y["kind"]}, TARGET, ValueError, "y must be a dict with 'kind', 'size', got 'kind'"),
        (Y, TARGET | {"more": 1}, ValueError, "target must be a dict with 'kind', 'size', got 'size', 'kind', 'more'"),
        (Y, TARGET | {"size": TARGET["size"][:, :1]}, ValueError, "MultiLoss, head 'size': MSELoss().forward: target"),
        (Y, TARGET | {"kind": TARGET["kind"] + 1.5}, TypeError, "MultiLoss, head 'kind': CrossEntropyLoss().forward"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_name_of_the_head(y, target, error, says):
    for refused in (NAMED.forward, lambda y, target: NAMED.check(y, target, None)):
        with pytest.raises(error, match=re.escape(says)):
            refused(y, target)


@pytest.mark.parametrize(
    ("arguments", "weights", "error", "says"),
    [
        ((), None, ValueError, "losses must be at least one, got none"),
        (({},), None, ValueError, "losses must be at least one, got none"),
        ((cr.MSELoss,), None, TypeError, "the loss of head 0 must be a loss, such as MSELoss(), got <class"),
        (({"a": "mse"},), None, TypeError, "the loss of head 'a' must be a loss, such as MSELoss(), got 'mse'"),
        ((cr.MultiLoss(cr.MSELoss()),), None, TypeError, "the loss of head 0 must be a loss"),
        (({1: cr.MSELoss()},), None, TypeError, "the name of a head must be a word without dots, got 1"),
        (({"a.b": cr.MSELoss()},), None, TypeError, "the name of a head must be a word without dots, got 'a.b'"),
        ((cr.L1Loss(reduction="none"),), None, ValueError, "head 0 must be one number, got L1Loss(reduction='none')"),
        ((cr.MSELoss(),), [1, 2], ValueError, "weights must be a number for each of 1 head, got [1, 2]"),
        (({"a": cr.MSELoss()},), {"b": 1}, ValueError, "weights must be a number for each of 'a', got {'b': 1}"),
        (({"a": cr.MSELoss()},), {"a": -0.5}, ValueError, "weights['a'] must be at least 0 and finite, got -0.5"),
        ((cr.MSELoss(),), [float("nan")], ValueError, "weights[0] must be at least 0 and finite, got nan"),
        ((cr.MSELoss(),), 2.0, TypeError, "weights must be a number for each head, got 2.0"),
        ((cr.MSELoss(),), ["1"], TypeError, "weights[0] must be a number, got '1'"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments, weights, error, says):
    with pytest.raises(error, match=re.escape(says)):
        cr.MultiLoss(*arguments, weights=weights)
