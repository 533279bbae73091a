"""Networks with branches in C: drawn ones against Python, and what is special to several inputs and outputs."""

import re
import shutil
import subprocess
from math import prod

import numpy as np
import pytest
from c_graphs import DrawnGraph
from c_programs import CHECKED, gcc, learner, selftests
from cases import BRANCHES, Case

import chainrule as cr
from chainrule.engine.lower import lower
from chainrule.exchange.c import measure, to_c
from chainrule.exchange.c.interface import interface
from chainrule.exchange.c.layout import program_of
from chainrule.exchange.c.shape import axes
from chainrule.exchange.c.trajectory import BATCH, trajectory
from chainrule.structures import each, is_several, leaves, rebuild

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

OPTIMIZERS = [cr.SGD(0.05), cr.SGD(0.05, momentum=0.9), cr.Adam(), cr.RMSprop(0.003), cr.Adagrad(0.03)]
SEEDS = range(40)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Drawn networks with their self-tests as one program, under the sanitizers, and what it says."""
    networks, cases = [DrawnGraph(seed) for seed in SEEDS], []
    for i, one in enumerate(networks):
        options = {"sample_shape": one.sample_shape, "test_rows": 2 * BATCH - 1}
        learns = {"loss": one.loss, "optimizer": OPTIMIZERS[i % len(OPTIMIZERS)]}
        cases += [(one.model, options), (one.model, options | learns)]
    return networks, selftests(tmp_path_factory.mktemp("drawn"), cases)


def test_drawn_networks_predict_and_learn_what_python_does_under_the_sanitizers(drawn):
    _, done = drawn
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("7 rows agree with Python") == 2 * len(SEEDS)
    assert done.stdout.count("2 training steps agree with Python") == len(SEEDS)


def test_the_drawn_networks_have_what_they_are_drawn_for(drawn):
    networks, _ = drawn
    kinds, counts = set(), {"inputs": 0, "outputs": 0, "shared": 0, "forks": 0, "rows": 0}
    for one in networks:
        plan = lower(one.model, sample_shape=one.sample_shape)
        work = program_of(plan, learns=True)
        kinds |= {op.kind for op in work.ops}
        counts["inputs"] += len(plan.inputs) > 1
        counts["outputs"] += len(plan.outputs) > 1
        counts["shared"] += len({op.parameters for op in work.ops if op.parameters}) < len(
            [op for op in work.ops if op.parameters]
        )
        counts["forks"] += work.forks
        counts["rows"] += any(plan.values[op.output].positions > 1 for op in work.ops if op.kind == "Linear")
    assert kinds >= {"Linear", "Sum", "Multiply", "Concat", "Permute", "Dropout", "Softmax"}
    assert min(counts.values()) >= 5, counts


def two_inputs_two_heads():
    """A layer that stands twice, a skip, a gate, two inputs and two heads."""
    cr.seed(3)
    shared = cr.Linear(4, 4)
    return cr.Graph(
        {
            "left": (cr.Linear(3, 4), "image"),
            "right": (cr.Linear(2, 4), "numbers"),
            "again": (cr.Sequential(shared, cr.Tanh(), shared), "left"),
            "gated": (cr.Multiply(), ("again", "right")),
            "skip": (cr.Residual(cr.Sequential(cr.Linear(4, 4), cr.SiLU())), "gated"),
            "both": (cr.Concat(), ("skip", "left", "right")),
            "size": (cr.Linear(12, 2), "both"),
            "kind": (cr.Linear(12, 3), "both"),
        },
        outputs=("size", "kind"),
    )


def two_losses(**options):
    heads = {"size": cr.MSELoss(), "kind": cr.CrossEntropyLoss(**options)}
    return cr.MultiLoss(heads, weights={"size": 0.5, "kind": 2.0})


def two_parts(n, seed=0):
    rng = np.random.default_rng(seed)
    x = {"image": rng.normal(size=(n, 3)).astype("f4"), "numbers": rng.normal(size=(n, 2)).astype("f4")}
    return x, {"size": rng.normal(size=(n, 2)).astype("f4"), "kind": rng.integers(0, 3, size=n)}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("optimizer", [cr.SGD(0.05, momentum=0.9), cr.Adam(0.01)], ids=["SGD", "Adam"])
def test_two_inputs_and_two_heads_learn_what_fit_learns_in_float32(tmp_path, batch, optimizer):
    model, loss, (x, target) = two_inputs_two_heads(), two_losses(), two_parts(20)
    c = learner(tmp_path, model, loss, optimizer)
    losses = []
    for at in range(0, 20, batch):
        rows = slice(at, at + batch)
        losses.append(c.step({k: v[rows] for k, v in x.items()}, {k: v[rows] for k, v in target.items()}))
    optimizer.forget()
    options = {"epochs": 1, "shuffle": False, "keep": "last", "engine": "python"}
    history = cr.fit(model, loss, (x, target), batch_size=batch, optimizer=optimizer, **options)
    assert np.mean(losses) == pytest.approx(history.losses[0], rel=1e-5)
    for mine, parameter in zip(c.arrays("parameters"), model.param(), strict=True):
        np.testing.assert_allclose(mine, parameter.value, rtol=1e-4, atol=1e-5)


def test_a_row_is_left_out_of_the_head_whose_class_is_none_and_counts_in_the_others(tmp_path):
    model, (x, target) = two_inputs_two_heads(), two_parts(6)
    c = learner(tmp_path, model, two_losses(weight=[1.0, 2.0, 0.5], ignore_index=1), cr.SGD(0.1))
    target["kind"] = np.array([0, -1, 2, 1, 99, 0])
    value = c.step(x, target)
    y, saved = model.forward(x)
    kept = np.isin(target["kind"], [0, 2])
    cross, mse = cr.CrossEntropyLoss(weight=[1.0, 2.0, 0.5]), cr.MSELoss()
    of_kind, saved_kind = cross.forward(y["kind"][kept], target["kind"][kept])
    of_size, saved_size = mse.forward(y["size"], target["size"])
    assert value == pytest.approx(0.5 * of_size + 2.0 * of_kind, rel=1e-5)
    dy = {"size": mse.backward(0.5, saved_size), "kind": np.zeros_like(y["kind"])}
    dy["kind"][kept] = cross.backward(2.0, saved_kind)
    model.zero_grad()
    model.backward(dy, saved)
    for mine, parameter in zip(c.arrays("gradients"), model.param(), strict=True):
        np.testing.assert_allclose(mine, parameter.grad, rtol=1e-4, atol=1e-5)


def test_heads_with_the_same_loss_and_other_weights_do_not_share_what_is_in_it(tmp_path):
    cr.seed(0)
    model = cr.Sequential(cr.Linear(3, 5), cr.Tanh(), cr.Parallel(*(cr.Linear(5, 3) for _ in range(5))))
    loss = cr.MultiLoss(
        cr.CrossEntropyLoss([1.0, 2.0, 0.5]),
        cr.CrossEntropyLoss([3.0, 0.2, 1.0], label_smoothing=0.1),
        cr.NLLLoss([0.3, 1.0, 2.0]),
        cr.BCEWithLogitsLoss([1.0, 2.0, 3.0], pos_weight=[2.0]),
        cr.BCEWithLogitsLoss(pos_weight=[0.5, 1.0, 1.5], reduction="sum"),
    )
    to_c(model, tmp_path, loss=loss, optimizer=cr.SGD(0.1))
    gcc(*CHECKED, tmp_path / "network.c", tmp_path / "network_test.c", "-o", tmp_path / "program")
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert (
        "const float *x, float *y0, float *y1, float *y2, float *y3, float *y4" in (tmp_path / "network.h").read_text()
    )


# What is wrong, and how it is made wrong, in the network of two inputs and two heads.
MUTANTS = [
    ("a fork", "more ? dx[j] + sum : sum", "sum"),
    ("a skip", "network_add(y", "network_copy(y"),
    ("a product", "to[i] *= from[i]", "to[i] += from[i]"),
    ("a part", "_copy(y6, y0, 4)", "_copy(y6, y0 + 4, 4)"),
    ("the weight of a head", "share0 = 0.5f /", "share0 = 1.0f /"),
    ("the mean of a head", "share1 > 0.0f ? 2.0f / share1", "share1 > 0.0f ? 2.0f"),
    ("the loss of a head", "loss += network_cross", "loss = network_cross"),
]


@pytest.mark.parametrize(("right", "wrong"), [mutant[1:] for mutant in MUTANTS], ids=[name for name, *_ in MUTANTS])
def test_the_self_test_fails_where_a_branch_is_wrong(tmp_path, right, wrong):
    to_c(two_inputs_two_heads(), tmp_path, loss=two_losses(), optimizer=cr.SGD(0.1), test_rows=BATCH)
    source = tmp_path / "network.c"
    text = source.read_text()
    assert right in text
    source.write_text(text.replace(right, wrong))
    command = ["gcc", source, tmp_path / "network_test.c", "-lm", "-o", tmp_path / "program"]
    subprocess.run(command, check=True)
    assert subprocess.run([tmp_path / "program"], capture_output=True, check=False).returncode == 1


def declared(folder, name="network"):
    """The functions of the header, a line for each."""
    return re.findall(r"^(?:void|float) .*?;", (folder / f"{name}.h").read_text(), re.MULTILINE | re.DOTALL)


def test_arrays_are_called_as_the_inputs_and_outputs_of_the_graph(tmp_path):
    to_c(two_inputs_two_heads(), tmp_path, name="net", loss=two_losses(), optimizer=cr.SGD(0.1))
    functions = [re.sub(r"\s+", " ", function) for function in declared(tmp_path, "net")]
    arrays = "const float *image, const float *numbers"
    assert functions == [
        f"void net_predict({arrays}, float *size, float *kind);",
        "void net_init(net_state *state);",
        f"void net_predict_with(const net_state *state, {arrays}, float *size, float *kind);",
        f"float net_step(net_state *state, {arrays}, const float *target_size, const int *target_kind, int batch);",
    ]
    sizes = dict(re.findall(r"#define (\w+) (\d+)", (tmp_path / "net.h").read_text()))
    widths = {"IMAGE_INPUTS": 3, "NUMBERS_INPUTS": 2, "SIZE_OUTPUTS": 2, "KIND_OUTPUTS": 3, "PARAMETERS": 133}
    assert sizes == {f"NET_{name}": str(n) for name, n in widths.items()}


@pytest.mark.parametrize(
    ("names", "called"),
    [(("a", "b"), "ab"), (("x", "z"), "xz"), (("left eye", "größe"), ("x0", "x1")), (("int", "linear"), ("x0", "x1")),
     (("w", "state"), ("x0", "x1")), (("A", "a"), ("A", "x1")), (("PI", "y0"), ("x0", "x1")),
     (("mse_1", "i"), ("x0", "x1")), (("l1", "smoothl1_2"), ("x0", "x1")), (("net_x", "y"), ("x0", "x1")),
     (("target_a", "image_1"), ("x0", "image_1"))],
)  # fmt: skip
def test_names_that_mean_something_else_in_c_become_numbers(tmp_path, names, called):
    nodes = {"p": (cr.Linear(2, 3), names[0]), "q": (cr.Linear(1, 3), names[1]), "both": (cr.Sum(), ("p", "q"))}
    cr.seed(0)
    model = cr.Graph(nodes)
    plan = lower(model, sample_shape={names[0]: (2,), names[1]: (1,)})
    assert [array.name for array in interface("net", plan).inputs] == list(called)
    to_c(model, tmp_path, name="net", loss=cr.MSELoss(), optimizer=cr.SGD(0.1), test_rows=BATCH)
    gcc(tmp_path / "net.c", tmp_path / "net_test.c", "-o", tmp_path / "program")
    subprocess.run([tmp_path / "program"], check=True)


def test_no_name_of_a_function_can_be_that_of_an_array(drawn):
    """Whatever a file keeps to itself: the functions that see arrays of these names call it."""
    networks, _ = drawn
    names = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.exchange.c.source.prefixed", lambda _, source: names.update(own(source)) or source)
        patch.setattr("chainrule.exchange.c.source.write_text", lambda *_: None)
        patch.setattr("chainrule.exchange.c.source.selftest", lambda *_: "")
        for one in networks:
            options = {"sample_shape": one.sample_shape, "loss": one.loss, "optimizer": cr.Adam(clip_norm=1.0)}
            to_c(one.model, ".", **options)
    assert len(names) > 40
    for name in names:
        plan = lower(cr.Parallel({name: cr.Linear(1, 1), "y": cr.Tanh()}), sample_shape={name: (1,), "y": (1,)})
        assert interface("network", plan).inputs[0].name == "x0", name


def own(source):
    return {name for name in re.findall(r"^static .*?(\w+)[(\[]", source, re.MULTILINE) if not name[-1].isdigit()}


def test_positions_are_rows_and_the_last_axis_is_first_in_memory(tmp_path):
    cr.seed(0)
    model = cr.Sequential(cr.Linear(3, 4), cr.Permute(0, 2, 1), cr.Linear(5, 2), cr.Softmax(), cr.Flatten())
    to_c(model, tmp_path, sample_shape=(5, 3))
    assert "#define NETWORK_INPUTS 15 /* 5 x 3, the last axis first */" in (tmp_path / "network.h").read_text()
    assert "b[i * 5 + j] = a[i + j * 4];" in (tmp_path / "network.c").read_text()
    gcc(*CHECKED, "-shared", "-fPIC", tmp_path / "network.c", "-o", tmp_path / "n.so")
    assert "32 rows agree" in measure(tmp_path).test


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 2, 0), (2, 1, 0), (0, 2, 1), (3, 1, 0, 2), (1, 0, 3, 2)])
def test_the_loops_of_a_permutation_are_those_of_its_axes(order):
    shape = (2, 3, 4, 5)[: len(order)]
    places = np.arange(prod(shape)).reshape(shape).transpose(order).reshape(-1)
    found = axes(places.tolist())
    assert prod(n for n, _ in found) == prod(shape)
    assert len(found) <= len(order)  # neighbours that stay neighbours are one
    again = sum(np.arange(n).reshape([-1 if i == k else 1 for k in range(len(found))]) * step
                for i, (n, step) in enumerate(found))  # fmt: skip
    np.testing.assert_array_equal(np.reshape(again, -1), places)


def buffers(folder):
    """What the prediction takes from the stack, in floats."""
    body = (folder / "network.c").read_text().split("void network_predict(")[1]
    return [int(n) for n in re.findall(r"^    float \w\[(\d+)\];", body, re.MULTILINE)]


def test_a_prediction_takes_the_buffers_that_are_alive_at_one_time(tmp_path):
    cr.seed(0)
    block = [cr.Residual(cr.Sequential(cr.Linear(8, 8), cr.Tanh())) for _ in range(5)]
    to_c(cr.Sequential(cr.Linear(2, 8), *block, cr.Linear(8, 3)), tmp_path)
    assert buffers(tmp_path) == [8, 8]  # x of a block and what it makes of it
    to_c(cr.Sequential(cr.Linear(50, 3), cr.Tanh(), cr.Linear(3, 7), cr.Tanh(), cr.Linear(7, 20)), tmp_path)
    assert buffers(tmp_path) == [3, 7]
    heads = cr.Parallel(cr.Linear(6, 2), cr.Sequential(cr.Linear(6, 3), cr.Tanh()))
    to_c(cr.Sequential(cr.Linear(2, 6), heads, cr.Concat(), cr.Linear(5, 1)), tmp_path)
    assert buffers(tmp_path) == [6, 5]  # each part is made where it is to lie
    assert "copy" not in (tmp_path / "network.c").read_text()


def test_outputs_may_be_inputs_and_one_another_and_an_input_may_be_idle(tmp_path):
    cr.seed(0)
    nodes = {"same": (cr.Identity(), "x"), "h": (cr.Linear(3, 2), "x"), "again": (cr.Identity(), "h")}
    model = cr.Graph(nodes, inputs=("x", "idle"), outputs=("same", "h", "again"))
    loss = cr.MultiLoss({"same": cr.MSELoss(), "h": cr.L1Loss(), "again": cr.MSELoss()})
    to_c(model, tmp_path, sample_shape={"x": (3,), "idle": (2,)}, loss=loss, optimizer=cr.SGD(0.1), test_rows=BATCH)
    gcc(*CHECKED, tmp_path / "network.c", tmp_path / "network_test.c", "-o", tmp_path / "program")
    subprocess.run([tmp_path / "program"], check=True)


def test_what_no_output_needs_is_not_in_the_file(tmp_path):
    cr.seed(0)
    model = cr.Sequential(cr.Linear(3, 4), cr.Parallel(cr.Linear(4, 2), cr.Linear(4, 7)), cr.Select(0))
    to_c(model, tmp_path)
    text = (tmp_path / "network.c").read_text()
    assert "network_parameter_2" in text
    assert "network_parameter_4" not in text
    to_c(model, tmp_path, loss=cr.MSELoss(), optimizer=cr.SGD(0.1, weight_decay=0.1), test_rows=2 * BATCH)
    gcc(*CHECKED, tmp_path / "network.c", tmp_path / "network_test.c", "-o", tmp_path / "program")
    subprocess.run([tmp_path / "program"], check=True)  # where they only decay


def test_the_test_may_compare_inputs_of_ones_own(tmp_path):
    x, _ = two_parts(5)
    to_c(two_inputs_two_heads(), tmp_path, test_inputs=dict(reversed(x.items())))
    assert "5 rows agree with Python" in measure(tmp_path).test
    text = (tmp_path / "network_test.c").read_text()
    assert f"{x['image'][0, 0]:.9g}"[:7] in text
    for wrong, says in [
        (x["image"], "test_inputs must be a dict of 'image', 'numbers', got one array"),
        ({"image": x["image"], "other": x["numbers"]}, "a dict of 'image', 'numbers', got a dict of 'image', 'other'"),
        (tuple(x.values()), "a dict of 'image', 'numbers', got a tuple of 2"),
        (x | {"image": x["numbers"]}, r"test_inputs\['image'\] must be \(rows, 3\), got \(5, 2\)"),
        (x | {"image": x["image"][:2]}, "as many rows each, got 2, 5"),
    ]:
        with pytest.raises(ValueError, match=says):
            to_c(two_inputs_two_heads(), tmp_path / "c", test_inputs=wrong)
    with pytest.raises(ValueError, match="no C for MSELoss on several outputs"):
        to_c(two_inputs_two_heads(), tmp_path / "c", loss=cr.MSELoss(), optimizer=cr.SGD(0.1))
    for wrong in (3, "abc", (-3,), {"a": (0,)}):
        with pytest.raises((TypeError, ValueError), match="to_c: sample_shape"):
            to_c(cr.Sequential(cr.Linear(3, 2)), tmp_path / "c", sample_shape=wrong)
    with pytest.raises(ValueError, match="sample_shape"):
        to_c(cr.Graph({"y": (cr.Sum(), ("a", "b")), "z": (cr.Linear(2, 1), "y")}), tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("case", BRANCHES, ids=str)
def test_every_network_with_branches_predicts_and_learns_what_python_does(tmp_path, case: Case):
    model, (x,) = case.example(case.fixed[-1])
    shapes, y = each(lambda part: part.shape[1:], x), model(x)
    heads = [cr.MSELoss() for _ in leaves(y)]
    loss = cr.MultiLoss(dict(zip(y, heads, strict=True))) if isinstance(y, dict) else cr.MultiLoss(*heads)
    options = {"loss": loss if is_several(y) else heads[0], "optimizer": cr.Adam(), "test_rows": 2 * BATCH - 1}
    if not model.param():
        with pytest.raises(ValueError, match="no C for a network without parameters"):
            to_c(model, tmp_path, sample_shape=shapes, **options)
        return
    to_c(model, tmp_path, sample_shape=shapes, **options)
    gcc(*CHECKED, tmp_path / "network.c", tmp_path / "network_test.c", "-o", tmp_path / "program")
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 training steps agree with Python" in done.stdout


@pytest.mark.parametrize("seed", range(8))
def test_what_drawn_networks_are_compared_with_is_what_fit_does(seed):
    one, optimizer, rng = DrawnGraph(seed), OPTIMIZERS[seed % len(OPTIMIZERS)], np.random.default_rng(seed)
    heads = getattr(one.loss, "heads", {0: one.loss})
    classes = {name: loss.classes for name, loss in heads.items()} if len(heads) > 1 else one.loss.classes
    plan = lower(one.model, one.loss, optimizer, sample_shape=one.sample_shape, class_targets=classes)
    x = rebuild(plan.x, [rng.normal(size=(7, *shape)).astype("f4") for shape in plan.x_shapes])
    expected = trajectory(one.model, plan, x)
    optimizer.forget()
    data = each(lambda part: part.astype("f8"), x), rebuild(plan.y, expected.target)
    options = {"epochs": 1, "batch_size": BATCH, "shuffle": False, "keep": "last", "engine": "python"}
    cr.fit(one.model.to(dtype="float64"), one.loss, data, optimizer=optimizer, **options)
    for mine, parameter in zip(expected.parameters[0], plan.parameters, strict=True):
        np.testing.assert_allclose(mine, parameter.value, rtol=1e-9, atol=1e-12)
