"""Parameters that are frozen or follow rules of their own on the engine, against the Python loop, which is the
specification."""

import copy
import pickle

import numpy as np
import pytest
from engine.drawn import Training, allowed, made, ruled_trainings
from hypothesis import assume, event, given, settings
from networks import bits, values

import chainrule as cr
from chainrule.engine import lower
from chainrule.engine.native import compile_plan

RTOL = 1e-10  # the design's promise for float64 after 50 steps
CHAOS = 5e-10  # where rounding alone may move more than this share of the numbers, equality says nothing
OPTIMIZERS = (
    "SGD(0.05)",
    "SGD(0.05, momentum=0.9, nesterov=True)",
    "Adam(0.01, amsgrad=True)",
    "AdamW(0.01)",
    "RMSprop(0.003, momentum=0.5, centered=True)",
    "Adagrad(0.05)",
    "Adafactor(0.02)",
    "Muon(0.01, adamw_lr_ratio=0.5)",
)
CONSTRAINTS = ("L1(0.05)", "L2(0.5)", "MaxNorm(0.4)", "UnitNorm()", "NonNegative()")

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.stack([X[:, 0] - X[:, 1], X[:, 2] ** 2], axis=1)


def build(dtype="float64"):
    """Wide enough for threads, and for weights that lie in every way."""
    return cr.Sequential(
        cr.Linear(3, 24, rng=0, dtype=dtype),
        cr.Tanh(),
        cr.Linear(24, 8, rng=1, dtype=dtype),
        cr.ReLU(),
        cr.Linear(8, 40, rng=2, dtype=dtype),
        cr.ReLU(),
        cr.Linear(40, 2, rng=3, dtype=dtype),
    )


def assert_same(found, expected, atol=1e-13):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=RTOL, atol=atol, err_msg=name)


# -- the same numbers


@settings(max_examples=300)
@given(ruled_trainings())
def test_parameters_losses_and_state_are_those_of_the_python_loop(training: Training):
    expected = training.run("python")
    floors = allowed(training, expected, np.finfo(np.float64).eps)
    shares = [
        floors[name] / np.max(np.abs(a)) for name, a in expected.items() if name.startswith("parameter") and a.any()
    ]
    assume(max(shares, default=0.0) < CHAOS)
    event(training.optimizer.removeprefix("Lookahead(").split("(")[0])
    event(f"{training.optimizer.startswith('Lookahead')} Lookahead")
    event(f"{training.optimizer.count('parameters')} groups, {bool(training.frozen)} frozen")
    found = training.run("native")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=RTOL, atol=floors[name], err_msg=name)


@pytest.mark.parametrize("constraint", [*CONSTRAINTS, "Mask"])
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_every_optimizer_under_every_constraint_on_both_loops(rule, constraint):
    found = []
    for engine, threads in (("python", 1), ("native", 1), ("native", 3)):
        model = build()
        weight = model[2].weight
        if constraint == "Mask":
            bound = cr.constraints.Mask(np.random.default_rng(1).uniform(size=weight.shape) > 0.5)
            optimizer = made(
                rule[:-1] + ", groups=[{'parameters': weight, 'constraint': bound}])", weight=weight, bound=bound
            )
        else:
            optimizer = made(f"{rule[:-1]}, constraint=constraints.{constraint})")
        cr.fit(
            model, cr.MSELoss(), (X, Y), epochs=8, batch_size=17, optimizer=optimizer, engine=engine, keep="last",
            threads=threads,
        )  # fmt: skip
        found.append(values(model))
        norms = np.linalg.norm(weight.value, axis=1)
        if constraint == "MaxNorm(0.4)":
            assert (norms <= 0.4 + 1e-12).all()
        if constraint == "UnitNorm()":
            np.testing.assert_allclose(norms, 1, rtol=1e-12)
        if constraint == "NonNegative()":
            assert min(value.min() for value in values(model).values()) >= 0
        if constraint == "Mask":
            assert (weight.value[~bound.mask] == 0).all()
    assert_same(found[1], found[0])
    for name, value in found[1].items():
        np.testing.assert_array_equal(found[2][name], value, err_msg=name)


def test_l1_makes_exact_zeros_on_the_engine_where_it_does_in_python():
    found = []
    for engine in ("python", "native"):
        model = build()
        optimizer = cr.SGD(0.05, constraint=cr.constraints.L1(0.3))
        cr.fit(model, cr.MSELoss(), (X, Y), epochs=10, batch_size=20, optimizer=optimizer, engine=engine, keep="last")
        found.append({name: value == 0 for name, value in values(model).items()})
    assert sum(zeros.sum() for zeros in found[0].values()) > 20
    for name, zeros in found[0].items():
        np.testing.assert_array_equal(found[1][name], zeros)


@pytest.mark.parametrize("frozen", [(), (0, 1), (0, 2, 4, 6), (1, 3, 5, 7), (2,), (6, 7), (0, 1, 2, 3, 4, 5), range(8)])
@pytest.mark.parametrize("batch_size", [1, 20])
@pytest.mark.parametrize("rule", ["SGD(0.02)", "SGD(0.02, clip_norm=0.1)", "Adam(0.003)"])
def test_what_is_frozen_stays_on_the_engine_and_the_rest_moves_as_in_python(rule, batch_size, frozen):
    found = []
    for engine, threads in (("python", 1), ("native", 1), ("native", 3)):
        model = build()
        before = [parameter.value.copy() for parameter in model.param()]
        for i in frozen:
            model.param()[i].trainable = False
        optimizer = made(rule)
        cr.fit(
            model, cr.MSELoss(), (X, Y), epochs=2, batch_size=batch_size, optimizer=optimizer, engine=engine,
            keep="last", threads=threads,
        )  # fmt: skip
        for i, (parameter, value) in enumerate(zip(model.param(), before, strict=True)):
            assert (parameter.value == value).all() == (i in frozen)
            if i in frozen:
                assert not optimizer.state.get(parameter)
        found.append(values(model))
    assert_same(found[1], found[0])
    assert_same(found[2], found[1], atol=0)


def test_groups_keep_states_of_their_own_which_each_side_goes_on_from():
    """In one group RMSprop keeps three arrays, in the other two others, and outside one; some steps each way."""
    ends = []
    for engines in (["python"] * 4, ["native"] * 4, ["python", "native", "python", "native"]):
        model = build()
        groups = [
            {"parameters": model[0], "momentum": 0.5, "centered": True},
            {"parameters": [model[2].weight, model[6]], "momentum": 0.3},
        ]
        optimizer = cr.RMSprop(0.002, groups=groups)
        for engine in engines:
            cr.fit(
                model, cr.MSELoss(), (X, Y), epochs=2, batch_size=20, optimizer=optimizer, engine=engine, keep="last"
            )
        found = {
            f"{i} {name}": array
            for i, parameter in enumerate(model.param())
            for name, array in optimizer.state[parameter].items()
        }
        ends.append(values(model) | found)
    assert sum(name.endswith("grad_avg") for name in ends[0]) == 2
    assert sum(name.endswith("momentum_buffer") for name in ends[0]) == 5
    for end in ends[1:]:
        assert end.keys() == ends[0].keys()
        assert_same(end, ends[0])


def test_every_group_has_its_own_schedule_and_history_shows_the_optimizers():
    ends = []
    for engine in ("python", "native"):
        model = build()
        groups = [
            {"parameters": model[0], "lr": cr.ExponentialLR(0.05, 0.9, every="step")},
            {"parameters": model[2], "lr": 0.01},
            {"parameters": [model[4], model[6]], "lr": cr.ReduceLROnPlateau(0.1, factor=0.5, patience=0)},
        ]
        optimizer = cr.SGD(cr.StepLR(0.5, 2, 0.5), groups=groups)
        history = cr.fit(
            model, cr.MSELoss(), (X, Y), epochs=7, batch_size=13, optimizer=optimizer, engine=engine, keep="last"
        )
        assert history.learning_rates == [0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]
        ends.append((values(model), [group.current_lr for group in optimizer.groups]))
    assert_same(ends[1][0], ends[0][0])
    assert ends[1][1] == pytest.approx(ends[0][1])


# -- compile


def by_hand(model, optimizer, steps, before_step=lambda i: None):
    loss = cr.MSELoss()
    for i in range(steps):
        before_step(i)
        x, target = X[i * 10 % 50 :][:10], Y[i * 10 % 50 :][:10]
        y, saved = model.forward(x)
        _, saved_loss = loss.forward(y, target)
        model.zero_grad()
        model.backward(loss.backward(1.0, saved_loss), saved)
        optimizer.step(model.param())


def ruled(model, kind=cr.Adam):
    model[2].freeze()
    groups = [
        {"parameters": model[0], "lr": cr.LinearLR(0.02, total_iters=7, every="step"), "maximize": True},
        {"parameters": [model[4].weight], "constraint": cr.constraints.MaxNorm(0.5), "weight_decay": 0.1},
    ]
    return kind(0.01, groups=groups, clip_norm=1.0)


@pytest.mark.parametrize("kind", [cr.Adam, cr.SGD])
def test_steps_of_a_compiled_network_are_those_of_a_loop_by_hand(kind):
    model, twin = build(), build()
    optimizer, rule = ruled(model, kind), ruled(twin, kind)
    network = cr.compile(model, cr.MSELoss(), optimizer, batch_size=16)

    def change(i, rule=rule):
        if i == 5:
            rule.groups[1].lr = 0.001
        if i == 8:
            rule.lr = 0.002

    for i in range(12):
        change(i, optimizer)
        network.step(X[i * 10 % 50 :][:10], Y[i * 10 % 50 :][:10])
    by_hand(twin, rule, 12, change)
    assert_same(values(model), values(twin))
    assert optimizer.steps == 12


def test_update_goes_by_the_same_rules_as_step():
    model, twin = build(), build()
    network, other = (cr.compile(m, cr.MSELoss(), ruled(m), batch_size=16) for m in (model, twin))
    for _ in range(5):
        network.step(X[:10], Y[:10])
        y = other.forward(X[:10])
        other.zero_grad()
        other.backward(2 * (y - Y[:10]) / Y[:10].size, input=False)
        other.update()
    assert_same(values(twin), values(model))


def test_backward_gives_dx_through_what_is_frozen_and_leaves_its_gradients_alone():
    model = build()
    expected = {}
    y, saved = model.forward(X[:10])
    model.zero_grad()
    dy = np.random.default_rng(1).normal(size=y.shape)
    dx = model.backward(dy, saved)
    expected = [parameter.grad.copy() for parameter in model.param()]
    for frozen in [(), (0, 1), (2,), (3,), (0, 1, 2, 3, 4, 5), range(8)]:
        for i, parameter in enumerate(model.param()):
            parameter.trainable = i not in frozen
            parameter.grad[...] = 7
        network = cr.compile(model, batch_size=16)
        network.forward(X[:10])
        np.testing.assert_allclose(network.backward(dy), dx, rtol=RTOL, atol=1e-14)
        for i, (parameter, grad) in enumerate(zip(model.param(), expected, strict=True)):
            np.testing.assert_allclose(parameter.grad, 7 if i in frozen else 7 + grad, rtol=RTOL, atol=1e-14)


CHANGED = {
    "frozen": ("parameter 0 was trainable .* is frozen now; compile it again", lambda m, o: m[0].freeze()),
    "thawed": ("parameter 2 was frozen .* is trainable now; compile it again", lambda m, o: m[2].unfreeze()),
    "a group's option": ("weight_decay=0.2.* now", lambda m, o: setattr(o.groups[0], "weight_decay", 0.2)),
    "maximize": ("maximize=True.* now", lambda m, o: setattr(o, "maximize", True)),
    "a constraint": ("constraints were others", lambda m, o: setattr(o, "constraint", cr.constraints.L1(0.1))),
    "another mask": (
        "constraints were others",
        lambda m, o: setattr(o.groups[1], "constraint", cr.constraints.Mask(np.zeros((40, 8)))),
    ),
    "no groups": ("the optimizer was .* now", lambda m, o: setattr(o, "groups", ())),
}


@pytest.mark.parametrize(("message", "change"), CHANGED.values(), ids=CHANGED)
def test_what_was_changed_has_to_be_compiled_again(message, change):
    model = build()
    optimizer = ruled(model)
    network = cr.compile(model, cr.MSELoss(), optimizer, batch_size=16)
    network.step(X[:10], Y[:10])
    before = bits(model)
    change(model, optimizer)
    with pytest.raises(ValueError, match=message):
        network.step(X[:10], Y[:10])
    assert bits(model) == before
    cr.compile(model, cr.MSELoss(), optimizer, batch_size=16).step(X[:10], Y[:10])


def test_other_groups_that_are_alike_have_to_be_compiled_again_too():
    """Their learning rates are what is asked for."""
    model = build()
    optimizer = ruled(model)
    network = cr.compile(model, cr.MSELoss(), optimizer, batch_size=16)
    optimizer.groups = tuple(reversed(copy.copy(optimizer.groups)))
    network.step(X[:10], Y[:10])  # the same groups
    optimizer.groups = ruled(model).groups
    with pytest.raises(ValueError, match=r"rule 0 of the optimizer was .* compile it again"):
        network.step(X[:10], Y[:10])


def test_a_copy_of_a_compiled_network_has_what_is_frozen_and_the_groups():
    model = build()
    network = cr.compile(model, cr.MSELoss(), ruled(model), batch_size=16)
    network.step(X[:10], Y[:10])
    again = pickle.loads(pickle.dumps(network))
    assert [network.step(X[:10], Y[:10]) for _ in range(3)] == [again.step(X[:10], Y[:10]) for _ in range(3)]


def test_a_mask_of_another_shape_is_refused_before_anything_is_changed():
    model = build()
    before = bits(model)
    optimizer = cr.SGD(0.1, constraint=cr.constraints.Mask(np.ones((2, 2))))
    for run in (
        lambda: cr.compile(model, cr.MSELoss(), optimizer),
        lambda: cr.fit(model, cr.MSELoss(), (X, Y), optimizer=optimizer, epochs=1),
    ):
        with pytest.raises(ValueError, match=r"Mask: a parameter must be \(2, 2\) like the mask, got"):
            run()
    assert bits(model) == before


class OwnConstraint(cr.constraints.L1):
    """A subclass may do anything."""


def test_a_constraint_of_the_users_own_runs_in_python():
    model = build()
    optimizer = cr.SGD(0.1, constraint=OwnConstraint(0.1))
    history = cr.fit(model, cr.MSELoss(), (X, Y), epochs=1, optimizer=optimizer)
    assert history.engine == "python, as the engine does not know OwnConstraint"
    with pytest.raises(ValueError, match="does not know OwnConstraint"):
        cr.compile(model, cr.MSELoss(), optimizer)


# -- many, and what is printed


@pytest.mark.parametrize(
    "rule", ["Adam(0.01, constraint=constraints.UnitNorm())", "Adafactor(0.01)", "Lookahead(Muon(0.01), 3)"]
)
def test_many_networks_that_are_partly_frozen_train_as_alone(rule):
    options = {"epochs": 4, "batch_size": 20, "keep": "last"}
    optimizer = made(rule)
    for seed, result in enumerate(
        cr.fit_many(build_for_many, cr.MSELoss(), (X, Y), optimizer=optimizer, seeds=3, **options)
    ):
        alone = build_for_many(seed)
        own = copy.deepcopy(optimizer)
        cr.fit(alone, cr.MSELoss(), (X, Y), optimizer=own, seed=seed, threads=1, engine="native", **options)
        assert bits(result.model) == bits(alone)
        np.testing.assert_array_equal(result.model[0].weight.value, build_for_many(seed)[0].weight.value)


def build_for_many(seed):
    model = cr.Sequential(cr.Linear(3, 9, rng=seed), cr.Tanh(), cr.Linear(9, 2, rng=seed + 50))
    model[0].freeze()
    return model


def test_a_plan_shows_what_is_frozen_and_the_rules():
    model = build()
    optimizer = ruled(model)
    model[6].bias.trainable = False
    plan = lower(model, cr.MSELoss(), optimizer, sample_shape=(3,), batch=10)
    lines = str(plan).splitlines()
    assert [line.split()[-1] for line in lines[2:9:2]] == ["0", "frozen", "2", "2"]
    assert lines[4].rstrip().endswith("frozen")
    assert lines[6].rstrip().endswith("rules 1 and 2")
    assert lines[8].rstrip().endswith("2 of them frozen, rule 2")
    assert lines[-4:-1] == [
        "    rule 0  Adam(lr=LinearLR(lr=0.02, total_iters=7, every='step'), maximize=True)",
        "    rule 1  Adam(lr=0.01, weight_decay=0.1, constraint=MaxNorm(0.5))",
        "    rule 2  the optimizer's own",
    ]
    assert lines[-1].startswith("float64, 738 parameters (202 frozen), ")


def test_a_plan_shows_what_goes_around_the_rules_and_what_vectors_decay_by():
    optimizer = cr.Lookahead(cr.Muon(0.01, adamw_weight_decay=0.5), k=2)
    plan = lower(build(), cr.MSELoss(), optimizer, sample_shape=(3,), batch=10)
    assert str(plan).splitlines()[-4:-1] == [
        "    Lookahead(Muon(lr=0.01, adamw_weight_decay=0.5), k=2)",
        "    rule 0  the optimizer's own",
        "    rule 1  the optimizer's own, weight_decay=0.5",
    ]


def test_adafactor_takes_less_memory_than_adam():
    """Of a matrix the means of its rows and columns, and room for the step of the largest one."""
    model = cr.Sequential(*(cr.Linear(64, 64, bias=False, rng=i) for i in range(6)))
    plans = [lower(model, cr.MSELoss(), rule, sample_shape=(64,), batch=1) for rule in (cr.Adam(), cr.Adafactor())]
    adam, adafactor = (compile_plan(plan).bytes for plan in plans)
    saved = (2 * 6 - 1) * 64 * 64 * 4
    assert saved - 6 * 4096 < adam - adafactor < saved


def test_operations_leave_out_what_is_frozen_and_what_lies_before():
    model = build()
    for layer in (model[0], model[2], model[4]):
        layer.freeze()
    plan = lower(model, cr.MSELoss(), cr.SGD(0.1), sample_shape=(3,), batch=10)
    products = 2 * 10 * np.array([3 * 24, 24 * 8, 8 * 40, 40 * 2])
    assert plan.flops_per_step == products.sum() + products[-1]  # forward, and one gradient
    model[2].unfreeze()
    plan = lower(model, cr.MSELoss(), cr.SGD(0.1), sample_shape=(3,), batch=10)
    assert plan.flops_per_step == products.sum() + products[1] + products[2] + 2 * products[3]
    model[2].bias.trainable, model[2].weight.trainable = True, False
    plan = lower(model, cr.MSELoss(), cr.SGD(0.1), sample_shape=(3,), batch=10)
    assert plan.flops_per_step == products.sum() + products[2] + 2 * products[3]
