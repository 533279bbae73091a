import functools
import inspect
import pickle
import re
import warnings

import numpy as np
import pytest
import sklearn.metrics
import sklearn.metrics as oracle
from networks import branched_data, branched_loss, branched_network, small_network

import chainrule as cr
from chainrule import metrics
from chainrule.train.metrics.scikit_learn import TAKE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
TWO, THREE = (X[:, 0] > 0).astype(int), (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
NUMBERS = np.exp(X[:, :1])  # positive, as some metrics want them
WEIGHT = RNG.integers(0, 3, 60).astype(float)
of_each = pytest.mark.parametrize("name", [name for names in TAKE.values() for name in names])


def kind(name):
    return next(of for of, names in TAKE.items() if name in names)


def case(name):
    """A loss, targets, and options with which the function works for any number of classes."""
    if kind(name) == "outputs":
        return cr.MSELoss(), NUMBERS, cr.Sequential(cr.Linear(2, 1, rng=0), cr.Softplus()).double(), {}
    several = "multi_class" not in inspect.signature(getattr(oracle, name)).parameters
    options = {"average": "macro"} if name in ("f1_score", "fbeta_score", "jaccard_score") else {}
    options |= {"average": "macro"} if name in ("precision_score", "recall_score") else {}
    options |= {"beta": 2.0} if name == "fbeta_score" else {"k": 2} if name == "top_k_accuracy_score" else {}
    options |= {} if several else {"multi_class": "ovr"}
    return cr.CrossEntropyLoss(), THREE, small_network(n_out=3), options


def said(name, y, loss):
    """What the function is to be given, by scikit-learn's own words."""
    p = metrics.probabilities(y, loss)
    return {"classes": y.argmax(axis=1), "probabilities": p, "scores": p, "outputs": y}[kind(name)]


@of_each
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_every_function_is_given_the_target_first_and_what_it_takes(name, weight):
    function, (loss, target, model, options) = getattr(oracle, name), case(name)
    data = cr.Dataset(X, target, weight)
    y, keep = cr.predict(model, X), slice(None) if weight is None else weight > 0
    weighs = weight is not None and "sample_weight" in inspect.signature(function).parameters
    expected = function(
        target[keep], said(name, y, loss)[keep], **options, **({"sample_weight": weight[keep]} if weighs else {})
    )
    asked = functools.partial(function, **options)
    found = cr.evaluate(model, loss, data, metrics=[asked]).metrics
    assert found == {name: pytest.approx(expected, rel=1e-12)}
    by_hand = metrics.from_sklearn(function, of=kind(name), **options)
    assert cr.evaluate(model, loss, data, metrics=[by_hand]).metrics == found


@of_each
def test_every_function_knows_two_classes_by_one_logit(name):
    if kind(name) == "outputs":
        return
    function, loss, model = getattr(oracle, name), cr.BCEWithLogitsLoss(), small_network(n_out=1)
    y = cr.predict(model, X)[:, 0]
    p = metrics.probabilities(y, loss)
    # one of them looks for two among two, and one has to be told which F it is
    options = {"k": 1} if name == "top_k_accuracy_score" else {"beta": 2.0} if name == "fbeta_score" else {}
    given = {"classes": (y > 0).astype(int), "probabilities": p, "scores": p}[kind(name)]
    asked = functools.partial(function, **options)
    found = cr.evaluate(model, loss, (X, TWO[:, None].astype(float)), metrics=[asked]).metrics
    assert found == {name: pytest.approx(function(TWO, given, **options), rel=1e-12)}
    two = cr.Sequential(model, cr.Parallel(cr.Identity(), cr.Identity()), cr.Concat(), cr.Linear(2, 2).double())
    two[-1].weight.value[...] = [[0.0, 0.0], [0.5, 0.5]]  # logits 0 and y: the same probabilities
    two[-1].bias.value[...] = 0
    found = cr.evaluate(two, cr.CrossEntropyLoss(), (X, TWO), metrics=[asked]).metrics
    assert found == {name: pytest.approx(function(TWO, given, **options), rel=1e-12)}


def test_what_is_known_are_functions_of_scikit_learn_in_the_order_of_the_table():
    for names in TAKE.values():
        for name in names:
            function = getattr(sklearn.metrics, name)
            first, second = list(inspect.signature(function).parameters)[:2]
            assert first in ("y_true", "y1"), name
            assert second in ("y_pred", "y_proba", "y_score", "y2"), name


@pytest.mark.parametrize("engine", ["python", "native"])
def test_fit_and_fit_many_write_them_down_as_evaluate_finds_them(engine):
    def network():
        return small_network(cr.Adam(lr=0.01), n_out=3)

    asked = [
        functools.partial(oracle.f1_score, average="macro"),
        metrics.from_sklearn(oracle.roc_auc_score, multi_class="ovr", name="auc"),
        oracle.log_loss,
    ]
    data, loss = cr.Dataset(X, THREE, WEIGHT), cr.CrossEntropyLoss()
    model = network()
    history = cr.fit(model, loss, data, epochs=3, keep="last", metrics=asked, engine=engine)
    assert list(history.metrics) == ["f1_score", "auc", "log_loss"]
    result = cr.evaluate(model, loss, data, metrics=asked)
    assert {name: values[-1] for name, values in history.metrics.items()} == pytest.approx(result.metrics, rel=1e-10)
    assert result.metrics == pytest.approx(
        {"f1_score": result.f1, "auc": result.roc_auc, "log_loss": result.log_loss}, rel=1e-10
    )
    many = cr.fit_many(network, loss, data, epochs=3, keep="last", metrics=asked, engine=engine)
    assert many[0].history.metrics == history.metrics


def test_they_are_asked_of_heads_too():
    asked = {"kind": [functools.partial(oracle.f1_score, average="macro")], "size": [oracle.mean_absolute_error]}
    model, data, loss = branched_network(cr.Adam(lr=0.01)), branched_data(), branched_loss()
    history = cr.fit(model, loss, data, epochs=2, keep="last", metrics=asked)
    found = cr.evaluate(model, loss, data).heads
    assert history.metrics["f1_score[kind]"][-1] == pytest.approx(found["kind"].f1, rel=1e-12)
    assert history.metrics["mean_absolute_error[size]"][-1] == pytest.approx(found["size"].mae, rel=1e-12)


def test_classes_that_the_data_lack_are_told():
    target = np.minimum(THREE, 1)  # of three outputs, two
    y = cr.predict(small_network(n_out=3), X)
    p = metrics.probabilities(y, cr.CrossEntropyLoss())
    with pytest.raises(ValueError, match="different number of classes"):
        oracle.log_loss(target, p)
    assert metrics.from_sklearn(oracle.log_loss)(p, target) == pytest.approx(metrics.log_loss(p, target), rel=1e-12)
    assert metrics.from_sklearn(oracle.log_loss)(p[:1], target[:1]) == pytest.approx(-np.log(p[0, target[0]]))
    one = metrics.from_sklearn(oracle.roc_auc_score, multi_class="ovr")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Only one class is present")
        assert np.isnan(one(p, target))
    assert np.isnan(metrics.roc_auc(p, target))


def test_nan_in_the_outputs_is_nan_and_rows_of_weight_zero_hold_anything():
    y, target = np.array([[np.nan, 0.0], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 0])
    for function in (oracle.f1_score, oracle.log_loss, oracle.roc_auc_score):
        metric = metrics.from_sklearn(function)
        assert np.isnan(metric(y, target))
    assert metrics.from_sklearn(oracle.f1_score)(y, target, [0, 1, 1]) == 1
    error = metrics.from_sklearn(oracle.mean_absolute_error)
    assert np.isnan(error(y[:, 0], target.astype(float)))
    assert error(y[:, 0], np.array([np.nan, 1.2, 0.6]), [0, 1, 1]) == pytest.approx(0.5)


def test_any_function_of_the_target_first_can_be_wrapped():
    def share_above(y_true, y_pred, sample_weight=None):
        assert y_true.tolist() == [3.0, 4.0]
        return np.average(y_pred > y_true, weights=sample_weight)

    wrapped = metrics.from_sklearn(share_above, of="outputs")
    result = cr.evaluate(cr.Identity(), cr.MSELoss(), (np.array([5.0, 1.0]), [3.0, 4.0], [3.0, 1.0]), metrics=[wrapped])
    assert result.metrics == {"share_above": 0.75}
    assert repr(metrics.from_sklearn(oracle.fbeta_score, beta=2)) == "from_sklearn(fbeta_score, of='classes', beta=2)"
    assert (
        repr(pickle.loads(pickle.dumps(metrics.from_sklearn(oracle.f1_score))))
        == "from_sklearn(f1_score, of='classes')"
    )


def own(y_true, y_pred):
    return 0.0


@pytest.mark.parametrize("who", ["fit", "evaluate"])
@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (own, "own"),
        (functools.partial(own), "own"),
        (oracle.confusion_matrix, "confusion_matrix"),
        (oracle.roc_curve, "roc_curve"),
        (oracle.ndcg_score, "ndcg_score"),
        (oracle.adjusted_rand_score, "adjusted_rand_score"),
        (oracle.silhouette_score, "silhouette_score"),
        (functools.wraps(oracle.f1_score)(lambda y, target: 0.0), "f1_score"),
    ],
)
def test_what_takes_the_target_first_is_never_given_it_second(metric, name, who):
    message = re.escape(f"{who}: each of metrics must be a function (y, target) that gives a number, got {name} of sc")
    ask = functools.partial(cr.fit, epochs=1) if who == "fit" else cr.evaluate
    with pytest.raises(TypeError, match=f"{message}.*from_sklearn"):
        ask(small_network(cr.SGD(lr=1e-3)), cr.MSELoss(), (X, X), metrics=[metric])


def test_one_in_a_partial_goes_by_the_loss_too():
    model, loss, data = small_network(n_out=1), cr.BCEWithLogitsLoss(), (X, TWO[:, None].astype(float))
    asked = functools.partial(metrics.from_sklearn(oracle.f1_score))
    assert cr.evaluate(model, loss, data, metrics=[asked]).metrics == {
        "f1_score": pytest.approx(cr.evaluate(model, loss, data).f1, rel=1e-12)
    }


def test_a_scorer_is_refused_by_what_to_do_about_it():
    with pytest.raises(TypeError, match=r"got make_scorer\(f1_score.* a scorer takes an estimator: give the fun"):
        cr.evaluate(small_network(), cr.MSELoss(), (X, X), metrics=[oracle.get_scorer("f1")])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.from_sklearn(own), TypeError, "of must say what own takes next to the target"),
        (lambda: metrics.from_sklearn(oracle.confusion_matrix), TypeError, "of must say what confusion_matrix takes"),
        (lambda: metrics.from_sklearn(own, of="labels"), ValueError, 'of must be "classes", "probabilities"'),
        (lambda: metrics.from_sklearn(oracle.f1_score, averag="macro"), TypeError, "f1_score must take .* 'averag'"),
        (lambda: metrics.from_sklearn(oracle.f1_score, sample_weight=[1]), TypeError, "is given the sample_weight of"),
        (lambda: metrics.from_sklearn(functools.partial(oracle.f1_score, 1)), TypeError, "its options by name, got"),
        (lambda: metrics.from_sklearn("f1"), TypeError, "metric must be a function, got 'f1'"),
        (
            lambda: metrics.from_sklearn(oracle.get_scorer("f1")),
            TypeError,
            "a scorer takes an estimator: give",
        ),
        (lambda: metrics.from_sklearn(lambda y_true: 0, of="classes"), TypeError, r"must take \(y_true, y_pred\)"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(call, error, message):
    with pytest.raises(error, match=f"from_sklearn: .*{message}"):
        call()


def test_a_function_that_gives_a_table_is_refused_when_it_does():
    table = metrics.from_sklearn(oracle.confusion_matrix, of="classes")
    with pytest.raises(TypeError, match=r"the metric confusion_matrix must return a number, got a ndarray \(2, 2\)"):
        cr.evaluate(small_network(), cr.CrossEntropyLoss(), (X, TWO), metrics=[table])


def test_what_scikit_learn_refuses_says_which_metric_it_was():
    several = small_network(n_out=3)
    asked = [metrics.accuracy, oracle.f1_score]  # which asks for its average, where there are three classes
    with pytest.raises(ValueError, match=r"^f1_score: Target is multiclass but average='binary'"):
        cr.evaluate(several, cr.CrossEntropyLoss(), (X, THREE), metrics=asked)
    gaps = np.where(np.arange(180).reshape(60, 3) % 7 == 0, np.nan, 1.0)
    with pytest.raises(ValueError, match=r"^mean_absolute_error: Input contains NaN"):
        cr.evaluate(several, cr.MSELoss(missing="ignore"), (X, gaps), metrics=[oracle.mean_absolute_error])


def test_the_core_does_not_import_scikit_learn():
    import subprocess
    import sys

    program = (
        "import sys, numpy as np, chainrule as cr\n"
        "cr.evaluate(cr.Identity(), cr.MSELoss(), (np.ones((2, 1)), np.ones((2, 1))), metrics=[cr.metrics.r2])\n"
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
