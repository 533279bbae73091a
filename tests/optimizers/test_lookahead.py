"""Lookahead against its formula, written out here, and at every door."""

import copy
import json
import pickle

import numpy as np
import pytest
from cases import LIBRARIES, array, numpy
from hypothesis import given
from hypothesis import strategies as st
from networks import bits, small_network, values

import chainrule as cr
from chainrule.files.description import build_rule, describe_rule

INNER = {
    "sgd": lambda: cr.SGD(lr=0.1),
    "momentum": lambda: cr.SGD(lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda: cr.Adam(lr=0.05, amsgrad=True),
    "adamw": lambda: cr.AdamW(lr=0.05),
    "rmsprop": lambda: cr.RMSprop(lr=0.01, centered=True),
    "clipped": lambda: cr.Adagrad(lr=0.1, clip_norm=0.5),
    "schedule": lambda: cr.SGD(lr=cr.StepLR(0.2, step_size=3, gamma=0.5, every="step"), momentum=0.5),
    "one cycle": lambda: cr.SGD(lr=cr.OneCycleLR(0.2, total_steps=100), momentum=0.9),
}
every_inner = pytest.mark.parametrize("inner", INNER)
TARGET = np.random.default_rng(1).normal(size=(3, 4))


def gradient(w):
    """Of half the squared distance from TARGET."""
    return w - TARGET


def start():
    return np.random.default_rng(0).normal(size=(3, 4))


def written_out(optimizer, w, k, alpha, steps):
    """Algorithm 1 of the paper: the fast weights by `optimizer`, the slow ones in NumPy."""
    fast, slow, course = cr.Parameter(w), w.copy(), []
    for t in range(1, steps + 1):
        fast.grad[...] = gradient(fast.value)
        optimizer.step([fast])
        if t % k == 0:
            slow = slow + alpha * (fast.value - slow)
            fast.value[...] = slow
        course.append(fast.value.copy())
    return course


@every_inner
@given(k=st.integers(1, 7), alpha=st.floats(0, 1), steps=st.integers(1, 25))
def test_every_step_is_that_of_the_formula(inner, k, alpha, steps):
    optimizer, parameter = cr.Lookahead(INNER[inner](), k=k, alpha=alpha), cr.Parameter(start())
    for expected in written_out(INNER[inner](), start(), k, alpha, steps):
        parameter.grad[...] = gradient(parameter.value)
        optimizer.step([parameter])
        np.testing.assert_allclose(parameter.value, expected, rtol=1e-12, atol=1e-13)
    assert optimizer.steps == optimizer.optimizer.steps == optimizer.state[parameter]["step"] == steps


@pytest.mark.parametrize("library", LIBRARIES)
def test_values_change_in_place_in_every_library(library):
    parameter = cr.Parameter(array(start(), library))
    optimizer, held = cr.Lookahead(cr.Adam(lr=0.05), k=2), parameter.value
    for expected in written_out(cr.Adam(lr=0.05), start(), 2, 0.5, 6):
        parameter.grad[...] = parameter.value - array(TARGET, library)
        optimizer.step([parameter])
        np.testing.assert_allclose(numpy(parameter.value), expected, rtol=1e-10)
    assert parameter.value is held


def test_a_step_forward_and_half_a_step_back_by_hand():
    parameter, optimizer = cr.Parameter(np.array([1.0])), cr.Lookahead(cr.SGD(lr=1.0), k=2, alpha=0.5)
    seen = []
    for _ in range(4):
        parameter.grad[...] = 1.0
        optimizer.step([parameter])
        seen.append(float(parameter.value[0]))
    assert seen == [0.0, 0.0, -1.0, -1.0]  # 1 → 0 → -1, half of the way back to 1: 0; → -1 → -2, half of it: -1


def test_each_parameter_counts_its_own_updates():
    one, other = cr.Parameter(np.zeros(1)), cr.Parameter(np.zeros(1))
    optimizer = cr.Lookahead(cr.SGD(lr=1.0), k=2, alpha=0.5)
    for parameters in ([one], [one, other], [one, other]):
        for parameter in parameters:
            parameter.grad[...] = 1.0
        optimizer.step(parameters)
    assert (float(one.value[0]), float(other.value[0])) == (-2.0, -1.0)
    optimizer.step([one, one])  # listed twice it is updated once
    assert optimizer.state[one]["step"] == 4


def test_groups_constraints_and_frozen_parameters_are_the_others():
    def make(lookahead):
        parameters = [cr.Parameter(start()), cr.Parameter(start()), cr.Parameter(start())]
        parameters[2].trainable = False
        group = {
            "parameters": parameters[1],
            "lr": cr.StepLR(0.05, 2, every="step"),
            "constraint": cr.constraints.NonNegative(),
        }
        inner = cr.Adam(lr=0.02, groups=[group])
        return parameters, cr.Lookahead(inner, k=3, alpha=0.3) if lookahead else inner

    (found, optimizer), (fast, inner) = make(True), make(False)
    slow = [parameter.value.copy() for parameter in fast]
    for t in range(1, 9):
        for parameter in found + fast:
            parameter.grad[...] = gradient(parameter.value)
        optimizer.step(found)
        inner.step(fast)
        for i, parameter in enumerate(fast):
            if t % 3 == 0:
                slow[i] = slow[i] + 0.3 * (parameter.value - slow[i])
                parameter.value[...] = slow[i]
            np.testing.assert_allclose(found[i].value, parameter.value, rtol=1e-12, atol=1e-14)
    assert found[2] not in optimizer.state
    np.testing.assert_array_equal(found[2].value, start())
    twins, other = make(True)
    other.load_state_dict(twins, optimizer.state_dict(found))
    assert repr(other.state_dict(twins)) == repr(optimizer.state_dict(found))


def test_parameters_of_16_bits_have_slow_weights_of_32():
    parameter = cr.Parameter(start().astype("float16"))
    optimizer = cr.Lookahead(cr.Adam(lr=0.01), k=2)
    for _ in range(4):
        parameter.grad[...] = gradient(parameter.value)
        optimizer.step([parameter])
    slow = optimizer.state[parameter]["slow"]
    assert slow.dtype == "float32"
    np.testing.assert_array_equal(parameter.value, slow.astype("float16"))


def test_what_are_no_parameters_changes_nothing():
    parameter, optimizer = cr.Parameter(np.ones(1)), cr.Lookahead(cr.SGD(lr=1.0))
    parameter.grad[...] = 1.0
    with pytest.raises(TypeError, match="expected Parameters"):
        optimizer.step([parameter, np.zeros(1)])
    assert (float(parameter.value[0]), optimizer.steps, dict(optimizer.state)) == (1.0, 0, {})


# -- what belongs to the other optimizer


def test_rate_schedule_and_counts_are_those_of_the_other():
    inner = cr.SGD(lr=cr.ReduceLROnPlateau(0.1, patience=0, factor=0.5))
    optimizer, parameter = cr.Lookahead(inner), cr.Parameter(np.ones(1))
    optimizer.step([parameter])
    for loss in (1.0, 2.0, 3.0):
        optimizer.end_epoch(loss)
    assert (optimizer.epochs, inner.epochs, optimizer.steps) == (3, 3, 1)
    assert optimizer.current_lr == inner.current_lr == pytest.approx(0.025)
    optimizer.lr = 0.3
    assert (inner.lr, optimizer.lr, optimizer.current_lr) == (0.3, 0.3, 0.3)
    with pytest.raises(ValueError, match="SGD: lr must be at least 0"):
        optimizer.lr = -1.0
    assert repr(optimizer) == "Lookahead(SGD(lr=0.3))"
    assert (optimizer.clip_norm, optimizer.momentum) == (None, 0.0)
    with pytest.raises(AttributeError, match="'SGD' object has no attribute 'betas'"):
        optimizer.betas  # noqa: B018


def test_a_schedule_counts_for_each_network_by_itself():
    optimizer = cr.Lookahead(cr.SGD(lr=cr.StepLR(0.4, step_size=1, gamma=0.5)))
    one, other = [cr.Parameter(np.zeros(1))], [cr.Parameter(np.zeros(1))]
    optimizer.turn_to(one)
    optimizer.step(one)
    optimizer.end_epoch()
    assert optimizer.current_lr == 0.2
    optimizer.turn_to(other)
    assert optimizer.current_lr == 0.4
    optimizer.turn_to(one)
    assert optimizer.current_lr == 0.2


def test_a_momentum_that_goes_round_is_the_others():
    inner = cr.SGD(lr=cr.OneCycleLR(0.2, total_steps=10), momentum=0.9)
    optimizer, parameter = cr.Lookahead(inner), cr.Parameter(np.ones(1))
    seen = []
    for _ in range(5):
        optimizer.step([parameter])
        seen.append(optimizer.current_momentum)
        assert optimizer.current_momentum == inner.current_momentum
    assert len(set(seen)) > 1
    assert cr.Lookahead(cr.Adam(betas=(0.8, 0.9))).current_momentum == 0.8


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: cr.Lookahead(0.1), TypeError, r"Lookahead: optimizer must be an optimizer, such as SGD\(lr=0.1\)"),
        (lambda: cr.Lookahead(cr.SGD), TypeError, "Lookahead: optimizer must be an optimizer"),
        (lambda: cr.Lookahead(cr.Lookahead(cr.SGD())), TypeError, "Lookahead: optimizer must be an optimizer"),
        (lambda: cr.Lookahead(cr.SGD(), k=0), ValueError, "Lookahead: k must be a positive integer, got 0"),
        (lambda: cr.Lookahead(cr.SGD(), alpha=1.1), ValueError, "Lookahead: alpha must be at least 0 and at most 1"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


# -- what is remembered


def data(n=60):
    x = np.random.default_rng(0).normal(size=(n, 2))
    return cr.Dataset(x, np.stack([x[:, 0] * x[:, 1], np.sin(x[:, 0])], axis=1))


def train(model, **options):
    how = {"epochs": 5, "batch_size": 8, "seed": 2, "keep": "last"} | options
    return cr.fit(model, cr.MSELoss(), data(), **how)


def state(model):
    return repr(model.optimizer.state_dict(model.param()))


@every_inner
def test_a_run_of_fit_is_the_loop_by_hand(inner):
    model, twin = small_network(cr.Lookahead(INNER[inner](), k=3)), small_network(cr.Lookahead(INNER[inner](), k=3))
    history = train(model, engine="python")
    for epoch in range(5):
        for x, target in data().batches(8, seed=2, epoch=epoch):
            y, saved = twin.forward(x)
            _, saved_loss = cr.MSELoss().forward(y, target)
            twin.zero_grad()
            twin.backward(cr.MSELoss().backward(1.0, saved_loss), saved)
            twin.optimize(twin.optimizer)
        twin.optimizer.end_epoch(history.losses[epoch])
    assert bits(model) == bits(twin)


@pytest.mark.parametrize("engine", ["python", "native"])
@every_inner
def test_a_run_that_is_resumed_ends_with_the_same_bits(inner, engine, tmp_path):
    whole = small_network(cr.Lookahead(INNER[inner](), k=3))
    history = train(whole, engine=engine)
    for epochs in range(1, 6):
        model = small_network(cr.Lookahead(INNER[inner](), k=3))
        resumed = train(model, epochs=epochs, checkpoint=tmp_path, resume=True, engine=engine)
    assert (bits(model), state(model), resumed.losses) == (bits(whole), state(whole), history.losses)


def numbers(model):
    """All that is there after training: the weights, what both remember, and the counts."""
    optimizer = model.optimizer
    kept = [
        {f"{i} {rule is optimizer} {name}": value for name, value in rule.state[parameter].items()}
        for i, parameter in enumerate(model.param())
        for rule in (optimizer, optimizer.optimizer)
    ]
    counts = {"steps": optimizer.steps, "epochs": optimizer.epochs}
    return {name: value for some in (values(model), counts, *kept) for name, value in some.items()}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("k", [1, 4, 100])
@every_inner
def test_either_loop_goes_on_from_where_the_other_one_was(inner, k):
    """Slices of one epoch, in which k updates are not yet over."""
    ends = []
    for engines in (["python"] * 4, ["native"] * 4, ["python", "native", "python", "native"]):
        model = small_network(cr.Lookahead(INNER[inner](), k=k, alpha=0.4))
        for seed, engine in enumerate(engines):
            assert train(model, epochs=1, seed=seed, engine=engine).engine.startswith(engine)
        ends.append(numbers(model))
    assert_close(ends[1], ends[0])
    assert_close(ends[2], ends[0])


@pytest.mark.parametrize("inner", ["sgd", "adam"])
def test_the_other_one_may_have_been_at_work_before(inner):
    """So each counts for itself; also where a network asks for it before the first step."""
    ends = []
    for engine in ("python", "native"):
        optimizer = INNER[inner]()
        model = small_network(optimizer)
        train(model, epochs=2, engine=engine)
        model = cr.Sequential(cr.Lookahead(optimizer, k=5), *model)
        if engine == "native":
            network = cr.compile(model, cr.MSELoss(), model.optimizer, batch_size=8)
            network.predict(data().x)
            assert not any(model.optimizer.state.values())
            model[0].weight.value[...] *= 1.5
        else:
            model[0].weight.value[...] *= 1.5
        train(model, epochs=1, engine=engine)
        ends.append(numbers(model))
    assert_close(ends[1], ends[0])


@every_inner
def test_steps_of_a_compiled_network_are_those_of_the_loop(inner):
    model, twin = small_network(cr.Lookahead(INNER[inner](), k=3)), small_network(cr.Lookahead(INNER[inner](), k=3))
    network, loss = cr.compile(model, cr.MSELoss(), batch_size=8), cr.MSELoss()
    x, target = data().x[:8], data().target[:8]
    for step in range(10):
        network.step(x, target)
        y, saved = twin.forward(x)
        twin.zero_grad()
        twin.backward(loss.backward(1.0, loss.forward(y, target)[1]), saved)
        twin.optimize()
        if step in (1, 6):  # looked at on the way
            assert_close(numbers(model), numbers(twin))
    assert_close(numbers(model), numbers(twin))
    model.optimizer.lr = twin.optimizer.lr = 0.01
    network.step(x, target)
    model.optimizer.k = 4
    with pytest.raises(ValueError, match=r"the optimizer was Lookahead\(k=3, alpha=0.5\) around .* compile it again"):
        network.step(x, target)


def test_a_callback_may_set_its_options():
    ends = []
    for engine in ("python", "native"):
        model = small_network(cr.Lookahead(cr.Adam(lr=0.05), k=3))

        def change(run):
            run.optimizer.k, run.optimizer.alpha = 2, 0.1 * run.history.epochs

        train(model, engine=engine, callbacks=[change])
        ends.append(numbers(model))
    assert_close(ends[1], ends[0])


@every_inner
def test_a_file_a_copy_and_a_pickle_go_on_as_if_nothing_had_been(inner, tmp_path):
    model = small_network(cr.Lookahead(INNER[inner](), k=4, alpha=0.7))
    train(model, epochs=2)
    model.save(tmp_path / "model.safetensors")
    twins = [cr.load(tmp_path / "model.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    train(model, epochs=2, seed=5)
    for twin in twins:
        assert type(twin.optimizer) is cr.Lookahead
        train(twin, epochs=2, seed=5)
        assert (bits(twin), state(twin)) == (bits(model), state(model))


@every_inner
def test_what_is_remembered_goes_to_another_of_its_kind(inner):
    one, other = cr.Lookahead(INNER[inner](), k=3), cr.Lookahead(INNER[inner](), k=3)
    parameters = [cr.Parameter(start()), cr.Parameter(start()[0])]
    for parameter in parameters:
        parameter.grad[...] = 0.5
    for _ in range(4):
        one.step(parameters[:1])
    kept = one.state_dict(parameters)
    assert kept["parameters"][1] == {}
    twins = copy.deepcopy(parameters)
    other.load_state_dict(twins, kept)
    assert repr(other.state_dict(twins)) == repr(kept)
    for _ in range(3):
        one.step(parameters)
        other.step(twins)
    for parameter, twin in zip(parameters, twins, strict=True):
        np.testing.assert_array_equal(parameter.value, twin.value)


def test_groups_of_the_other_go_with_files_copies_and_checkpoints(tmp_path):
    def make():
        model = small_network()
        group = {"parameters": model[2], "lr": cr.ExponentialLR(0.1, 0.9), "constraint": cr.constraints.MaxNorm(1.0)}
        inner = cr.Adam(lr=cr.StepLR(0.05, 2), groups=[group])
        return cr.Sequential(cr.Lookahead(inner, k=3), *model)

    whole = make()
    train(whole, epochs=4)
    for epochs in (1, 2, 3, 4):
        model = make()
        train(model, epochs=epochs, checkpoint=tmp_path, resume=True)
    assert (bits(model), state(model)) == (bits(whole), state(whole))
    model.save(tmp_path / "model.safetensors")
    twins = [cr.load(tmp_path / "model.safetensors"), copy.deepcopy(model)]
    train(model, epochs=2, seed=5)
    for twin in twins:
        train(twin, epochs=2, seed=5)
        assert (bits(twin), state(twin)) == (bits(model), state(model))


def test_a_state_that_is_none_of_its_changes_nothing():
    optimizer, parameters = cr.Lookahead(cr.Adam()), [cr.Parameter(start())]
    parameters[0].grad[...] = 1.0
    optimizer.step(parameters)
    kept = optimizer.state_dict(parameters)
    before = repr(kept)
    mine = kept["parameters"][0]
    for wrong in (
        {},
        [],
        {**kept, "parameters": []},
        {**kept, "parameters": [3]},
        {**kept, "parameters": [{**mine, "slow": np.zeros(2)}]},
        {**kept, "parameters": [{**mine, "step": -1}]},
        {**kept, "parameters": [{"step": 1, "optimizer": mine["optimizer"]}]},
        {**kept, "parameters": [{**mine, "optimizer": {"step": 1}}]},
        {**kept, "parameters": [{**mine, "optimizer": 3}]},
        {**kept, "steps": 0.5},
    ):
        with pytest.raises(ValueError, match="load_state_dict"):
            optimizer.load_state_dict(parameters, wrong)
        assert repr(optimizer.state_dict(parameters)) == before


def test_forgetting_begins_anew():
    optimizer, parameters = cr.Lookahead(cr.Adam(), k=2), [cr.Parameter(start()), cr.Parameter(start())]
    optimizer.step(parameters)
    optimizer.forget(parameters[:1])
    assert list(optimizer.state) == list(optimizer.optimizer.state) == parameters[1:]
    optimizer.forget()
    assert (optimizer.steps, len(optimizer.state), len(optimizer.optimizer.state)) == (0, 0, 0)


def test_a_run_that_diverges_forgets_the_slow_weights_too():
    model = small_network(cr.Lookahead(cr.SGD(lr=1e200)))
    before = values(model)
    with pytest.raises(FloatingPointError, match=r"too high for Lookahead\(SGD"):
        train(model)
    assert len(model.optimizer.state) == 0
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name])


# -- doors


@every_inner
def test_a_file_holds_its_options(inner):
    optimizer = cr.Lookahead(INNER[inner](), k=7, alpha=0.25)
    described = json.loads(json.dumps(describe_rule(optimizer)))
    assert repr(build_rule(described)) == repr(optimizer)
    assert repr(optimizer) == f"Lookahead({INNER[inner]()!r}, k=7, alpha=0.25)"


class Own(cr.Adam):
    """A subclass may do anything."""


class Further(cr.Lookahead):
    """A subclass may do anything."""


def test_the_engine_knows_no_subclass_and_c_none_at_all(tmp_path):
    for optimizer, name in ((Further(cr.SGD()), "Further"), (cr.Lookahead(Own()), "Own")):
        with pytest.raises(ValueError, match=f'engine="native" cannot run this: {name}'):
            train(small_network(optimizer), engine="native")
    with pytest.raises(ValueError, match="to_c: there is no C for Lookahead"):
        cr.to_c(small_network(cr.Lookahead(cr.SGD()), dtype="float32"), tmp_path, loss=cr.MSELoss())


def test_each_network_of_many_has_one_of_its_own():
    results = cr.fit_many(
        lambda: small_network(), cr.MSELoss(), data(), epochs=5, batch_size=8, seeds=[2, 3], keep="last",
        optimizer=cr.Lookahead(cr.Adam(lr=0.01), k=3),
    )  # fmt: skip
    for result in results:
        model = small_network(cr.Lookahead(cr.Adam(lr=0.01), k=3))
        train(model, seed=result.seed)
        assert bits(result.model) == bits(model)


def test_an_average_of_weights_goes_with_it():
    passed = []

    class Steps(cr.Lookahead):
        def step(self, parameters):
            super().step(parameters)
            passed.append([parameter.value.copy() for parameter in parameters])

    model = small_network(Steps(cr.SGD(lr=0.1), k=2))
    train(model, average=cr.SWA(0, 1, "step"))
    for parameter, column in zip(model.param(), zip(*passed, strict=True), strict=True):
        np.testing.assert_allclose(parameter.value, np.mean(column, axis=0), rtol=1e-10)
