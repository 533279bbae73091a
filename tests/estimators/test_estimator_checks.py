"""scikit-learn's own checks of an estimator, all of them, with no failure expected."""

import os
import subprocess
import sys

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import chainrule as cr
from chainrule import estimators
from chainrule.estimators import MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor

# The defaults, and what else may be asked for. No dropout and no split: what is drawn for each sample cannot be the
# same for a sample of weight 2 and for two samples.
ESTIMATORS = [getattr(estimators, name)() for name in estimators.__all__] + [
    MLPClassifier((8, 8), ["gelu", "tanh"], solver="adamw", clip_norm=1.0, learning_rate_init=0.02, n_jobs=2),
    MLPClassifier(solver="lbfgs", class_weight="balanced", max_iter=15),
    MLPRegressor("huber", (16,), "silu", solver="rmsprop", learning_rate_init=0.01),
    NetworkClassifier(loss=cr.BCEWithLogitsLoss(), optimizer=cr.Adam(lr=0.01), class_weight="balanced"),
    NetworkRegressor(loss=cr.HuberLoss(), optimizer=cr.Adam(lr=0.01)),
]


@parametrize_with_checks(ESTIMATORS)
@pytest.mark.filterwarnings("ignore")
def test_the_checks_of_scikit_learn_pass(estimator, check):
    check(estimator)


def test_nothing_is_skipped_but_what_has_no_decision_function():
    code = """
import warnings
from sklearn.utils.estimator_checks import check_estimator
from chainrule import estimators
warnings.simplefilter("ignore")
for name in estimators.__all__:
    for result in check_estimator(getattr(estimators, name)(), on_fail=None, on_skip=None):
        if result["status"] != "passed":
            print(result["status"], result["check_name"])
"""
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    left = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert left == {("skipped", "check_classifiers_multilabel_output_format_decision_function")}
