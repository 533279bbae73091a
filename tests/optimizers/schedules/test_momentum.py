"""Momentum that a schedule cycles: which rules have one, what a step does with it, and who refuses it."""

import copy
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule import optimizers

MOMENTA = [0.9, 0.5, 0.0, 0.7, 0.25, 0.0, 0.8]


class Waves(cr.Schedule):
    """A constant learning rate, and another momentum at every step, or epoch."""

    def __init__(self, lr, momenta=MOMENTA, *, every="step"):
        super().__init__(lr, every=every)
        self.momenta = momenta

    def after(self, lr, t):
        return lr

    def momentum_at(self, *, steps, epochs):
        return self.momenta[self.time(steps=steps, epochs=epochs) % len(self.momenta)]


RULES = {
    "SGD": lambda lr, m: cr.SGD(lr, momentum=m),
    "dampening": lambda lr, m: cr.SGD(lr, momentum=m, dampening=0.3, weight_decay=0.1),
    "nesterov": lambda lr, m: cr.SGD(lr, momentum=m or 0.1, nesterov=True),
    "RMSprop": lambda lr, m: cr.RMSprop(lr, momentum=m),
    "centered": lambda lr, m: cr.RMSprop(lr, momentum=m, centered=True),
    "Adam": lambda lr, m: cr.Adam(lr, betas=(m, 0.99)),
    "AdamW": lambda lr, m: cr.AdamW(lr, betas=(m, 0.99), amsgrad=True),
}
each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


EXPORTED = [kind for kind in map(vars(optimizers).get, optimizers.__all__) if isinstance(kind, type)]
EXPORTED = [kind for kind in EXPORTED if issubclass(kind, cr.Optimizer) and kind not in (cr.Optimizer, cr.Lookahead)]


def set_momentum(optimizer, momentum):
    if hasattr(optimizer, "betas"):
        optimizer.betas = (momentum, optimizer.betas[1])
    else:
        vars(optimizer)["momentum"] = momentum  # past the look at it: nesterov itself has to begin with more than 0


def network(seed=0):
    return cr.Sequential(cr.Linear(3, 4, rng=seed, dtype="float64"), cr.Tanh(), cr.Linear(4, 1, rng=1, dtype="float64"))


X = np.random.default_rng(0).normal(size=(32, 3))
DATA = (X, X[:, :1])


@pytest.mark.parametrize("kind", EXPORTED)
def test_every_rule_goes_by_it_or_refuses_it(kind):
    try:
        kind(lr=Waves(0.05))
    except ValueError as refusal:
        assert "must leave the momentum alone" in str(refusal)  # noqa: PT017 - some refuse, others do not
    else:
        test_each_step_goes_by_the_momentum_of_the_schedule(lambda lr, momentum: kind(lr=lr))


@each_rule
def test_each_step_goes_by_the_momentum_of_the_schedule(rule):
    waves, by_hand = rule(Waves(0.05), 0.3), rule(0.05, 0.3)
    ours, theirs = (cr.Parameter(np.arange(6.0).reshape(2, 3)) for _ in range(2))
    for t in range(3 * len(MOMENTA)):
        momentum = MOMENTA[t % len(MOMENTA)]
        assert waves.current_momentum == momentum
        set_momentum(by_hand, momentum)
        assert by_hand.current_momentum == momentum
        for parameter in (ours, theirs):
            parameter.grad[...] = np.sin(parameter.value + t)
        waves.step([ours])
        by_hand.step([theirs])
        np.testing.assert_array_equal(ours.value, theirs.value)


@each_rule
def test_a_rule_without_a_momentum_of_its_own_remembers_what_the_schedule_brings(rule):
    optimizer = rule(Waves(0.05, [0.5]), 0.0)
    parameter, other = cr.Parameter(np.ones(2)), cr.Parameter(np.ones(2))
    parameter.grad[...] = other.grad[...] = 1.0
    optimizer.step([parameter])
    assert tuple(name for name in optimizer.state[parameter] if name != "step") == optimizer.state_names()
    fresh = rule(Waves(0.05, [0.5]), 0.0)
    other.value[...] = parameter.value
    fresh.load_state_dict([other], optimizer.state_dict([parameter]))
    optimizer.step([parameter])
    fresh.step([other])
    np.testing.assert_array_equal(parameter.value, other.value)


@each_rule
def test_a_schedule_may_bring_momentum_in_the_midst_and_take_it_along(rule):
    optimizer, parameter = rule(0.05, 0.0), cr.Parameter(np.ones(2))
    before = optimizer.current_momentum
    for rate in (0.05, Waves(0.05), 0.05):
        optimizer.lr = rate
        for _ in range(3):
            parameter.grad[...] = parameter.value
            optimizer.step([parameter])
    assert optimizer.current_momentum == before
    assert np.isfinite(parameter.value).all()


def test_none_is_the_momentum_of_the_optimizer():
    optimizer = cr.SGD(Waves(0.1, [0.5, None]), momentum=0.75)
    assert [optimizer.momentum_at(steps=steps, epochs=0) for steps in range(3)] == [0.5, 0.75, 0.5]
    assert cr.SGD(cr.StepLR(0.1, 3), momentum=0.75).current_momentum == 0.75
    assert cr.Adagrad().current_momentum == 0


def test_a_schedule_around_one_that_cycles_leaves_the_momentum_to_it():
    around = cr.StepLR(cr.ReduceLROnPlateau(Waves(0.1)), 3)
    assert around.cycles_momentum()
    assert around.momentum_at(steps=3, epochs=0) == 0.7
    assert not cr.StepLR(0.1, 3).cycles_momentum()


def test_momentum_counts_for_each_network_by_itself():
    optimizer, first, second = cr.SGD(Waves(0.1, every="epoch")), network(), network(5)
    for model, epochs, expected in ((first, 3, 0.7), (second, 1, 0.5), (first, 1, 0.25)):
        cr.fit(model, cr.MSELoss(), DATA, epochs=epochs, optimizer=optimizer)
        assert optimizer.current_momentum == expected


def test_copies_go_on_where_the_schedule_was():
    optimizer, model = cr.Adam(Waves(0.01)), network()
    cr.fit(model, cr.MSELoss(), DATA, epochs=2, batch_size=8, optimizer=optimizer)
    copies = copy.deepcopy((model, optimizer)), pickle.loads(pickle.dumps((model, optimizer)))
    expected = cr.fit(model, cr.MSELoss(), DATA, epochs=2, batch_size=8, optimizer=optimizer).losses
    for other, rule in copies:
        assert cr.fit(other, cr.MSELoss(), DATA, epochs=2, batch_size=8, optimizer=rule).losses == expected


@each_rule
def test_a_run_from_a_checkpoint_has_the_bits_of_a_whole_one(rule, tmp_path):
    def run(epochs, **options):
        optimizer = rule(Waves(0.01), 0.0)
        return cr.fit(model, cr.MSELoss(), DATA, epochs=epochs, batch_size=8, optimizer=optimizer, **options)

    model = network()
    whole, weights = run(5), model.state_dict()
    for epochs in (2, 5):
        model = network()
        history = run(epochs, checkpoint=tmp_path / "run", resume=True)
    assert history.losses == whole.losses
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, weights[name])


class Sign(cr.Optimizer):
    """A rule of one's own that has no momentum."""

    def update(self, parameter, state, lr):
        parameter.value -= lr * np.sign(parameter.grad)


@pytest.mark.parametrize("kind", [cr.Adagrad, Sign])
def test_a_rule_that_has_no_momentum_refuses_to_have_it_cycled(kind):
    message = rf"{kind.__name__}: lr must leave the momentum alone, .*: cycle_momentum=False; got StepLR\(lr=Waves"
    with pytest.raises(ValueError, match=message):
        kind(lr=cr.StepLR(Waves(0.1), 3))
    optimizer = kind(lr=0.5)
    with pytest.raises(ValueError, match=message):
        optimizer.lr = cr.StepLR(Waves(0.1), 3)
    assert optimizer.lr == 0.5


# -- on the engine


def told(optimizer):
    """Whether the engine takes its momentum from step to step."""
    return not getattr(optimizer, "dampening", 0)


@each_rule
@pytest.mark.parametrize("every", ["step", "epoch"])
@pytest.mark.parametrize("own", [0.0, 0.3])
def test_the_engine_goes_by_the_momentum_of_the_schedule_as_python_does(rule, every, own):
    ends = []
    for engine in ("python", "native"):
        optimizer, model = rule(Waves(0.01, every=every), own), network()
        if not told(optimizer):
            with pytest.raises(ValueError, match="a momentum that Waves may bring to 0, with dampening"):
                cr.fit(model, cr.MSELoss(), DATA, epochs=2, optimizer=optimizer, engine="native")
            return
        cr.fit(
            model, cr.MSELoss(), DATA, epochs=5, batch_size=9, optimizer=optimizer, engine=engine, keep="last",
            callbacks=[lambda run: None],
        )  # fmt: skip
        found = model.state_dict()
        for i, parameter in enumerate(model.param()):
            found |= {f"{i} {name}": array for name, array in optimizer.state[parameter].items()}
        ends.append(found)
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-10, atol=1e-13, err_msg=name)


CYCLES = {
    "one cycle": lambda: cr.OneCycleLR(0.05, total_steps=18),
    "cyclic": lambda: cr.CyclicLR(0.01, 0.05, step_size_up=3),
    "chained": lambda: cr.ExponentialLR(cr.CyclicLR(0.01, 0.05, step_size_up=2, base_momentum=0.3), 0.9, every="step"),
    "after another": lambda: cr.SequentialLR(
        [cr.ConstantLR(0.02, every="step"), cr.OneCycleLR(0.05, total_steps=9)], milestones=[5], every="step"
    ),
}


@pytest.mark.parametrize("lr", CYCLES.values(), ids=CYCLES)
def test_a_momentum_that_never_stops_is_cycled_with_dampening_too(lr):
    ends = []
    for engine in ("python", "native"):
        model, optimizer = network(), cr.SGD(lr(), momentum=0.5, dampening=0.3)
        options = {"epochs": 5, "batch_size": 9, "keep": "last", "engine": engine}
        cr.fit(model, cr.MSELoss(), DATA, optimizer=optimizer, **options)
        ends.append(model.state_dict())
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize(
    ("lr", "own"),
    [
        (cr.OneCycleLR(0.05, total_steps=18, base_momentum=0.0), 0.5),
        (cr.StepLR(cr.CyclicLR(0.01, 0.05, max_momentum=0.5, base_momentum=0.0), 3, every="step"), 0.5),
        (cr.SequentialLR([cr.StepLR(0.1, 2, every="step"), cr.CyclicLR(0.1, 0.2)], [3], every="step"), 0.0),
    ],
)
def test_one_that_may_stop_is_refused_with_dampening(lr, own):
    with pytest.raises(ValueError, match=f"a momentum that {type(lr).__name__} may bring to 0, with dampening"):
        cr.compile(network(), cr.MSELoss(), cr.SGD(lr, momentum=own, dampening=0.3))


def test_groups_cycle_momenta_of_their_own():
    ends = []
    for engine in ("python", "native"):
        model = network()
        groups = [{"parameters": model[0], "lr": Waves(0.02)}, {"parameters": model[2].bias, "momentum": 0.6}]
        optimizer = cr.SGD(cr.StepLR(0.05, 2), momentum=0.1, groups=groups)
        cr.fit(model, cr.MSELoss(), DATA, epochs=5, batch_size=9, optimizer=optimizer, engine=engine, keep="last")
        ends.append(model.state_dict())
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-10, atol=1e-13, err_msg=name)


def test_fit_many_goes_by_it_too():
    options = {"epochs": 2, "batch_size": 8, "optimizer": cr.Adam(Waves(0.1))}
    for result in cr.fit_many(network, cr.MSELoss(), DATA, seeds=2, **options):
        alone = cr.fit(network(result.seed), cr.MSELoss(), DATA, seed=result.seed, **options)
        assert result.history.losses == alone.losses


@pytest.mark.parametrize("own", [0.0, 0.5])
def test_a_callback_may_set_such_a_schedule_and_take_it_away(own):
    def cycle(run):
        if run.history.epochs == 2:
            run.optimizer.lr = Waves(0.01)
        if run.history.epochs == 4:
            run.optimizer.lr = 0.02

    ends = []
    for engine in ("python", "native"):
        model, options = network(), {"callbacks": [cycle], "engine": engine, "keep": "last"}
        cr.fit(model, cr.MSELoss(), DATA, epochs=6, batch_size=8, optimizer=cr.SGD(0.1, momentum=own), **options)
        ends.append(model.state_dict())
    for name, value in ends[0].items():
        np.testing.assert_allclose(ends[1][name], value, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("rule", [lambda lr: cr.SGD(lr, momentum=0.5), cr.Adam, lambda lr: cr.SGD(lr)])
def test_a_compiled_network_asks_before_every_step(rule):
    model, twin = network(), network()
    optimizer, by_hand, loss = rule(Waves(0.01)), rule(Waves(0.01)), cr.MSELoss()
    compiled = cr.compile(model, loss, optimizer)
    for _ in range(10):
        compiled.step(*DATA)
        y, saved = twin.forward(X)
        _, saved_loss = loss.forward(y, DATA[1])
        twin.zero_grad()
        twin.backward(loss.backward(1.0, saved_loss), saved)
        by_hand.step(twin.param())
    for name, value in twin.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], value, rtol=1e-10, atol=1e-13, err_msg=name)


def test_a_schedule_that_brings_a_momentum_where_there_was_none_is_compiled_anew():
    for own in (0.5, 0.0):
        optimizer = cr.SGD(0.1, momentum=own)
        compiled = cr.compile(network(), cr.MSELoss(), optimizer)
        compiled.step(*DATA)
        optimizer.lr = Waves(0.1)
        if own == 0:
            with pytest.raises(ValueError, match=r"keeps_momentum=False.*keeps_momentum=True.*compile it again"):
                compiled.step(*DATA)
        else:
            compiled.step(*DATA)
        optimizer.lr = 0.1
        compiled.step(*DATA)
