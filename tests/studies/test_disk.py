import numpy as np
import pytest
from safetensors.numpy import load_file

import chainrule as cr
from chainrule.studies import disk as study

QUICK = study.Settings(
    activations=("tanh",), optimizers=("sgd",), radii=("balanced",), hidden=(4,), points=60, epochs=3
)


def test_the_network_is_the_reports():
    model = study.network(study.Settings(), "relu", "momentum", seed=0)
    widths = [(layer.in_features, layer.out_features) for layer in model if isinstance(layer, cr.Linear)]
    assert widths == [(2, 25), (25, 25), (25, 25), (25, 2)]
    assert sum(isinstance(layer, cr.ReLU) for layer in model) == 3
    assert repr(model.optimizer) == "SGD(lr=0.05, momentum=0.9)"


def test_every_combination_gets_a_row_of_as_many_networks_as_seeds():
    settings = study.Settings(hidden=(3,), points=20, epochs=1, seeds=2, seed=5)
    rows = list(study.run(settings))
    assert len(rows) == 2 * 2 * 3
    assert all([run.seed for run in row.runs] == [5, 6] for row in rows)


def test_the_counted_errors_are_those_of_the_network():
    (row,) = study.run(QUICK)
    train, test = study.data_sets(QUICK, "balanced", 0)
    (run,) = row.runs
    assert run.test_errors == cr.evaluate(run.model, cr.MSELoss(), test).errors
    assert run.train_loss == pytest.approx(cr.evaluate(run.model, cr.MSELoss(), train).loss)


def test_training_and_test_points_differ():
    train, test = study.data_sets(QUICK, "report", 0)
    assert not np.isin(train.x, test.x).any()


def test_medians_are_taken_over_the_seeds():
    class Run:
        def __init__(self, n):
            self.test_errors = n

    assert study.Row([Run(9), Run(1), Run(4)]).median("test_errors") == 4


def test_saved_networks_hold_their_parameters(tmp_path):
    rows = list(study.run(QUICK))
    study.save_networks(rows, tmp_path)
    state = load_file(tmp_path / "balanced-tanh-sgd-seed0.safetensors")
    for name, value in rows[0].runs[0].model.state_dict().items():
        np.testing.assert_array_equal(state[name], value)


def test_an_interrupted_run_ends_the_experiment(monkeypatch):
    monkeypatch.setattr(study, "fit", lambda *a, **k: cr.History(stopped="interrupted by Ctrl-C in epoch 0"))
    with pytest.raises(KeyboardInterrupt):
        next(study.run(QUICK))


@pytest.mark.parametrize(("radius", "limits"), [("report", (40, 40, 20)), ("balanced", (50, 50, 30))])
def test_the_network_learns_the_disk(radius, limits):
    settings = study.Settings(radii=(radius,), seeds=5)
    for row in study.run(settings):
        limit = dict(zip(("sgd", "momentum", "adam"), limits, strict=True))[row.runs[0].optimizer]
        assert row.median("test_errors") <= limit
