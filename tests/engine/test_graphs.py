"""Networks with branches on the engine, against the Python loop and the model, which are their specification."""

import numpy as np
import pytest
from engine.drawn import allowed
from engine.drawn_graphs import GraphTraining, graph_trainings, graphs
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.structures import each, leaves

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
@given(graphs(dropout=False), st.integers(0, 100), st.integers(1, 20))
def test_a_compiled_graph_does_what_the_model_does(graph, seed, rows):
    model = graph.build("float64", seed)
    x = graph.samples(rows, "float64", np.random.default_rng(seed))
    shapes = each(lambda part: part.shape[1:], x)
    network = cr.compile(model, batch_size=rows, sample_shape=shapes)
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
