"""Data for the tests of the estimators: scikit-learn's bundled sets, scaled."""

import warnings

import pytest
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler


@pytest.fixture(autouse=True)
def _short_runs_are_meant():
    """Most fits here are too short to converge, which both libraries warn of; one test looks at that warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _scaled(load, n=None):
    X, y = load(return_X_y=True)
    return StandardScaler().fit_transform(X)[:n], y[:n]


@pytest.fixture(scope="session")
def digits():
    return _scaled(datasets.load_digits, 1600)  # eight batches of 200


@pytest.fixture(scope="session")
def cancer():
    return _scaled(datasets.load_breast_cancer, 400)


@pytest.fixture(scope="session")
def wine():
    return _scaled(datasets.load_wine)


@pytest.fixture(scope="session")
def diabetes():
    X, y = _scaled(datasets.load_diabetes, 400)
    return X, (y - y.mean()) / y.std()
