"""The C is compiled as strictly as can be, run, and compared with Python."""

import math
import re
import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from c_programs import CHECKED, STRICT
from cases import CONVOLUTIONS, LAYERS, NORMALIZATIONS, SPATIAL, Case, elementwise, exported_modules
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.exchange.c import measure, to_c
from chainrule.exchange.c.kinds import KINDS, RULES
from chainrule.exchange.c.losses import LOSSES
from chainrule.exchange.c.names import name_from, refusal
from chainrule.structures import is_several

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def run(folder, *arguments, name="network", flags=("-O2",), files=None):
    """Compile and run the self-test."""
    sources = files or [folder / f"{name}.c", folder / f"{name}_test.c"]
    command = ["gcc", *STRICT, *flags, *map(str, sources), "-lm", "-o", str(folder / "program")]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    return subprocess.run([str(folder / "program"), *arguments], capture_output=True, text=True, check=False)


def network(*layers, n_in=3, n_out=4):
    cr.seed(0)
    return cr.Sequential(cr.Linear(n_in, 5), *layers, cr.Linear(5, n_out))


BETWEEN = [case for case in LAYERS if not case.build((1, 1)).children() and case.kind is not cr.Linear]
ONE_BY_ONE = [case for case in BETWEEN if not is_several(case.example((2, 5))[1][0])]


# Modules that are no op of a plan, but only what is inside them, or another shape; and what C refuses, with a reason.
NO_OP = {"Sequential", "Residual", "Parallel", "Graph", "Select", "Identity", "Flatten", "Unflatten", "MultiLoss"}
IMAGES = {kind.__name__ for kind in RULES}  # which test_images.py is about
REFUSED = {
    case.kind.__name__: "it is not written yet"
    for case in CONVOLUTIONS + SPATIAL + NORMALIZATIONS
    if case.kind.__name__ not in IMAGES
}


@pytest.mark.parametrize("kind", exported_modules(), ids=lambda kind: kind.__name__)
def test_every_module_is_something_in_c_or_is_refused_for_a_reason(kind):
    known = {*KINDS, *LOSSES, *NO_OP, *IMAGES}
    assert (kind.__name__ in known) != (kind.__name__ in REFUSED)


def test_what_the_plan_has_and_c_has_not_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.delitem(KINDS, "Tanh")
    with pytest.raises(ValueError, match=r"^to_c: there is no C for Tanh\(\)$"):
        to_c(network(cr.Tanh()), tmp_path)
    monkeypatch.delitem(LOSSES, "MSELoss")
    with pytest.raises(ValueError, match=r"^to_c: there is no C for MSELoss$"):
        to_c(network(), tmp_path, loss=cr.MSELoss(), optimizer=cr.SGD())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ONE_BY_ONE, ids=str)
def test_every_layer_agrees_with_python_inside_a_network_at_its_beginning_and_at_its_end(tmp_path, case: Case):
    layer = case.build((2, 5))
    cr.seed(0)
    flat, end = cr.Flatten(), case.build((2, 4))  # some give a row other axes
    model = cr.Sequential(layer, flat, cr.Linear(5, 5), layer, flat, cr.Linear(5, 4), end)
    if isinstance(layer, cr.Dropout):
        model = cr.Sequential(layer, cr.Linear(5, 4))
    try:
        to_c(model, tmp_path, sample_shape=(5,))
    except ValueError as refused:
        expected = r"(Softmax|LogSoftmax) along dim 0|(Flatten|Unflatten|Permute)\(.*\) on samples of|on \d+ numbers"
        assert re.search(expected, str(refused))  # noqa: PT017
        return
    done = run(tmp_path, flags=CHECKED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "32 rows agree with Python" in done.stdout


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_half_of_each_row_gates_the_other_and_both_learn(tmp_path, shape):
    cr.seed(0)
    end = cr.Sequential(cr.Flatten(), cr.Linear(2 * math.prod(shape[:-1]), 3))
    nodes = {"h": (cr.Linear(3, 4), "x"), "y": (cr.GLU(), "h"), "t": (cr.Linear(4, 2), "h")}  # h is read twice
    model = cr.Graph({**nodes, "sum": (cr.Sum(), ("t", "y")), "end": (end, "sum")})
    to_c(model, tmp_path, sample_shape=shape, loss=cr.MSELoss(), optimizer=cr.SGD(lr=0.1))
    done = run(tmp_path, flags=CHECKED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training steps agree with Python" in done.stdout


widths = st.integers(1, 40)
activations = st.sampled_from([*elementwise(), cr.Softmax()])


@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(widths, min_size=2, max_size=5), data=st.data(), dtype=st.sampled_from(["float32", "float64"]))
def test_networks_of_any_size_agree_with_python(tmp_path_factory, sizes, data, dtype):
    layers = []
    for n_in, n_out in pairwise(sizes):
        layers += [
            cr.Linear(n_in, n_out, bias=data.draw(st.booleans()), rng=0),
            data.draw(activations),
            cr.Dropout(0.5),
        ]
    model = cr.Sequential(cr.Flatten(), cr.Sequential(*layers)).to(dtype=dtype)
    folder = tmp_path_factory.mktemp("c")
    to_c(model, folder, test_rows=5)
    done = run(folder, flags=CHECKED)
    assert done.returncode == 0, done.stdout + done.stderr


def predicted(folder, model, x):
    """What the C function says, through a shared library."""
    import ctypes

    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", folder / "network.c", "-lm", "-o", folder / "n.so"], check=True)
    function = ctypes.CDLL(str(folder / "n.so")).network_predict
    y = np.empty((len(x), model(x[:1]).shape[1]), np.float32)
    for row, out in zip(x, y, strict=True):
        function(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    return y


def test_a_trained_network_says_the_same_of_real_data(tmp_path):
    datasets = pytest.importorskip("sklearn.datasets")
    x, target = datasets.load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    cr.seed(0)
    model = cr.Sequential(
        cr.Adam(lr=0.003), cr.Linear(64, 32), cr.ReLU(), cr.Dropout(0.1), cr.Linear(32, 10), cr.Softmax()
    )
    trained = cr.Sequential(cr.Adam(lr=0.003), *model.layers[:-1])
    cr.fit(trained, cr.CrossEntropyLoss(), (x, target), epochs=10)
    to_c(model, tmp_path)
    y = predicted(tmp_path, model, x)
    np.testing.assert_allclose(y, model(x), rtol=1e-4, atol=1e-6)
    assert (y.argmax(axis=1) == target).mean() > 0.95


def test_weights_that_are_shared_are_written_once_and_another_library_does_not_matter(tmp_path):
    first = cr.Linear(3, 3, rng=0)
    model = cr.Sequential(first, cr.Tanh(), cr.Linear(3, 3, bias=False, weight=first.weight), first).to("torch")
    to_c(model, tmp_path)
    assert (tmp_path / "network.c").read_text().count("static const float network_parameter_") == 2
    assert run(tmp_path).returncode == 0


@pytest.mark.parametrize("flag", ["-O0", "-Os", "-O3", "-Ofast"])
def test_predictions_agree_whatever_the_compiler_is_told_to_optimize(tmp_path, flag):
    to_c(network(cr.Softmax(), cr.Linear(5, 5, rng=0), cr.ELU()), tmp_path)
    assert run(tmp_path, flags=[flag]).returncode == 0


def test_the_self_test_fails_where_the_numbers_are_wrong(tmp_path):
    to_c(network(cr.Tanh()), tmp_path)
    source = tmp_path / "network.c"
    text = source.read_text()
    number = re.search(r"-?\d\.\d+f", text)
    source.write_text(text.replace(number[0], f"{float(number[0][:-1]) * 1.0001:.9g}f", 1))
    done = run(tmp_path)
    assert done.returncode == 1
    assert "but Python says" in done.stdout
    source.write_text(text.replace("tanhf(x[i])", "0.0f / (x[i] - x[i])"))  # NaN is not within any bound
    assert run(tmp_path).returncode == 1


def test_the_header_can_be_used_from_cpp(tmp_path):
    to_c(network(), tmp_path, name="net")
    main = "int main() { float x[NET_INPUTS] = {}, y[NET_OUTPUTS]; net_predict(x, y); return y[0] != y[0]; }"
    program = f'#include "net.h"\n{main}'
    (tmp_path / "use.cpp").write_text(program)
    subprocess.run(["gcc", "-c", tmp_path / "net.c", "-o", tmp_path / "net.o"], check=True)
    command = ["g++", "-Wall", "-Werror", tmp_path / "use.cpp", tmp_path / "net.o", "-lm", "-o", tmp_path / "use"]
    subprocess.run(command, check=True)
    subprocess.run([tmp_path / "use"], check=True)


def test_it_takes_no_library_but_math_and_allocates_nothing(tmp_path):
    to_c(network(cr.GELU(), cr.Softmax()), tmp_path)
    text = (tmp_path / "network.c").read_text()
    assert re.findall(r"#include (.*)", text) == ['"network.h"', "<math.h>"]
    subprocess.run(["gcc", "-O2", "-c", tmp_path / "network.c", "-o", tmp_path / "n.o"], check=True)
    names = subprocess.run(["nm", "-u", tmp_path / "n.o"], capture_output=True, text=True, check=True).stdout.split()
    assert set(names) - {"U"} <= {"erff", "expf", "memset", "memcpy", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}


def test_every_header_of_the_compiler_that_a_name_could_hide_is_refused():
    """Those of ISO C, by asking the compiler for all that they include."""
    heads = "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg "
    heads += "stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype"
    text = "".join(f"#include <{head}.h>\n" for head in heads.split())
    done = subprocess.run(["gcc", "-xc", "-M", "-"], input=text, capture_output=True, text=True, check=True)
    found = set(re.findall(r"(?:include|linux-gnu)/(\w+)\.h\b", done.stdout))
    assert set(heads.split()) <= found
    for head in found:
        assert refusal(head), head


@pytest.mark.parametrize(
    ("text", "name"),
    [("disk", "disk"), ("my disk-2", "my_disk_2"), ("2024", "network_2024"), ("math", "network_math"),
     ("größe", "gr_e"), ("ß", "network"), ("class", "network_class"), ("", "network")],
)  # fmt: skip
def test_a_name_is_made_of_any_text(text, name):
    assert name_from(text) == name
    assert refusal(name) == ""


BOTH = """
#include "first.c"
#include "first_log.c"
#include "second.c"
#include <stdio.h>
static first_state one;
static second_state two;
int main(void)
{
    float x[FIRST_INPUTS] = {1.0f, 2.0f, 3.0f}, y[FIRST_OUTPUTS], z[SECOND_OUTPUTS], w[FIRST_LOG_OUTPUTS];
    float target[FIRST_OUTPUTS] = {0.0f};
    int label = 1;
    first_init(&one);
    second_init(&two);
    first_step(&one, x, target, 1);
    second_step(&two, x, &label, 1);
    first_predict(x, y);
    second_predict(x, z);
    first_log_predict(x, w);
    printf("%.9g %.9g %.9g\\n", (double)y[0], (double)z[0], (double)w[0]);
    return one.steps != 1 || two.steps != 1;
}
"""


@pytest.mark.parametrize(
    "compiler", [["gcc", *STRICT], ["g++", "-xc++", "-std=c++11", "-Wall", "-Wextra", "-Werror"]], ids=["c99", "c++"]
)
def test_several_networks_fit_into_one_file(tmp_path, compiler):
    first = cr.Sequential(
        cr.Dropout(0.2), cr.Linear(3, 5, rng=0), cr.LeakyReLU(), cr.LogSoftmax(), cr.Linear(5, 4, rng=0)
    )
    second = cr.Sequential(cr.Dropout(0.2), cr.Linear(3, 5, rng=1), cr.Softmax(), cr.Linear(5, 4, rng=1))
    to_c(first, tmp_path, name="first", loss=cr.SmoothL1Loss(beta=0.5), optimizer=cr.Adam(clip_norm=1.0))
    to_c(second, tmp_path, name="second", loss=cr.CrossEntropyLoss([1.0, 2.0, 1.0, 1.0]), optimizer=cr.SGD())
    to_c(second, tmp_path, name="first_log")
    (tmp_path / "both.c").write_text(BOTH)
    command = [*compiler, tmp_path / "both.c", "-lm", "-o", tmp_path / "both"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([tmp_path / "both"], capture_output=True, text=True, check=True).stdout
    x = np.array([[1, 2, 3]], np.float32)
    expected = [model(x)[0, 0] for model in (first, second, second)]
    np.testing.assert_allclose([float(number) for number in said.split()], expected, rtol=1e-5)


def test_everything_that_a_file_defines_bears_its_name(tmp_path):
    for case in ONE_BY_ONE:
        try:
            to_c(
                cr.Sequential(cr.Linear(5, 5, rng=0), case.build((2, 5)), cr.Linear(5, 4, rng=0)), tmp_path, name="net"
            )
        except ValueError:
            continue
        subprocess.run(["gcc", "-O0", "-c", tmp_path / "net.c", "-o", tmp_path / "n.o"], check=True)
        names = subprocess.run(["nm", tmp_path / "n.o"], capture_output=True, text=True, check=True).stdout.splitlines()
        defined = [line.split()[2] for line in names if line.split()[-2] != "U"]
        assert defined
        assert all(name.startswith("net_") for name in defined), defined


def test_measure_gives_sizes_and_a_time(tmp_path):
    to_c(network(), tmp_path)
    found = measure(tmp_path)
    assert found.data >= 4 * network().num_parameters
    assert found.code > 0
    assert found.ns > 0
    assert "agree with Python" in found.test
    assert measure(tmp_path, compiler="no-such-compiler") is None
    (tmp_path / "network.c").write_text("nonsense")
    with pytest.raises(RuntimeError, match="cc failed"):
        measure(tmp_path)


@pytest.mark.parametrize("folder", ["-c", "@c"])
def test_measure_finds_a_folder_that_looks_like_an_option(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    to_c(network(), folder)
    assert "agree with Python" in measure(folder).test


class Own(cr.Module):
    pass


def not_finite():
    model = network()
    model[0].weight.value[0, 0] = np.nan
    return model


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (network(Own()), {}, "no C for this model: .*Own"),
        (network(cr.Softmax(0)), {}, "no C for Softmax along dim 0"),
        (cr.Sequential(cr.Tanh()), {}, "no C for a network without a Linear"),
        (not_finite(), {}, "parameter 0 must be finite"),
        (network(), {"name": "3d"}, "name must be an identifier of C, got '3d'"),
        (network(), {"name": "while"}, "name must be an identifier of C"),
        (network(), {"name": "a/b"}, "name must be an identifier of C"),
        (network(), {"name": "größe"}, "name must be an identifier of C"),
        (network(), {"name": "class"}, "no word or macro of C or C\\+\\+, got 'class'"),
        (network(), {"name": "NULL"}, "no word or macro of C"),
        (network(), {"name": "errno"}, "no word or macro of C"),
        (network(), {"name": "math"}, "the system's header math.h, which math.h would hide, got 'math'"),
        (network(), {"name": "Time"}, "the system's header time.h, which Time.h would hide"),
        (network(), {"name": "sem"}, "another one than those of functions of POSIX"),
        (network(), {"test_rows": 0}, "test_rows must be a positive integer"),
    ],
    ids=range(15),
)
def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, model, options, says):
    with pytest.raises(ValueError, match=f"to_c: .*{says}|{says}"):
        to_c(model, tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()


def test_the_test_may_compare_inputs_of_ones_own(tmp_path):
    model = network(cr.Tanh())
    x = np.random.default_rng(0).normal(1e4, 1e2, size=(7, 3))
    to_c(model, tmp_path, test_inputs=x)
    done = run(tmp_path)
    assert done.returncode == 0
    assert "7 rows agree with Python" in done.stdout
    assert f"{np.float32(x[0, 0]):.9g}"[:7] in (tmp_path / "network_test.c").read_text()
    for wrong, says in ((x[:, :2], r"test_inputs must be \(rows, 3\), got \(7, 2\)"), (x * 1e300, "must be finite")):
        with pytest.raises(ValueError, match=says):
            to_c(model, tmp_path / "c", test_inputs=wrong)
    assert not (tmp_path / "c").exists()
