"""A row of weight 2 is the row twice, and one of weight 0, or that the loss ignores, is none: to whoever looks at rows.

The loss of every epoch, metrics, the best epoch, early stopping and the tables of many runs speak of weighted data as
they do of data in which each row stands as often as it weighs.
"""

import functools

import numpy as np
import pytest
import sklearn.metrics as oracle
from networks import branched_loss, branched_network, small_network, values

import chainrule as cr
from chainrule import metrics
from chainrule.callbacks import CSVLog

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(2 * N, 2))
WEIGHT = RNG.integers(0, 4, 2 * N).astype(float)
KIND = ((X[:, 0] + 0.8 * RNG.normal(size=2 * N) > 0).astype(int) + (X[:, 1] > 1)).astype(int)
IGNORED = np.where(np.arange(2 * N) % 5 == 0, -100, KIND)
SIZE = X + RNG.normal(size=X.shape)

NUMBERS = [metrics.mae, metrics.rmse, metrics.mape, metrics.r2, oracle.mean_absolute_error, oracle.r2_score]
CLASSES = [
    metrics.error_rate,
    metrics.accuracy,
    metrics.balanced_accuracy,
    metrics.f1,
    metrics.roc_auc,
    metrics.log_loss,
    functools.partial(oracle.f1_score, average="macro"),
    metrics.from_sklearn(oracle.log_loss, name="log_loss of scikit-learn"),
]
CASES = {  # name: (loss, number of outputs, target, metrics)
    "classes": (cr.CrossEntropyLoss(), 3, KIND, CLASSES),
    "ignored": (cr.CrossEntropyLoss([1.0, 2.0, 0.5], label_smoothing=0.1), 3, IGNORED, CLASSES),
    "logit": (cr.BCEWithLogitsLoss(), 1, (KIND > 0)[:, None].astype(float), CLASSES),
    "numbers": (cr.HuberLoss(), 2, SIZE, NUMBERS),
}
both_loops = pytest.mark.parametrize("engine", ["python", "native"])
every_case = pytest.mark.parametrize("case", list(CASES))


def halves(target, rows):
    """Some rows twice: by their weights, and as often as they weigh."""
    counts = np.where(np.asarray(target == -100).reshape(len(target), -1).any(axis=1), 0, WEIGHT)[rows]
    again = np.repeat(rows, counts.astype(int))
    return cr.Dataset(X[rows], target[rows], WEIGHT[rows]), cr.Dataset(X[again], target[again])


FIRST, SECOND = np.arange(N), np.arange(N, 2 * N)
PRECISE = functools.partial(pytest.approx, rel=1e-9, abs=1e-12)  # rounding of sums of 100 terms, over 40 steps


def require_same(found, expected):
    assert found.losses == PRECISE(expected.losses)
    assert found.validation_losses == PRECISE(expected.validation_losses)
    assert found.metrics.keys() == expected.metrics.keys()
    for name, course in found.metrics.items():
        assert course == PRECISE(expected.metrics[name]), name
    assert (found.best_epoch, found.epochs, found.stopped) == (expected.best_epoch, expected.epochs, expected.stopped)


@both_loops
@every_case
def test_validation_losses_metrics_best_epoch_and_early_stopping(case, engine):
    loss, n_out, target, asked = CASES[case]
    train, _ = halves(target, FIRST)
    how = {"epochs": 200, "batch_size": 10, "metrics": asked, "stop": cr.EarlyStopping(3), "engine": engine}
    runs = []
    for validation in halves(target, SECOND):
        model = small_network(cr.Adam(lr=0.02), n_out=n_out)
        history = cr.fit(model, loss, train, validation=validation, **how)
        assert history.best_loss == PRECISE(cr.evaluate(model, loss, validation).loss)  # keep="best"
        runs.append((history, values(model)))
    (found, weighted), (expected, repeated) = runs
    require_same(found, expected)
    assert 0 < found.best_epoch == found.epochs - 4
    for name, value in weighted.items():
        np.testing.assert_array_equal(value, repeated[name])  # the same steps, and the same epoch


@both_loops
@every_case
def test_training_losses_and_metrics_of_training_data(case, engine):
    loss, n_out, target, asked = CASES[case]
    runs = []
    for train in halves(target, FIRST):  # one batch, in which only the weights differ
        model = small_network(cr.SGD(lr=0.05), n_out=n_out)
        how = {"epochs": 40, "batch_size": 1000, "metrics": asked, "engine": engine}
        runs.append(cr.fit(model, loss, train, stop=cr.EarlyStopping(5), **how))
    require_same(*runs)


@both_loops
def test_the_loss_of_an_epoch_counts_each_batch_by_what_it_weighs(engine):
    """With a rate of 0 nothing moves, and the epoch's loss is that of all rows."""
    for loss, n_out, target, _ in CASES.values():
        weighted, repeated = halves(target, FIRST)
        model = small_network(cr.SGD(lr=0.0), n_out=n_out)
        history = cr.fit(model, loss, weighted, epochs=1, batch_size=7, engine=engine)
        assert history.losses == PRECISE([cr.evaluate(model, loss, repeated).loss])


@both_loops
def test_a_function_that_stops_by_a_metric(engine):
    def stalls(history):
        f1 = history.metrics["f1"]
        return len(f1) > 3 and max(f1[-3:]) <= max(f1[:-3])

    loss, n_out, target, _ = CASES["classes"]
    train, _ = halves(target, FIRST)
    how = {"epochs": 200, "metrics": [metrics.f1], "stop": stalls, "engine": engine}
    require_same(
        *(
            cr.fit(small_network(cr.Adam(lr=0.05), n_out=n_out), loss, train, validation=validation, **how)
            for validation in halves(target, SECOND)
        )
    )


class OwnLoss(cr.Module):
    """The weighted mean of squared errors, of somebody who knows no Loss."""

    def forward(self, y, target, sample_weight=None):
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        share = (weight / weight.sum())[:, None] / y.shape[1]
        difference = y - target
        return (share * difference**2).sum(), (difference, share)

    def backward(self, dvalue, saved):
        difference, share = saved
        return dvalue * 2 * difference * share


def test_the_loss_of_ones_own_too():
    weighted, repeated = halves(SIZE, FIRST)
    model = small_network(cr.SGD(lr=0.0))
    expected = cr.evaluate(model, cr.MSELoss(), repeated).loss
    assert cr.evaluate(model, OwnLoss(), weighted).loss == PRECISE(expected)
    assert cr.fit(model, OwnLoss(), weighted, epochs=1, batch_size=7).losses == PRECISE([expected])
    runs = []
    for validation in halves(SIZE, SECOND):
        model = small_network(cr.Adam(lr=0.05))
        runs.append(cr.fit(model, OwnLoss(), weighted, epochs=20, validation=validation, metrics=NUMBERS))
    require_same(*runs)


@every_case
def test_every_number_of_an_evaluation(case):
    loss, n_out, target, asked = CASES[case]
    model = small_network(n_out=n_out)
    found, expected = (cr.evaluate(model, loss, data, metrics=asked) for data in halves(target, FIRST))
    names = ["loss", "errors", "error_rate", "accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss"]
    names = ["loss", "mae", "rmse", "mape", "r2"] if case == "numbers" else names
    for name in names:
        assert getattr(found, name) == PRECISE(getattr(expected, name)), name
    assert found.metrics == PRECISE(expected.metrics)
    if case != "numbers":
        np.testing.assert_allclose(found.confusion_matrix, expected.confusion_matrix, rtol=1e-12)


@both_loops
def test_heads_each_by_what_its_loss_counts(engine):
    def data(rows, weight=None):
        x = {"image": X[rows], "numbers": np.concatenate([X[rows], X[rows, :1]], axis=1)}
        return cr.Dataset(x, {"kind": IGNORED[rows], "size": SIZE[rows, :1]}, weight)

    again = np.repeat(SECOND, WEIGHT[SECOND].astype(int))
    asked = {"kind": [metrics.f1, metrics.log_loss, metrics.accuracy], "size": [metrics.mape, metrics.r2]}
    how = {"epochs": 15, "batch_size": 10, "metrics": asked, "engine": engine}
    runs = []
    for validation in (data(SECOND, WEIGHT[SECOND]), data(again)):
        model = branched_network(cr.Adam(lr=0.05))
        runs.append(cr.fit(model, branched_loss(), data(FIRST, WEIGHT[FIRST]), validation=validation, **how))
    require_same(*runs)
    for name, course in runs[0].validation_head_losses.items():
        assert course == PRECISE(runs[1].validation_head_losses[name])
    kind = KIND[again][IGNORED[again] >= 0]  # the rows of this head alone
    found = cr.evaluate(model, branched_loss(), data(SECOND, WEIGHT[SECOND])).heads["kind"].confusion_matrix
    np.testing.assert_allclose(found.sum(axis=1), np.bincount(kind, minlength=3))


@both_loops
def test_the_results_of_many_runs(engine):
    loss, n_out, target, asked = CASES["ignored"]
    train, _ = halves(target, FIRST)
    how = {"epochs": 60, "batch_size": 10, "stop": cr.EarlyStopping(3), "seeds": 2, "engine": engine}
    for given in ({"metrics": asked}, {}):  # without metrics the engine decides when to stop
        found, expected = (
            cr.fit_many(
                lambda: small_network(cr.Adam(lr=0.05), n_out=n_out), loss, train, validation=validation, **how, **given
            )
            for validation in halves(target, SECOND)
        )
        for one, other in zip(found, expected, strict=True):
            require_same(one.history, other.history)
            assert one.loss == PRECISE(other.loss)
            assert one.metrics == PRECISE(other.metrics)
        assert found.best().seed == expected.best().seed
        for row, same in zip(found.summary(), expected.summary(), strict=True):
            assert row == PRECISE(same)


def test_the_folds_of_many_runs():
    loss, n_out, target, asked = CASES["ignored"]
    weighted = cr.Dataset(X, target, WEIGHT)
    held, counts = np.arange(0, 2 * N, 3), np.where(target < 0, 0, WEIGHT).astype(int)
    rest = np.setdiff1d(np.arange(2 * N), held)
    origin = np.concatenate([rest, np.repeat(held, counts[held])])  # rows held out stand as often as they weigh
    weight = np.concatenate([WEIGHT[rest], np.ones(counts[held].sum())])
    repeated = cr.Dataset(X[origin], target[origin], weight)
    places = np.arange(len(origin))
    runs = [
        cr.fit_many(
            lambda: small_network(cr.Adam(lr=0.05), n_out=n_out), loss, data, folds=[fold], epochs=9, metrics=asked
        )
        for data, fold in (
            (weighted, (rest, held)),
            (repeated, (places[: len(rest)], places[len(rest) :])),
        )
    ]
    require_same(runs[0][0].history, runs[1][0].history)


def test_a_run_that_goes_on_and_its_table(tmp_path):
    loss, n_out, target, asked = CASES["classes"]
    train, _ = halves(target, FIRST)
    tables = []
    for name, validation in zip("ab", halves(target, SECOND), strict=True):
        how = {"validation": validation, "metrics": asked, "checkpoint": tmp_path / name, "resume": True}
        for epochs in (4, 9):
            model = small_network(cr.Adam(lr=0.05), n_out=n_out)
            callbacks = [CSVLog(tmp_path / f"{name}.csv")]
            history = cr.fit(model, loss, train, epochs=epochs, callbacks=callbacks, **how)
        tables.append([history.row(epoch) for epoch in range(9)])
        written = np.genfromtxt(tmp_path / f"{name}.csv", delimiter=",", names=True)
        assert written["f1"] == PRECISE(np.array(history.metrics["f1"]))
    for row, same in zip(*tables, strict=True):
        row.pop("seconds"), same.pop("seconds")
        assert row == PRECISE(same)
