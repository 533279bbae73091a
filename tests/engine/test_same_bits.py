"""The engine adds in a fixed order: the same bits for any number of threads, instruction set, and way to cut a run.

`python tests/engine/test_same_bits.py` prints the hashes for the instruction set that the environment names.
"""

import hashlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import native
from chainrule.train import native_loop

WITH_FMA = ("avx512", "avx2")  # the baseline rounds products before it adds them, so its bits are its own

# Of final parameters, losses and validation losses. They change if, and only if, an order of sums or a formula does.
HASHES = {
    "report, float32": "74c1fa69681a1a20",
    "report, float64": "91a5325b7ceb9e8b",
    "rows one by one, float32": "26fff26fc63d4b6f",
    "rows one by one, float64": "e6877d6b199864c4",
    "dropout, float32": "d9d91a25c721e612",
    "dropout, float64": "07a81bfb7717103e",
    "shared, float32": "13e80697e910abfb",
    "shared, float64": "1c3507fbe2847ebe",
    "wide, float32": "03283ccf6ef66b7b",
    "wide, float64": "58bebf4c072a668a",
    "wide, few rows, float32": "989f0b5e0aea9dee",
    "wide, few rows, float64": "b6d1ea0cca00377f",
    "wide, plain, float32": "ed559a179eb3f45b",
    "wide, plain, float64": "c12729c7d57b9236",
}


def numbers(*shape, salt=0):
    """Numbers in -1 … 1 from a counter, exact in float32: they depend on no generator and no library."""
    n = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(1 + 1000003 * salt)
    return ((n * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(44)).astype(np.float64) / 2**19 - 1).reshape(shape)


def linear(n_in, n_out, dtype, salt, **options):
    scale = 0.5 if n_in < 8 else 0.125  # powers of two, so that the weights stay exact
    weight = options.pop("weight", None)
    weight = (scale * numbers(n_out, n_in, salt=salt)).astype(dtype) if weight is None else weight
    bias = options.pop("bias", (scale * numbers(n_out, salt=salt + 1)).astype(dtype))
    return cr.Linear(n_in, n_out, weight=weight, bias=bias)


def chain(dtype, *sizes, between):
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        layers += [linear(n_in, n_out, dtype, 10 * i), *between()]
    return cr.Sequential(*layers[: -len(between())])


def shared(dtype):
    first = linear(17, 17, dtype, 30)
    return cr.Sequential(
        first, cr.SiLU(), linear(17, 17, dtype, 31, weight=first.weight), cr.ELU(), linear(17, 5, dtype, 32, bias=False)
    )


def classes(rows, n):
    return np.arange(rows) * 7 % n


# Name: the network for a dtype, loss, target of so many rows, optimizer, batch size, options of fit.
RUNS = {
    "report": (
        lambda dtype: chain(dtype, 2, 25, 25, 25, 2, between=lambda: [cr.Tanh()]),
        cr.MSELoss,
        lambda rows: numbers(rows, 2, salt=5),
        lambda: cr.SGD(lr=0.1, momentum=0.9),
        {"batch_size": 32},
    ),
    "rows one by one": (
        lambda dtype: chain(dtype, 3, 33, 9, 1, between=lambda: [cr.ReLU()]),
        lambda: cr.HuberLoss(delta=0.5),
        lambda rows: numbers(rows, 1, salt=5),
        lambda: cr.SGD(lr=0.01),
        {"batch_size": 1},
    ),
    "dropout": (
        lambda dtype: chain(dtype, 7, 50, 40, 10, between=lambda: [cr.GELU(), cr.Dropout(0.25, rng=0)]),
        lambda: cr.CrossEntropyLoss(np.arange(1, 11) / 8, label_smoothing=0.125),
        lambda rows: classes(rows, 10),
        lambda: cr.Adam(lr=cr.LinearLR(0.0078125, total_iters=20, every="step"), weight_decay=0.0625),
        {"batch_size": 30},
    ),
    "shared": (
        shared,
        cr.MSELoss,
        lambda rows: numbers(rows, 5, salt=5),
        lambda: cr.RMSprop(lr=0.001, centered=True, momentum=0.5, clip_norm=0.5),
        {"batch_size": 19},
    ),
    "wide": (  # enough work for several threads, and panels of every kind
        lambda dtype: chain(dtype, 65, 300, 190, 11, between=lambda: [cr.Softplus()]),
        lambda: cr.NLLLoss(ignore_index=3),
        lambda rows: classes(rows, 11),
        lambda: cr.AdamW(lr=0.001, amsgrad=True, clip_value=0.25),
        {"batch_size": 128, "epochs": 4},
    ),
    "wide, few rows": (  # which threads share layer by layer
        lambda dtype: chain(dtype, 65, 300, 190, 264, 11, between=lambda: [cr.ReLU(), cr.Dropout(0.5, rng=0)]),
        cr.CrossEntropyLoss,
        lambda rows: classes(rows, 11),
        lambda: cr.SGD(lr=0.1),
        {"batch_size": 13, "epochs": 4},
    ),
    "wide, plain": (
        lambda dtype: chain(dtype, 64, 256, 256, 64, between=lambda: [cr.ReLU()]),
        cr.SmoothL1Loss,
        lambda rows: numbers(rows, 64, salt=5),
        lambda: cr.SGD(lr=0.5),
        {"batch_size": 100, "epochs": 4},
    ),
}
DTYPES = ("float32", "float64")
NAMES = [f"{name}, {dtype}" for name in RUNS for dtype in DTYPES]


def train(name, *, engine="native", parts=1, **options):
    """Everything that a run leaves, as bytes."""
    name, dtype = name.rsplit(", ", 1)
    build, loss, target, optimizer, fixed = RUNS[name]
    model, optimizer, made = build(dtype), optimizer(), target(300)
    n_in = model.param()[0].shape[1]
    x = numbers(300, n_in, salt=7).astype(dtype)
    made = made if made.dtype.kind == "i" else made.astype(dtype)
    how = {"validation": (x[:70], made[:70]), "keep": "last", "seed": 11, "epochs": 8} | fixed | options
    losses, validation = [], []
    for _ in range(parts):
        history = cr.fit(
            model, loss(), (x, made), optimizer=optimizer, engine=engine, **how | {"epochs": how["epochs"] // parts}
        )
        losses += history.losses
        validation += history.validation_losses
    assert np.isfinite(losses).all()
    arrays = [np.array(losses), np.array(validation), *(parameter.value for parameter in model.param())]
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def digest(name, **options):
    return hashlib.sha256(train(name, **options)).hexdigest()[:16]


@pytest.fixture(scope="module")
def once():
    """The hash of each run, by one thread."""
    return {name: digest(name, threads=1) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bits(name, threads, once):
    for _ in range(2):  # who helps with what differs from run to run
        assert digest(name, threads=threads) == once[name]


def test_the_wide_networks_do_use_several_threads():
    for name in ("wide, float32", "wide, few rows, float32", "wide, plain, float64"):
        network, dtype = name.rsplit(", ", 1)
        build, _, _, _, fixed = RUNS[network]
        compiled = cr.compile(build(dtype), batch_size=fixed["batch_size"], threads=2)
        assert compiled._native.threads_used(fixed["batch_size"]) == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_repeated_run_gives_the_same_bits(name, once):
    assert digest(name, threads=1) == once[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("slice_s", [0.0, 2e-4])
def test_a_run_cut_into_slices_gives_the_same_bits(name, slice_s, once, monkeypatch):
    monkeypatch.setattr(native_loop, "SLICE_S", slice_s)
    assert digest(name, threads=1) == once[name]


@pytest.mark.parametrize("name", NAMES)
def test_callbacks_that_look_at_everything_change_no_bit(name, once):
    def look(run):
        assert all(np.isfinite(parameter.value).all() for parameter in run.model.param())
        cr.predict(run.model, numbers(3, run.model.param()[0].shape[1]))

    assert digest(name, threads=1, callbacks=[look]) == once[name]


def test_a_metric_changes_no_bit(once):
    def largest(y, target):
        return float(abs(y).max())

    assert digest("report, float32", metrics=[largest]) == once["report, float32"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["report", "rows one by one", "shared", "wide", "wide, plain"])
def test_a_run_continued_by_a_second_fit_gives_the_same_bits(name, dtype):
    """Without shuffling, that is: another fit begins again with the order of epoch 0, and with dropout's first mask."""
    name = f"{name}, {dtype}"
    assert train(name, shuffle=False, parts=2) == train(name, shuffle=False)


@pytest.mark.parametrize("name", ["report, float64", "wide, float32"])
def test_steps_by_hand_give_the_bits_of_fit(name):
    network, dtype = name.rsplit(", ", 1)
    build, loss, target, optimizer, fixed = RUNS[network]
    batch, found = fixed["batch_size"], []
    for by_hand in (False, True):
        model, rule, made = build(dtype), optimizer(), target(300)
        x = numbers(300, model.param()[0].shape[1], salt=7).astype(dtype)
        made = made if made.dtype.kind == "i" else made.astype(dtype)
        if by_hand:
            compiled = cr.compile(model, loss(), rule, batch_size=batch, class_targets=made.dtype.kind == "i", seed=11)
            for epoch in range(3):
                for rows, targets in cr.Dataset(x, made).batches(batch, seed=11, epoch=epoch):
                    compiled.step(np.ascontiguousarray(rows), np.ascontiguousarray(targets))
        else:
            cr.fit(
                model,
                loss(),
                (x, made),
                epochs=3,
                batch_size=batch,
                optimizer=rule,
                seed=11,
                keep="last",
                engine="native",
            )
        found.append([parameter.value.tobytes() for parameter in model.param()])
    assert found[0] == found[1]


def test_the_bits_are_those_of_every_other_machine(once):
    if native.module().instruction_set not in WITH_FMA:
        pytest.skip(f"{native.module().instruction_set} has bits of its own; the hashes are those of {WITH_FMA}")
    assert once == HASHES


@pytest.mark.parametrize("name", WITH_FMA)
def test_every_instruction_set_gives_the_same_bits(name):
    if name not in importlib.import_module("chainrule.engine._cpu").instruction_sets():
        pytest.skip(f"this CPU cannot run {name}")
    if importlib.util.find_spec(f"chainrule.engine._{name}") is None:
        pytest.skip(f"the module for {name} is not built here")
    environment = os.environ | {native.VARIABLE: name}
    run = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"instruction set": name} | HASHES


if __name__ == "__main__":
    made = {"instruction set": native.module().instruction_set} | {name: digest(name) for name in NAMES}
    print(json.dumps(made, indent=4))
