"""Each constraint against its formula, and what an optimizer makes of it."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from cases import LIBRARIES, array, numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import chainrule as cr
from chainrule.constraints import L1, L2, Constraint, Mask, MaxNorm, NonNegative, UnitNorm

LR = 0.3
shapes = array_shapes(min_dims=1, max_dims=3, max_side=6)
values = shapes.flatmap(
    lambda shape: arrays("float64", shape, elements=st.floats(-4, 4).filter(lambda x: abs(x) > 1e-3 or x == 0))
)
every_library = pytest.mark.parametrize("library", LIBRARIES)


def rows(w: np.ndarray) -> np.ndarray:
    """The 2-norm of each row, one by one."""
    return np.array([np.linalg.norm(row.ravel()) for row in w])


def times(w: np.ndarray, factors: Any) -> np.ndarray:
    return np.stack([row * factor for row, factor in zip(w, factors, strict=True)])


FORMULAS: dict[str, tuple[Constraint, Any]] = {
    "L1": (L1(2.0), lambda w: np.sign(w) * np.maximum(np.abs(w) - LR * 2.0, 0)),
    "L2": (L2(2.0), lambda w: w / (1 + LR * 2.0)),
    "MaxNorm": (
        MaxNorm(1.5),
        lambda w: times(w, [min(1.0, 1.5 / n) if n else 1.0 for n in rows(w)]) if w.ndim > 1 else w,
    ),
    "UnitNorm": (UnitNorm(), lambda w: times(w, [1 / n if n else 1.0 for n in rows(w)]) if w.ndim > 1 else w),
    "NonNegative": (NonNegative(), lambda w: np.maximum(w, 0)),
}


@every_library
@pytest.mark.parametrize("name", FORMULAS)
@given(w=values)
def test_each_does_what_its_equation_says(name: str, library: str, w: np.ndarray) -> None:
    constraint, formula = FORMULAS[name]
    value = array(w.copy(), library)
    constraint.apply(value, LR)
    np.testing.assert_allclose(numpy(value), formula(w), rtol=1e-14, atol=0)


def test_every_constraint_has_its_formula_here() -> None:
    kinds = {kind for kind in vars(cr.constraints).values() if isinstance(kind, type) and issubclass(kind, Constraint)}
    assert kinds == {type(constraint) for constraint, _ in FORMULAS.values()} | {Constraint, Mask}


@every_library
@given(data=st.data(), w=values)
def test_a_mask_keeps_zeros_where_it_is_zero_and_the_bits_elsewhere(
    library: str, data: st.DataObject, w: np.ndarray
) -> None:
    mask = data.draw(
        arrays(data.draw(st.sampled_from(["bool", "int64", "float32"])), w.shape, elements=st.sampled_from([0, 1]))
    )
    value = array(w.copy(), library)
    Mask(mask).apply(value, LR)
    np.testing.assert_array_equal(numpy(value), np.where(mask == 1, w, 0))
    assert not np.signbit(numpy(value)[mask == 0]).any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("constraint", [*(one for one, _ in FORMULAS.values()), Mask([[1, 0], [0, 1]])], ids=repr)
@every_library
def test_the_dtype_and_the_array_are_kept(constraint: Constraint, dtype: str, library: str) -> None:
    parameter = cr.Parameter(array(np.array([[0.5, -2.0], [0.25, 3.0]]), library, dtype))
    place = parameter.value
    cr.SGD(lr=LR, constraint=constraint).step([parameter])
    assert parameter.value is place
    assert str(place.dtype).endswith(dtype)
    expected = array(np.array([[0.5, -2.0], [0.25, 3.0]]), library, "float64")
    constraint.apply(expected, LR)
    np.testing.assert_allclose(numpy(place), numpy(expected), rtol=4 * np.finfo(dtype).eps)


@every_library
def test_rows_within_the_ball_keep_their_bits(library: str) -> None:
    w = np.random.default_rng(0).normal(size=(50, 7))
    w *= 0.999 / np.linalg.norm(w, axis=1, keepdims=True)
    value = array(w.copy(), library)
    MaxNorm(1.0).apply(value, LR)
    np.testing.assert_array_equal(numpy(value), w)


# -- in an optimizer


def test_several_are_applied_in_turn_after_each_update_with_its_learning_rate() -> None:
    class Noting(Constraint):
        def __init__(self, seen: list[Any]) -> None:
            self.seen = seen

        def apply(self, value: Any, lr: float) -> None:
            self.seen.append((value.tolist(), lr))
            value += 1

    seen: list[Any] = []
    parameter, other = cr.Parameter(np.zeros(1)), cr.Parameter(np.zeros(1))
    optimizer = cr.SGD(
        lr=cr.StepLR(0.5, 1),
        constraint=[Noting(seen), Noting(seen)],
        groups=[{"parameters": other, "constraint": None}],
    )
    for p in (parameter, other):
        p.grad[...] = 1
    optimizer.step([parameter, other])
    optimizer.end_epoch()
    optimizer.step([parameter, other])
    assert seen == [([-0.5], 0.5), ([0.5], 0.5), ([1.45], 0.05), ([2.45], 0.05)]
    assert other.value.tolist() == [-0.55]


def test_training_with_l1_is_proximal_gradient_descent_and_gives_exact_zeros() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6))
    target = x[:, :2] @ np.array([[1.0], [-2.0]]) + 0.01 * rng.normal(size=(200, 1))
    model = cr.Sequential(cr.Linear(6, 1, bias=False, rng=0, dtype="float64"))
    w = model[0].weight.value.copy()
    optimizer = cr.SGD(lr=0.1, constraint=L1(0.2))
    cr.fit(model, cr.MSELoss(), (x, target), epochs=50, batch_size=200, optimizer=optimizer, keep="last")
    for _ in range(50):
        w = w - 0.1 * 2 * (x @ w.T - target).T @ x / 200
        w = np.sign(w) * np.maximum(np.abs(w) - 0.1 * 0.2, 0)
    np.testing.assert_allclose(model[0].weight.value, w, rtol=1e-10)
    assert (model[0].weight.value[0] == 0).tolist() == [False, False, True, True, True, True]


@pytest.mark.parametrize("rule", [cr.SGD(lr=0.1, momentum=0.9), cr.Adam(lr=0.05), cr.RMSprop(lr=0.02)], ids=repr)
def test_what_a_constraint_says_holds_after_every_epoch(rule: cr.Optimizer) -> None:
    model = cr.Sequential(cr.Linear(2, 8, rng=0), cr.Tanh(), cr.Linear(8, 4, rng=1), cr.Tanh(), cr.Linear(4, 2, rng=2))
    mask = np.random.default_rng(3).integers(2, size=(4, 8))
    held = {0: NonNegative(), 2: Mask(mask), 4: [UnitNorm(), NonNegative()]}
    groups = [{"parameters": [model[i].weight], "constraint": constraint} for i, constraint in held.items()]
    optimizer = type(rule)(lr=rule.lr, groups=groups)
    seen = []

    def look(run: cr.Run) -> None:
        first, second, third = (model[i].weight.value for i in held)
        seen.append(
            bool((first >= 0).all() and (second[mask == 0] == 0).all() and (third >= 0).all())
            and bool((np.linalg.norm(third, axis=1) <= 1 + 1e-6).all())
        )

    data = cr.data.disk(100, seed=0)
    history = cr.fit(model, cr.MSELoss(), data, epochs=5, batch_size=20, optimizer=optimizer, callbacks=[look])
    assert seen == [True] * 5
    assert history.losses[-1] < history.losses[0]
    assert (model[2].weight.value[mask == 1] != 0).all()


def test_a_parameter_that_a_mask_cannot_be_for_is_an_error_before_anything_changes() -> None:
    good, bad = cr.Parameter(np.ones((1, 2))), cr.Parameter(np.ones((2, 2)))
    optimizer = cr.SGD(lr=1.0, constraint=Mask([[1, 0]]), clip_value=0.1)
    for parameter in (good, bad):
        parameter.grad[...] = 1
    with pytest.raises(ValueError, match=r"Mask: a parameter must be \(1, 2\) like the mask, got \(2, 2\)"):
        optimizer.step([good, bad])
    assert optimizer.steps == 0
    assert all((array == 1).all() for array in (good.value, good.grad))


# -- the border


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: L1(-1.0), ValueError, "L1: strength must be at least 0"),
        (lambda: L2("much"), TypeError, "L2: strength must be a number"),
        (lambda: MaxNorm(0.0), ValueError, "MaxNorm: max_norm must be above 0"),
        (lambda: MaxNorm(np.inf), ValueError, "MaxNorm: max_norm must be above 0 and finite"),
        (lambda: Mask([[0.5, 1.0]]), ValueError, "Mask: mask must hold True and False, or ones and zeros"),
        (lambda: Mask([["a"]]), TypeError, "Mask: mask must hold real numbers"),
        (
            lambda: cr.SGD(constraint=3),
            TypeError,
            "SGD: constraint must be one or more of chainrule.constraints, got 3",
        ),
        (lambda: cr.Adam(constraint="L1"), TypeError, "Adam: constraint must be one or more .* got 'L1'"),
        (lambda: cr.Adam(constraint=NonNegative), TypeError, r"got <class .*NonNegative'> \(call the class\)"),
        (lambda: cr.Adam(constraint=[L1(1.0), None]), TypeError, "Adam: constraint must be one or more .* got None"),
    ],
)
def test_what_is_no_constraint_is_an_error_that_says_so(make: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


def test_a_constraint_is_another_one_and_never_changed() -> None:
    optimizer = cr.SGD(constraint=L1(0.5))
    with pytest.raises(AttributeError, match=r"L1\.strength: set another constraint"):
        optimizer.constraint.strength = 1.0  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="must be one or more"):
        optimizer.constraint = "L1"  # type: ignore[assignment]
    optimizer.constraint = [MaxNorm(2.0)]  # type: ignore[assignment]
    assert repr(optimizer) == "SGD(lr=0.001, constraint=(MaxNorm(2.0),))"
    given = np.ones((1, 2), "bool")
    mask = Mask(given)
    given[...] = False
    assert mask.mask.all()
    for copied in (copy.deepcopy(mask), pickle.loads(pickle.dumps(mask))):
        assert copied.mask.tolist() == [[True, True]]


def test_the_base_does_nothing_itself() -> None:
    with pytest.raises(NotImplementedError, match="Constraint has no apply"):
        Constraint().apply(np.ones(2), 0.1)
