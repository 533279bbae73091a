import functools

import numpy as np
import pytest
import sklearn.metrics as oracle
from networks import bits, small_network

import chainrule as cr
from chainrule import metrics


def test_whether_a_metric_takes_weights_is_seen_from_its_arguments():
    def plain(y, target):
        return 0.0

    def third(y, target, sample_weight=None):
        return 0.0

    class Object:
        def __call__(self, y, target, *, sample_weight):
            return 0.0

    assert metrics.takes_weights(third)
    assert metrics.takes_weights(functools.partial(third, 0))
    assert metrics.takes_weights(Object())
    assert metrics.takes_weights(oracle.median_absolute_error)
    assert metrics.takes_weights(metrics.r2)
    assert not metrics.takes_weights(plain)
    assert not metrics.takes_weights(lambda y, target, **options: 0.0)
    assert not metrics.takes_weights(max)


def by_place(y, target, sample_weight, /):
    return 0.0 if sample_weight is None else float(sample_weight.sum())


def by_name(y, target, *, sample_weight):
    return 0.0 if sample_weight is None else float(sample_weight.sum())


def by_either(y, target, sample_weight=None):
    return 0.0 if sample_weight is None else float(sample_weight.sum())


class Object:
    __name__ = "object"

    def __call__(self, y, target, sample_weight=None, /, *rest):
        return 0.0 if sample_weight is None else float(sample_weight.sum())


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize(
    "metric",
    [by_place, by_name, by_either, Object(), functools.partial(by_name)],
    ids=["by place", "by name", "by either", "object", "partial"],
)
def test_weights_are_given_by_name_or_by_place(metric, engine):
    x, target, weight = np.ones((4, 2)), np.zeros((4, 1)), np.array([0.0, 1, 2, 3])
    for data, expected in (((x, target), 0.0), ((x, target, weight), 6.0)):
        model = small_network(cr.SGD(lr=1e-3), n_out=1)
        history = cr.fit(model, cr.MSELoss(), data, epochs=2, metrics=[metric], engine=engine)
        assert list(history.metrics.values()) == [[expected] * 2]
        asked = cr.evaluate(model, cr.MSELoss(), data, metrics=[metric]).metrics
        assert list(asked.values()) == [expected]
        many = cr.fit_many(
            lambda: small_network(cr.SGD(lr=1e-3), n_out=1), cr.MSELoss(), data, epochs=1, metrics=[metric]
        )
        assert list(many[0].metrics.values()) == [expected]


@pytest.mark.parametrize(
    "metric",
    [
        lambda y: 0.0,
        lambda y, target, other: 0.0,
        lambda y, sample_weight: 0.0,
        lambda y, target, other, sample_weight: 0.0,
        lambda *, y, target: 0.0,
    ],
)
def test_what_takes_other_arguments_is_refused_before_training(metric):
    model = small_network(cr.SGD(lr=1e-3))
    before = bits(model)
    with pytest.raises(TypeError, match=r"a metric must take \(y, target\) or \(y, target, sample_weight\), got <"):
        cr.fit(model, cr.MSELoss(), (np.ones((4, 2)), np.zeros((4, 2))), epochs=1, metrics=[metric])
    assert bits(model) == before


def fourth(y, target, other=3, sample_weight=None, /):
    return 0.0


def test_weights_are_not_given_in_the_place_of_something_else():
    with pytest.raises(TypeError, match=r"a metric must take \(y, target\) or"):
        metrics.for_loss(fourth, cr.MSELoss())


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        (metrics.f1, {"average": "micro"}),
        (metrics.accuracy, {}),
        (metrics.balanced_accuracy, {}),
        (metrics.confusion_matrix, {}),
    ],
)
def test_a_partial_goes_by_the_threshold_of_the_loss_unless_it_has_one(metric, options):
    y, target = np.array([[-1.0], [0.2], [0.9], [3.0]]), np.array([[0.0], [1], [1], [0]])
    asked = functools.partial(metric, **options)
    found = metrics.for_loss(asked, cr.BCEWithLogitsLoss())(y, target, None)
    np.testing.assert_array_equal(found, metric(y, target, threshold=0.0, **options))
    own = metrics.for_loss(functools.partial(asked, threshold=0.5), cr.BCEWithLogitsLoss())(y, target, None)
    np.testing.assert_array_equal(own, metric(y, target, threshold=0.5, **options))
    assert not np.array_equal(found, own)


@pytest.mark.parametrize(
    ("loss", "y", "target"),
    [
        (cr.CrossEntropyLoss(), 9 * np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 4),
        (cr.NLLLoss(), cr.LogSoftmax()(np.random.default_rng(0).normal(size=(30, 4))), np.arange(30) % 4),
        (cr.BCEWithLogitsLoss(), 9 * np.random.default_rng(0).normal(size=(30, 1)), np.arange(30)[:, None] % 2.0),
        (cr.CrossEntropyLoss(), 9 * np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2),
    ],
)
def test_metrics_of_probabilities_are_asked_of_what_the_loss_means(loss, y, target):
    p = metrics.probabilities(y, loss)
    column = p[:, -1] if p.shape[1] < 3 else p
    labels, true = np.arange(max(2, p.shape[1])), target.reshape(-1)
    found = cr.evaluate(cr.Identity(), loss, (y, target))
    assert found.log_loss == pytest.approx(oracle.log_loss(true, p, labels=labels), rel=1e-12)
    assert found.log_loss == pytest.approx(found.loss, rel=1e-10)
    assert found.roc_auc == pytest.approx(oracle.roc_auc_score(true, column, multi_class="ovr"), rel=1e-12)
    one = functools.partial(metrics.roc_auc, multi_class="ovo")
    expected = oracle.roc_auc_score(true, column, multi_class="ovo")
    assert metrics.for_loss(one, loss)(y, target, None) == pytest.approx(expected, rel=1e-12)


def test_outputs_that_are_no_probabilities_to_any_loss_are_refused():
    found = cr.evaluate(cr.Identity(), cr.MSELoss(), (np.full((2, 3), 0.9), np.eye(3)[:2]))
    for name in ("log_loss", "roc_auc"):
        with pytest.raises(ValueError, match=f"{name}: each row of y must hold probabilities that add up to 1, got"):
            getattr(found, name)
    two = cr.evaluate(cr.Identity(), cr.MSELoss(), (np.array([[0.9, 0.8], [0.1, 0.7]]), np.eye(2)))
    assert two.roc_auc == 1  # of two outputs the larger one says the class, and by how much ranks
