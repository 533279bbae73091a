"""What scikit-learn's users do with estimators, on real data."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from sklearn import datasets
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import BaggingRegressor, VotingClassifier
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import chainrule as cr
from chainrule.estimators import MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor

CLASSIFIERS = [
    MLPClassifier((30,), max_iter=60, learning_rate_init=0.01, random_state=0),
    NetworkClassifier(optimizer=cr.Adam(lr=0.01), epochs=60, random_state=0),
]
REGRESSORS = [
    MLPRegressor(hidden_layer_sizes=(30,), max_iter=100, learning_rate_init=0.01, alpha=1.0, random_state=0),
    NetworkRegressor(optimizer=cr.AdamW(lr=0.005, weight_decay=0.1), epochs=60, random_state=0),
]
both = pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda e: type(e).__name__)
all_four = pytest.mark.parametrize("estimator", CLASSIFIERS + REGRESSORS, ids=lambda e: type(e).__name__)


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


@both
@pytest.mark.parametrize(("load", "least"), [("digits", 0.9), ("breast_cancer", 0.95), ("wine", 0.95), ("iris", 0.9)])
def test_cross_validation_on_real_data(classifier, load, least):
    X, y = getattr(datasets, f"load_{load}")(return_X_y=True)
    assert cross_val_score(scaled(classifier), X, y, cv=3).mean() > least


@pytest.mark.parametrize("regressor", REGRESSORS, ids=lambda e: type(e).__name__)
def test_regression_in_a_pipeline_with_a_scaled_target(regressor):
    X, y = datasets.load_diabetes(return_X_y=True)
    model = TransformedTargetRegressor(scaled(regressor), transformer=StandardScaler())
    assert cross_val_score(model, X, y, cv=5).mean() > 0.35  # of the noise here, linear models explain 0.48
    bagged = BaggingRegressor(model, n_estimators=3, random_state=0).fit(X, y)
    assert bagged.score(X, y) > 0.5


@both
def test_a_grid_is_searched_by_two_processes_and_by_one_with_the_same_result(classifier, wine):
    name = "alpha" if isinstance(classifier, MLPClassifier) else "batch_size"
    grid = {name: [1, 100]}
    searches = [GridSearchCV(classifier, grid, cv=3, n_jobs=n).fit(*wine) for n in (2, None)]
    for key in ("mean_test_score", "params", "rank_test_score"):
        np.testing.assert_array_equal(searches[0].cv_results_[key], searches[1].cv_results_[key])
    assert searches[0].best_score_ > 0.95
    assert searches[0].score(*wine) > 0.98


def test_objects_of_chainrule_can_be_searched_over(diabetes):
    grid = {
        "loss": ["squared_error", cr.HuberLoss(delta=0.5)],
        "solver": ["adam", cr.AdamW(lr=0.01)],
        "activation": ["relu", cr.LeakyReLU(0.3), ["tanh"]],
    }
    search = RandomizedSearchCV(MLPRegressor(max_iter=10), grid, n_iter=6, cv=3, random_state=0, n_jobs=2).fit(
        *diabetes
    )
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@both
def test_features_that_matter_are_found(classifier, wine):
    X, y = wine
    rng = np.random.default_rng(0)
    X = np.hstack([X, rng.normal(size=(len(X), 3))])
    found = permutation_importance(clone(classifier).fit(X, y), X, y, n_repeats=5, random_state=0, n_jobs=2)
    assert found.importances_mean[:13].max() > 5 * abs(found.importances_mean[13:]).max()
    gradient = np.abs(clone(classifier).fit(X, y).input_gradient(X)).mean(axis=(0, 1))
    assert gradient[:13].max() > gradient[13:].max()


@both
def test_probabilities_can_be_calibrated(classifier):
    X, y = datasets.load_breast_cancer(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)
    model = CalibratedClassifierCV(scaled(classifier), cv=3, method="isotonic").fit(X, y)
    assert model.score(X_test, y_test) > 0.94
    share, said = calibration_curve(y_test, model.predict_proba(X_test)[:, 1], n_bins=3)
    assert np.abs(share - said)[[0, -1]].max() < 0.1


@both
def test_it_votes_chains_and_shows_its_course(classifier, wine):
    X, y = wine
    vote = VotingClassifier([("a", classifier), ("b", clone(classifier))], voting="soft", n_jobs=2).fit(X, y)
    assert vote.score(X, y) > 0.98
    labels = np.stack([y == 0, y < 2], axis=1).astype(int)
    assert ClassifierChain(classifier, random_state=0).fit(X, labels).score(X, labels) > 0.98
    sizes, _, scores = learning_curve(classifier, X, y, train_sizes=[40, 80], cv=3, shuffle=True, random_state=0)
    assert len(sizes) == 2
    assert scores.mean() > 0.9


@all_four
def test_a_course_of_one_feature_is_drawn_from_it(estimator, wine):
    X, y = wine
    found = partial_dependence(clone(estimator).fit(X, y), X, [0], grid_resolution=5)
    assert np.isfinite(found["average"]).all()


@all_four
@pytest.mark.parametrize("frame", [pd.DataFrame, lambda X, columns: pl.DataFrame(X, schema=list(columns))])
def test_data_frames_bring_the_names_of_their_columns(estimator, wine, frame):
    X, y = wine
    names = [f"feature {i}" for i in range(13)]
    table = frame(X, columns=names)
    fitted = clone(estimator).fit(table, y)
    assert list(fitted.feature_names_in_) == names
    np.testing.assert_array_equal(fitted.predict(table), clone(estimator).fit(X, y).predict(X))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.predict(X)
    with pytest.raises(ValueError, match=r"feature names should match|feature names must be in the same order"):
        fitted.predict(frame(X, columns=names[::-1]))


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_tables_pass_through_pipelines_that_set_their_output(output):
    table = datasets.load_wine(as_frame=True)
    X, y = table.data, table.target
    columns = make_column_transformer((StandardScaler(), list(X.columns[:6])), remainder=StandardScaler())
    model = make_pipeline(columns, MLPClassifier(max_iter=100, learning_rate_init=0.01, random_state=0))
    model.set_output(transform=output).fit(X, y)
    assert model[-1].feature_names_in_[0] == "standardscaler__alcohol"
    assert model.score(X, y) > 0.98
    np.testing.assert_array_equal(model.predict(X.iloc[::-1])[::-1], model.predict(X))


@all_four
def test_metadata_are_routed_to_it(estimator, wine):
    X, y = wine
    weight = np.where(y == 0, 10.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        asked = clone(estimator).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        how = {"cv": 3, "return_estimator": True, "return_indices": True}
        found = cross_validate(make_pipeline(asked), X, y, params={"sample_weight": weight}, **how)
    for fitted, fold in zip(found["estimator"], found["indices"]["train"], strict=True):
        alone = clone(estimator).fit(X[fold], y[fold], sample_weight=weight[fold])
        np.testing.assert_array_equal(fitted.predict(X), alone.predict(X))
    assert estimator.get_metadata_routing().fit.requests.keys() == {
        "sample_weight",
        "X_val",
        "y_val",
        "sample_weight_val",
    }


def test_validation_data_are_transformed_in_a_pipeline_like_the_others(cancer):
    X, y = cancer
    with sklearn.config_context(enable_metadata_routing=True):
        last = MLPClassifier(max_iter=5, random_state=0).set_fit_request(X_val=True, y_val=True)
        model = make_pipeline(StandardScaler(), last, transform_input=["X_val"])
        model.fit(X[:300] * 9, y[:300], X_val=X[300:] * 9, y_val=y[300:])
    fitted = model[-1]
    proba = model.predict_proba(X[300:] * 9)
    loss = -np.mean(np.log(proba[np.arange(len(proba)), y[300:]]))
    assert fitted.validation_loss_curve_[-1] == pytest.approx(loss, rel=1e-9)


@both
def test_predictions_across_folds_are_as_good_as_the_scores(classifier, wine):
    said = cross_val_predict(classifier, *wine, cv=5, method="predict_proba", n_jobs=2)
    assert (said.argmax(axis=1) == wine[1]).mean() > 0.95


@all_four
def test_cloning_and_settings_keep_the_very_objects(estimator):
    again = clone(estimator)
    assert repr(again) == repr(estimator)
    assert again.get_params().keys() == estimator.get_params().keys()
    assert again.set_params(random_state=7).random_state == 7
    assert estimator.random_state == 0
    assert "random_state=0" in repr(estimator)
    assert estimator._repr_html_()
