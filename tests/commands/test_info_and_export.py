import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from frames import houses

import chainrule as cr
from chainrule.commands import main
from chainrule.files import read_file, write_file
from chainrule.tables import train_table
from chainrule.tables.report import report_text


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def model():
    cr.seed(0)
    return cr.Sequential(cr.Adam(lr=0.01), cr.Linear(2, 5), cr.GELU(), cr.Linear(5, 2))


def test_info_shows_the_architecture_and_the_training(tmp_path, model):
    path = tmp_path / "disk.safetensors"
    history = cr.fit(model, cr.MSELoss(), cr.data.disk(50, seed=0), epochs=3)
    model.save(path, history=history)
    result = run("info", path)
    assert result.exit_code == 0
    assert result.output.startswith(f"{path}: a model, {path.stat().st_size:,} bytes, float32\n")
    assert repr(model) in result.output
    assert repr(history) in result.output
    assert json.loads(run("info", path, "--json").output)["model"]["class"] == "Sequential"


def test_info_says_how_far_a_run_has_come(tmp_path, model):
    history = cr.fit(model, cr.MSELoss(), cr.data.disk(50, seed=0), epochs=3, checkpoint=tmp_path)
    result = run("info", tmp_path / "checkpoint.safetensors")
    assert result.exit_code == 0
    expected = f"6 steps, 3 epochs finished; best epoch {history.best_epoch}, with the loss {history.best_loss:.6g}"
    assert expected in result.output


def test_export_writes_onnx_and_tries_it(tmp_path, model):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model.save(tmp_path / "disk.safetensors")
    result = run("export", tmp_path / "disk.safetensors", "--to", "onnx")
    assert result.exit_code == 0, result.output
    assert "x (batch, 2) -> y (batch, 2)" in result.output
    assert float(result.output.split(", to ")[1]) < 1e-6
    back = cr.from_onnx(onnx.load(tmp_path / "disk.onnx"))
    np.testing.assert_array_equal(back[0].weight.value, model[0].weight.value)


def test_export_tries_all_inputs_and_outputs_of_a_network_with_branches(tmp_path):
    pytest.importorskip("onnxruntime")
    g, h = cr.Sequential(cr.Linear(2, 4), cr.Tanh()), cr.Linear(3, 4)
    model = cr.Graph({"h": (h, "left"), "g": (g, "right"), "y": (cr.Concat(), ("h", "g"))}, outputs=("y", "g"))
    model.save(tmp_path / "two.safetensors")
    result = run("export", tmp_path / "two.safetensors", "--to", "onnx", "--out", tmp_path / "two.onnx")
    assert result.exit_code == 0, result.output
    assert "left (batch, 3), right (batch, 2) -> y (batch, 8), g (batch, 4)" in result.output
    assert float(result.output.split(", to ")[1]) < 1e-6


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (cr.Sequential(cr.Parallel(cr.Linear(4, 3), cr.Linear(2, 3)), cr.Sum()), "x_0 (batch, 4), x_1 (batch, 2)"),
        (cr.Graph({"h": (cr.Linear(4, 3), "a")}, inputs=("a",)), "a (batch, 4)"),
    ],
    ids=["a tuple", "a dict of one"],
)
def test_export_tries_onnx_on_inputs_in_the_form_that_the_network_takes(tmp_path, model, inputs):
    pytest.importorskip("onnxruntime")
    model.save(tmp_path / "two.safetensors")
    result = run("export", tmp_path / "two.safetensors", "--to", "onnx")
    assert result.exit_code == 0, result.output
    assert inputs in result.output
    assert float(result.output.split(", to ")[1]) < 1e-6


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_export_writes_c_and_tries_it(tmp_path, model):
    model.save(tmp_path / "my-disk.safetensors")
    result = run("export", tmp_path / "my-disk.safetensors", "--to", "c", "--out", tmp_path / "c")
    assert result.exit_code == 0, result.output
    assert "my_disk: 32 rows agree with Python" in result.output
    assert "ns a prediction here" in result.output
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"my_disk.c", "my_disk.h", "my_disk_test.c"}


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("form", ["onnx", "c"])
def test_export_of_a_network_of_images_is_told_their_shape(tmp_path, form):
    path = tmp_path / "images.safetensors"
    cr.Sequential(cr.Conv2d(2, 3, 3), cr.ReLU(), cr.Flatten(), cr.Linear(36, 2)).save(path)
    result = run("export", path, "--to", form)
    assert result.exit_code == 1
    assert "sample_shape" in result.output
    result = run("export", path, "--to", form, "--sample-shape", "2,5,6")
    assert result.exit_code == 0, result.output
    assert re.search(r"random inputs, to \S+|32 rows agree with Python", result.output)
    for nonsense in ("2,5,", "2x5", "0,5,6", "-1"):
        result = run("export", path, "--to", form, "--sample-shape", nonsense)
        assert result.exit_code == 2
        assert "must be lengths with commas between them" in result.output


def test_export_writes_c_that_learns(tmp_path, model):
    path = tmp_path / "disk.safetensors"
    model.save(path)
    result = run("export", path, "--to", "c", "--train", "--lr", 0.25)
    assert result.exit_code == 0, result.output
    assert "disk: 8 training steps agree with Python" in result.output
    assert "ns a training step of 4 rows here" in result.output
    header = (tmp_path / "disk" / "disk.h").read_text()
    assert "MSELoss()" in header
    assert "Adam(lr=0.25)" in header
    result = run("export", path, "--to", "c", "--train", "--loss", "CrossEntropyLoss")
    assert result.exit_code == 0, result.output
    assert "const int *target" in (tmp_path / "disk" / "disk.h").read_text()
    cr.Sequential(cr.SGD(cr.StepLR(0.1, 3)), *model.layers, cr.LogSoftmax()).save(path)
    result = run("export", path, "--to", "c", "--train")
    assert result.output.startswith("Error: to_c: lr must be a number")
    assert run("export", path, "--to", "c", "--train", "--lr", 0.1).exit_code == 0
    assert "NLLLoss()" in (tmp_path / "disk" / "disk.h").read_text()
    assert run("export", path, "--to", "onnx", "--train").exit_code == 2
    assert run("export", path, "--to", "c", "--lr", 0.1).exit_code == 2


@pytest.mark.parametrize(("stem", "name"), [("2024", "network_2024"), ("math", "network_math"), ("größe", "gr_e")])
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_export_makes_a_name_that_c_can_take(tmp_path, model, stem, name):
    model.save(tmp_path / f"{stem}.safetensors")
    result = run("export", tmp_path / f"{stem}.safetensors", "--to", "c")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / stem).iterdir()} == {f"{name}{rest}" for rest in (".c", ".h", "_test.c")}
    result = run("export", tmp_path / f"{stem}.safetensors", "--to", "c", "--name", "time")
    assert result.exit_code == 1
    assert "the system's header time.h" in result.output


@pytest.mark.parametrize("form", ["c", "onnx"])
def test_export_replaces_what_an_export_has_written_and_nothing_else(tmp_path, model, form):
    if form == "onnx":
        pytest.importorskip("onnx")
    model.save(tmp_path / "net")  # without an ending, and its folder is not called so
    for _ in range(2):
        result = run("export", tmp_path / "net", "--to", form)
        assert result.exit_code == 0, result.output
    mine = tmp_path / "mine.c" if form == "c" else tmp_path / "mine.onnx"
    mine.write_text("of my own")
    out = tmp_path if form == "c" else mine
    result = run("export", tmp_path / "net", "--to", form, "--out", out, "--name", "mine")
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {mine} is there already, and no export has written it")
    assert mine.read_text() == "of my own"
    assert not (tmp_path / "mine.h").exists()
    result = run("export", tmp_path / "net", "--to", form, "--out", tmp_path / "no" / "where" / "x", "--name", "ok")
    if form == "onnx":
        assert result.output == f"Error: {tmp_path / 'no' / 'where' / 'x'}: No such file or directory\n"
        result = run("export", tmp_path / "net", "--to", "onnx", "--out", tmp_path)
        assert result.output == f"Error: {tmp_path} is a folder: --out must be a file for onnx\n"


@pytest.mark.parametrize("arguments", [("info",), ("export", "--to", "onnx"), ("export", "--to", "c")], ids=" ".join)
def test_what_is_no_model_is_an_error_and_no_traceback(tmp_path, arguments):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"nonsense")
    command, *options = arguments
    result = run(command, path, *options)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {path}: damaged")
    assert run(command, tmp_path / "nowhere", *options).exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_what_has_no_c_is_an_error_that_names_it(tmp_path):
    cr.Sequential(cr.Linear(2, 2), cr.Softmax(dim=0)).save(tmp_path / "a.safetensors")
    result = run("export", tmp_path / "a.safetensors", "--to", "c")
    assert result.exit_code == 1
    assert result.output == "Error: to_c: there is no C for Softmax along dim 0 of samples of shape (2,)\n"


@pytest.fixture(scope="module")
def table():
    return train_table(houses(), "price", epochs=3, hidden=(5,), progress=False)


def test_info_shows_the_columns_and_the_training_of_a_model_of_a_table(tmp_path, table):
    path = tmp_path / "a.safetensors"
    table.save(path)
    result = run("info", path)
    assert result.exit_code == 0
    assert result.output.startswith(f"{path}: a model of a table, {path.stat().st_size:,} bytes, float32\n")
    assert repr(table) in result.output
    assert report_text(table) in result.output
    assert json.loads(run("info", path, "--json").output)["table"]["target"]["name"] == "price"


@pytest.mark.parametrize("report", [{}, {"rows": 3}, {"source": "a", "rows": {"all": "x"}}])
def test_info_says_that_a_report_is_damaged(tmp_path, table, report):
    table.save(tmp_path / "a")
    tensors, header = read_file(tmp_path / "a")
    write_file(tmp_path / "a", tensors, header | {"report": report})
    result = run("info", tmp_path / "a")
    assert result.exit_code == 1
    assert f"Error: {tmp_path / 'a'}: its report is damaged: " in result.output


def raw_rows(inputs, frame):
    """The raw inputs of rows without missing values, by what the JSON beside an export says."""
    columns = []
    for one in inputs:
        values = frame[one["column"]]
        if one["is"] == "category":
            columns.append((values == one["value"]).to_numpy())
        elif one["is"] == "missing":
            columns.append(values.is_null().to_numpy())
        else:
            columns.append(values.to_physical().fill_null(one["if_missing"]).to_numpy())
    return np.stack(columns, axis=1).astype("float32")


def test_export_of_a_model_of_a_table_takes_raw_numbers(tmp_path, table):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    table.save(tmp_path / "a.safetensors")
    result = run("export", tmp_path / "a.safetensors", "--to", "onnx")
    assert result.exit_code == 0, result.output
    assert f"x (batch, {len(table.encoding.inputs)}) -> y (batch, 1)" in result.output
    assert "x[0]   area             as in the table" in result.output
    assert float(result.output.split("what the model says, to ")[1].split()[0]) < 1e-3
    inputs = json.loads((tmp_path / "a_inputs.json").read_text())["inputs"]
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    frame = houses(seed=1)
    [y] = session.run(None, {"x": raw_rows(inputs, frame)})
    scale = table.target.scale
    np.testing.assert_allclose(y[:, 0] / scale, table.predict(frame) / scale, atol=1e-3)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_export_of_a_model_of_a_table_to_c_lists_its_inputs(tmp_path, table):
    table.save(tmp_path / "a.safetensors")
    result = run("export", tmp_path / "a.safetensors", "--to", "c", "--out", tmp_path / "c", "--name", "house")
    assert result.exit_code == 0, result.output
    assert "house: 32 rows agree with Python" in result.output
    names = {path.name for path in (tmp_path / "c").iterdir()}
    assert names == {"house.c", "house.h", "house_test.c", "house_inputs.json"}
    assert len(json.loads((tmp_path / "c" / "house_inputs.json").read_text())["inputs"]) == len(table.encoding.inputs)


def test_a_model_of_a_table_cannot_be_exported_to_learn(tmp_path, table):
    table.save(tmp_path / "a.safetensors")
    result = run("export", tmp_path / "a.safetensors", "--to", "c", "--train")
    assert result.exit_code == 1
    assert "has the scales of its columns inside, and predicts only" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
