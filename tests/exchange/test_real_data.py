"""A network that has learned real digits says the same of them wherever it is taken."""

import ctypes
import shutil
import subprocess

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import chainrule as cr

X, LABELS = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
TRAIN, TEST = cr.Dataset(X, LABELS).split(0.75, seed=0)
RUN = {"epochs": 30, "batch_size": 32, "validation": TEST, "metrics": [cr.metrics.accuracy]}


def network():
    cr.seed(0)
    return cr.Sequential(
        cr.AdamW(lr=cr.CosineAnnealingLR(0.01, T_max=30)),
        cr.Linear(64, 48),
        cr.GELU(),
        cr.Dropout(0.2),
        cr.Linear(48, 10),
    )


@pytest.fixture(scope="module")
def trained():
    model = network()
    history = cr.fit(model, cr.CrossEntropyLoss(), TRAIN, **RUN)
    assert cr.evaluate(model, cr.CrossEntropyLoss(), TEST).accuracy > 0.97
    return model, history


def same(trained, said):
    logits = cr.predict(trained[0], X)
    np.testing.assert_allclose(said, logits, rtol=1e-5, atol=2e-5)  # logits of about 10 in float32
    np.testing.assert_array_equal(said.argmax(axis=1), logits.argmax(axis=1))


def test_as_a_file(trained, tmp_path):
    model, history = trained
    model.save(tmp_path / "digits.safetensors", history=history)
    np.testing.assert_array_equal(cr.predict(cr.load(tmp_path / "digits.safetensors"), X), cr.predict(model, X))


def test_as_a_run_that_was_stopped_and_went_on(trained, tmp_path):
    model = network()
    for stop in (lambda history: history.epochs == 7, lambda history: history.epochs == 19, None):
        history = cr.fit(model, cr.CrossEntropyLoss(), TRAIN, **RUN, stop=stop, checkpoint=tmp_path, resume=True)
        model = network() if stop else model
    assert history.losses == trained[1].losses
    assert history.metrics == trained[1].metrics
    np.testing.assert_array_equal(cr.predict(model, X), cr.predict(trained[0], X))


def test_in_pytorch(trained):
    module = cr.to_torch(trained[0]).eval()
    with torch.no_grad():
        same(trained, module(torch.from_numpy(X)).numpy())
    same(trained, cr.predict(cr.from_torch(module), X))


def test_from_pytorch_trained_here(trained):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.GELU(), torch.nn.Linear(48, 10))
    data = DataLoader(
        TensorDataset(torch.from_numpy(TRAIN.x), torch.from_numpy(TRAIN.target)), batch_size=32, shuffle=True
    )
    optimizer = torch.optim.Adam(module.parameters(), lr=0.003)
    history = cr.train_torch(module, torch.nn.CrossEntropyLoss(), data, optimizer=optimizer, epochs=30)
    assert history.engine.startswith("native")
    with torch.no_grad():
        said = module(torch.from_numpy(TEST.x)).argmax(dim=1).numpy()
    assert (said == TEST.target).mean() > 0.96


def test_in_onnxruntime(trained, tmp_path):
    cr.to_onnx(trained[0], tmp_path / "digits.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "digits.onnx", providers=["CPUExecutionProvider"])
    same(trained, session.run(None, {"x": X})[0])
    same(trained, cr.predict(cr.from_onnx(tmp_path / "digits.onnx"), X))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_in_c(trained, tmp_path):
    cr.to_c(trained[0], tmp_path, name="digits")
    library = tmp_path / "digits.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", tmp_path / "digits.c", "-lm", "-o", library], check=True)
    predict = ctypes.CDLL(str(library)).digits_predict
    said = np.empty((len(X), 10), np.float32)
    for x, y in zip(X, said, strict=True):
        predict(x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p))
    same(trained, said)


def test_in_the_logs_of_its_training(tmp_path):
    logs = [cr.callbacks.CSVLog(tmp_path / "run.csv"), cr.callbacks.JSONLinesLog(tmp_path / "run.jsonl")]
    history = cr.fit(network(), cr.CrossEntropyLoss(), TRAIN, **(RUN | {"epochs": 5}), callbacks=logs)
    import pandas as pd

    for table in (pd.read_csv(tmp_path / "run.csv"), pd.read_json(tmp_path / "run.jsonl", lines=True)):
        np.testing.assert_allclose(table["validation_loss"], history.validation_losses, rtol=1e-9)
        np.testing.assert_allclose(table["accuracy"], history.metrics["accuracy"], rtol=1e-9)
