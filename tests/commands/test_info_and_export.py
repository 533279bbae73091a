import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import chainrule as cr
from chainrule.commands import main


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


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_export_writes_c_and_tries_it(tmp_path, model):
    model.save(tmp_path / "my-disk.safetensors")
    result = run("export", tmp_path / "my-disk.safetensors", "--to", "c", "--out", tmp_path / "c")
    assert result.exit_code == 0, result.output
    assert "my_disk: 32 rows agree with Python" in result.output
    assert "ns a prediction here" in result.output
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"my_disk.c", "my_disk.h", "my_disk_test.c"}


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
    assert result.output == "Error: to_c: there is no C for Softmax along dim 0\n"
