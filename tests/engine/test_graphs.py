"""Networks with branches on the engine, against the Python loop and the model, which are their specification."""

import pickle

import numpy as np
import pytest
from engine.drawn import allowed
from engine.drawn_graphs import GraphTraining, graph_trainings, graphs
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.structures import each, leaves
from chainrule.train.loop import PythonLoop
from chainrule.train.native_loop import NativeLoop
from chainrule.train.watch import Watch

RTOL = 1e-10  # the design's promise for float64 after 50 steps
CHAOS = 5e-10  # where rounding alone may move more than this share of the numbers, equality says nothing


@settings(max_examples=150)
@given(graph_trainings(), st.sampled_from([1, 2]))
def test_parameters_losses_and_state_are_those_of_the_python_loop(training: GraphTraining, threads: int):
    classes_1 = [n for n, k in training.task.targets.items() if k == "classes" and training.network.sizes[n] == 1]
    assume(not classes_1)  # where class 0 is the only one, and ignored, nothing counts
    expected = training.run("python")
    floors = allowed(training, expected, np.finfo(np.float64).eps)
    shares = [
        floors[name] / np.max(np.abs(a)) for name, a in expected.items() if name.startswith("parameter") and a.any()
    ]
    assume(max(shares, default=0.0) < CHAOS)
    event(f"{len(training.network.widths)} inputs, {len(training.task.targets)} heads")
    event(training.optimizer.split("(")[0])
    found = training.run("native", threads=threads)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=RTOL, atol=floors[name], err_msg=name)


@settings(max_examples=100)
@given(graphs(dropout=False), st.integers(0, 100), st.integers(1, 20), st.sampled_from([0, 1, 30]))
def test_a_compiled_graph_does_what_the_model_does(graph, seed, rows, more):
    model = graph.build("float64", seed)
    x = graph.samples(rows, "float64", np.random.default_rng(seed))
    shapes = each(lambda part: part.shape[1:], x)
    network = cr.compile(model, batch_size=rows + more, sample_shape=shapes)
    y, saved = model.forward(x)
    assert_same(network.predict(x), y)
    assert_same(network.predict(x, each(np.empty_like, y)), y)
    assert_same(network.predict(each(lambda part: part[0], x)), each(lambda part: part[0], y))
    assert_same(network.forward(x), y)
    rng = np.random.default_rng(seed + 1)
    dy = each(lambda part: rng.normal(size=part.shape), y)
    model.zero_grad()
    dx = model.backward(dy, saved)
    expected = [parameter.grad.copy() for parameter in model.param()]
    model.zero_grad()
    assert_same(network.backward(dy), dx)
    for parameter, gradient in zip(model.param(), expected, strict=True):
        assert_near(parameter.grad, gradient)
    model.zero_grad()
    network.forward(x)
    assert network.backward(dy, input=False) is None
    for parameter, gradient in zip(model.param(), expected, strict=True):
        assert_near(parameter.grad, gradient)


def assert_near(found, expected):
    np.testing.assert_allclose(
        found, expected, rtol=1e-9, atol=1e-11 * max(1.0, float(np.max(np.abs(expected), initial=0)))
    )


def assert_same(found, expected):
    """The same form, and the same numbers to rounding."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        assert one.shape == other.shape
        assert_near(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [8, 16, 17, 33, 70])
def test_a_last_batch_of_one_row_adds_up_at_a_fork(width, dtype):
    """Its gradients lie in memory that is laid out for more rows."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(33, width)).astype(dtype), rng.normal(size=(33, 2)).astype(dtype)
    found, eps = [], np.finfo(dtype).eps
    for engine in ("python", "native"):
        first, body, last = (cr.Linear(width, n, dtype=dtype, rng=n) for n in (width, width, 2))
        model = cr.Sequential(first, cr.Residual(cr.Sequential(body, cr.Tanh())), last)
        how = {"epochs": 3, "batch_size": 32, "optimizer": cr.SGD(lr=0.05), "keep": "last", "engine": engine}
        cr.fit(model, cr.MSELoss(), data, **how)
        found.append([parameter.value for parameter in model.param()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e4 * eps, atol=1e3 * eps)


@pytest.mark.parametrize("shuffle", [False, True])
def test_any_number_of_threads_gives_the_same_bits(shuffle):
    def run(threads):
        model = cr.Graph(
            {
                "h": (cr.Sequential(cr.Linear(64, 64, rng=0), cr.Tanh()), "a"),
                "r": (cr.Residual(cr.Sequential(cr.Linear(64, 64, rng=1), cr.ReLU())), "h"),
                "both": (cr.Concat(), ("r", "b")),
                "y": (cr.Linear(96, 3, rng=2), "both"),
                "z": (cr.Linear(64, 5, rng=3), "h"),
            },
            outputs=("y", "z"),
        )
        rng = np.random.default_rng(0)
        x = {"a": rng.normal(size=(600, 64)).astype("f4"), "b": rng.normal(size=(600, 32)).astype("f4")}
        target = {"y": rng.normal(size=(600, 3)).astype("f4"), "z": rng.integers(5, size=600)}
        loss = cr.MultiLoss({"y": cr.MSELoss(), "z": cr.CrossEntropyLoss()})
        data = cr.Dataset(x, target)
        options = {"optimizer": cr.Adam(), "batch_size": 200, "epochs": 30, "shuffle": shuffle, "engine": "native"}
        history = cr.fit(model, loss, data, threads=threads, **options)
        return [*[p.value.tobytes() for p in model.param()], history.losses]

    assert run(1) == run(2)


# -- steps of a network with several inputs and heads


def two_heads(dtype="float64"):
    """Two inputs, two heads, whose loss names them in another order than the network."""
    made = [cr.Linear(*sizes, dtype=dtype, rng=i) for i, sizes in enumerate([(3, 8), (9, 2), (8, 4)])]
    model = cr.Graph(
        {
            "h": (cr.Sequential(made[0], cr.Tanh()), "a"),
            "both": (cr.Concat(), ("h", "b")),
            "price": (made[1], "both"),
            "kind": (made[2], "h"),
        },
        outputs=("price", "kind"),
    )
    loss = cr.MultiLoss({"kind": cr.CrossEntropyLoss(), "price": cr.MSELoss()}, weights={"kind": 0.5, "price": 2.0})
    return model, loss


RNG = np.random.default_rng(0)
X = {"a": RNG.normal(size=(10, 3)), "b": RNG.normal(size=(10, 1))}
TARGET = {"price": RNG.normal(size=(10, 2)), "kind": RNG.integers(4, size=10)}
CLASSES = {"price": False, "kind": True}
SHAPES = {"a": (3,), "b": (1,)}


def stepping():
    model, loss = two_heads()
    optimizer = cr.SGD(lr=0.1, momentum=0.9)
    return model, loss, cr.compile(model, loss, optimizer, class_targets=CLASSES, sample_shape=SHAPES)


@pytest.mark.parametrize("weights", [(), (np.arange(10.0),)], ids=["plain", "weighted"])
def test_step_is_forward_loss_backward_and_update(weights):
    model, loss = two_heads()
    optimizer = cr.SGD(lr=0.1, momentum=0.9)
    other, _, network = stepping()
    for _ in range(5):
        y, saved = model.forward(X)
        value, saved_loss = loss.forward(y, TARGET, *weights)
        model.zero_grad()
        model.backward(loss.backward(1.0, saved_loss), saved)
        optimizer.step(model.param())
        assert network.step(X, TARGET, *weights) == pytest.approx(float(value), rel=1e-12)
    for parameter, expected in zip(other.param(), model.param(), strict=True):
        np.testing.assert_allclose(parameter.value, expected.value, rtol=1e-10)


def test_arrays_that_have_to_be_read_first_are_read():
    _, _, network = stepping()
    lists = {name: array.tolist() for name, array in X.items()}
    assert_same(network.predict(lists), network.predict(X))
    narrow = network.predict(each(lambda array: array.astype("float32"), X))
    np.testing.assert_allclose(narrow["kind"], network.predict(X)["kind"], rtol=1e-5, atol=1e-6)
    value = stepping()[2].step(X, TARGET)
    assert network.step(lists, {name: target.tolist() for name, target in TARGET.items()}) == value


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X["a"], TypeError, r"predict: x must be a dict of arrays with 'a', 'b', got a ndarray"),
        ((X["a"], X["b"]), TypeError, r"predict: x must be a dict of arrays with 'a', 'b', got a tuple"),
        ({"a": X["a"]}, ValueError, r"predict: x must be a dict of arrays with 'a', 'b', got \['a'\]"),
        (X | {"c": X["a"]}, ValueError, r"predict: x must be a dict of arrays with 'a', 'b', got \['a', 'b', 'c'\]"),
        ({"a": X["a"], "c": X["b"]}, ValueError, r"predict: x must be a dict of arrays with 'a', 'b'"),
        (X | {"b": X["b"][:4]}, ValueError, r"predict: x\['b'\] must have as many rows as x\['a'\], 10, got 4"),
        (X | {"b": X["b"][0]}, ValueError, r"predict: x\['b'\] must have as many rows as x\['a'\]"),
        (X | {"b": X["a"]}, ValueError, r"predict: x\['b'\] must be \(batch, 1\) or \(1,\), got \(10, 3\)"),
        (X | {"b": X["b"][:0], "a": X["a"][:0]}, ValueError, r"predict: x\['a'\] must have at least one row"),
        (X | {"b": "nothing"}, TypeError, r"predict: b|predict: x\['b'\]"),
        (None, TypeError, r"predict: x must be a dict"),
    ],
)
def test_a_wrong_x_is_refused_by_the_name_of_its_part(x, error, message):
    _, _, network = stepping()
    before = network.predict(X)
    with pytest.raises(error, match=message):
        network.predict(x)
    assert_same(network.predict(X), before)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (TARGET["price"], TypeError, r"step: target must be a dict of arrays with 'price', 'kind', got a ndarray"),
        ({"price": TARGET["price"]}, ValueError, r"step: target must be a dict of arrays with 'price', 'kind'"),
        (TARGET | {"kind": TARGET["kind"] + 1}, ValueError, r"step: target\['kind'\] must be in 0 … 3, got 4"),
        (TARGET | {"kind": TARGET["kind"][:3]}, ValueError, r"step: target\['kind'\] must have as many rows as x"),
        (TARGET | {"kind": TARGET["price"]}, (TypeError, ValueError), r"step: target\['kind'\]"),
        (TARGET | {"price": TARGET["price"][:3]}, ValueError, r"step: target\['price'\] must have as many rows as x"),
        (
            TARGET | {"price": X["b"]},
            ValueError,
            r"step: target\['price'\] must be \(batch, 2\) or \(2,\), got \(10, 1\)",
        ),
    ],
)
def test_a_wrong_target_is_refused_and_nothing_is_learned(target, error, message):
    model, _, network = stepping()
    before = [parameter.value.copy() for parameter in model.param()]
    with pytest.raises(error, match=message):
        network.step(X, target)
    for parameter, value in zip(model.param(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_wrong_weights_are_refused_and_nothing_is_learned():
    model, _, network = stepping()
    before = [parameter.value.copy() for parameter in model.param()]
    for weight in (-np.ones(10), np.ones(9), np.ones((10, 1)), {"price": np.ones(10)}):
        with pytest.raises((TypeError, ValueError), match=r"^step: sample_weight must"):
            network.step(X, TARGET, weight)
    for parameter, value in zip(model.param(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_out_must_lie_apart():
    _, _, network = stepping()
    room = np.empty((10, 6))
    both = {"price": np.empty((10, 2)), "kind": np.empty((10, 4))}
    assert network.predict(X, both) is both
    flat = room.reshape(-1)
    overlapping = {"price": flat[:20].reshape(10, 2), "kind": flat[10:50].reshape(10, 4)}
    with pytest.raises(ValueError, match="predict: out must not overlap"):
        network.predict(X, overlapping)
    with pytest.raises(ValueError, match=r"predict: out\['kind'\] must have as many rows|as many rows as x"):
        network.predict(X, {"price": np.empty((9, 2)), "kind": np.empty((9, 4))})
    with pytest.raises(TypeError, match="predict: out must be a dict"):
        network.predict(X, np.empty((10, 2)))


def test_one_sample_without_an_axis_of_samples():
    _, _, network = stepping()
    one = network.predict({name: array[3] for name, array in X.items()})
    for name, y in network.predict(X).items():
        np.testing.assert_allclose(one[name], y[3], rtol=1e-12)


def test_a_tuple_of_inputs_and_heads():
    model = cr.Parallel(cr.Linear(2, 3, rng=0), cr.Linear(4, 1, rng=1))
    loss = cr.MultiLoss(cr.CrossEntropyLoss(), cr.MSELoss())
    network = cr.compile(model, loss, cr.SGD(lr=0.1), class_targets=(True, False))
    x = (np.ones((5, 2), "float32"), np.ones((5, 4), "float32"))
    target = (np.zeros(5, int), np.zeros((5, 1), "float32"))
    first = network.step(x, target)
    assert network.step(x, target) < first
    for found, expected in zip(network.predict(x), model(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(TypeError, match="predict: x must be a tuple of 2 arrays, got a list"):
        network.predict(list(x))
    with pytest.raises(ValueError, match="predict: x must be a tuple of 2 arrays, got 3"):
        network.predict((*x, x[0]))


def test_samples_with_several_axes_keep_them():
    model = cr.Sequential(cr.Linear(3, 4, dtype="float64", rng=0), cr.Tanh())
    network = cr.compile(model, cr.MSELoss(), cr.SGD(lr=0.1), sample_shape=(2, 3))
    x, target = RNG.normal(size=(5, 2, 3)), RNG.normal(size=(5, 2, 4))
    assert_same(network.predict(x), model(x))
    assert_same(network.predict(x[0]), model(x)[0])
    assert network.forward(x).shape == (5, 2, 4)
    assert network.backward(np.ones((5, 2, 4))).shape == (5, 2, 3)
    assert network.step(x, target) == pytest.approx(float(cr.MSELoss()(model(x), target)), rel=0.2)
    for wrong in (x[:, :1], x.reshape(5, 6), x.reshape(5, 1, 2, 3)):
        with pytest.raises(ValueError, match=r"predict: x must be \(batch, 2, 3\) or \(2, 3\), got"):
            network.predict(wrong)


def test_a_shape_that_the_layers_do_not_say_has_to_be_given():
    model = cr.Graph({"s": (cr.Concat(), ("a", "b")), "y": (cr.Linear(5, 1, rng=0), "s")})
    with pytest.raises(
        ValueError, match=r"compile: the engine does not know the shape .* Concat gets; sample_shape=… says it"
    ):
        cr.compile(model)
    network = cr.compile(model, sample_shape={"a": (2,), "b": (3,)})
    assert network.predict({"a": [1.0, 2.0], "b": [0.0, 0.0, 1.0]}).shape == (1,)
    assert "sample" not in repr(network)


@pytest.mark.parametrize("shape", [3, (2.5,), ((2,), 3), (0,), {"a": 2}, "ab"])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises((TypeError, ValueError), match="compile: sample_shape must be"):
        cr.compile(two_heads()[0], sample_shape=shape)


def test_class_targets_must_name_the_outputs():
    model, loss = two_heads()
    with pytest.raises(ValueError, match=r"class_targets=.*, which must have a part for each output"):
        cr.compile(model, loss, cr.SGD(lr=0.1), class_targets={"price": False}, sample_shape=SHAPES)


def test_a_change_of_a_node_has_to_be_compiled_again():
    model, loss, network = stepping()
    model["both"] = cr.Concat(-1)
    network.step(X, TARGET)  # the same program
    model["h"] = cr.Linear(3, 8, dtype="float64", rng=0)
    with pytest.raises(ValueError, match="compile it again"):
        network.step(X, TARGET)
    model, loss, network = stepping()
    loss.losses[0].label_smoothing = 0.1
    with pytest.raises(ValueError, match=r"the loss was .*label_smoothing=0.0.* is .*label_smoothing=0.1"):
        network.step(X, TARGET)


def test_copies_and_pickles_of_a_compiled_graph_do_the_same():
    _, _, network = stepping()
    other = pickle.loads(pickle.dumps(network))
    assert_same(other.predict(X), network.predict(X))
    assert other.step(X, TARGET) == network.step(X, TARGET)


# -- runs


def test_the_losses_of_the_heads_are_those_of_the_python_loop():
    found = {}
    for engine in ("python", "native"):
        model, loss = two_heads()
        data = cr.Dataset(X, TARGET, np.linspace(0.5, 2, 10))
        options = {"optimizer": cr.Adam(), "epochs": 8, "batch_size": 4, "engine": engine, "validation": (X, TARGET)}
        found[engine] = cr.fit(model, loss, data, **options)
    for name in ("losses", "validation_losses", "head_losses", "validation_head_losses"):
        one, other = (getattr(history, name) for history in found.values())
        assert_same_numbers(one, other)


def assert_same_numbers(one, other):
    if isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-10)
    else:
        np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize("first", ["python", "native"])
def test_a_run_that_is_cut_within_an_epoch_goes_on_in_the_other_loop(first):
    """Each head's sums so far go along, in the order of the loss."""
    options = {"batch_size": 3, "seed": 0, "shuffle": True}

    def loops():
        found = {}
        for name, kind, more in (("python", PythonLoop, {}), ("native", NativeLoop, {"threads": 1})):
            model, loss = two_heads()
            found[name] = kind(model, loss, cr.SGD(lr=0.1), cr.Dataset(X, TARGET), None, **options, **more)
        return found

    whole = loops()["python"].run(0, 1, Watch())[0]
    both = loops()
    begins, ends = both.pop(first), next(iter(both.values()))
    watch = Watch()
    if first == "python":
        watch.pause_s = 0  # after each step
        assert begins.run(0, 1, watch) == []
    else:
        part = begins.part(0, 1)
        arguments = part.arguments | {"lr": np.full(1, 0.1)}
        assert begins.native.run(**arguments, max_seconds=0.0) in ("interrupted", "finished")
    memory = begins.memory()
    begins.finish()
    for parameter, trained in zip(ends.parameters, begins.parameters, strict=True):
        parameter.value[...] = trained.value
    ends.optimizer.steps = begins.optimizer.steps
    ends.remember(memory)
    assert 0 < memory.place.step < 4
    (epoch,) = ends.run(0, 1, Watch())
    assert epoch.loss == pytest.approx(whole.loss, rel=1e-12)
    np.testing.assert_allclose(epoch.heads, whole.heads, rtol=1e-12)
