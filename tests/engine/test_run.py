"""The outputs of a network, whose compiled half is kept. (That `evaluate` and `predict` agree with the model is tested
in train/test_evaluate.py.)"""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from networks import small_network

import chainrule as cr
from chainrule.engine import native, run
from chainrule.engine.run import outputs

X = np.random.default_rng(0).normal(size=(300, 2))


@pytest.fixture
def compilations(monkeypatch):
    """How often a network was compiled."""
    count = []
    compile_plan = native.compile_plan
    monkeypatch.setattr(native, "compile_plan", lambda *a, **o: count.append(1) or compile_plan(*a, **o))
    return count


def assert_outputs(model, x=X):
    np.testing.assert_allclose(outputs(model, x), model(x), rtol=1e-12, atol=1e-14)


def test_outputs_are_those_of_the_model_in_evaluation_mode():
    assert_outputs(cr.Sequential(small_network(), cr.Dropout(0.5, rng=0)).train())


def test_what_the_engine_does_not_know_has_no_outputs():
    class Own(cr.Tanh):
        pass

    assert outputs(cr.Sequential(small_network(), Own()), X) is None
    assert outputs(small_network(), X.tolist()) is None
    assert outputs(small_network(), X.astype("float32")) is None


def test_outputs_of_several_inputs_and_heads_have_the_form_of_the_model():
    model = cr.Graph(
        {"s": (cr.Concat(), ("a", "b")), "y": (cr.Linear(3, 2, dtype="float64", rng=0), "s"), "z": (cr.Tanh(), "s")},
        outputs=("y", "z"),
    )
    x = {"b": X[:, :1], "a": X}
    found = outputs(model, x)
    assert list(found) == ["y", "z"]
    for name, y in model(x).items():
        np.testing.assert_allclose(found[name], y, rtol=1e-12)
    first, second = outputs(model, (X, X[:, :1])).values()
    np.testing.assert_array_equal(first, found["y"])
    np.testing.assert_array_equal(second, found["z"])


def test_a_network_is_compiled_once_and_sees_the_numbers_of_each_moment(compilations):
    model = small_network(cr.SGD(lr=0.1))
    for _ in range(3):
        assert_outputs(model)
        model.param()[0].value[...] *= 2
        model.param()[1].value = model.param()[1].value + 1
        cr.predict(model, X)
    assert len(compilations) == 1


def test_what_a_compiled_network_has_learned_is_seen(compilations):
    model = small_network(cr.SGD(lr=0.1))
    assert_outputs(model)
    network = cr.compile(model, cr.MSELoss())
    for _ in range(3):
        network.step(X[:10], X[:10])
        np.testing.assert_array_equal(outputs(model, X), network.predict(X))
    assert len(compilations) == 2


CHANGES = {
    "an option": lambda model: setattr(model[1], "negative_slope", 0.5),
    "a layer": lambda model: model.__setitem__(1, cr.Sigmoid()),
    "another layer": lambda model: model.append(cr.Tanh()),
    "a Parameter": lambda model: setattr(model[0], "bias", cr.Parameter(np.arange(8.0))),
    "no Parameter": lambda model: setattr(model[0], "bias", None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_the_model_is_obeyed(change):
    first, _, second = small_network()
    model = cr.Sequential(first, cr.LeakyReLU(), second)
    assert_outputs(model)
    before = outputs(model, X)
    change(model)
    assert_outputs(model)
    assert not np.array_equal(before, outputs(model, X))


def test_an_attribute_that_is_gone_is_missed():
    model = small_network()
    assert_outputs(model)
    del model[0].bias
    with pytest.raises(AttributeError, match="bias"):
        outputs(model, X)


def test_arrays_of_another_kind_are_compiled_anew():
    model = small_network()
    assert_outputs(model)
    model.float()
    assert outputs(model, X) is None
    np.testing.assert_allclose(outputs(model, X.astype("float32")), model(X), rtol=1e-4, atol=1e-6)
    model.double()
    assert_outputs(model)
    model.to("torch")
    assert outputs(model, X) is None


def test_a_weight_of_another_shape_is_no_network_that_the_engine_knows():
    model = cr.Sequential(cr.Linear(2, 3, bias=False, dtype="float64", rng=0))
    assert_outputs(model)
    model[0].weight.value = model[0].weight.value.T.copy()  # as many numbers
    assert outputs(model, X) is None


def test_samples_of_another_shape_are_compiled_anew():
    model = cr.Sequential(cr.Flatten(), *small_network())
    assert_outputs(model)
    np.testing.assert_array_equal(outputs(model, X.reshape(300, 2, 1)), outputs(model, X))


def test_mode_and_masks_are_no_change(compilations):
    model = cr.Sequential(small_network(), cr.Dropout(0.5, rng=0))
    for mode in (True, False, True):
        model.train(mode)
        model[1].reseed(3, 0)
        assert_outputs(model)
    assert len(compilations) == 1


def test_a_model_that_nobody_holds_goes_and_its_network_with_it():
    model = cr.Residual(cr.Linear(2, 2, dtype="float64", rng=0))  # itself the layer of an op
    outputs(model, X)
    kept, there = weakref.ref(run._prepared[model]), weakref.ref(model)
    del model
    gc.collect()
    assert there() is None
    assert kept() is None


def test_large_networks_are_not_kept(monkeypatch):
    monkeypatch.setattr(run, "MOST_BYTES", 1000)
    model = small_network()
    assert_outputs(model)
    assert model not in run._prepared


def test_copies_and_pickles_have_networks_of_their_own():
    model = small_network()
    assert_outputs(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.param()[0].value[...] += 1
        assert_outputs(other)
    assert_outputs(model)


def test_threads_may_predict_at_once():
    model = small_network()
    expected = model(X)
    wrong = []

    def work():
        wrong.extend(1 for _ in range(100) if not np.allclose(cr.predict(model, X), expected, rtol=1e-12))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
