import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest

import chainrule as cr
from chainrule.estimators import MLPClassifier, NetworkClassifier
from chainrule.estimators.prediction import Predictor


@pytest.fixture
def fitted(digits):
    return MLPClassifier((30, 20), max_iter=3, random_state=0).fit(*digits)


def test_one_row_and_all_rows_are_the_same_numbers(fitted, digits):
    X, _ = digits
    together = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba(X[i : i + 1]) for i in range(50)])
    np.testing.assert_allclose(alone, together[:50], rtol=1e-12)
    np.testing.assert_allclose(together, cr.Softmax()(cr.predict(fitted.network_, X)), rtol=1e-12)


@pytest.mark.parametrize(
    "form", [np.asfortranarray, lambda X: X[::-1][::-1], lambda X: X.tolist(), lambda X: X.astype("float32"), np.array]
)
def test_arrays_in_any_form_are_read_as_their_numbers(fitted, digits, form):
    X = np.round(digits[0][:20], 1)
    expected = fitted.predict_proba(X)
    np.testing.assert_allclose(fitted.predict_proba(form(X)), expected, atol=1e-5)


def test_numbers_too_large_for_the_dtype_of_the_network_are_refused(digits):
    X, y = digits
    narrow = MLPClassifier((5,), max_iter=1, dtype="float32").fit(X, y)
    assert narrow.predict(X.astype("float64")).shape == y.shape
    X = X[:3].copy()
    X[1, 0] = 1e300
    for form in (X, X.tolist()):
        with pytest.raises(ValueError, match="MLPClassifier: X must be finite in float32, got inf in row 1"):
            narrow.predict_proba(form)
    X[1, 0] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        narrow.predict(X)


def test_threads_that_predict_at_the_same_time_get_their_own_answers(fitted, digits):
    X, _ = digits
    expected = fitted.predict_proba(X)
    begin = threading.Barrier(4)

    def work(i):
        begin.wait()
        return all(np.array_equal(fitted.predict_proba(X[j : j + 40]), expected[j : j + 40]) for j in range(i, 1500, 7))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_threads_that_predict_while_the_network_is_trained_see_whole_steps(wine):
    X, y = wine
    estimator = MLPClassifier((10,), random_state=0).partial_fit(X, y, classes=[0, 1, 2])
    over = threading.Event()

    def watch():
        while not over.is_set():
            proba = estimator.predict_proba(X)
            assert np.isfinite(proba).all()
            np.testing.assert_allclose(proba.sum(axis=1), 1)
        return True

    with ThreadPoolExecutor(2) as pool:
        watching = [pool.submit(watch) for _ in range(2)]
        for _ in range(50):
            estimator.partial_fit(X, y)
        over.set()
        assert all(one.result() for one in watching)


def test_a_network_that_was_changed_is_compiled_anew(fitted, digits):
    X, _ = digits
    predictor = Predictor(fitted.network_, 1)
    before = predictor(X)
    fitted.network_.append(cr.Tanh())
    np.testing.assert_allclose(predictor(X), np.tanh(before), rtol=1e-12)
    np.testing.assert_allclose(predictor(X), np.tanh(before), rtol=1e-12)
    assert predictor._compiled is not None


def test_an_estimator_mapped_from_a_file_predicts_and_goes_on_learning(fitted, digits, tmp_path):
    X, y = digits
    joblib.dump(fitted, tmp_path / "estimator.joblib")
    mapped = joblib.load(tmp_path / "estimator.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.predict_proba(X), fitted.predict_proba(X))
    mapped.partial_fit(X, y)
    assert mapped._optimizer.steps == fitted._optimizer.steps + 8


def test_what_is_compiled_is_not_pickled(fitted, digits):
    size = len(pickle.dumps(fitted))
    fitted.predict(digits[0])
    assert len(pickle.dumps(fitted)) == size


def test_a_network_of_images_predicts_through_its_own_layers(digits):
    # scikit-learn's X has two axes; the network may make of a row what it likes
    def build(n_features, n_outputs):
        return cr.Sequential(cr.Flatten(), cr.Linear(n_features, n_outputs))

    estimator = NetworkClassifier(build, epochs=20, optimizer=cr.Adam(lr=0.01), random_state=0).fit(*digits)
    assert estimator.score(*digits) > 0.9
