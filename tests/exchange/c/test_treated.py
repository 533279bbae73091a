"""Groups, maximize, constraints and frozen parameters in C: drawn ones against Python, and what is special to each."""

import re
import shutil
from functools import partial

import numpy as np
import pytest
from c_graphs import DrawnGraph
from c_programs import learner, selftests

import chainrule as cr
from chainrule.constraints import L1, L2, Constraint, Mask, MaxNorm, NonNegative, UnitNorm
from chainrule.engine.lower import lower
from chainrule.exchange.c import measure, to_c
from chainrule.exchange.c.optimizers import RULES
from chainrule.exchange.c.trajectory import BATCH, trajectory
from chainrule.structures import each, rebuild

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

# By the class of the optimizer: a learning rate, and options that a group may have for itself.
OPTIONS = {
    cr.SGD: (0.05, [{}, {"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}, {"weight_decay": 0.5}]),
    cr.Adam: (0.01, [{}, {"amsgrad": True}, {"betas": (0.0, 0.9), "decoupled_weight_decay": True}]),
    cr.AdamW: (0.01, [{}, {"betas": (0.5, 0.8), "eps": 0.1}, {"decay_biases": False}]),
    cr.RMSprop: (0.003, [{}, {"centered": True}, {"momentum": 0.9}, {"alpha": 0.9, "eps": 1e-4}]),
    cr.Adagrad: (0.05, [{}, {"lr_decay": 0.1}, {"initial_accumulator_value": 0.1}]),
    cr.NAdam: (0.01, [{}, {"betas": (0.8, 0.9)}, {"momentum_decay": 0.5}, {"betas": (0.8, 0.0)}]),
    cr.RAdam: (0.01, [{}, {"betas": (0.8, 0.8)}, {"betas": (0.0, 0.95), "decoupled_weight_decay": True}]),
    cr.Adamax: (0.01, [{}, {"betas": (0.0, 0.7), "eps": 1e-3}]),
    cr.Adadelta: (1.0, [{}, {"rho": 0.5, "eps": 1e-3}]),
    cr.Rprop: (0.01, [{}, {"etas": (0.3, 1.5), "step_sizes": (0.01, 0.11)}]),
    cr.ASGD: (0.05, [{}, {"lambd": 0.3, "alpha": 0.5, "t0": 0.5}]),
}
HOLDS = [partial(L1, 0.5), partial(L2, 0.5), partial(MaxNorm, 0.4), UnitNorm, NonNegative]
SEEDS = range(33)


class Treated(DrawnGraph):
    """A drawn network of which some parameters are frozen, and the others go by one to four rules."""

    def __init__(self, seed):
        super().__init__(seed)
        self.kind = list(OPTIONS)[seed % len(OPTIONS)]
        parameters = self.model.param()
        for parameter in parameters:
            parameter.trainable = self.rng.random() < 0.7
        parameters[self.rng.integers(len(parameters))].trainable = True
        groups, left = [], [parameters[i] for i in self.rng.permutation(len(parameters))]
        while len(left) > 1 and len(groups) < 3 and self.rng.random() < 0.8:
            n = self.rng.integers(1, len(left))
            own, left = left[:n], left[n:]
            mask = [Mask(self.rng.integers(2, size=own[0].shape))] if n == 1 and self.rng.random() < 0.7 else []
            groups.append({"parameters": own, **self.rule(mask)})
        self.optimizer = self.kind(**self.rule([]), groups=groups, clip_norm=self.one([None, 0.3]))
        heads = getattr(self.loss, "heads", {0: self.loss})
        classes = {name: loss.classes for name, loss in heads.items()} if len(heads) > 1 else self.loss.classes
        self.lowered = partial(lower, sample_shape=self.sample_shape, class_targets=classes)

    def rule(self, constraints):
        lr, options = OPTIONS[self.kind]
        found = {"lr": lr * self.rng.uniform(0.3, 1.0), **self.one(options), "maximize": self.rng.random() < 0.3}
        found["clip_value"] = self.one([None, None, 0.1])
        if self.kind is not cr.Rprop:
            found["weight_decay"] = self.one([0.0, 0.1])
        constraints = constraints + [make() for make in HOLDS if self.rng.random() < 0.25]
        found["constraint"] = [constraints[i] for i in self.rng.permutation(len(constraints))]
        return found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    networks = [Treated(seed) for seed in SEEDS]
    cases = [
        (one.model, {"sample_shape": one.sample_shape, "test_rows": 2 * BATCH - 1, "loss": one.loss,
                     "optimizer": one.optimizer}) for one in networks
    ]  # fmt: skip
    return networks, selftests(tmp_path_factory.mktemp("treated"), cases)


def test_drawn_networks_learn_what_python_does_under_the_sanitizers(drawn):
    _, done = drawn
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 training steps agree with Python") == len(SEEDS)


def test_the_drawn_networks_have_what_they_are_drawn_for(drawn):
    networks, _ = drawn
    counts = dict.fromkeys(["frozen", "products", "groups", "maximize", "several", *map(str, OPTIONS)], 0)
    counts |= dict.fromkeys((one.__name__ for one in Constraint.__subclasses__() if one.__module__.endswith("ints")), 0)
    for one in networks:
        plan = one.lowered(one.model, one.loss, one.optimizer)
        counts["frozen"] += -1 in plan.rule_of
        counts["products"] += any(op.parameters and not plan.is_trained(op.parameters[:1]) for op in plan.ops)
        counts["groups"] += len(set(plan.owners)) > 1
        counts["maximize"] += len({rule["maximize"] for rule in plan.rules}) > 1
        counts["several"] += any(len(owner.constraints) > 1 for owner in plan.owners)
        counts[str(one.kind)] += 1
        for name in {type(constraint).__name__ for owner in plan.owners for constraint in owner.constraints}:
            counts[name] += 1
    assert set(OPTIONS) == set(RULES)
    assert len(counts) == 5 + 11 + 6
    assert min(counts.values()) >= 3, counts


@pytest.mark.parametrize("seed", SEEDS)
def test_what_drawn_networks_are_compared_with_is_what_fit_does(seed):
    one, rng = Treated(seed), np.random.default_rng(seed)
    plan = one.lowered(one.model, one.loss, one.optimizer)
    x = rebuild(plan.x, [rng.normal(size=(7, *shape)).astype("f4") for shape in plan.x_shapes])
    expected = trajectory(one.model, plan, x)
    one.optimizer.forget()
    before = [parameter.value.copy() for parameter in plan.parameters]
    data = each(lambda part: part.astype("f8"), x), rebuild(plan.y, expected.target)
    options = {"epochs": 1, "batch_size": BATCH, "shuffle": False, "keep": "last", "engine": "python"}
    cr.fit(one.model.to(dtype="float64"), one.loss, data, optimizer=one.optimizer, **options)
    found = iter(expected.parameters[0])
    for parameter, old in zip(plan.parameters, before, strict=True):
        if parameter.trainable:
            np.testing.assert_allclose(next(found), parameter.value, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(parameter.value, old)
    assert next(found, None) is None


def network():
    """Two layers below that may be frozen, two above."""
    cr.seed(5)
    sizes = [(3, 6), (6, 5), (5, 4), (4, 2)]
    layers = [layer for n_in, n_out in sizes for layer in (cr.Linear(n_in, n_out), cr.Tanh())]
    return cr.Sequential(*layers[:-1])


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32)


def trained(model, optimizer, x, target, epochs, **options):
    """By the loop in Python, in float64, from the parameters on that the model has now."""
    optimizer.forget()
    options = {"batch_size": len(x), "shuffle": False, "keep": "last", "engine": "python"} | options
    cr.fit(model.to(dtype="float64"), cr.MSELoss(), (x, target), epochs=epochs, optimizer=optimizer, **options)
    return [parameter.value for parameter in model.param() if parameter.trainable]


def agree(c, expected, rtol=1e-4):
    for mine, value in zip(c.arrays("parameters"), expected, strict=True):
        np.testing.assert_allclose(mine, value, rtol=rtol, atol=1e-5)


def test_sixty_steps_by_all_of_it_end_where_fit_ends(tmp_path):
    model = network()
    model[0].freeze()
    model[4].weight.trainable = False
    groups = [
        {"parameters": model[2], "lr": 0.002, "constraint": [MaxNorm(0.5), L2(0.5)]},
        {"parameters": model[6].weight, "amsgrad": True, "constraint": [L1(0.02), Mask([[1, 0, 1, 1], [0, 1, 1, 1]])]},
        {"parameters": model[6].bias, "maximize": True, "lr": 1e-4, "weight_decay": 0.0},
    ]
    optimizer = cr.Adam(lr=0.01, weight_decay=0.01, clip_norm=0.5, groups=groups)
    x, target = rows(6)
    c = learner(tmp_path, model, cr.MSELoss(), optimizer)
    assert list(c.state.lr) == [np.float32(rate) for rate in (0.01, 0.002, 0.01, 1e-4)]
    for _ in range(60):
        c.step(x, target)
    agree(c, trained(model, optimizer, x, target, 60))


def test_the_learning_rate_of_a_group_counts_for_its_parameters_alone(tmp_path):
    model = network()
    optimizer = cr.SGD(lr=0.1, groups=[{"parameters": model[4], "lr": 0.3}, {"parameters": model[6], "lr": 0.2}])
    c = learner(tmp_path, model, cr.MSELoss(), optimizer)
    c.state.lr[0], c.state.lr[1] = 0.0, 0.5
    before = c.arrays("parameters")
    c.step(*rows(5))
    gradients, rates = c.arrays("gradients"), [0.0] * 4 + [0.5] * 2 + [0.2] * 2
    for w, gradient, after, lr in zip(before, gradients, c.arrays("parameters"), rates, strict=True):
        np.testing.assert_allclose(after, w - np.float32(lr) * gradient, rtol=1e-5, atol=1e-7)


def test_what_is_frozen_is_a_constant_and_backward_goes_no_further_down_than_it_has_to(tmp_path):
    whole, head = network(), network()
    for layer in head[:-1]:
        layer.freeze()
    sources, stacks = {}, {}
    for name, model in (("whole", whole), ("head", head)):
        to_c(model, tmp_path, name=name, loss=cr.MSELoss(), optimizer=cr.Adam())
        sources[name] = (tmp_path / f"{name}.c").read_text()
        header = (tmp_path / f"{name}.h").read_text()
        stacks[name] = int(re.search(r"about (\d+) bytes of stack, however", header)[1])
        assert f"#define {name.upper()}_PARAMETERS {sum(p.size for p in model.param() if p.trainable)}\n" in header
    assert "93 parameters, 372 bytes; 83 of them are frozen, and no part of the state." in header
    learn = {name: text.split("_learn(")[1] for name, text in sources.items()}
    assert {name: text.count("_linear_backward(") for name, text in learn.items()} == {"whole": 4, "head": 1}
    assert "tanh_backward" not in sources["head"]
    assert [int(i) for i in re.findall(r"head_parameter_(\d)\[", sources["head"])] == [0, 1, 2, 3, 4, 5]
    assert re.findall(r"HEAD_PARAMETER_(\d) = (\d+)", sources["head"]) == [("6", "0"), ("7", "8")]
    # The values that the way back reads, and two more; of the head its input and output, and two values below them.
    assert stacks == {"whole": 4 * (6 + 5 + 4 + 2 + 6 + 5), "head": 4 * (4 + 2 + 6 + 5)}
    assert measure(tmp_path, "head").state == 4 * (4 * 10 + 2)


def test_clipping_by_norm_asks_nobody_who_is_frozen(tmp_path):
    model, (x, target) = network(), rows(4)
    model[0].freeze()
    model[2].bias.trainable = False
    c = learner(tmp_path, model, cr.MSELoss(), cr.SGD(lr=0.1, clip_norm=0.01))
    c.step(x, target)
    norm = np.sqrt(sum((gradient**2).sum() for gradient in c.arrays("gradients")))
    assert norm == pytest.approx(0.01, rel=1e-4)


def test_what_constraints_hold_is_held_exactly_after_every_step(tmp_path):
    model, (x, target) = network(), rows(8)
    mask = np.random.default_rng(0).integers(2, size=(6, 3))
    groups = [
        {"parameters": model[0].weight, "constraint": Mask(mask)},
        {"parameters": model[2], "constraint": NonNegative()},
        {"parameters": model[4], "constraint": UnitNorm()},
        {"parameters": model[6].weight, "constraint": MaxNorm(0.3)},
        {"parameters": model[6].bias, "constraint": L1(20.0)},
    ]
    c = learner(tmp_path, model, cr.MSELoss(), cr.SGD(lr=0.1, momentum=0.9, groups=groups))
    for _ in range(20):
        c.step(x, target)
        masked, _, rising, shift, unit, _, small, none = c.arrays("parameters")
        assert (masked[mask == 0] == 0).all()
        assert (masked[mask == 1] != 0).all()
        assert min(rising.min(), shift.min()) == 0
        np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
        np.testing.assert_array_less(np.linalg.norm(small, axis=1), 0.3 * (1 + 1e-6))
        assert not none.any()


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_norms_of_what_has_no_square_in_float32_are_right(tmp_path, size):
    cr.seed(0)
    layers = [cr.Linear(*sizes, bias=[0.0] * sizes[1]) for sizes in ((3, 4), (4, 2))]
    model = cr.Sequential(layers[0], cr.Tanh(), layers[1])
    groups = [{"parameters": model[0].weight, "constraint": UnitNorm()}]
    optimizer = cr.SGD(lr=0.0, constraint=MaxNorm(0.5), groups=groups)
    c = learner(tmp_path, model, cr.MSELoss(), optimizer)
    directions = [layer.weight.value / np.linalg.norm(layer.weight.value, axis=1, keepdims=True) for layer in layers]
    for i in range(model.num_parameters):
        c.state.parameters[i] *= size
    c.step(np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32))
    assert c.state.steps == 1
    unit, _, small, _ = c.arrays("parameters")
    np.testing.assert_allclose(unit, directions[0], rtol=1e-5)
    expected = 0.5 * directions[1] if size > 1 else size * model[2].weight.value
    np.testing.assert_allclose(small, expected, rtol=1e-5)


@pytest.mark.parametrize("lr", [np.nan, np.inf, -1.0, 3e38])
@pytest.mark.parametrize("constraint", [L1(10.0), L2(10.0)], ids=repr)
def test_a_rate_by_which_a_penalty_makes_no_sense_changes_nothing(tmp_path, constraint, lr):
    model, (x, target) = network(), rows(2)
    rate = {"parameters": model[2], "constraint": constraint}
    c = learner(tmp_path, model, cr.MSELoss(), cr.Rprop(groups=[rate]))  # which asks the rate at the first step alone
    c.step(x, target)
    c.state.lr[1] = lr
    before = bytes(c.state.parameters), bytes(c.state.prev), bytes(c.state.step_size)
    c.step(x, target)
    assert c.state.steps == 1
    assert (bytes(c.state.parameters), bytes(c.state.prev), bytes(c.state.step_size)) == before
    c.state.lr[1] = 0.01
    c.step(x, target)
    assert c.state.steps == 2


def test_gradients_of_several_batches_are_those_of_one_that_is_as_large(tmp_path):
    model, (x, target) = network(), rows(24)
    optimizer = cr.Adam(lr=0.01, groups=[{"parameters": model[6], "lr": 0.03}])
    c = learner(tmp_path, model, cr.MSELoss(), optimizer)
    for at in (0, 12):
        c.step(x[at : at + 12], target[at : at + 12])
    agree(c, trained(model, optimizer, x, target, 1, batch_size=4, accumulate=3))


def test_whoever_uses_none_of_it_has_nothing_of_it(tmp_path):
    to_c(network(), tmp_path, loss=cr.MSELoss(), optimizer=cr.SGD(lr=0.1, groups=[], constraint=[]))
    texts = [(tmp_path / name).read_text() for name in ("network.h", "network.c", "network_test.c")]
    for word in ("constrain", "lr[", "RATES", "frozen", "if (dweight)", "parameter_0[", "reaches", "float lr,"):
        assert not any(word in text for text in texts), word


def test_groups_of_the_networks_own_optimizer_are_found_and_nobody_is_changed(tmp_path):
    body, (x, target) = network(), rows(4)
    rule = cr.SGD(lr=0.1, momentum=0.9, groups=[{"parameters": body[6], "momentum": 0.0, "maximize": True}])
    model = cr.Sequential(rule, *body)
    cr.fit(model, cr.MSELoss(), (x, target), epochs=2)
    before = rule.state_dict(model.param()), model.state_dict(), repr(rule), rule.groups
    c = learner(tmp_path, model, cr.MSELoss(), None)
    np.testing.assert_equal((rule.state_dict(model.param()), model.state_dict(), repr(rule), rule.groups), before)
    header = re.sub(r"\s+\*? *", " ", (tmp_path / "network.h").read_text())
    assert (
        "SGD(lr=0.1, momentum=0.9) lr[1]: SGD(lr=0.1, maximize=True) for the parameters 83 ... 90, 91 ... 92" in header
    )
    c.step(x, target)
    agree(c, trained(model, rule, x, target, 1))


def group(**options):
    """Of the second layer, or of another one."""

    def optimizer(model):
        return cr.SGD(lr=0.05, momentum=0.9, groups=[{"parameters": model[2], **options}])

    return optimizer


def rule(**options):
    return lambda model: cr.SGD(lr=0.05, momentum=0.9, **options)


def frozen(model):
    model[2].weight.trainable = False
    return cr.SGD(lr=0.05)


# What is wrong, the optimizer by which it shows, and how it is made wrong.
MUTANTS = [
    ("the rate of a group", group(lr=0.2), "state->lr[1], keep", "state->lr[0], keep"),
    ("who is in a group", group(lr=0.2), "24, 54, state->lr[1]", "24, 53, state->lr[1]"),
    ("the rule of a group", group(nesterov=True), "w -= lr * (g + 0.9f * v)", "w -= lr * v"),
    ("what its rate begins with", group(lr=0.2), "lr[1] = 0.2f", "lr[1] = 0.05f"),
    ("its clipping", group(clip_value=0.001), "gradients + 24, 30, 0.001f", "gradients + 24, 29, 0.001f"),
    ("maximize", rule(maximize=True), "g = -state->", "g = state->"),
    ("a frozen weight", frozen, "parameter_2, 0, g +", "w + PARAMETER_0, 0, g +"),
    ("its bias", frozen, "parameter_2, 0, g + PARAMETER_3", "parameter_2, 0, 0"),
    ("l1", rule(constraint=L1(0.1)), "w[i] < -reach ? -reach", "w[i] < -reach ? reach"),
    ("its reach", rule(constraint=L1(0.1)), "l1_step(w, 93, state->lr * 0.1f)", "l1_step(w, 93, 0.1f)"),
    ("l2", rule(constraint=L2(0.5)), "w[i] /= 1.0f + reach", "w[i] *= 1.0f - reach"),
    ("max norm", rule(constraint=MaxNorm(0.5)), "peak * norm > most", "peak * norm < most"),
    ("its rows", rule(constraint=MaxNorm(0.5)), "limit_norms(w, 6, 3", "limit_norms(w, 3, 6"),
    ("unit norm", rule(constraint=UnitNorm()), "(most / norm)", "(most / sum)"),
    ("non-negative", rule(constraint=NonNegative()), "w[i] < 0.0f ? 0.0f", "w[i] < -0.1f ? 0.0f"),
    ("a mask", lambda m: cr.SGD(groups=[{"parameters": m[2].weight, "constraint": Mask(np.tri(5, 6))}]),
     ">> i % 8 &", ">> (7 - i % 8) &"),
    ("the order", group(constraint=[MaxNorm(0.3), L1(0.5)]), "0.3f, 0);\n    l1_step(w + 24, 30, state->lr[1] * 0.5f);",
     "0.3f, 0);"),
]  # fmt: skip


@pytest.fixture(scope="module")
def mutants(tmp_path_factory):
    """What the self-test of each says, by its label."""
    cases = []
    for _, made, *_ in MUTANTS:
        model = network()
        cases.append((model, {"loss": cr.MSELoss(), "optimizer": made(model), "test_rows": 3 * BATCH - 1}))

    def wrong(i, text):
        assert MUTANTS[i][-2] in text
        return text.replace(*MUTANTS[i][-2:])

    done = selftests(tmp_path_factory.mktemp("mutants"), cases, wrong)
    return dict(zip([label for label, *_ in MUTANTS], done.stdout.split("====\n"), strict=False))


@pytest.mark.parametrize("label", [label for label, *_ in MUTANTS])
def test_the_self_test_fails_where_a_rule_is_wrong(mutants, label):
    assert re.search(r"in training, number .* but Python says .*\n1\n$", mutants[label])


class Bounded(Constraint):
    pass


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (
            lambda m: cr.SGD(groups=[{"parameters": m[0], "lr": cr.StepLR(0.1, 3)}]),
            r"lr of groups\[0\] must be a number",
        ),
        (lambda m: cr.SGD(cr.StepLR(0.1, 3), groups=[{"parameters": m[0]}]), "lr must be a number"),
        (lambda m: cr.SGD(constraint=Bounded()), "no C for Bounded"),
        (lambda m: cr.SGD(groups=[{"parameters": m[0], "constraint": [L1(0.1), Bounded()]}]), "no C for Bounded"),
        (lambda m: cr.SGD(constraint=L1(1e39)), "finite"),
        (lambda m: cr.SGD(constraint=Mask(np.ones((6, 3)))), r"Mask: a parameter must be \(6, 3\) like the mask"),
        (lambda m: cr.SGD(groups=[{"parameters": cr.Linear(1, 1)}]), "no C for SGD: a group .* none of its Parameters"),
        (lambda m: cr.SGD(groups=[{"parameters": m[0], "clip_value": 0.0}]), "no C for clipping to 0"),
        (lambda m: cr.Lookahead(cr.SGD(groups=[{"parameters": m[0]}])), "no C for Lookahead"),
        (lambda m: m.freeze() and cr.SGD(), "no C for a training step of a network whose parameters are all frozen"),
    ],
)
def test_what_c_cannot_do_is_an_error_and_leaves_nothing(tmp_path, made, says):
    model = network()
    with pytest.raises(ValueError, match=f"to_c: .*{says}"):
        to_c(model, tmp_path / "c", loss=cr.MSELoss(), optimizer=made(model))
    assert not (tmp_path / "c").exists()


def test_a_network_that_is_frozen_predicts(tmp_path):
    texts = []
    for model in (network(), network().freeze()):
        to_c(model, tmp_path)
        texts.append((tmp_path / "network.c").read_text())
    assert texts[0] == texts[1]
