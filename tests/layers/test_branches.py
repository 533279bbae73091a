"""Residual, Parallel, the joins and Select: what is special to each. The contract test holds the rest."""

import re
from typing import Any

import numpy as np
import pytest
from cases import BRANCHES, LAYERS, Case, leaves

import chainrule as cr
from chainrule.structures import each

A, B = np.arange(6.0).reshape(2, 3), np.ones((2, 3))


def test_residual_by_hand() -> None:
    body = cr.Linear(1, 1, weight=np.array([[3.0]]), bias=False)
    y, saved = cr.Residual(body).forward(np.array([[2.0]]))  # x + 3x
    assert y.tolist() == [[8.0]]
    assert cr.Residual(body).backward(np.array([[1.0]]), saved).tolist() == [[4.0]]  # of both readers of x
    assert body.weight.grad.tolist() == [[2.0]]
    assert cr.Residual(body, cr.Identity())(np.array([[2.0]])).tolist() == [[8.0]]


def test_residual_names_its_networks() -> None:
    net = cr.Residual(cr.Sequential(cr.Linear(2, 3), cr.Linear(3, 3)), cr.Linear(2, 3, bias=False))
    assert list(net.state_dict()) == ["body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias", "shortcut.weight"]
    assert repr(net).splitlines()[-1] == ")  # shortcut(x) + body(x), 27 parameters"
    with pytest.raises(TypeError, match=re.escape("Residual: body must be a Module, got 'tanh'")):
        cr.Residual("tanh")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Residual: shortcut must be a Module, got <class .* \(call the class\)"):
        cr.Residual(cr.Tanh(), cr.Tanh)  # type: ignore[arg-type]


def test_residual_needs_what_can_be_added() -> None:
    for net, of in ((cr.Residual(cr.Flatten()), "x"), (cr.Residual(cr.Flatten(), cr.Identity()), "shortcut(x)")):
        words = f"Residual(…).forward: body(x) must have the shape of {of}, (2, 3, 1), got (2, 3)"
        with pytest.raises(ValueError, match=re.escape(words)):
            net.forward(A[..., None])


def test_parallel_gives_a_tuple_or_by_names_a_dict() -> None:
    y, saved = cr.Parallel(cr.Identity(), cr.Tanh()).forward(A)
    assert y[0] is A
    np.testing.assert_array_equal(y[1], np.tanh(A))
    dx = cr.Parallel(cr.Identity(), cr.Tanh()).backward((B, B), saved)
    np.testing.assert_allclose(dx, B + 1 - np.tanh(A) ** 2)
    named = cr.Parallel({"0": cr.Identity(), "b": cr.ReLU()})
    assert list(named(A)) == ["0", "b"]
    assert list(named({"b": A, "0": B})) == ["0", "b"]
    assert list(named.backward({"0": A, "b": B}, named.forward({"b": A, "0": B})[1])) == ["b", "0"]
    assert isinstance(named.backward({"0": A, "b": B}, named.forward((A, B))[1]), tuple)
    assert (named["b"], named[1], len(named)) == (named.networks[1], named.networks[1], 2)


@pytest.mark.parametrize(
    ("net", "x", "words"),
    [
        (cr.Parallel(T := cr.Tanh(), T), (A,), "x must be a tuple of 2, got a tuple of 1"),
        (cr.Parallel(T, T), {"a": A, "b": B}, "x must be a tuple of 2, got a dict of 'a', 'b'"),
        (cr.Parallel({"a": T}), {"b": A}, "x must be a dict of 'a' or a tuple of 1, got a dict of 'b'"),
        (cr.Parallel({"a": T}), {"a": A, "b": A}, "x must be a dict of 'a' or a tuple of 1, got a dict of 'a', 'b'"),
        (cr.Parallel(cr.Parallel(T)), A, "each network must give an array (Parallel does not), got a tuple of 1"),
    ],
)
def test_parallel_refuses_what_does_not_fit(net: cr.Parallel, x: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"Parallel(…).forward: {words}")):
        net.forward(x)


def test_parallel_is_made_of_networks() -> None:
    with pytest.raises(ValueError, match="Parallel: there must be at least one network"):
        cr.Parallel()
    with pytest.raises(TypeError, match="Parallel: network 1 must be a Module, got 3"):
        cr.Parallel(cr.Tanh(), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Parallel: the name of a network must be a word without dots, got 'a\.b'"):
        cr.Parallel({"a.b": cr.Tanh()})


def test_concat_gives_each_its_columns_back() -> None:
    y, saved = cr.Concat().forward({"a": A, "b": B[:, :1]})
    np.testing.assert_array_equal(y, np.hstack([A, B[:, :1]]))
    dx = cr.Concat().backward(y, saved)
    np.testing.assert_array_equal(dx["a"], A)
    np.testing.assert_array_equal(dx["b"], B[:, :1])


def test_multiply_by_zero_has_a_gradient() -> None:
    zero = np.zeros((1, 1))
    y, saved = cr.Multiply().forward((zero, zero + 2, zero + 3))
    assert y.tolist() == [[0.0]]
    assert [dx.tolist() for dx in cr.Multiply().backward(np.ones((1, 1)), saved)] == [[[6.0]], [[0.0]], [[0.0]]]


def test_select_has_no_gradient_for_the_others() -> None:
    x = (A, np.arange(2), B)
    y, saved = cr.Select(-1).forward(x)
    assert y is B
    dx = cr.Select(-1).backward(A, saved)
    assert [part.tolist() for part in dx] == [np.zeros((2, 3)).tolist(), [0, 0], A.tolist()]
    assert dx[1].dtype == x[1].dtype


@pytest.mark.parametrize(
    ("module", "x", "error", "words"),
    [
        (cr.Sum(), A, TypeError, "Sum().forward: x must be a tuple or dict of arrays, got a numpy float64 array"),
        (cr.Sum(), (), TypeError, "Sum().forward: x must be a tuple or dict of arrays, got a tuple of 0"),
        (cr.Sum(), (A, A[:1]), ValueError, "Sum().forward: x[1] must have the shape of x[0], (2, 3), got (1, 3)"),
        (
            cr.Multiply(),
            {"a": A, "b": A.astype("float32")},
            TypeError,
            "Multiply().forward: x['b'] must be a numpy float64 array, got a numpy float32 array",
        ),
        (cr.Sum(), ([1.0], A), TypeError, "Sum().forward: x[0] must be an array, got a list"),
        (
            cr.Concat(),
            (A, B[:1]),
            ValueError,
            "Concat().forward: x[1] must be like x[0], (2, 3), but for axis 1, got (1, 3)",
        ),
        (cr.Concat(), (A, A[0]), ValueError, "x[1] must be like x[0], (2, 3), but for axis 1, got (3,)"),
        (cr.Concat(-2), (A, A), ValueError, "x[0] must have an axis -2 behind that of the samples, got (2, 3)"),
        (cr.Select(2), (A, A), ValueError, "Select(2).forward: x must be a tuple with a part 2, got a tuple of 2"),
        (cr.Select("a"), (A, A), ValueError, "Select('a').forward: x must be a dict with 'a', got a tuple of 2"),
        (cr.Select("a"), {"b": A}, ValueError, "Select('a').forward: x must be a dict with 'a', got a dict of 'b'"),
        (cr.Select(0), A, ValueError, "Select(0).forward: x must be a tuple with a part 0, got a numpy float64 array"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(module: cr.Module, x: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        module.forward(x)


def test_the_axis_of_the_samples_is_none_to_join_along() -> None:
    with pytest.raises(ValueError, match="Concat: dim must be another axis than that of the samples, got 0"):
        cr.Concat(0)
    with pytest.raises(TypeError, match=r"Select: key must be an integer, got 1\.5"):
        cr.Select(1.5)  # type: ignore[arg-type]


def test_a_call_reads_every_part_as_it_reads_an_array() -> None:
    net = cr.Sequential(cr.Parallel({"a": cr.Linear(3, 2), "b": cr.Identity()}), cr.Concat())
    y = net({"a": A.astype("int64"), "b": [[1, 2], [3, 4]]})
    assert (y.dtype, y.shape) == ("float32", (2, 4))
    with pytest.raises(TypeError, match=re.escape("Sequential: x['b'] must hold real numbers")):
        net({"a": A, "b": [["x"], ["y"]]})


# -- one sample without the axis of the batch

ADVICE = re.compile(r"; if it is one sample, x(\[.*\])?\[None\] gives it the axis of the batch$")
# A sample of several axes looks like a batch to those that take any number of axes, and one of one axis like a batch of
# numbers to Flatten: nobody can tell.
ANY_AXES = (cr.Flatten, cr.Reshape, cr.Unflatten)


def refusal(case: Case) -> str:
    """What a Module says of one sample without the axis of the batch; nothing if it takes it."""
    module, (x,) = case.example(case.fixed[1])
    try:
        y = module.forward(each(lambda part: part[0], x))[0]
    except ValueError as refused:
        return str(refused)
    if case.kind not in ANY_AXES:  # then it gives what it gives in a batch
        for one, many in zip(leaves(y), leaves(module.forward(x)[0]), strict=True):
            np.testing.assert_allclose(one, many[0])
    return ""


@pytest.mark.parametrize("case", [case for case in (*LAYERS, *BRANCHES) if case.row_by_row], ids=str)
def test_one_sample_needs_the_axis_of_the_batch_where_the_error_says_how_to_add_it(case: Case) -> None:
    said = refusal(case)
    if any(isinstance(module, cr.Flatten) for module in case.build(case.fixed[1]).modules()):
        return
    if said:
        assert ADVICE.search(said), said
    else:
        assert case.kind not in (cr.Linear, cr.Permute, cr.Concat)


@pytest.mark.parametrize(
    ("module", "sample", "other"),
    [
        (cr.Linear(3, 2), (3,), (5, 4)),
        (cr.Softmax(1), (3,), ()),
        (cr.Reshape(3, 2), (6,), (5, 4)),
        (cr.Unflatten(1, (3, 2)), (6,), (5,)),
        (cr.Permute(0, 2, 1), (3, 2), (5,)),
        (cr.Flatten(2, 3), (2, 3, 4), (5, 4)),
    ],
)
def test_the_advice_helps_and_is_given_only_where_it_does(
    module: cr.Module, sample: tuple[int, ...], other: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=ADVICE.pattern):
        module.forward(np.ones(sample, "float32"))
    module.forward(np.ones(sample, "float32")[None])
    with pytest.raises(ValueError, match=r"got \(.*\)$"):
        module.forward(np.ones(other, "float32"))
