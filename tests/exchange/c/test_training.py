"""The training step in C: every activation, loss and optimizer against Python, and against wrong derivatives."""

import ctypes
import itertools
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from c_programs import STRICT, Learner, gcc, joined, learner, selftests
from cases import elementwise
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.engine.lower import lower
from chainrule.exchange.c import measure, to_c
from chainrule.exchange.c.trajectory import BATCH, trajectory

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

N_OUT = 3

ACTIVATIONS = [*elementwise(), cr.Softmax(), cr.LogSoftmax()]
LAYERS = [*ACTIVATIONS, cr.Dropout(0.3), cr.Identity()]
WEIGHT = [0.5, 1.0, 2.0]
LOSSES = [
    cr.MSELoss(),
    cr.MSELoss(reduction="sum"),
    cr.L1Loss(),
    cr.SmoothL1Loss(beta=0.5),
    cr.SmoothL1Loss(beta=0.0),
    cr.HuberLoss(delta=0.5),
    cr.QuantileLoss(0.9),
    cr.PoissonNLLLoss(),
    cr.SoftMarginLoss(),
    cr.BCEWithLogitsLoss(),
    cr.BCEWithLogitsLoss(WEIGHT, pos_weight=[1.5]),
    cr.CrossEntropyLoss(),
    cr.CrossEntropyLoss(WEIGHT),
    cr.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"),
    cr.CrossEntropyLoss(WEIGHT, label_smoothing=0.1, ignore_index=1),
    cr.NLLLoss(),
    cr.NLLLoss(WEIGHT, ignore_index=0),
]
OPTIMIZERS = [
    cr.SGD(lr=0.05),
    cr.SGD(lr=0.05, momentum=0.9, weight_decay=0.01),
    cr.SGD(lr=0.05, momentum=0.9, dampening=0.3, clip_value=0.1),
    cr.SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1, decay_biases=False),
    cr.Adam(),
    cr.Adam(betas=(0.0, 0.9), amsgrad=True, weight_decay=0.01, clip_norm=0.2),
    cr.AdamW(lr=0.01, betas=(0.0, 0.0), eps=0.1),
    cr.AdamW(weight_decay=0.1, decay_biases=False, clip_norm=0.1, clip_value=0.05),
    cr.RMSprop(lr=0.003),
    cr.RMSprop(lr=0.003, centered=True, weight_decay=0.01),
    cr.RMSprop(lr=0.003, momentum=0.9, alpha=0.9),
    cr.RMSprop(lr=0.003, momentum=0.5, centered=True, eps=1e-4),
    cr.Adagrad(lr=0.05),
    cr.Adagrad(lr=0.05, lr_decay=0.1, weight_decay=0.01, initial_accumulator_value=0.1),
    cr.Adam(lr=0.01, weight_decay=0.1, decoupled_weight_decay=True, decay_biases=False),
    cr.NAdam(lr=0.01),
    cr.NAdam(betas=(0.8, 0.0), weight_decay=0.1, momentum_decay=0.5, decoupled_weight_decay=True),
    cr.RAdam(lr=0.01),
    cr.RAdam(betas=(0.0, 0.5), weight_decay=0.1, decoupled_weight_decay=True),
    cr.RAdam(lr=0.01, betas=(0.8, 0.8), weight_decay=0.1),
    cr.Adamax(lr=0.01),
    cr.Adamax(betas=(0.0, 0.7), weight_decay=0.1, eps=1e-3),
    cr.Adadelta(),
    cr.Adadelta(lr=0.5, rho=0.5, eps=1e-3, weight_decay=0.1, decay_biases=False),
    cr.Rprop(),
    cr.Rprop(lr=0.1, etas=(0.3, 1.5), step_sizes=(0.01, 0.11)),
    cr.ASGD(lr=0.05),
    cr.ASGD(lr=0.05, lambd=0.3, alpha=0.5, t0=0.5, weight_decay=0.1),
]


def every_pair():
    """Activations, losses and optimizers such that any two of different kinds meet somewhere."""
    n = len(OPTIMIZERS)
    for (i, activation), (j, loss) in itertools.product(enumerate(LAYERS), enumerate(LOSSES)):
        yield activation, loss, OPTIMIZERS[(i + j) % n]


def one_each():
    """Every activation, loss and optimizer at least once."""
    kinds = LAYERS, LOSSES, OPTIMIZERS
    return [tuple(kind[i % len(kind)] for kind in kinds) for i in range(max(map(len, kinds)))]


def network(activation, n_in=3, hidden=5, n_out=N_OUT, **kept):
    """An activation in the middle, where it meets itself and another, and on the way to the loss."""
    cr.seed(1)
    return cr.Sequential(cr.Linear(n_in, hidden), activation, cr.Tanh(), cr.Linear(hidden, n_out, bias=False))


def trained(model, loss, optimizer, x, target, dtype):
    """By the loop in Python."""
    optimizer.forget()
    model = model.to(dtype=dtype)
    options = {"epochs": 1, "batch_size": BATCH, "shuffle": False, "keep": "last", "engine": "python"}
    cr.fit(model, loss, (x, target), optimizer=optimizer, **options)
    return [parameter.value for parameter in model.param()]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """All pairs in one library."""
    folder, cases = tmp_path_factory.mktemp("pairs"), list(every_pair())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)  # nobody pulls the plug
        patch.setattr("chainrule.exchange.c.source.selftest", lambda *_: "")  # nobody looks at it here
        patch.setattr("chainrule.exchange.c.source.prefixed", lambda _, source: source)  # `joined` finds what is shared
        for i, (activation, loss, optimizer) in enumerate(cases):
            to_c(network(activation), folder, name=f"case_{i}", loss=loss, optimizer=optimizer, test_rows=1)
    (folder / "all.c").write_text(joined([(folder / f"case_{i}.c").read_text() for i in range(len(cases))]))
    gcc("-shared", "-fPIC", folder / "all.c", "-o", folder / "all.so")
    return folder, ctypes.CDLL(str(folder / "all.so")), cases


def steps_in_python(model, loss, optimizer, x):
    """What the self-test would hold for these rows."""
    optimizer.forget()
    plan = lower(model, loss, optimizer, sample_shape=x.shape[1:], class_targets=loss.classes)
    return trajectory(model, plan, x)


def rows(steps):
    """Inputs for so many steps, the last of them with a row less."""
    return np.random.default_rng(3).normal(size=(steps * BATCH - 1, 3)).astype(np.float32)


def test_every_pair_of_activation_loss_and_optimizer_learns_what_python_learns(pairs, monkeypatch):
    folder, library, cases = pairs
    monkeypatch.setattr("chainrule.exchange.c.trajectory.RUNS", 3)  # of eight: narrower, and quicker
    x = rows(2)
    for i, (activation, loss, optimizer) in enumerate(cases):
        model = network(activation)
        expected = steps_in_python(model, loss, optimizer, x)
        learner = Learner(library, folder / f"case_{i}.h", model)
        losses = [learner.step(x[at : at + BATCH], expected.target[0][at : at + BATCH]) for at in (0, BATCH)]
        assert learner.state.steps == 2
        within([np.array(loss) for loss in losses], *expected.losses, f"losses of case {i}")
        within(learner.arrays("parameters"), *expected.parameters, f"parameters of case {i}")
        within(learner.arrays("gradients"), *expected.gradients, f"gradients of case {i}")
        model.load_state_dict(dict(zip(model.state_dict(), learner.arrays("parameters"), strict=True)))
        np.testing.assert_allclose(learner.predict(x[0]), model(x[:1])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", range(len(one_each())))
def test_what_c_is_compared_with_is_what_fit_does(case):
    activation, loss, optimizer = one_each()[case]
    x = rows(5)
    expected = steps_in_python(network(activation), loss, optimizer, x)
    truth, bounds = expected.parameters
    precise = trained(network(activation), loss, optimizer, x, expected.target[0], "float64")
    for mine, parameter in zip(truth, precise, strict=True):
        np.testing.assert_allclose(mine, parameter, rtol=1e-9, atol=1e-12)
    within(trained(network(activation), loss, optimizer, x, expected.target[0], "float32"), truth, bounds, "parameters")


def within(arrays, truth, bounds, what):
    for array, exact, bound in zip(arrays, truth, bounds, strict=True):
        assert (np.abs(array - exact) <= bound).all(), what


def run_with_tests(folder, cases):
    options = {"test_rows": BATCH + 1}
    cases = [(model, options | {"loss": loss, "optimizer": optimizer}) for model, loss, optimizer in cases]
    done = selftests(folder, cases)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 training steps agree with Python") == len(cases)


def test_self_tests_agree_under_the_sanitizers(tmp_path):
    run_with_tests(tmp_path, [(network(activation), *rest) for activation, *rest in one_each()])


widths = st.integers(1, 20)


@settings(max_examples=3, phases=[Phase.generate])
@given(data=st.data())
def test_networks_of_any_size_agree_with_python(tmp_path_factory, data):
    cases = []
    for _ in range(6):
        sizes, layers = data.draw(st.lists(widths, min_size=2, max_size=5)), []
        for n_in, n_out in pairwise(sizes):
            layers += [
                *data.draw(st.lists(st.sampled_from(ACTIVATIONS), max_size=2)),
                *[cr.Dropout(0.4)] * data.draw(st.booleans()),
                cr.Linear(n_in, n_out, bias=data.draw(st.booleans()), rng=0),
            ]
        layers += data.draw(st.lists(st.sampled_from(ACTIVATIONS), max_size=2))
        fits_all = [loss for loss in LOSSES if getattr(loss, "weight", None) is None or loss.weight.value is None]
        loss, optimizer = data.draw(st.sampled_from(fits_all)), data.draw(st.sampled_from(OPTIMIZERS))
        cases.append((cr.Sequential(cr.Flatten(), cr.Sequential(*layers)), loss, optimizer))
    run_with_tests(tmp_path_factory.mktemp("c"), cases)


def test_the_masks_of_dropout_are_those_of_the_seed(tmp_path):
    cr.seed(0)
    model = cr.Sequential(cr.Dropout(0.2), cr.Linear(9, 9), cr.Tanh(), cr.Dropout(0.5), cr.Linear(9, 2))
    optimizer, rng = cr.SGD(lr=0.1), np.random.default_rng(0)
    x, target = rng.normal(size=(20, 9)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32)
    c = learner(tmp_path, model, cr.MSELoss(), optimizer)
    c.state.seed = 2**40 + 5
    for row in range(0, 20, 5):
        c.step(x[row : row + 5], target[row : row + 5])
    cr.fit(
        model, cr.MSELoss(), (x, target), epochs=1, batch_size=5, optimizer=optimizer, seed=2**40 + 5,
        shuffle=False, keep="last",
    )  # fmt: skip
    for mine, parameter in zip(c.arrays("parameters"), model.param(), strict=True):
        np.testing.assert_allclose(mine, parameter.value, rtol=1e-5, atol=1e-6)


def test_a_shared_parameter_is_held_once_and_gathers_its_gradients(tmp_path):
    first = cr.Linear(3, 3, rng=0)
    model = cr.Sequential(first, cr.Tanh(), cr.Linear(3, 3, bias=False, weight=first.weight), first)
    optimizer, rng = cr.Adam(lr=0.01), np.random.default_rng(0)
    x, target = rng.normal(size=(8, 3)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32)
    c = learner(tmp_path, model, cr.MSELoss(), optimizer)
    assert "#define NETWORK_PARAMETERS 12" in (tmp_path / "network.h").read_text()
    for row in (0, BATCH):
        c.step(x[row : row + BATCH], target[row : row + BATCH])
    for mine, value in zip(
        c.arrays("parameters"), trained(model, cr.MSELoss(), optimizer, x, target, "float32"), strict=True
    ):
        np.testing.assert_allclose(mine, value, rtol=1e-5, atol=1e-6)


def test_the_learning_rate_of_the_state_counts(tmp_path):
    c = learner(tmp_path, network(cr.Tanh()), cr.MSELoss(), cr.SGD(lr=0.25))
    assert c.state.lr == 0.25
    x, target = np.ones((2, 3), np.float32), np.ones((2, N_OUT), np.float32)
    before = c.arrays("parameters")
    c.state.lr = 0.0
    c.step(x, target)
    np.testing.assert_array_equal(np.concatenate(before, None), np.concatenate(c.arrays("parameters"), None))
    c.state.lr = 0.5
    c.step(x, target)
    for w, gradient, after in zip(before, c.arrays("gradients"), c.arrays("parameters"), strict=True):
        np.testing.assert_allclose(after, w - 0.5 * gradient, rtol=1e-6)


def bytes_of(c):
    """The state but for the gradients, which are those of the last step."""
    fields = [name for name, *_ in c.state._fields_ if name != "gradients"]
    return b"".join(
        bytes(ctypes.string_at(ctypes.addressof(c.state) + (f := getattr(type(c.state), name)).offset, f.size))
        for name in fields
    )


@pytest.mark.parametrize("flags", [["-O0"], ["-Os"], ["-O3"], ["-Ofast", "-fno-finite-math-only"]], ids=" ".join)
def test_what_is_not_finite_or_no_batch_updates_nothing(tmp_path, flags):
    c = learner(tmp_path, network(cr.Tanh()), cr.MSELoss(), cr.Adam(), *flags)
    x, target = np.ones((2, 3), np.float32), np.ones((2, N_OUT), np.float32)
    c.step(x, target)
    before = bytes_of(c)
    assert c.step(x[:0], target[:0]) == 0
    for broken in (np.nan, np.inf, -np.inf):
        for array in (x, target):
            kept, array[1, 1] = array[1, 1], broken
            c.step(x, target)
            array[1, 1] = kept
            assert bytes_of(c) == before
            assert not any(array.any() for array in c.arrays("gradients"))
    c.step(x, target)
    assert c.state.steps == 2
    assert all(np.isfinite(array).all() for array in c.arrays("parameters"))


@pytest.mark.parametrize("activation", [cr.Tanh(), cr.Sigmoid(), cr.Softmax(), cr.Softplus()], ids=repr)
def test_an_infinite_input_behind_an_activation_that_ends_changes_nothing(tmp_path, activation):
    cr.seed(1)
    model = cr.Sequential(cr.Linear(3, 5), activation, cr.Linear(5, N_OUT))
    c = learner(tmp_path, model, cr.MSELoss(), cr.SGD(lr=0.1, momentum=0.9), "-O3")
    x, target = np.ones((2, 3), np.float32), np.ones((2, N_OUT), np.float32)
    before = bytes_of(c)
    x[0, 0] = np.inf  # the loss stays finite behind Tanh and Sigmoid, the gradient of the weights does not
    c.step(x, target)
    assert bytes_of(c) == before


# A step from a good loss and good gradients to a number of the state that no float can hold.
OVERFLOWS = [
    (cr.SGD(lr=1e38), {}, 10.0),
    (cr.SGD(lr=0.1), {"lr": np.nan}, 1.0),
    (cr.SGD(momentum=0.9), {"momentum_buffer": 3.4e38, "lr": 2.0}, 1.0),
    (cr.Adam(), {}, 1e20),
    (cr.AdamW(weight_decay=10.0, decay_biases=False), {"lr": -1e38}, 1.0),
    (cr.RMSprop(centered=True), {}, 1e20),
    (cr.Adagrad(), {"sum": 3.4e38}, 5e18),
]


@pytest.mark.parametrize(("optimizer", "state", "size"), OVERFLOWS, ids=repr)
def test_an_update_that_would_not_be_finite_leaves_the_old_state(tmp_path, optimizer, state, size):
    cr.seed(1)
    model = cr.Sequential(cr.Linear(3, 5), cr.Linear(5, N_OUT))
    c = learner(tmp_path, model, cr.L1Loss(reduction="sum"), optimizer)
    x, target = np.full((2, 3), size, np.float32), np.zeros((2, N_OUT), np.float32)
    for name, value in state.items():
        if name == "lr":
            c.state.lr = value
        else:
            getattr(c.state, name)[:] = [value] * model.num_parameters
    before = bytes_of(c)
    assert np.isfinite(c.step(x, target))
    assert bytes_of(c) == before
    assert c.state.steps == 0


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.9999), (0.5, 0.7), (0.9, 0.99)])
def test_radam_knows_in_c_when_to_divide(tmp_path, betas):
    """Where beta2 is close to 1, what it goes by is a difference of large numbers."""
    cr.seed(1)
    model, optimizer = cr.Sequential(cr.Linear(3, N_OUT)), cr.RAdam(lr=0.01, betas=betas)
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(4, N_OUT)).astype(np.float32)
    c = learner(tmp_path, model, cr.MSELoss(), optimizer)
    for _ in range(60):
        c.step(x, target)
    model.to(dtype="float64")
    cr.fit(model, cr.MSELoss(), (x, target), epochs=60, batch_size=4, optimizer=optimizer, shuffle=False, keep="last")
    for mine, parameter in zip(c.arrays("parameters"), model.param(), strict=True):
        np.testing.assert_allclose(mine, parameter.value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("flag", ["-Ofast", "-ffast-math", "-ffinite-math-only"])
def test_compilers_that_may_drop_the_guard_are_told_to_stop(tmp_path, flag):
    """Clang really does, though the guard looks at bits."""
    to_c(network(cr.Tanh()), tmp_path, loss=MSE, optimizer=SGD, test_rows=BATCH)
    for file in ("network.c", "network_test.c"):
        command = ["gcc", *STRICT, flag, "-c", tmp_path / file, "-o", tmp_path / "n.o"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "add -fno-finite-math-only" in done.stderr
        gcc(flag, "-fno-finite-math-only", "-c", tmp_path / file, "-o", tmp_path / "n.o")


def test_the_self_test_finds_a_guard_that_is_missing(tmp_path):
    to_c(network(cr.Tanh()), tmp_path, loss=MSE, optimizer=SGD, test_rows=BATCH)
    source = tmp_path / "network.c"
    for flags in ("-O0", "-O3"):
        gcc(flags, source, tmp_path / "network_test.c", "-o", tmp_path / "good")
        assert subprocess.run([tmp_path / "good"], check=False, capture_output=True).returncode == 0
        (tmp_path / "bad.c").write_text(source.read_text().replace("(bits & 0x7F800000) != 0x7F800000", "bits != 1"))
        gcc(flags, tmp_path / "bad.c", tmp_path / "network_test.c", "-o", tmp_path / "bad")
        done = subprocess.run([tmp_path / "bad"], check=False, capture_output=True, text=True)
        assert done.returncode == 1
        assert "in training, number" in done.stdout


@pytest.mark.parametrize("loss", [cr.CrossEntropyLoss(), cr.NLLLoss(), cr.CrossEntropyLoss(ignore_index=1)], ids=repr)
def test_a_row_whose_class_is_none_counts_nothing(tmp_path, loss):
    model = network(cr.LogSoftmax())
    c = learner(tmp_path, model, loss, cr.SGD(lr=0.1))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    some = c.step(x[[0, 3]], np.array([0, 2]))
    alone = c.arrays("gradients")
    c.call("init")
    target = np.array([0, loss.ignore_index, N_OUT, 2, -(2**31)])
    assert c.step(x, target) == some
    for mine, gradient in zip(c.arrays("gradients"), alone, strict=True):
        np.testing.assert_array_equal(mine, gradient)
    assert c.step(x[:1], np.array([-1])) == 0


MSE, SGD = cr.MSELoss(), cr.SGD(lr=0.05, momentum=0.9)

# What is wrong, in which network, and how it is made wrong.
MUTANTS = [
    ("linear by W", cr.Identity(), MSE, SGD, "dweight[j * n_out + i] += ", "dweight[j * n_out + i] -= "),
    ("linear by b", cr.Identity(), MSE, SGD, "dbias[i] += ", "dbias[i] -= "),
    ("linear by x", cr.Identity(), MSE, SGD, "sum += weight[", "sum -= weight["),
    ("relu", cr.ReLU(), MSE, SGD, "y[i] > 0.0f ? dy", "y[i] < 0.0f ? dy"),
    ("leaky relu", cr.LeakyReLU(0.2), MSE, SGD, "1.0f : negative_slope", "negative_slope : 1.0f"),
    ("elu", cr.ELU(), MSE, SGD, "alpha * expf(x[i])", "alpha * expf(-x[i])"),
    ("tanh", cr.Tanh(), MSE, SGD, "1.0f - y[i] * y[i]", "1.0f + y[i] * y[i]"),
    ("sigmoid", cr.Sigmoid(), MSE, SGD, "1.0f - y[i])", "1.0f + y[i])"),
    ("silu", cr.SiLU(), MSE, SGD, "1.0f + x[i] *", "1.0f - x[i] *"),
    ("gelu", cr.GELU(), MSE, SGD, "below + x", "below - x"),
    ("gelu tanh", cr.GELU("tanh"), MSE, SGD, "1.0f + t + x", "1.0f + t - x"),
    ("softplus", cr.Softplus(), MSE, SGD, "1.0f : sigmoid_of(", "1.0f : -sigmoid_of("),
    ("softmax", cr.Softmax(), MSE, SGD, "dy[i] - sum", "dy[i] + sum"),
    ("log softmax", cr.LogSoftmax(), MSE, SGD, "dy[i] -= expf(y[i])", "dy[i] += expf(y[i])"),
    ("dropout", cr.Dropout(0.5), MSE, SGD, ">> 16 * (e % 2)", ">> 8 * (e % 2)"),
    ("dropout's pass", cr.Dropout(0.5), MSE, SGD, "state->steps, 1, row", "0, 1, row"),
    ("mse", cr.Tanh(), MSE, SGD, "2.0f * e", "-2.0f * e"),
    ("l1", cr.Tanh(), cr.L1Loss(), SGD, "e > 0.0f ? 1.0f", "e > 0.0f ? -1.0f"),
    ("smooth l1", cr.Tanh(), cr.SmoothL1Loss(), SGD, "? e / beta", "? -e / beta"),
    ("huber", cr.Tanh(), cr.HuberLoss(), SGD, "size < delta ? e :", "size < delta ? -e :"),
    ("quantile", cr.Tanh(), cr.QuantileLoss(0.9), SGD, "? 1.0f - quantile :", "? quantile - 1.0f :"),
    ("poisson", cr.Tanh(), cr.PoissonNLLLoss(), SGD, "(rate - target[i])", "(rate + target[i])"),
    ("bce", cr.Tanh(), cr.BCEWithLogitsLoss(), SGD, "1.0f - t - c", "1.0f - t + c"),
    ("cross-entropy", cr.Tanh(), cr.CrossEntropyLoss(), SGD, "dy[target] -= ", "dy[target] += "),
    (
        "label smoothing",
        cr.Tanh(),
        cr.CrossEntropyLoss(WEIGHT, label_smoothing=0.1, ignore_index=1),
        SGD,
        "* mass - q_of",
        "* mass + q_of",
    ),
    ("nll", cr.LogSoftmax(), cr.NLLLoss(), SGD, "= -share", "= share"),
    ("the mean", cr.Tanh(), MSE, SGD, "(float)batch *", "4.0f *"),
    ("old gradients", cr.Tanh(), MSE, SGD, "[i] = 0.0f;\n    share", "[i] *= 1.0f;\n    share"),
    ("the sign of a step", cr.Tanh(), MSE, SGD, "w -= lr", "w += lr"),
    ("momentum", cr.Tanh(), MSE, SGD, "0.9f * v + g", "0.9f * v - g"),
    ("nesterov", cr.Tanh(), MSE, OPTIMIZERS[3], "(g + 0.9f", "(g - 0.9f"),
    ("dampening", cr.Tanh(), MSE, OPTIMIZERS[2], "steps == 1 ? 1.0f", "steps == 1 ? 0.7f"),
    ("decay", cr.Tanh(), MSE, OPTIMIZERS[1], "+ decay * w", "- decay * w"),
    ("clip value", cr.Tanh(), MSE, OPTIMIZERS[2], "g[i] < -most ? -most", "g[i] < -most ? most"),
    ("clip norm", cr.Tanh(), MSE, OPTIMIZERS[5], "g[i] *= scale", "g[i] *= -scale"),
    ("adam's bias", cr.Tanh(), MSE, cr.Adam(), "rate = lr / -", "rate = lr * -"),
    ("adam's v", cr.Tanh(), MSE, cr.Adam(), "+ 0.001f * (g * g)", "+ 0.002f * (g * g)"),
    ("amsgrad", cr.Tanh(), MSE, OPTIMIZERS[5], "v > most ?", "v < most ?"),
    ("adamw", cr.Tanh(), MSE, cr.AdamW(lr=0.01), "1.0f - lr * decay", "1.0f + lr * decay"),
    ("rmsprop", cr.Tanh(), MSE, cr.RMSprop(), "+ 0.01f * (g * g)", "+ 0.02f * (g * g)"),
    ("centered", cr.Tanh(), MSE, OPTIMIZERS[9], "v - a * a", "v + a * a"),
    ("nadam's mean", cr.Tanh(), MSE, cr.NAdam(lr=0.01), "of_g * g + of_m", "of_g * g - of_m"),
    ("its momentum", cr.Tanh(), MSE, cr.NAdam(lr=0.01), "product *= momentum(i)", "product *= 0.9f"),
    ("radam", cr.Tanh(), MSE, cr.RAdam(lr=0.01), ": rate * m;", ": 2.0f * rate * m;"),
    ("adamax", cr.Tanh(), MSE, cr.Adamax(lr=0.01), "most > size ? most : size", "most > size ? size : most"),
    ("adadelta", cr.Tanh(), MSE, cr.Adadelta(eps=1e-3), "0.1f * (d * d)", "0.9f * (g * g)"),
    ("rprop", cr.Tanh(), MSE, cr.Rprop(), "old < 0.0f ? -s", "old < 0.0f ? s"),
    ("asgd", cr.Tanh(), MSE, cr.ASGD(lr=0.05, lambd=1.0), "w * kept - eta", "w / kept - eta"),
    ("adagrad", cr.Tanh(), MSE, cr.Adagrad(), "s += g * g", "s += g"),
    ("its decay", cr.Tanh(), MSE, OPTIMIZERS[13], "(1.0f + 0.1f", "(1.0f - 0.1f"),
]


@pytest.fixture(scope="module")
def mutants(tmp_path_factory):
    """What the self-test of each says, by its label."""
    cases = [
        (network(activation), {"loss": loss, "optimizer": optimizer, "test_rows": 3 * BATCH - 1})
        for _, activation, loss, optimizer, *_ in MUTANTS
    ]

    def wrong(i, text):
        assert MUTANTS[i][-2] in text
        return text.replace(*MUTANTS[i][-2:])

    done = selftests(tmp_path_factory.mktemp("mutants"), cases, wrong)
    return dict(zip([label for label, *_ in MUTANTS], done.stdout.split("====\n"), strict=False))


@pytest.mark.parametrize("label", [label for label, *_ in MUTANTS])
def test_the_self_test_fails_where_learning_is_wrong(mutants, label):
    assert re.search(r"in training, number .* but Python says .*\n1\n$", mutants[label])


def test_it_takes_no_library_but_math_and_allocates_nothing(tmp_path):
    for i, (activation, loss, optimizer) in enumerate(one_each()):
        to_c(network(activation), tmp_path, name=f"case_{i}", loss=loss, optimizer=optimizer, test_rows=1)
    texts = [(tmp_path / f"case_{i}.c").read_text() for i in range(len(one_each()))]
    for i, text in enumerate(texts):
        assert re.findall(r"#include (.*)", text) == [f'"case_{i}.h"', "<math.h>", "<string.h>"]
    (tmp_path / "all.c").write_text(joined(texts))
    gcc("-O1", "-c", tmp_path / "all.c", "-o", tmp_path / "all.o")
    found = subprocess.run(["nm", "-u", tmp_path / "all.o"], capture_output=True, text=True, check=True).stdout.split()
    maths = {"erff", "expf", "expm1f", "log1pf", "logf", "powf", "sqrtf", "tanhf"}
    assert set(found) - {"U"} <= maths | {"memset", "memcpy", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}


def test_the_header_can_be_used_from_cpp(tmp_path):
    to_c(network(cr.Dropout()), tmp_path, name="net", loss=MSE, optimizer=SGD)
    main = "int main() { net_state s; net_init(&s); return s.seed != 0 || sizeof s % sizeof s.lr; }"
    (tmp_path / "use.cpp").write_text(f'#include "net.h"\n{main}')
    subprocess.run(["gcc", "-c", tmp_path / "net.c", "-o", tmp_path / "net.o"], check=True)
    command = ["g++", "-Wall", "-Werror", tmp_path / "use.cpp", tmp_path / "net.o", "-lm", "-o", tmp_path / "use"]
    subprocess.run(command, check=True)
    subprocess.run([tmp_path / "use"], check=True)


def test_measure_gives_the_state_and_the_time_of_a_step(tmp_path):
    model = network(cr.Tanh())
    to_c(model, tmp_path, loss=MSE, optimizer=SGD)
    found = measure(tmp_path)
    assert found.state == 4 * (3 * model.num_parameters + 2)
    assert found.step_ns > found.ns
    assert found.step_rows == BATCH
    assert f"{found.state} of state" in str(found)
    assert "8 training steps agree with Python" in found.test


def test_a_model_and_its_optimizer_stay_what_they_were(tmp_path):
    model = network(cr.Dropout(0.5))
    optimizer = cr.Adam()
    x, target = np.ones((4, 3), np.float32), np.ones((4, N_OUT), np.float32)
    cr.fit(model, MSE, (x, target), epochs=2, optimizer=optimizer)
    before = optimizer.state_dict(model.param()), model.state_dict(), model[1].passes.value
    to_c(model, tmp_path, loss=MSE, optimizer=optimizer)
    np.testing.assert_equal((optimizer.state_dict(model.param()), model.state_dict(), model[1].passes.value), before)


class OwnLoss(cr.Loss):
    pass


class OwnRule(cr.SGD):
    pass


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": MSE}, "a training step needs an optimizer"),
        ({"optimizer": SGD}, "an optimizer needs a loss"),
        ({"loss": MSE, "optimizer": 0.1}, "no C for float"),
        ({"loss": MSE, "optimizer": OwnRule()}, "no C for OwnRule"),
        ({"loss": OwnLoss(), "optimizer": SGD}, "no C for OwnLoss"),
        ({"loss": cr.MSELoss(reduction="none"), "optimizer": SGD}, 'no C for MSELoss with reduction="none"'),
        ({"loss": cr.PoissonNLLLoss(full=True), "optimizer": SGD}, "no C for PoissonNLLLoss with full=True"),
        (
            {"loss": cr.CrossEntropyLoss([1.0, 2.0]), "optimizer": SGD},
            "no C for .* class weights",
        ),
        ({"loss": MSE, "optimizer": cr.SGD(cr.StepLR(0.1, 3))}, r"lr must be a number, .*, got StepLR\(lr=0.1"),
        ({"loss": MSE, "optimizer": cr.SGD(clip_value=0.0)}, "no C for clipping to 0"),
        ({"loss": MSE, "optimizer": cr.SGD(lr=1e39)}, "finite"),
        ({"loss": cr.PoissonNLLLoss(log_input=False), "optimizer": SGD}, "the loss became NaN .* by PoissonNLLLoss"),
    ],
    ids=range(12),
)
def test_what_cannot_be_learned_is_an_error_and_leaves_nothing(tmp_path, options, says):
    with pytest.raises((ValueError, TypeError), match=f"to_c: .*{says}"):
        to_c(network(cr.Tanh()), tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()


def test_the_program_of_the_docs_learns_what_the_docs_say(tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "c.md").read_text()
    monkeypatch.chdir(tmp_path)
    python = [code for kind, code in re.findall(r"```(python)\n(.*?)```", page, re.DOTALL) if "to_c(" in code]
    exec("\n".join(python), {})
    program = max(re.findall(r"```c\n(.*?)```", page, re.DOTALL), key=len)
    Path("device.c").write_text(program)
    gcc("-O2", "-Idisk", "device.c", "disk/disk.c", "-o", "device")
    said = subprocess.run(["./device"], capture_output=True, text=True, check=True).stdout
    shown = re.search(r"^as trained: .*?(?=```)", page, re.DOTALL | re.MULTILINE)[0]
    assert re.sub(r"\d+", "", said) == re.sub(r"\d+", "", shown)
    errors = [int(number) for number in re.findall(r": (\d+)", said)]
    assert errors[-1] < errors[0] / 4
    stack = int(re.search(r"takes\n?(\d+) bytes of stack here", page)[1])
    shown = re.findall(r"^[\d,]+ bytes of code, .*", page, re.MULTILINE)
    with_training = str(measure("disk", "disk"))
    assert re.sub(r"[\d,]+", "", with_training) == re.sub(r"[\d,]+", "", shown[1])
    sizes = [[int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", text)[:3]] for text in (shown[1], with_training)]
    assert sizes[0][1:] == pytest.approx(sizes[1][1:], rel=0.01)  # data and state; code is the compiler's
    assert f"Takes about {stack} bytes of stack, however many rows" in Path("disk/disk.h").read_text()
