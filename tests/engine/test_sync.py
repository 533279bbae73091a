"""Python and the engine see the same numbers, whoever changes them."""

import copy
import gc
import pickle
import sys
import threading
import weakref

import numpy as np
import pytest
from networks import bits, small_network, values

import chainrule as cr
from chainrule.engine.sync import newest

X, Y = np.random.default_rng(0).normal(size=(2, 6, 2))
RULES = {
    "SGD": lambda: cr.SGD(lr=0.1),
    "momentum": lambda: cr.SGD(lr=0.1, momentum=0.9),
    "dampening": lambda: cr.SGD(lr=0.1, momentum=0.9, dampening=0.5),
    "Adam": lambda: cr.Adam(lr=0.01),
    "amsgrad": lambda: cr.AdamW(lr=0.01, amsgrad=True),
    "RMSprop": lambda: cr.RMSprop(lr=0.001, centered=True, momentum=0.5),
    "NAdam": lambda: cr.NAdam(lr=0.01),
    "RAdam": lambda: cr.RAdam(lr=0.01, betas=(0.9, 0.9)),
    "Adamax": lambda: cr.Adamax(lr=0.01),
    "Adadelta": lambda: cr.Adadelta(),
    "Rprop": lambda: cr.Rprop(lr=0.01),
    "ASGD": lambda: cr.ASGD(lr=0.1, lambd=0.1, t0=1),
    "Adagrad": lambda: cr.Adagrad(lr=0.01, lr_decay=0.1, initial_accumulator_value=0.1),
}


def compiled(model, optimizer=None, **options):
    return cr.compile(model, cr.MSELoss(), optimizer or cr.SGD(lr=0.1), **options)


def step(model, optimizer, x=X, target=Y):
    """The same step in Python."""
    loss = cr.MSELoss()
    y, saved = model.forward(x)
    value, saved_loss = loss.forward(y, target)
    model.zero_grad()
    model.backward(loss.backward(1.0, saved_loss), saved)
    optimizer.step(model.param())
    return float(value)


def home(thing):
    """Read something, which brings all numbers from the engine into Python's arrays."""
    for parameter in thing.param() if isinstance(thing, cr.Module) else [thing]:
        assert parameter.value is not None


def assert_same(model, twin, steps):
    """Equal to what the rounding of so many steps on 6 rows and layers of 8 leaves."""
    for name, value in values(twin).items():
        floor = steps * (6 + 8) * np.finfo(np.float64).eps * max(1.0, abs(value).max())
        np.testing.assert_allclose(values(model)[name], value, rtol=1e-12, atol=floor, err_msg=name)


# -- parameters


SET = {
    "an element": lambda parameter: parameter.value.__setitem__((0, 0), 0.5),
    "all in place": lambda parameter: parameter.value.__imul__(0.5),
    "another array": lambda parameter: setattr(parameter, "value", np.full(parameter.shape, 0.1)),
    "another order of memory": lambda parameter: setattr(parameter, "value", np.full(parameter.shape[::-1], 0.1).T),
}


@pytest.mark.parametrize("change", SET.values(), ids=SET)
def test_what_is_set_between_two_steps_is_what_the_next_step_uses(change):
    model, twin = small_network(), small_network()
    network, optimizer = compiled(model, cr.Adam(lr=0.01)), cr.Adam(lr=0.01)
    for _ in range(3):
        for net in (model, twin):
            change(net[0].weight)
        assert network.step(X, Y) == pytest.approx(step(twin, optimizer), rel=1e-13)
        np.testing.assert_allclose(network.predict(X), twin(X), rtol=1e-12)
    assert_same(model, twin, 3)


def test_load_state_dict_is_seen_by_the_next_call():
    model, other = small_network(), small_network(seed=1)
    network = compiled(model)
    network.step(X, Y)
    model.load_state_dict(other.state_dict())
    np.testing.assert_allclose(network.predict(X), other(X), rtol=1e-13)


def test_what_is_read_after_a_step_is_what_it_wrote():
    model, twin = small_network(), small_network()
    network, optimizer = compiled(model), cr.SGD(lr=0.1)
    for steps in range(1, 4):
        network.step(X, Y)
        step(twin, optimizer)
        assert_same(model, twin, steps)
        np.testing.assert_allclose(model(X), network.predict(X), rtol=1e-13)


def test_a_python_step_and_a_compiled_step_may_alternate():
    model, twin = small_network(), small_network()
    optimizer, twins = cr.Adam(lr=0.01), cr.Adam(lr=0.01)
    network = compiled(model, optimizer)
    for i in range(6):
        network.step(X, Y) if i % 2 else step(model, optimizer)
        step(twin, twins)
    assert_same(model, twin, 6)
    assert optimizer.steps == 6


def test_two_compiled_objects_on_one_model_take_turns():
    model, twin = small_network(), small_network()
    optimizer, twins = cr.Adam(lr=0.01), cr.Adam(lr=0.01)
    networks = [compiled(model, optimizer), compiled(model, optimizer)]
    for i in range(7):
        networks[i % 3 % 2].step(X, Y)
        step(twin, twins)
        np.testing.assert_allclose(networks[1].predict(X), twin(X), rtol=1e-12)
    assert_same(model, twin, 7)
    assert optimizer.steps == 7


def test_networks_that_share_a_layer_see_each_others_steps():
    shared = cr.Linear(2, 2, dtype="float64", rng=0)
    one = cr.Sequential(shared, cr.Tanh(), cr.Linear(2, 2, dtype="float64", rng=1))
    two = cr.Sequential(shared, cr.Tanh(), cr.Linear(2, 2, dtype="float64", rng=2))
    twins = copy.deepcopy((one, two))
    networks = [compiled(one), compiled(two)]
    for _ in range(3):
        for network, twin in zip(networks, twins, strict=True):
            network.step(X, Y)
            step(twin, cr.SGD(lr=0.1))
    assert_same(one, twins[0], 6)
    assert_same(two, twins[1], 6)


def test_fit_continues_where_steps_ended_and_steps_where_fit_did():
    model, twin = small_network(), small_network()
    optimizer, twins = cr.Adam(lr=0.01), cr.Adam(lr=0.01)
    network = compiled(model, optimizer)
    options = {"epochs": 2, "batch_size": 6, "shuffle": False, "keep": "last"}
    for _ in range(2):
        network.step(X, Y)
        cr.fit(model, cr.MSELoss(), (X, Y), optimizer=optimizer, engine="native", **options)
        step(twin, twins)
        cr.fit(twin, cr.MSELoss(), (X, Y), optimizer=twins, engine="python", **options)
    assert_same(model, twin, 6)
    assert optimizer.steps == 6


# -- gradients


def test_gradients_gather_over_backward_passes_and_are_read_and_set_from_python():
    model, twin = small_network(), small_network()
    network = cr.compile(model)
    dy = np.random.default_rng(1).normal(size=Y.shape)
    for i in range(3):
        for net in (model, twin):
            if i == 2:
                net[0].weight.grad[...] = 1.5
        network.forward(X)
        dx = network.backward(dy)
        _, saved = twin.forward(X)
        np.testing.assert_allclose(dx, twin.backward(dy, saved), rtol=1e-12, atol=1e-15)
        for parameter, other in zip(model.param(), twin.param(), strict=True):
            np.testing.assert_allclose(parameter.grad, other.grad, rtol=1e-12, atol=1e-14)
    network.zero_grad()
    assert not any(parameter.grad.any() for parameter in model.param())


def test_zero_grad_of_the_model_is_seen_by_the_engine():
    model = small_network()
    network = cr.compile(model)
    network.forward(X)
    network.backward(Y)
    once = model[0].weight.grad.copy()
    model.zero_grad()
    network.forward(X)
    network.backward(Y)
    np.testing.assert_array_equal(model[0].weight.grad, once)


# -- what no longer fits


def test_a_parameter_of_another_shape_is_refused_by_both_shapes():
    model = small_network()
    network = compiled(model)
    network.step(X, Y)
    model[0].weight.value = np.zeros((8, 3))
    for call in (lambda: network.step(X, Y), lambda: network.predict(X), lambda: network.forward(X)):
        with pytest.raises(ValueError, match=r"parameter 0 was a float64 \(8, 2\) array .* is float64 \(8, 3\) now"):
            call()
    model[0].weight.value = np.zeros((8, 2))
    network.step(X, Y)  # and as it was, it goes on


@pytest.mark.parametrize("value", [np.zeros((8, 2), int), np.zeros((8, 2), bool), [[0.0, 0.0]] * 8, 0.0, None])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_what_holds_no_floating_point_numbers_is_no_value(value, is_compiled):
    model, twin = small_network(), small_network()
    network = compiled(model) if is_compiled else None
    if network:
        network.step(X, Y)
        step(twin, cr.SGD(lr=0.1))
    with pytest.raises(TypeError, match=r"Parameter.value: must be an array of floating-point numbers, got .*convert"):
        model[0].weight.value = value
    assert_same(model, twin, 1)


def test_a_parameter_of_another_dtype_is_refused():
    model = small_network()
    network = compiled(model)
    network.step(X, Y)
    model[0].weight.value = np.zeros((8, 2), "float32")
    with pytest.raises(ValueError, match=r"parameter 0 was a float64 .* compile it again"):
        network.step(X, Y)


def test_a_gradient_that_does_not_fit_is_refused_as_one():
    model = small_network()
    network = compiled(model)
    network.step(X, Y)
    for grad in (None, np.zeros((8, 3)), np.zeros((8, 2), "float32")):
        model[0].weight.grad = grad
        with pytest.raises(ValueError, match=r"^the gradient of parameter 0 was a float64 \(8, 2\) array"):
            network.step(X, Y)
    model[0].weight.grad = np.zeros((8, 2))
    network.step(X, Y)


def test_a_parameter_that_became_a_memory_map_is_refused_as_one(tmp_path):
    model = small_network()
    network = compiled(model)
    network.step(X, Y)
    model[0].weight.value = np.memmap(tmp_path / "numbers", dtype="float64", shape=(8, 2), mode="w+")
    with pytest.raises(ValueError, match=r"and is a memmap, float64 \(8, 2\) now; compile it again"):
        network.step(X, Y)


def test_parameters_that_share_memory_are_trained_in_python():
    """There an update of one is seen by the other; the engine keeps the numbers of each in a place of its own."""

    def made():
        model = cr.Sequential(
            cr.Linear(2, 2, dtype="float64", rng=0), cr.Tanh(), cr.Linear(2, 2, dtype="float64", rng=1)
        )
        whole = np.linspace(-0.5, 0.5, 10)
        return model, whole

    rows = np.lib.stride_tricks.as_strided
    overlapping = {
        "the same": lambda whole: (whole[:4].reshape(2, 2), whole[:4].reshape(2, 2)),
        "a part": lambda whole: (whole[:4].reshape(2, 2), whole[2:6].reshape(2, 2)),
        "one with itself": lambda whole: (rows(whole, (2, 2), (0, 8)), whole[4:8].reshape(2, 2)),
    }
    for weights in overlapping.values():
        found = []
        for engine in ("python", "auto"):
            model, whole = made()
            model[0].weight.value, model[2].weight.value = weights(whole)
            data = {"epochs": 3, "batch_size": 3, "keep": "last", "optimizer": cr.SGD(lr=0.1)}
            history = cr.fit(model, cr.MSELoss(), (X, Y), engine=engine, **data)
            found.append(bits(model))
        assert found[0] == found[1]
        assert history.engine == "python, as the engine does not know parameters that share memory"
        with pytest.raises(ValueError, match="compile: the engine does not know parameters that share memory"):
            compiled(model)
        np.testing.assert_allclose(cr.compile(model).predict(X), model(X), rtol=1e-12)  # which updates nothing
    apart = {
        "halves": lambda whole: (whole[:4].reshape(2, 2), whole[4:8].reshape(2, 2)),
        "every other": lambda whole: (whole[:8:2].reshape(2, 2), whole[1:9:2].reshape(2, 2)),
    }
    for weights in apart.values():
        model, whole = made()
        twin, other = made()
        model[0].weight.value, model[2].weight.value = weights(whole)
        twin[0].weight.value, twin[2].weight.value = weights(other)
        network = compiled(model)
        for _ in range(3):
            network.step(X, Y)
            step(twin, cr.SGD(lr=0.1))
        np.testing.assert_allclose(whole, other, rtol=1e-12)


def test_a_model_in_another_dtype_has_to_be_compiled_again():
    model = small_network()
    network = compiled(model)
    network.step(X, Y)
    model.float()
    with pytest.raises(ValueError, match=r"is float32 \(8, 2\) now; compile it again"):
        network.step(X, Y)
    assert model[0].weight.value.dtype == np.float32
    assert np.isfinite(compiled(model).step(X.astype("float32"), Y.astype("float32")))


CHANGED = {
    "a layer appended": ("op 3 was nothing .* is ReLU() now", lambda net, loss, rule: net.append(cr.ReLU())),
    "a layer replaced": (
        "op 1 was Tanh() .* is LeakyReLU(negative_slope=0.01) now",
        lambda net, loss, rule: net.__setitem__(1, cr.LeakyReLU()),
    ),
    "a layer removed": (
        "op 1 was Tanh() .* is Linear() with parameters 2, 3 now",
        lambda net, loss, rule: setattr(net, "layers", (net[0], net[2])),
    ),
    "a Linear replaced": (
        "parameter 2 was Parameter(2, 8) float64 .* is another one now",
        lambda net, loss, rule: net.__setitem__(2, cr.Linear(8, 2, dtype="float64", rng=0)),
    ),
    "a Parameter replaced": (
        "parameter 1 was Parameter(8,) float64 .* is another one now",
        lambda net, loss, rule: setattr(net[0], "bias", cr.Parameter(np.zeros(8))),
    ),
    "a bias removed": (
        "op 2 was Linear() with parameters 2, 3 .* is Linear() with parameters 2 now",
        lambda net, loss, rule: setattr(net[2], "bias", None),
    ),
    "an unknown layer": (
        "the model was changed after compile: the engine does not know Linear",
        lambda net, loss, rule: net.append(cr.Linear(3, 3)),
    ),
    "a loss": ("the loss was MSELoss(mean=True", lambda net, loss, rule: setattr(loss, "reduction", "sum")),
    "momentum": ("the optimizer was SGD(.*momentum=0.9,", lambda net, loss, rule: setattr(rule, "momentum", 0.5)),
    "weight decay": ("SGD(.*weight_decay=0.5,.* now;", lambda net, loss, rule: setattr(rule, "weight_decay", 0.5)),
    "clipping": ("clip_norm=0.5,.* now", lambda net, loss, rule: setattr(rule, "clip_norm", 0.5)),
    "nesterov": ("nesterov=True.* now", lambda net, loss, rule: setattr(rule, "nesterov", True)),
    "the optimizer": (
        "the optimizer was SGD(lr=0.1, momentum=0.9) .* is SGD(lr=0.5, momentum=0.9) now",
        lambda net, loss, rule: setattr(net, "optimizer", cr.SGD(lr=0.5, momentum=0.9)),
    ),
}


@pytest.mark.parametrize(("message", "change"), CHANGED.values(), ids=CHANGED)
def test_what_was_changed_has_to_be_compiled_again(message, change):
    model, loss = small_network(cr.SGD(lr=0.1, momentum=0.9)), cr.MSELoss()
    network = cr.compile(model, loss)
    network.step(X, Y)
    change(model, loss, model.optimizer)
    for call in (lambda: network.step(X, Y), lambda: network.predict(X), lambda: network.forward(X)):
        with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
            call()
    assert all(np.isfinite(parameter.value).all() for parameter in model.param())  # they came home before


def test_options_of_a_layer_that_were_changed_have_to_be_compiled_again():
    model = cr.Sequential(cr.Linear(2, 2, rng=0), cr.Sequential(cr.LeakyReLU(0.5)), cr.Dropout(0.5))
    network = cr.compile(model)
    x = X.astype("float32")
    for layer, name, value in ((model[1][0], "negative_slope", 0.25), (model[2], "p", 0.25), (model[2], "p", 0)):
        before = getattr(layer, name)
        setattr(layer, name, value)
        with pytest.raises(ValueError, match=r"was .* when the network was compiled, and is .* now; compile it again"):
            network.predict(x)
        setattr(layer, name, before)
        np.testing.assert_allclose(network.predict(x), model(x), rtol=1e-6)  # and as it was, it goes on


def test_what_changes_no_program_needs_no_compiling():
    model = cr.Sequential(cr.Linear(2, 8, rng=0), cr.Dropout(0.5, rng=0), cr.Linear(8, 2, rng=1))
    loss, optimizer = cr.MSELoss(), cr.SGD(lr=0.1)
    network = cr.compile(model, loss, optimizer)
    model.eval().train()
    model.note = "mine"
    optimizer.lr, optimizer.epochs, optimizer.clip_norm = 0.01, 3, None
    loss.reduction = "mean"
    x, y = X.astype("float32"), Y.astype("float32")
    cr.fit(model, loss, (x, y), optimizer=optimizer, epochs=1)
    network.step(x, y)
    assert optimizer.steps == 2


def test_a_copy_of_the_model_is_not_the_one_that_was_compiled():
    model = small_network()
    network = compiled(model)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied.append(cr.ReLU())
        copied[0].weight = cr.Parameter(np.zeros((8, 2)))
    network.step(X, Y)


# -- the optimizer's state


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_state_is_handed_over_both_ways(rule):
    """Native, Python, native continues to the numbers of one run."""
    model, twin = small_network(), small_network()
    optimizer, twins = rule(), rule()
    network = compiled(model, optimizer)
    for _ in range(2):
        for _ in range(3):
            network.step(X, Y)
        for _ in range(3):
            step(model, optimizer)
    network.step(X, Y)
    for _ in range(13):
        step(twin, twins)
    assert_same(model, twin, 13)
    assert optimizer.steps == twins.steps == 13
    for parameter, other in zip(model.param(), twin.param(), strict=True):
        assert optimizer.state[parameter].keys() == twins.state[other].keys()
        for name, array in twins.state[other].items():
            np.testing.assert_allclose(
                optimizer.state[parameter][name], array, rtol=1e-12, atol=13 * 14 * 2.3e-16, err_msg=name
            )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_fit_hands_state_over_both_ways(rule):
    found = []
    for engines in (("python", "python", "python"), ("native", "python", "native")):
        model, optimizer = small_network(), rule()
        for seed, engine in enumerate(engines):
            cr.fit(
                model,
                cr.MSELoss(),
                (X, Y),
                epochs=3,
                batch_size=4,
                optimizer=optimizer,
                seed=seed,
                engine=engine,
                keep="last",
            )
        assert (optimizer.steps, optimizer.epochs) == (18, 9)
        found.append((model, optimizer.state_dict(model.param())))
    (twin, expected), (model, state) = found
    assert_same(model, twin, 18)
    for kept, other in zip(state["parameters"], expected["parameters"], strict=True):
        assert kept.keys() == other.keys()


def test_load_state_dict_of_an_optimizer_is_what_the_next_step_uses():
    model, twin = small_network(), small_network()
    optimizer, twins = cr.Adam(lr=0.01), cr.Adam(lr=0.01)
    for _ in range(3):
        step(twin, twins)
    network = compiled(model, optimizer)
    network.step(X, Y)
    model.load_state_dict(twin.state_dict())
    optimizer.load_state_dict(model.param(), twins.state_dict(twin.param()))
    network.step(X, Y)
    step(twin, twins)
    assert_same(model, twin, 4)
    assert optimizer.steps == 4


def test_the_count_of_steps_is_right_whenever_it_is_read():
    optimizer = cr.Adam(lr=0.01)
    network = compiled(small_network(), optimizer)
    network.step(X, Y)
    network.step(X, Y)
    assert optimizer.steps == 2


def test_the_state_of_the_optimizer_is_right_whenever_it_is_read():
    model, optimizer = small_network(), cr.Adam(lr=0.01)
    network = compiled(model, optimizer)
    network.step(X, Y)
    state = optimizer.state_dict(model.param())
    assert [kept.get("step") for kept in state["parameters"]] == [1, 1, 1, 1]
    assert state["steps"] == 1


def test_an_optimizer_that_forgets_starts_again():
    model, twin = small_network(), small_network()
    optimizer, twins = cr.SGD(lr=0.1, momentum=0.9), cr.SGD(lr=0.1, momentum=0.9)
    network = compiled(model, optimizer)
    for _ in range(2):
        network.step(X, Y)
        step(twin, twins)
        for rule in (optimizer, twins):
            rule.forget()
    network.step(X, Y)
    step(twin, twins)
    assert_same(model, twin, 3)


def test_a_callback_reads_the_right_count_of_steps():
    seen = []
    cr.fit(
        small_network(),
        cr.MSELoss(),
        (X, Y),
        epochs=3,
        batch_size=4,
        optimizer=cr.Adam(lr=0.01),
        engine="native",
        callbacks=[lambda run: seen.append(run.optimizer.steps)],
    )
    assert seen == [2, 4, 6]


def test_networks_that_share_an_optimizer_share_its_count():
    """With a schedule of steps, each network's learning rate depends on the steps of the other."""
    rate = cr.LinearLR(0.4, total_iters=9, every="step")
    models, twins = [small_network(), small_network(seed=1)], [small_network(), small_network(seed=1)]
    optimizer, other = cr.SGD(lr=rate, momentum=0.9), cr.SGD(lr=rate, momentum=0.9)
    networks = [compiled(model, optimizer) for model in models]
    for i in (0, 0, 1, 0, 1, 1, 1, 0):
        networks[i].step(X, Y)
        step(twins[i], other)
    assert optimizer.steps == 8
    for model, twin in zip(models, twins, strict=True):
        assert_same(model, twin, 8)


def test_an_optimizer_forgets_the_parameters_of_models_that_are_gone():
    optimizer = cr.Adam(lr=0.01)
    network = compiled(small_network(), optimizer)
    network.step(X, Y)
    del network
    gc.collect()
    assert len(optimizer.state) == 0


def test_reading_the_count_from_another_thread_loses_no_step():
    model, optimizer = small_network(), cr.Adam(lr=0.01)
    network, done, seen = compiled(model, optimizer), threading.Event(), [0]
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-6)

    def read():
        while not done.is_set():
            seen.append(optimizer.steps)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(2000):
        network.step(X, Y)
    done.set()
    thread.join()
    sys.setswitchinterval(before)
    assert seen == sorted(seen)
    assert optimizer.steps == optimizer.state[model[0].weight]["step"] == 2000


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_copies_of_an_optimizer_count_the_steps_of_compiled_networks(copied):
    model, optimizer = small_network(), cr.Adam(lr=0.01)
    network = compiled(model, optimizer)
    network.step(X, Y)
    other, parameters = copied((optimizer, model.param()))
    assert (other.steps, [other.state[parameter]["step"] for parameter in parameters]) == (1, [1] * 4)
    network.step(X, Y)
    assert (other.steps, optimizer.steps) == (1, 2)


# -- the learning rate


def test_the_learning_rate_may_be_set_between_steps():
    model, twin = small_network(), small_network()
    optimizer, twins = cr.SGD(lr=0.1), cr.SGD(lr=0.1)
    network = compiled(model, optimizer)
    for lr in (0.1, 0.5, cr.ExponentialLR(0.1, 0.5, every="step"), cr.StepLR(0.2, 1), 0.0, 0.3):
        optimizer.lr = twins.lr = lr
        for _ in range(2):
            network.step(X, Y)
            step(twin, twins)
    assert_same(model, twin, 12)


def test_schedules_count_steps_and_epochs_of_loops_written_by_hand():
    rate = cr.LinearLR(cr.StepLR(0.4, 1, 0.5), total_iters=7, every="step")
    model, twin = small_network(), small_network()
    optimizer, twins = cr.SGD(lr=rate), cr.SGD(lr=rate)
    network = compiled(model, optimizer)
    for epoch in range(3):
        for _ in range(4):
            network.step(X, Y)
            step(twin, twins)
            if epoch == 1:
                home(model)  # whoever owns the numbers, the count goes on
        optimizer.end_epoch()
        twins.end_epoch()
    assert_same(model, twin, 12)


# -- copies


def test_copies_of_a_compiled_model_are_as_the_last_step_left_it():
    model, twin = small_network(cr.Adam(lr=0.01)), small_network()
    network, optimizer = compiled(model, model.optimizer), cr.Adam(lr=0.01)
    for _ in range(3):
        network.step(X, Y)
        step(twin, optimizer)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert bits(copied) == bits(model)
        before = bits(model)
        step(copied, copied.optimizer)
        assert bits(model) == before  # a copy goes its own way
        assert bits(copied) != before
    assert_same(model, twin, 3)
    network.step(X, Y)
    step(twin, optimizer)
    assert_same(model, twin, 4)


def test_a_pickled_network_is_rebuilt_with_its_numbers():
    model = small_network(cr.Adam(lr=0.01))
    network = compiled(model, model.optimizer, batch_size=6)
    for _ in range(3):
        network.step(X, Y)
    for copied in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        np.testing.assert_array_equal(copied.predict(X), network.predict(X))
        losses = [copied.step(X, Y) for _ in range(3)]
        assert copied.plan.optimizer is not model.optimizer
        home(copied.plan.parameters[0])
        assert copied.plan.optimizer.steps == 6
        assert losses[1] < losses[0]
    again = [network.step(X, Y) for _ in range(3)]
    assert again == losses  # the same moments, so the same bits


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_of_a_network_goes_on_with_its_masks(copied):
    model = cr.Sequential(cr.Linear(2, 50, dtype="float64", rng=0), cr.Dropout(0.5, rng=0))
    network = cr.compile(model, seed=3)
    network.forward(X)
    other = copied(network)
    for _ in range(2):
        np.testing.assert_array_equal(other.forward(X), network.forward(X))


def test_a_model_outlives_its_compiled_network():
    model, twin = small_network(), small_network()
    network = compiled(model)
    network.step(X, Y)
    step(twin, cr.SGD(lr=0.1))
    del network
    gc.collect()
    assert_same(model, twin, 1)


def test_the_memory_of_a_network_goes_back_with_its_last_user():
    """At once: until Python looks for cycles, dozens of large networks would wait for it."""
    model, seen = small_network(cr.Adam()), []
    gc.collect()
    gc.disable()
    try:
        network = compiled(model, model.optimizer)
        network.step(X, Y)
        seen.append(weakref.ref(model[0].weight.home))
        del network

        def look(run):
            seen.append(weakref.ref(run.model[0].weight.home))

        cr.fit(model, cr.MSELoss(), (X, Y), epochs=2, engine="native", callbacks=[look])
        assert len(seen) == 3
        assert all(home() is None for home in seen)
        step_alone = compiled(model, model.optimizer).step
        before = values(model)["0.weight"]
        step_alone(X, Y)  # a method that somebody keeps goes on, and hears of changes
        assert (values(model)["0.weight"] != before).any()
        model.optimizer.weight_decay = 0.5
        with pytest.raises(ValueError, match="compile it again"):
            step_alone(X, Y)
    finally:
        gc.enable()


def test_a_look_at_the_newest_value_leaves_it_with_the_engine():
    model = cr.Sequential(cr.SGD(lr=0.1), cr.Linear(2, 3, rng=0), cr.Linear(3, 1, rng=1))
    network = cr.compile(model, cr.MSELoss())
    x, target = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    before = newest(model[0].weight)
    network.step(x, target)
    seen = newest(model[0].weight)
    assert (seen != before).any()
    np.testing.assert_array_equal(seen, model[0].weight.value)
    seen[...] = 0  # a copy
    assert newest(model[0].weight).any()


# -- arrays that are held


VIEWS = {
    "the array": lambda value: value,
    "a row": lambda value: value[3],
    "its transpose": lambda value: value.T,
    "a view of a view": lambda value: value.T[::-1][:1],
    "a buffer": lambda value: np.asarray(memoryview(value)),
    "a tensor": lambda value: pytest.importorskip("torch").from_numpy(value),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_an_array_that_is_held_takes_part_in_every_step(view):
    """What is written there between steps counts, and what steps write is seen there, as in a Python loop."""
    model, twin = small_network(), small_network()
    network, optimizer = compiled(model, cr.Adam(lr=0.01)), cr.Adam(lr=0.01)
    network.step(X, Y)
    step(twin, optimizer)
    held, others = view(model[0].weight.value), view(twin[0].weight.value)
    for i in range(4):
        np.testing.assert_allclose(held, others, rtol=1e-12, atol=1e-14)
        if i % 2:
            held[...] = others[...] = 0.25
        assert network.step(X, Y) == pytest.approx(step(twin, optimizer), rel=1e-12)
    np.testing.assert_allclose(network.predict(X), twin(X), rtol=1e-12)
    held[...] = others[...] = -0.5
    np.testing.assert_allclose(network.predict(X), twin(X), rtol=1e-12)


def test_an_array_that_was_given_is_the_parameters_own():
    model, twin = small_network(), small_network()
    network, optimizer = compiled(model), cr.SGD(lr=0.1)
    mine, others = np.full((2, 8, 2), 0.1)
    model[0].weight.value, twin[0].weight.value = mine, others
    for _ in range(3):
        mine *= 2
        others *= 2
        assert network.step(X, Y) == pytest.approx(step(twin, optimizer), rel=1e-12)
        np.testing.assert_allclose(mine, others, rtol=1e-12)


def test_a_part_of_a_larger_array_is_watched_through_the_whole():
    model, twin = small_network(), small_network()
    network, optimizer = compiled(model), cr.SGD(lr=0.1)
    whole, other = np.full((2, 3, 8, 2), 0.1)
    model[0].weight.value, twin[0].weight.value = whole[1], other[1]
    for _ in range(3):
        network.step(X, Y)
        step(twin, optimizer)
        np.testing.assert_allclose(whole, other, rtol=1e-12)
        whole *= 0.5
        other *= 0.5
    np.testing.assert_allclose(network.predict(X), twin(X), rtol=1e-12)


def test_gradients_that_are_held_take_part_too():
    model, twin = small_network(), small_network()
    network = cr.compile(model)
    held, other = model[2].weight.grad, twin[2].weight.grad
    for _ in range(3):
        held += 0.5
        other += 0.5
        network.forward(X)
        network.backward(Y, input=False)
        _, saved = twin.forward(X)
        twin.backward(Y, saved)
        np.testing.assert_allclose(held, other, rtol=1e-12, atol=1e-14)


def test_state_that_is_held_takes_part_too():
    model, twin = small_network(), small_network()
    optimizer, twins = cr.SGD(lr=0.1, momentum=0.9), cr.SGD(lr=0.1, momentum=0.9)
    network = compiled(model, optimizer)
    network.step(X, Y)
    step(twin, twins)
    held, other = (rule.state[net[0].weight]["momentum_buffer"] for rule, net in ((optimizer, model), (twins, twin)))
    for _ in range(3):
        held *= 0.5
        other *= 0.5
        network.step(X, Y)
        step(twin, twins)
        np.testing.assert_allclose(held, other, rtol=1e-12, atol=1e-14)
    assert_same(model, twin, 4)


def test_what_nobody_holds_is_left_alone():
    model = small_network()
    network = compiled(model)
    network.step(X, Y)
    before = model[0].weight.value.copy()
    network.step(X, Y)
    assert (model[0].weight._value == before).all()  # the array is behind, and nobody sees it
    assert (model[0].weight.value != before).any()


def test_an_array_made_read_only_stays_as_it_is():
    model = small_network()
    network = compiled(model)
    network.step(X, Y)
    held = model[0].weight.value
    held.flags.writeable = False
    before = held.copy()
    network.step(X, Y)
    np.testing.assert_array_equal(held, before)
    assert (model[0].weight.value != before).any()
    model[0].weight.value[...] = 0
    assert not newest(model[0].weight).any()


def test_fit_keeps_arrays_that_are_held_up_to_date():
    found = []
    for engine in ("python", "native"):
        model = small_network(cr.SGD(lr=0.1))
        held = model[0].weight.value

        def halve(run, held=held):
            held[...] *= 0.5

        cr.fit(model, cr.MSELoss(), (X, Y), epochs=3, batch_size=3, callbacks=[halve], engine=engine, keep="last")
        np.testing.assert_array_equal(held, model[0].weight.value)
        found.append(values(model))
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-12, err_msg=name)


def test_state_dict_from_another_thread_is_of_one_step():
    """All parameters move by the same amount at each step, so a mixture of steps shows."""
    model = cr.Sequential(cr.Linear(1, 64, dtype="float64", rng=0), cr.Linear(64, 1, dtype="float64", rng=0))
    for parameter in model.param():
        parameter.value[...] = 0
    network, done, seen = cr.compile(model, cr.MSELoss(), cr.SGD(lr=1.0)), threading.Event(), []
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-6)

    def read():
        while not done.is_set():
            seen.append([array.flat[0] for array in model.state_dict().values()])

    network.predict(np.ones((1, 1)))  # from here on they live in one network
    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(3000):
        network.forward(np.ones((1, 1)))
        for parameter in model.param():
            parameter.grad[...] = -1
        network.update()
    done.set()
    thread.join()
    sys.setswitchinterval(before)
    assert len({row[0] for row in seen}) > 1
    assert all(len(set(row)) == 1 for row in seen)


def test_what_is_written_into_state_that_is_held_is_what_is_read_next():
    model, optimizer = small_network(), cr.Adam(lr=0.01)
    network = cr.compile(model, cr.MSELoss(), optimizer)
    network.step(X, Y)
    held = optimizer.state[model[0].weight]["exp_avg"]
    network.step(X, Y)
    held[...] = 0.25
    assert optimizer.state[model[0].weight]["exp_avg"] is held
    assert (held == 0.25).all()


def test_predict_writes_into_no_array_of_the_networks_own():
    model = cr.Sequential(cr.Linear(2, 2, dtype="float64", rng=0))
    network = cr.compile(model)
    held = model[0].weight.value
    for out in (held, held[:1], held.T):
        with pytest.raises((ValueError, TypeError), match=r"network's own|C-contiguous"):
            network.predict(X[: len(out)].copy(), out=out)
    out = np.empty((6, 2))
    assert network.predict(X, out=out) is out


@pytest.mark.parametrize("part", [lambda value: value, lambda value: value[::-1].T], ids=["all of it", "turned"])
def test_arrays_that_lie_in_each_other_are_refused_when_they_come(part):
    model = cr.Sequential(cr.Linear(8, 8, dtype="float64", rng=0), cr.Tanh(), cr.Linear(8, 8, dtype="float64", rng=1))
    network, x = compiled(model), np.ones((3, 8))
    network.step(x, x)
    model[2].weight.value = part(model[0].weight.value)
    with pytest.raises(ValueError, match="parameters that share memory"):
        network.step(x, x)
    model[2].weight.value = np.array(model[0].weight.value)  # a copy is an array of its own
    network.step(x, x)


def test_parts_of_one_array_that_do_not_touch_are_arrays_of_their_own():
    whole = np.zeros((8, 16))
    model = cr.Sequential(cr.Linear(8, 8, dtype="float64", rng=0), cr.Tanh(), cr.Linear(8, 8, dtype="float64", rng=1))
    twin = copy.deepcopy(model)
    network, optimizer, x = compiled(model), cr.SGD(lr=0.1), np.ones((3, 8))
    for net, array in ((model, whole), (twin, np.zeros((8, 16)))):
        net[0].weight.value, net[2].weight.value = array[:, ::2], array[:, 1::2]
        array += 0.1
    for _ in range(3):
        assert network.step(x, x) == pytest.approx(step(twin, optimizer, x, x), rel=1e-12)
    np.testing.assert_allclose(whole[:, ::2], twin[0].weight.value, rtol=1e-12)


def test_a_callback_that_ties_arrays_is_refused():
    def tie(run):
        run.model[2].weight.value = run.model[0].weight.value

    model = cr.Sequential(cr.Linear(8, 8, dtype="float64", rng=0), cr.Tanh(), cr.Linear(8, 8, dtype="float64", rng=1))
    x = np.ones((3, 8))
    with pytest.raises(ValueError, match=r'does not know parameters that share memory; engine="python" does'):
        cr.fit(model, cr.MSELoss(), (x, x), epochs=3, optimizer=cr.SGD(0.1), callbacks=[tie], engine="native")
