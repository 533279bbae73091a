"""The step-level door: the numbers of the Python modules, and whatever may be handed in by mistake."""

import copy
import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from engine.drawn import Network, made, networks, tasks
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from moments import PATIENCE_S
from networks import bits, small_network

import chainrule as cr
from chainrule.engine import lower, native
from chainrule.train.session import reseed

EPS = np.finfo(np.float64).eps
X, Y = np.random.default_rng(0).normal(size=(2, 6, 2))


def allowed(model, depth=20):
    """Sums over the widest layer and the batch, layer after layer: the share of the numbers that rounding may move.

    Each layer may scale errors up by what its weights do to a row (below 10 here: 1/√n_in · √n_out, activations of
    slope at most about 1), which the relative tolerance has to bear for some layers.
    """
    widest = max((max(parameter.shape) for parameter in model.param()), default=1)
    return depth * (widest + 64) * EPS * 100


def close(found, expected, model):
    share = allowed(model)
    np.testing.assert_allclose(found, expected, rtol=share, atol=share * max(1.0, np.max(np.abs(expected), initial=0)))


# -- the same numbers


@given(networks(), st.integers(1, 300), st.integers(0, 2**16))
def test_predict_is_the_model_in_evaluation_mode(network: Network, rows, seed):
    """300 rows are more than one chunk of the engine's evaluation (128)."""
    model = network.build("float64", seed).train()
    compiled = cr.compile(model, batch_size=1)
    x = np.random.default_rng(seed).normal(size=(rows, *network.shape))
    flat = np.ascontiguousarray(x.reshape(rows, -1))
    expected = model(x)
    y = compiled.predict(flat)
    close(y, expected, model)
    out = np.full((rows, network.n_out), np.nan)
    assert compiled.predict(flat, out) is out
    assert compiled.predict(flat, out=out) is out
    np.testing.assert_array_equal(out, y)
    one = compiled.predict(flat[0])
    assert one.shape == (network.n_out,)
    # One row is summed by another kernel; it must agree with itself however it comes.
    np.testing.assert_array_equal(compiled.predict(flat[:1])[0], one)
    close(one, expected[0], model)


@given(networks(), st.integers(1, 64), st.integers(0, 2**16), st.booleans())
def test_forward_and_backward_are_those_of_the_model(network: Network, rows, seed, again):
    """In training, dropout included: `seed` counts the masks as `fit` does."""
    model, twin, third = (network.build("float64", seed).train() for _ in range(3))
    reseed(twin.modules(), 7)
    compiled, without_dx = (cr.compile(one, batch_size=64, seed=7) for one in (model, third))
    rng = np.random.default_rng(seed)
    for _ in range(1 + again):
        x, dy = rng.normal(size=(rows, *network.shape)), rng.normal(size=(rows, network.n_out))
        y = compiled.forward(np.ascontiguousarray(x.reshape(rows, -1)))
        expected, saved = twin.forward(x)
        close(y, expected, model)
        dx = compiled.backward(dy)
        close(dx, twin.backward(dy, saved).reshape(rows, -1), model)
        without_dx.forward(np.ascontiguousarray(x.reshape(rows, -1)))
        assert without_dx.backward(dy, input=False) is None
    for parameter, other, same in zip(model.param(), twin.param(), third.param(), strict=True):
        close(parameter.grad, other.grad, model)
        np.testing.assert_array_equal(same.grad, parameter.grad)


@given(st.data())
def test_step_is_forward_loss_backward_and_update(data):
    network = data.draw(networks(most_layers=3))
    task = data.draw(tasks(network.n_out))
    rows, seed = data.draw(st.integers(1, 32)), data.draw(st.integers(0, 2**16))
    model, twin = network.build("float64", seed), network.build("float64", seed)
    reseed(twin.modules(), 3)
    loss, classes = made(task.loss), task.target == "classes"
    optimizer, twins = (cr.SGD(lr=1e-4, momentum=0.9, clip_norm=1.0) for _ in range(2))
    compiled = cr.compile(model, loss, optimizer, batch_size=32, class_targets=classes, seed=3)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        x = rng.normal(size=(rows, *network.shape))
        target = rng.integers(network.n_out, size=rows) if classes else rng.uniform(size=(rows, network.n_out))
        weight = rng.uniform(0.5, 2, rows) * ((rng.uniform(size=rows) < 0.8) | (np.arange(rows) == 0))
        weights = (weight,) * task.weights
        value = compiled.step(np.ascontiguousarray(x.reshape(rows, -1)), target, *weights)
        y, saved = twin.forward(x)
        expected, saved_loss = loss.forward(y, target, *weights)
        twin.zero_grad()
        twin.backward(loss.backward(1.0, saved_loss), saved)
        twins.step(twin.param())
        assert isinstance(value, float)
        close(value, float(expected), model)
    for parameter, other in zip(model.param(), twin.param(), strict=True):
        close(parameter.value, other.value, model)


def test_backward_and_update_are_a_step():
    model, twin = small_network(), small_network()
    one = cr.compile(model, cr.MSELoss(), cr.Adam(lr=0.1))
    two = cr.compile(twin, None, cr.Adam(lr=0.1))
    for _ in range(3):
        one.step(X, Y)
        two.zero_grad()
        two.backward(2 * (two.forward(X) - Y) / Y.size)
        two.update()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(twin.state_dict()[name], value, rtol=1e-10, atol=3 * 14 * EPS)


def test_backward_after_an_evaluation_goes_back_through_no_mask():
    model = cr.Sequential(
        cr.Linear(2, 8, dtype="float64", rng=0), cr.Dropout(0.5, rng=0), cr.Linear(8, 2, dtype="float64", rng=1)
    )
    compiled = cr.compile(model)
    y = compiled.forward(X, training=False)
    np.testing.assert_allclose(y, model(X), rtol=1e-13)
    expected = Y @ model[2].weight.value @ model[0].weight.value
    np.testing.assert_allclose(compiled.backward(Y), expected, rtol=1e-12, atol=1e-15)


def test_predict_between_forward_and_backward_disturbs_nothing():
    model = small_network()
    compiled = cr.compile(model)
    compiled.forward(X)
    expected = compiled.backward(Y)
    compiled.forward(X)
    compiled.predict(10 * X)
    np.testing.assert_array_equal(compiled.backward(Y), expected)


def test_evaluation_draws_no_mask_and_training_a_new_one_each_time():
    model = cr.Sequential(cr.Linear(2, 50, dtype="float64", rng=0), cr.Dropout(0.5, rng=0))
    compiled = cr.compile(model)
    first, second = (compiled.forward(X) == 0 for _ in range(2))
    assert (first != second).any()
    assert 0.3 < first.mean() < 0.7
    assert not (compiled.forward(X, training=False) == 0).any()
    again = cr.compile(model)
    np.testing.assert_array_equal(again.forward(X) == 0, first)


def test_one_row_may_come_without_its_axis():
    model = small_network(cr.SGD(lr=0.1))
    compiled = cr.compile(model, cr.MSELoss())
    y = compiled.forward(X[0])
    dx = compiled.backward(Y[0])
    assert y.shape == dx.shape == (2,)
    np.testing.assert_array_equal(compiled.forward(X[:1]), y[None])
    np.testing.assert_array_equal(compiled.backward(Y[:1]), dx[None])
    twin = small_network(cr.SGD(lr=0.1))
    other = cr.compile(twin, cr.MSELoss())
    assert compiled.step(X[0], Y[0]) == other.step(X[:1], Y[:1])
    classes = cr.compile(small_network(cr.SGD(lr=0.1)), cr.CrossEntropyLoss(), class_targets=True)
    assert classes.step(X[0], np.array([1])) > 0


def test_the_models_own_optimizer_serves():
    model = small_network(cr.SGD(lr=0.1))
    compiled = cr.compile(model, cr.MSELoss())
    assert compiled.step(X, Y) > compiled.step(X, Y)
    assert "SGD(lr=0.1)" in str(compiled.plan)
    assert repr(compiled).startswith("Compiled(Sequential(")


# -- bad input: a clear error, never a crash, and nothing changed

ODD = [  # made anew each time, for whoever writes into them
    lambda: None,
    lambda: 1.0,
    lambda: "x",
    lambda: b"12345678" * 2,
    lambda: bytearray(16),
    lambda: [[1.0, 2.0]],
    lambda: memoryview(b"12345678" * 2),
    lambda: memoryview(np.ones((3, 2))),
    lambda: np.ma.ones((3, 2)),
    lambda: np.ones((2, 3)).T,
    lambda: np.ones((6, 4))[::2, ::2],
    lambda: np.ones((3, 2))[::-1],
    lambda: np.broadcast_to(1.0, (3, 2)),
    lambda: np.frombuffer(b"0" * 49, dtype="u1")[1:].view("f8").reshape(3, 2),  # not aligned
    lambda: np.ones((0, 2)),
    lambda: np.ones((3, 0)),
    lambda: np.full((3, 2), np.nan),
    lambda: np.full((3, 2), np.inf),
    lambda: np.full((3, 2), 1e308),
    lambda: np.lib.stride_tricks.as_strided(np.ones(2), (10**6, 2), (0, 8)),
    lambda: object(),
]
DTYPES = ["f4", "f8", ">f8", "f2", "i8", "i4", "u1", "?", "c16", "U3", "M8[s]", "O"]
ARRAYS = st.one_of(
    st.builds(np.zeros, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), st.sampled_from(DTYPES)),
    hnp.arrays("f8", st.tuples(st.integers(0, 5), st.integers(0, 3)), elements=st.floats(width=64)),
    st.integers(0, len(ODD) - 1).map(lambda i: ODD[i]()),
)


@settings(max_examples=150)
@given(st.sampled_from(["predict", "out", "forward", "backward", "step x", "step target"]), ARRAYS)
def test_whatever_is_handed_in_is_taken_rightly_or_refused(call, array):
    model = small_network()
    compiled = cr.compile(model, cr.MSELoss(), cr.SGD(lr=0.0), batch_size=4)
    good = np.ones((3, 2))
    before = bits(model)
    if call == "backward":
        compiled.forward(good)
    do = {
        "predict": lambda: compiled.predict(array),
        "out": lambda: compiled.predict(good, out=array),
        "forward": lambda: compiled.forward(array),
        "backward": lambda: compiled.backward(array),
        "step x": lambda: compiled.step(array, good),
        "step target": lambda: compiled.step(good, array),
    }[call]
    try:
        result = do()
    except (TypeError, ValueError):
        result = None
    if result is not None and not (call == "out" and array is None):
        assert np.asarray(array).dtype.kind in ("f" if call == "out" else "fiubO")  # what was taken were real numbers
        assert call == "out" or not isinstance(array, np.ma.MaskedArray)
        got = np.asarray(array, dtype=np.float64)
        assert got.shape == (2,) or got.shape[1:] == (2,)
        if call in ("predict", "forward") and (np.abs(got) < 1e100).all():
            np.testing.assert_allclose(result, model(np.atleast_2d(got)).reshape(result.shape), rtol=1e-12)
    if np.isfinite(model[0].weight.value).all():  # NaN and infinity go through, even at a learning rate of 0
        assert bits(model) == before
        np.testing.assert_allclose(compiled.predict(good), model(good), rtol=1e-12)  # and it still works


def test_a_network_of_which_a_parameter_is_frozen_asks_to_be_compiled_again():
    model = cr.Sequential(cr.Linear(2, 3, rng=0), cr.Tanh(), cr.Linear(3, 1, rng=1))
    compiled = cr.compile(model, cr.MSELoss(), cr.SGD(lr=0.1))
    x = np.ones((4, 2), "float32")
    compiled.step(x, x[:, :1])
    before = [parameter.value.copy() for parameter in model.param()]
    model[0].bias.trainable = False
    with pytest.raises(ValueError, match=r"frozen|compile it again"):
        compiled.step(x, x[:, :1])
    for parameter, value in zip(model.param(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)
    model.unfreeze()
    compiled.step(x, x[:, :1])


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.array([0, 1, 2]), ValueError, r"target must be in 0 … 1, got 2 at position 2"),
        (np.array([0, -1, 1]), ValueError, r"target must be in 0 … 1, got -1 at position 1"),
        (np.array([0, -(2**63), 1]), ValueError, "position 1"),
        (np.array([0, 1]), ValueError, "target must have as many rows as x, 3, got 2"),
        (np.array([[0], [1], [1]]), ValueError, r"step: target must be \(batch,\), got \(3, 1\)"),
        (np.array([0.0, 1.0, 1.0]), TypeError, "class indices"),
        (None, TypeError, "NoneType"),
    ],
)
def test_class_indices_are_checked_before_anything_is_changed(target, error, message):
    model = small_network(cr.SGD(lr=0.1))
    compiled = cr.compile(model, cr.CrossEntropyLoss(), class_targets=True)
    before = bits(model)
    with pytest.raises(error, match=message):
        compiled.step(X[:3], target)
    assert bits(model) == before
    assert compiled.step(X[:3], np.array([0, -100, 1])) > 0  # -100 is ignored


@pytest.mark.parametrize(
    "target", [np.array([0, 1, 1], "int32"), np.array([0, 1, 1], ">i8"), np.array([0, 9, 1, 9, 1])[::2], [0, 1, 1]]
)
def test_class_indices_of_any_integers_give_the_same_bits(target):
    given, plain = small_network(cr.SGD(lr=0.1)), small_network(cr.SGD(lr=0.1))
    for model, indices in ((given, target), (plain, np.array([0, 1, 1]))):
        cr.compile(model, cr.CrossEntropyLoss(), class_targets=True).step(X[:3], indices)
    assert bits(given) == bits(plain)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        ([1.0, -1.0, 1.0], ValueError, "must not be negative, got -1.0 at position 1"),
        ([1.0, 1.0, np.nan], ValueError, "must be finite, got nan at position 2"),
        ([np.inf, 1.0, 1.0], ValueError, "must be finite, got inf at position 0"),
        ([-np.inf, 1.0, 1.0], ValueError, "must not be negative, got -inf at position 0"),
        ([1.0, 1.0], ValueError, "must have as many rows as x, 3, got 2"),
        ([[1.0], [1.0], [1.0]], ValueError, r"must be \(batch,\), got \(3, 1\)"),
        (1.0, ValueError, "must have as many rows as x, 3, got 1"),
        ([], ValueError, "must have at least one row"),
        ("heavy", TypeError, "must hold real numbers"),
        (np.ma.masked_array([1.0, 1.0, 1.0]), TypeError, "must be a plain array"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_checked_as_fit_checks_them_before_anything_is_changed(weight, error, message, dtype):
    model = small_network(cr.SGD(lr=0.1, momentum=0.9)).to(dtype=dtype)
    compiled = cr.compile(model, cr.MSELoss())
    before = bits(model)
    with pytest.raises(error, match=rf"^step: sample_weight {message}"):
        compiled.step(X[:3].astype(dtype), Y[:3].astype(dtype), weight)
    assert bits(model) == before
    assert model.optimizer.steps == 0
    assert compiled.step(X[:3].astype(dtype), Y[:3].astype(dtype), [2, 0, 1]) > 0  # as it reads any other array


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rule", [cr.SGD(lr=0.1, momentum=0.9, weight_decay=0.1), cr.Adam(lr=0.1, weight_decay=0.1)])
def test_a_batch_that_weighs_nothing_is_a_step_as_it_is_in_fit(rule, reduction):
    """The gradient is 0, and what is remembered and the decay go on."""
    loss, weight = cr.MSELoss(reduction=reduction), np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    models = [small_network(copy.deepcopy(rule)).double() for _ in range(3)]
    x, y = X[:6].astype(float), Y[:6].astype(float)
    for model, engine in zip(models, ("python", "native"), strict=False):
        cr.fit(model, loss, (x, y, weight), epochs=2, batch_size=3, shuffle=False, keep="last", engine=engine)
    compiled = cr.compile(models[2], loss)
    for _ in range(2):
        compiled.step(x[:3], y[:3], weight[:3])
        assert compiled.step(x[3:], y[3:], weight[3:]) == 0
    assert bits(models[2]) == bits(models[1])
    for stepped, expected in zip(models[2].param(), models[0].param(), strict=True):
        np.testing.assert_allclose(stepped.value, expected.value, rtol=1e-12)


@pytest.mark.parametrize("times", [1, 6])
def test_a_weight_of_zero_is_no_sample_and_none_is_no_weight(times):
    """36 rows are enough for one function to make the whole step of this tiny network, where there are no weights."""
    x, y = np.repeat(X, times, axis=0), np.repeat(Y, times, axis=0)
    weighted, fewer, without, none = (small_network(cr.SGD(lr=0.1)) for _ in range(4))
    weight = np.tile([2.0, 0.0], len(x) // 2)
    value = cr.compile(weighted, cr.MSELoss()).step(x, y, weight)
    assert value == pytest.approx(cr.compile(fewer, cr.MSELoss()).step(x[::2].copy(), y[::2].copy()), rel=1e-13)
    assert cr.compile(without, cr.MSELoss()).step(x, y) == cr.compile(none, cr.MSELoss()).step(x, y, None)
    assert bits(without) == bits(none)
    for one, other in zip(weighted.param(), fewer.param(), strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-12)


def test_a_single_sample_may_have_a_single_weight():
    for weight in (3.0, [3.0], np.float64(3.0), np.array(3.0)):
        one, other = small_network(cr.SGD(lr=0.1)), small_network(cr.SGD(lr=0.1))
        loss = cr.MSELoss(reduction="sum")
        value = cr.compile(one, loss).step(X[0], Y[0], sample_weight=weight)
        assert value == cr.compile(other, loss).step(X[:1], Y[:1], np.array([3.0])) > 0
        assert bits(one) == bits(other)


def test_weights_of_one_step_are_forgotten_by_the_next():
    one, other = (cr.compile(small_network(cr.SGD(lr=0.1)), cr.MSELoss()) for _ in range(2))
    one.step(X, Y, np.arange(6.0))
    other.step(X, Y, np.arange(6.0))
    assert one.step(X, Y) == other.step(X, Y, None)
    assert one.step(X, Y) != one.step(X, Y, np.arange(6.0))


def test_nan_goes_through_and_is_seen():
    model = small_network(cr.SGD(lr=0.1))
    compiled = cr.compile(model, cr.MSELoss())
    x = X.copy()
    x[2, 1] = np.nan
    y = compiled.predict(x)
    assert np.isnan(y[2]).all()
    assert np.isfinite(np.delete(y, 2, axis=0)).all()
    assert np.isnan(compiled.step(x, Y))
    assert np.isnan(model[0].weight.value).any()


def test_too_many_rows_for_a_step_are_refused():
    compiled = cr.compile(small_network(cr.SGD(lr=0.1)), cr.MSELoss(), batch_size=4)
    for name, call in (("forward", lambda: compiled.forward(X)), ("step", lambda: compiled.step(X, Y))):
        with pytest.raises(ValueError, match=rf"^{name}: x must have at most 4 rows, the batch_size .*, got 6"):
            call()
    assert compiled.predict(X).shape == (6, 2)


def test_backward_needs_a_forward_of_as_many_rows():
    compiled = cr.compile(small_network(cr.SGD(lr=0.1)), cr.MSELoss())
    with pytest.raises(ValueError, match="call forward first"):
        compiled.backward(Y)
    compiled.forward(X)
    with pytest.raises(ValueError, match="as many rows as the last forward"):
        compiled.backward(Y[:3])
    compiled.step(X, Y)
    with pytest.raises(ValueError, match="call forward first"):  # a step takes the place of what forward remembered
        compiled.backward(Y)


def test_what_was_not_compiled_in_is_refused():
    compiled = cr.compile(small_network())
    with pytest.raises(ValueError, match="needs a loss and an optimizer"):
        compiled.step(X, Y)
    with pytest.raises(ValueError, match="no optimizer"):
        compiled.update()


def test_out_must_be_an_array_of_its_own():
    compiled = cr.compile(small_network(n_in=3, n_out=3))
    x = np.random.default_rng(0).normal(size=(300, 3))
    kept, expected = x.copy(), compiled.predict(x)
    for out in (x, x[:]):
        with pytest.raises(ValueError, match="out must not overlap x"):
            compiled.predict(x, out=out)
    with pytest.raises(ValueError, match="out must not overlap x"):
        compiled.predict(x[:-1], out=x[1:])
    np.testing.assert_array_equal(x, kept)
    both = np.concatenate([x, x])
    np.testing.assert_array_equal(compiled.predict(both[:300], out=both[300:]), expected)  # side by side is fine
    read_only = np.empty((300, 3))
    read_only.flags.writeable = False
    with pytest.raises(TypeError, match="out must be a C-contiguous writable"):
        compiled.predict(x, out=read_only)
    with pytest.raises(ValueError, match="out must have as many rows as x, "):
        compiled.predict(x, out=np.empty((299, 3)))


# -- bad options of compile


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be a positive integer, got 0"),
        ({"batch_size": 2.5}, ValueError, "batch_size must be a positive integer"),
        ({"batch_size": True}, ValueError, "batch_size must be a positive integer"),
        ({"threads": -1}, ValueError, "threads must be a positive integer"),
        ({"seed": -1}, ValueError, "seed must be in"),
        ({"seed": 2**64}, ValueError, "seed must be in"),
        ({"seed": "x"}, TypeError, "seed must be an integer"),
        ({"batch_size": 10**12}, MemoryError, "the network needs .* bytes, and the limit is"),
        ({"batch_size": 2**60}, MemoryError, "memory"),
        ({"batch_size": 2**200}, MemoryError, "memory"),
        ({"loss": cr.MSELoss(), "optimizer": cr.SGD}, TypeError, "compile: optimizer must be .* got the class SGD"),
        ({"loss": "MSE", "optimizer": cr.SGD()}, TypeError, "compile: loss must be .* got 'MSE'"),
        ({"loss": cr.NLLLoss(), "optimizer": cr.SGD()}, ValueError, "targets that are not class indices"),
        ({"loss": cr.L1Loss(), "optimizer": cr.SGD(), "class_targets": True}, ValueError, "with class indices"),
        ({"loss": cr.MSELoss(reduction="none"), "optimizer": cr.SGD()}, ValueError, 'reduction="none"'),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        cr.compile(small_network(), **options)


def test_huge_batches_are_counted_before_memory_is_taken():
    plan = lower(small_network(), sample_shape=(2,), batch=1000)
    with pytest.raises(MemoryError, match=r"the network needs [0-9]+ bytes, and the limit is 1000"):
        native.compile_plan(plan, limit_bytes=1000)
    assert plan.bytes is None
    needed = native.compile_plan(plan).bytes
    native.compile_plan(plan, limit_bytes=needed)
    with pytest.raises(MemoryError):
        native.compile_plan(plan, limit_bytes=needed - 1)


def test_seeds_of_64_bits_draw_the_masks_of_python():
    network = Network((4,), ("Dropout(0.5, rng=0)", "Tanh()"), 4)
    model = cr.Sequential(network.build("float64", 0), cr.Linear(4, 4, weight=np.eye(4), bias=False))
    reseed(model.modules(), 2**64 - 1)
    compiled = cr.compile(model, seed=2**64 - 1)
    x = np.ones((9, 4))
    np.testing.assert_allclose(compiled.forward(x), model.train().forward(x)[0], rtol=1e-15)


def test_what_the_engine_does_not_know_is_named():
    class Own(cr.Tanh):
        pass

    with pytest.raises(ValueError, match="compile: the engine does not know Own"):
        cr.compile(cr.Sequential(cr.Linear(2, 2), Own()))
    with pytest.raises(ValueError, match="compile: the engine does not know"):
        cr.compile(cr.Sequential())
    with pytest.raises(ValueError, match=r"Linear\(3, 2\) on samples of 2 numbers"):
        cr.compile(cr.Sequential(cr.Linear(2, 2), cr.Linear(3, 2)))


# -- threads


@pytest.fixture
def impatient():
    """Python switches threads every few microseconds, so that whatever can come between two lines does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-6)
    yield
    sys.setswitchinterval(before)


def test_two_threads_on_one_object_get_an_error_or_the_right_numbers(impatient):
    model = cr.Sequential(cr.Linear(64, 256, rng=0), cr.Tanh(), cr.Linear(256, 64, rng=1))
    compiled = cr.compile(model)
    x = np.random.default_rng(0).normal(size=(256, 64)).astype("float32")
    expected, errors, right = compiled.predict(x), [], []

    def use():
        for _ in range(150):
            try:
                right.append(np.array_equal(compiled.predict(x), expected))
            except RuntimeError as error:  # noqa: PERF203
                errors.append(str(error))

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right
    assert all(right)
    assert set(errors) <= {"this network is being used by another thread; compile one for each thread"}


def test_an_object_for_each_thread_works(impatient):
    x = np.random.default_rng(0).normal(size=(256, 64)).astype("float32")

    def train(found, i):
        model = cr.Sequential(cr.Linear(64, 128, rng=i), cr.Tanh(), cr.Linear(128, 64, rng=i + 1))
        compiled = cr.compile(model, cr.MSELoss(), cr.Adam(lr=0.001))
        losses = [compiled.step(x, x) for _ in range(30)]
        found[i] = losses, bits(model)

    alone, together = {}, {}
    for i in range(3):
        train(alone, i)
    threads = [threading.Thread(target=train, args=(together, i)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_one_model_in_two_threads_loses_no_step(impatient):
    """Each thread has its own object for the same model: every step starts from all of the steps before it.

    With the gradient of the loss constant (L1 far away), n steps move the bias by n · lr, whoever made them.
    """
    model = cr.Sequential(cr.Linear(1, 1, weight=[[0.0]], bias=[0.0]))
    model[0].weight.value, model[0].bias.value = np.zeros((1, 1)), np.zeros(1)
    model[0].weight.grad, model[0].bias.grad = np.zeros((1, 1)), np.zeros(1)
    zero, far = np.zeros((1, 1)), np.full((1, 1), 1e9)

    together = threading.Barrier(3)

    def train():
        compiled = cr.compile(model, cr.L1Loss(), cr.SGD(lr=0.25))
        together.wait()
        for _ in range(1000):
            compiled.step(zero, far)
            time.sleep(0)  # lets another thread in

    threads = [threading.Thread(target=train, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    assert model[0].bias.value[0] == 3000 * 0.25


def test_reading_while_another_thread_steps_loses_nothing(impatient):
    model, twin = small_network(), small_network()
    done = threading.Event()

    def read():
        while not done.is_set():
            assert np.isfinite(model[0].weight.value).all()

    thread = threading.Thread(target=read)
    thread.start()
    compiled, losses = cr.compile(model, cr.MSELoss(), cr.Adam(lr=0.01)), []
    for _ in range(20):
        losses += [compiled.step(X, Y) for _ in range(100)]
        time.sleep(0)  # lets the other thread in
    done.set()
    thread.join()
    other = cr.compile(twin, cr.MSELoss(), cr.Adam(lr=0.01))
    assert losses == [other.step(X, Y) for _ in range(2000)]
    assert bits(model) == bits(twin)


# -- memory


def test_a_network_that_is_gone_gives_its_memory_back():
    code = """
import gc, weakref, numpy as np, chainrule as cr
model = cr.Sequential(cr.Adam(lr=1e-4), cr.Linear(8, 32, rng=0), cr.Tanh(), cr.Linear(32, 8, rng=1))
x = np.ones((4, 8), dtype="float32")
compiled = cr.compile(model, cr.MSELoss(), model.optimizer)
compiled.step(x, x)
gone = weakref.ref(compiled)
model.param()[0].value
del compiled
gc.collect()
assert gone() is None
"""
    telling = os.environ | {"CHAINRULE_LEAK_WARNINGS": "1"}  # nanobind then tells of what is left at the end
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=telling)
    assert (run.returncode, run.stderr) == (0, "")


# -- a program that ends


def test_the_interpreter_ends_cleanly_with_networks_and_their_threads_alive():
    code = """
import threading, numpy as np, chainrule as cr
x = np.ones((512, 64), dtype="float32")
model = cr.Sequential(cr.SGD(lr=0.01), cr.Linear(64, 256, rng=0), cr.ReLU(), cr.Linear(256, 64, rng=1))
kept = cr.compile(model, cr.MSELoss(), batch_size=512, threads=3)
def use():
    other = cr.compile(cr.Sequential(cr.Linear(64, 64, rng=0)))
    for _ in range(200):
        other.predict(x)
threading.Thread(target=use).start()
for _ in range(20):
    kept.step(x, x)
print("done", flush=True)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("work", ["cr.predict(model, x)", "cr.fit(model, cr.MSELoss(), (x, x), epochs=10**6)"])
def test_the_interpreter_ends_though_a_daemon_thread_is_inside_the_engine(work):
    """It wants the GIL back when there is no interpreter any more; Python unwinds it, which C++ takes for a crash."""
    code = f"""
import threading, time, numpy as np, chainrule as cr
x = np.ones((20_000, 64), dtype="float32")
model = cr.Sequential(cr.SGD(lr=1e-9), cr.Linear(64, 64, rng=0))
def forever():
    while True:
        {work}
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.2)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (run.returncode, run.stderr) == (0, "")  # nor is anything said of the network that the thread still has


def test_a_network_that_is_kept_by_its_model_can_be_forgotten_with_it():
    model = small_network()
    model.fast = cr.compile(model, cr.MSELoss(), cr.SGD(lr=0.1))
    model.fast.step(X, Y)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_who_reads_is_let_in_between_two_steps():
    """A step ends and the next one begins before a thread that waits has woken up."""
    x, y = np.random.default_rng(0).normal(size=(2, 512, 256)).astype("float32")
    model = cr.Sequential(cr.Linear(256, 512, rng=0), cr.ReLU(), cr.Linear(512, 256, rng=1))
    network, done, reads = cr.compile(model, cr.MSELoss(), cr.SGD(lr=1e-3), batch_size=512), threading.Event(), 0

    def step():
        for _ in range(400):
            if done.is_set():
                break
            network.step(x, y)

    thread = threading.Thread(target=step)
    thread.start()
    while thread.is_alive() and reads < 20:
        model.state_dict()
        reads += thread.is_alive()
    done.set()
    thread.join()
    assert reads == 20


def test_networks_in_two_threads_lose_no_step_of_an_optimizer_that_they_share():
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-6)
    model = cr.Sequential(cr.Linear(1, 1, weight=np.zeros((1, 1)), bias=np.zeros(1), dtype="float64"))
    optimizer, together = cr.Adagrad(lr=0.01), threading.Barrier(3)
    zero, far = np.zeros((1, 1)), np.full((1, 1), 1e9)

    def train():
        network = cr.compile(model, cr.L1Loss(), optimizer)
        together.wait()
        for _ in range(1000):
            network.step(zero, far)
            time.sleep(0)

    threads = [threading.Thread(target=train) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert optimizer.state[model[0].bias]["sum"][0] == 3000  # gradients of 1
