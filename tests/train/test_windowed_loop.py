"""Training on data in files: the bits of training on the same data in memory, wherever the order is the same."""

import signal
import threading

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule import Dataset, metrics

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5)).astype(np.float32)
TARGET = np.tanh(X[:, :2]) + np.float32(0.1)
WEIGHT = RNG.uniform(0.5, 2, 600).astype(np.float32)
ENGINES = ["native", "python"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return _written(tmp_path_factory.mktemp("windows") / "samples.npz")


def _written(path, **arrays):
    np.savez(path, **({"x": X, "target": TARGET, "weight": WEIGHT} | arrays))
    return path


def _opened(path, **how):
    return Dataset.open(path, **({"block": 10, "window": 100} | how))


def _network(n_out=2):
    hidden = cr.Linear(5, 8, bias=False, rng=0), cr.BatchNorm1d(8), cr.Tanh(), cr.Dropout(0.1)
    return cr.Sequential(*hidden, cr.Linear(8, n_out, rng=1))


def _tiny():
    return cr.Sequential(cr.Linear(5, 4, rng=0), cr.Tanh(), cr.Linear(4, 2, rng=1))


def _fit(data, engine, model=None, loss=None, **how):
    model = _network() if model is None else model
    optimizer = cr.Adam(lr=cr.OneCycleLR(0.01, total_steps=19 * 4))
    how = {"epochs": 4, "batch_size": 32, "optimizer": optimizer, "progress": False} | how
    history = cr.fit(model, cr.MSELoss() if loss is None else loss, data, engine=engine, **how)
    return model, history


def _require_same(one, other):
    for (name, a), b in zip(one[0].state_dict().items(), other[0].state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert one[1].losses == other[1].losses


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", [{}, {"accumulate": 3}, {"average": cr.SWA(start=2)}], ids=str)
def test_the_bits_are_those_of_memory(path, engine, how):
    how = how | {"validation": (X[:50], TARGET[:50])}
    memory = Dataset(X, TARGET, WEIGHT)
    for window, shuffle in ((100, False), (600, True)):
        opened = _opened(path, sample_weight="weight", window=window)
        _require_same(_fit(opened, engine, shuffle=shuffle, **how), _fit(memory, engine, shuffle=shuffle, **how))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_bits_are_the_same_for_any_number_of_readers(path, engine):
    one, *more = (_fit(_opened(path, readers=n), engine) for n in (1, 2, 4))
    for other in more:
        _require_same(other, one)


@pytest.mark.parametrize("build", [_network, _tiny])
def test_shuffled_windows_train_as_the_batches_come(path, build):
    """The twin: the same batches, one after the other, as an epoch that is not shuffled."""
    data = _opened(path)
    x, target = (np.concatenate(parts) for parts in zip(*data.batches(32, seed=3, epoch=0), strict=True))
    how = {"epochs": 1, "seed": 3}
    _require_same(_fit(data, "native", build(), **how), _fit((x, target), "native", build(), shuffle=False, **how))


def test_both_loops_agree(path):
    (a, of_a), (b, of_b) = (_fit(_opened(path), engine, _network().to(dtype="float64")) for engine in ENGINES)
    assert of_a.engine.startswith("native")
    np.testing.assert_allclose(of_a.losses, of_b.losses, rtol=1e-10)
    np.testing.assert_allclose(a(X.astype(float)), b(X.astype(float)), atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_validation_data_in_files_decide_which_epoch_is_the_best(path, engine):
    held_out = _opened(path).take(slice(0, 333))
    how = {"optimizer": cr.SGD(1.0), "epochs": 12}
    model, history = _fit((X, TARGET), engine, validation=held_out, **how)
    same, memory = _fit((X, TARGET), engine, validation=(X[:333], TARGET[:333]), **how)
    assert history.best_epoch == memory.best_epoch < 11
    np.testing.assert_allclose(history.validation_losses, memory.validation_losses, rtol=1e-5)
    np.testing.assert_array_equal(model(X), same(X))


@pytest.mark.parametrize("engine", ENGINES)
def test_heads_have_losses_of_their_own(path, engine):
    def network():
        heads = cr.Parallel({"a": cr.Linear(8, 2, rng=1), "b": cr.Linear(8, 5, rng=2)})
        return cr.Sequential(cr.Linear(5, 8, rng=0), cr.Tanh(), heads)

    loss = cr.MultiLoss({"b": cr.MSELoss(), "a": cr.L1Loss()}, weights={"a": 0.5, "b": 2.0})
    data, held_out = (_opened(path, targets={"a": "target", "b": "x"}, window=n) for n in (100, 200))
    memory = Dataset(X, {"a": TARGET, "b": X})
    found = _fit(data, engine, network(), loss, shuffle=False, validation=held_out)
    expected = _fit(memory, engine, network(), loss, shuffle=False, validation=memory)
    _require_same(found, expected)
    for name in ("a", "b"):
        np.testing.assert_array_equal(found[1].head_losses[name], expected[1].head_losses[name])
        of_files, of_memory = (one.validation_head_losses[name] for one in (found[1], expected[1]))
        np.testing.assert_allclose(of_files, of_memory, rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_number_that_is_nan_ends_the_run_and_loses_nothing(engine, tmp_path):
    x = X.copy()
    x[437, 3] = np.nan
    data = _opened(_written(tmp_path / "a.npz", x=x))
    model = _network()
    message = r"train.x must be finite.*in row 7 .*counted from row 430 of .*a.npz"
    with pytest.raises(ValueError, match=message) as raised:
        _fit(data, engine, model, shuffle=False)
    assert raised.value.history.epochs == 0
    assert np.isfinite(model(X)).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_changes_under_a_run_leaves_the_best_parameters(engine, tmp_path):
    path = _written(tmp_path / "a.npz")
    parameters = []

    def change(run):
        parameters.append({name: value.copy() for name, value in run.model.state_dict().items()})
        if len(parameters) == 2:
            _written(path)

    model = _network()
    with pytest.raises(ValueError, match="was changed since it was opened") as raised:
        _fit(_opened(path), engine, model, callbacks=[change], epochs=9)
    history = raised.value.history
    assert history.epochs >= 2
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, parameters[history.best_epoch][name])


@pytest.mark.parametrize("engine", ENGINES)
def test_classes_are_checked_where_they_are_read(engine, tmp_path):
    target = np.arange(600) % 3
    target[555] = 7
    data = _opened(_written(tmp_path / "a.npz", target=target.astype(np.uint8)))
    with pytest.raises(ValueError, match=r"7.*counted from row 550 of"):
        _fit(data, engine, _network(3), cr.CrossEntropyLoss())
    target[555] = 1
    data = _opened(_written(tmp_path / "b.npz", target=target.astype(np.uint8)))
    _, history = _fit(data, engine, _network(3), cr.CrossEntropyLoss())
    assert history.losses[-1] < history.losses[0]


def test_ctrl_c_ends_the_run_between_two_steps(path):
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    model, history = _fit(_opened(path), "native", epochs=10**6, optimizer=cr.SGD(0.01))
    timer.join()
    assert "interrupted by Ctrl-C" in history.stopped
    assert 0 < history.steps < 10**6 * 19
    assert np.isfinite(model(X)).all()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chainrule-reading")]


class _StopAt:
    """Ends a run in the middle of an epoch, as a kill would: after so many windows."""

    def __init__(self, data, n):
        self.left = n
        gathered = data._gathered

        def read(*asked):
            self.left -= 1
            if self.left < 0:
                raise OSError(5, "Input/output error")
            return gathered(*asked)

        data._gathered = read


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_goes_on_from_its_checkpoint_to_the_same_bits(path, engine, tmp_path, monkeypatch):
    whole = _fit(_opened(path), engine)
    data = _opened(path)
    prepared = type(data).prepared

    def failing(self, *args, **how):
        found = prepared(self, *args, **how)
        _StopAt(found, 16)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(type(data), "prepared", failing)
        with pytest.raises(OSError, match="Input/output error"):
            _fit(data, engine, checkpoint=cr.Checkpoint(tmp_path, every_s=1e-9))
    _require_same(_fit(_opened(path), engine, checkpoint=tmp_path, resume=True), whole)
    with pytest.raises(ValueError, match="another run"):
        _fit(_opened(path, block=20), engine, checkpoint=tmp_path, resume=True)


def test_evaluate_and_predict_read_window_by_window(path):
    data, model = _opened(path, sample_weight="weight"), _network()
    memory = Dataset(X, TARGET, WEIGHT)
    found, expected = (cr.evaluate(model, cr.MSELoss(), one, metrics=[metrics.mae]) for one in (data, memory))
    assert (found.loss, found.r2, found.metrics) == (expected.loss, expected.r2, expected.metrics)
    np.testing.assert_array_equal(cr.predict(model, _opened(path, targets=None)), cr.predict(model, X))
    np.testing.assert_array_equal(cr.predict(model, memory), cr.predict(model, X))


def test_a_network_of_another_library_is_given_its_own_arrays(path):
    model, history = _fit(_opened(path), "auto", _network().to("torch"))
    same, of_numpy = _fit(_opened(path), "python")
    assert history.engine.startswith("python")
    np.testing.assert_allclose(history.losses, of_numpy.losses, rtol=1e-5)
    np.testing.assert_allclose(model(torch.from_numpy(X)).detach(), same(X), atol=1e-4)


def test_what_cannot_be_done_with_data_in_files_says_so(path):
    with pytest.raises(ValueError, match=r"r2 would be asked of 600 samples in files.*no more than a window, 100"):
        _fit(_opened(path), "native", metrics=[metrics.r2])
    _, history = _fit(_opened(path), "native", metrics=[metrics.r2], validation=_opened(path).take(slice(0, 90)))
    assert history.metrics["r2"][-1] < 1
    with pytest.raises(ValueError, match="train was opened without targets"):
        _fit(_opened(path, targets=None), "native")
    with pytest.raises(ValueError, match="fit_many: train must be in memory"):
        cr.fit_many(_network, cr.MSELoss(), _opened(path), epochs=1)
    assert len(cr.fit_many(_network, cr.MSELoss(), _opened(path, window=600), epochs=1, progress=False)) == 1
