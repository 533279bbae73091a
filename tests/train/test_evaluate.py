import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from networks import bits, small_network

import chainrule as cr

DATA = cr.data.disk(500, seed=0, radius="balanced")
CLASSES = cr.data.disk(500, seed=0, radius="balanced", classes=True)
EPS = np.finfo(np.float64).eps


def test_evaluation_has_the_loss_and_every_metric():
    model = small_network()
    result = cr.evaluate(model, cr.MSELoss(), DATA)
    y = result.y
    np.testing.assert_allclose(y, model(DATA.x.astype(np.float64)), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(result.target, DATA.target)
    assert result.loss == float(cr.MSELoss()(y, DATA.target.astype(np.float64)))
    said, true = y.argmax(axis=1), DATA.target.argmax(axis=1)
    assert result.errors == (said != true).sum()
    assert result.error_rate == result.errors / 500
    assert result.accuracy == pytest.approx(oracle.accuracy_score(true, said), rel=2 * EPS)
    assert result.balanced_accuracy == pytest.approx(oracle.balanced_accuracy_score(true, said), rel=4 * EPS)
    assert result.f1 == pytest.approx(oracle.f1_score(true, said), rel=4 * EPS)
    assert result.roc_auc == pytest.approx(oracle.roc_auc_score(true, y[:, 1] - y[:, 0]), rel=1000 * EPS)
    np.testing.assert_array_equal(result.confusion_matrix, oracle.confusion_matrix(true, said))
    assert result.mae == pytest.approx(oracle.mean_absolute_error(DATA.target, y), rel=1000 * EPS)
    assert result.mape == pytest.approx(oracle.mean_absolute_percentage_error(DATA.target, y), rel=1000 * EPS)
    assert result.rmse**2 == pytest.approx(result.loss, rel=1000 * EPS)  # sums of 1000 terms
    assert result.r2 == pytest.approx(oracle.r2_score(DATA.target, y), rel=1e-10)
    assert repr(result) == f"Evaluation(loss={result.loss:.6g}, n=500)"


@pytest.mark.parametrize("batch_size", [1, 7, 100, 499, 500, 501])
@pytest.mark.parametrize("loss", [cr.MSELoss(), cr.MSELoss(reduction="sum"), cr.CrossEntropyLoss([1.0, 3.0])])
def test_in_batches_is_the_same_as_at_once(batch_size, loss):
    data = DATA if isinstance(loss, cr.MSELoss) else CLASSES
    data = cr.Dataset(data.x, data.target, np.arange(1.0, 501.0))
    model = small_network()
    at_once, in_batches = cr.evaluate(model, loss, data), cr.evaluate(model, loss, data, batch_size=batch_size)
    # BLAS may add the 8 terms of a row in another order; y is below 8 in size, so 8 terms of eps below 8
    np.testing.assert_allclose(in_batches.y, at_once.y, rtol=0, atol=64 * EPS)
    assert in_batches.loss == pytest.approx(at_once.loss, rel=1e-12)


def test_logits_of_one_output_say_yes_above_zero():
    target = CLASSES.target.reshape(-1, 1)
    model = small_network(n_out=1)
    result = cr.evaluate(model, cr.BCEWithLogitsLoss(), (DATA.x, target))
    assert result.errors == ((model(DATA.x.astype(np.float64)) > 0) != target).sum()


def test_sample_weights_count_in_the_loss():
    weight = np.zeros(500)
    weight[:10] = 3.0
    model = small_network()
    weighted = cr.evaluate(model, cr.MSELoss(), (DATA.x, DATA.target, weight)).loss
    alone = cr.evaluate(model, cr.MSELoss(), (DATA.x[:10], DATA.target[:10])).loss
    assert weighted == pytest.approx(alone, rel=1000 * EPS)


def test_nothing_is_changed():
    model = cr.Sequential(cr.Linear(2, 8, rng=0), cr.Dropout(0.5, rng=0), cr.Linear(8, 2, rng=1))
    before, passes = bits(model), model[1].passes.value
    first, second = (cr.evaluate(model, cr.MSELoss(), DATA) for _ in range(2))
    assert bits(model) == before
    assert model[1].passes.value == passes
    assert first.loss == second.loss
    assert model.training
    assert not any(parameter.grad.any() for parameter in model.param())


def test_labels_out_of_range_are_named_with_their_position():
    target = CLASSES.target.copy()
    target[123] = 2
    with pytest.raises(ValueError, match=r"CrossEntropyLoss.*target must be in 0 … 1, got 2 at position 123"):
        cr.evaluate(small_network(), cr.CrossEntropyLoss(), (DATA.x, target))


def test_a_loss_that_is_not_one_number_is_refused():
    with pytest.raises(ValueError, match='evaluate: the loss must be one number, got reduction="none"'):
        cr.evaluate(small_network(), cr.MSELoss(reduction="none"), DATA)


@pytest.mark.parametrize("batch_size", [0, 2.5, "10", True])
def test_batch_size_must_be_a_positive_integer(batch_size):
    with pytest.raises(ValueError, match="evaluate: batch_size must be a positive integer, got"):
        cr.evaluate(small_network(), cr.MSELoss(), DATA, batch_size=batch_size)
    with pytest.raises(ValueError, match="predict: batch_size must be a positive integer, got"):
        cr.predict(small_network(), DATA.x, batch_size=batch_size)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_answers_in_the_models_library_and_dtype(library, dtype):
    model = small_network(dtype=dtype).to(library)
    expected = np.asarray(small_network(dtype=dtype)(DATA.x.astype(dtype)))
    for x in (DATA.x, torch.from_numpy(DATA.x), DATA.x.tolist(), DATA.x.astype(">f8")):
        y = cr.predict(model, x)
        assert type(y) is (np.ndarray if library == "numpy" else torch.Tensor)
        assert str(y.dtype).removeprefix("torch.") == dtype
        # 8 terms, each below 1 in size, and twice that for two libraries
        np.testing.assert_allclose(np.asarray(y), expected, rtol=0, atol=16 * np.finfo(dtype).eps)


def test_predict_in_batches_is_the_same_as_at_once():
    model = small_network()
    np.testing.assert_allclose(
        cr.predict(model, DATA.x, batch_size=33), cr.predict(model, DATA.x), rtol=0, atol=64 * EPS
    )


def test_predict_is_evaluation_mode_and_leaves_the_mode_alone():
    model = cr.Sequential(cr.Linear(2, 8, rng=0), cr.Dropout(0.5), cr.Linear(8, 2, rng=1))
    np.testing.assert_array_equal(cr.predict(model, DATA.x), cr.predict(model, DATA.x))
    assert model.training


def test_predict_works_without_parameters_and_takes_integers():
    y = cr.predict(cr.Tanh(), [[1, 2], [3, 4]])
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.tanh(np.array([[1, 2], [3, 4]], dtype=np.float32)))


@pytest.mark.parametrize("x", [np.zeros((0, 2)), 3.0, []])
def test_predict_needs_a_row(x):
    with pytest.raises(ValueError, match=r"predict: x must be \(n, …\) with at least one row, got \("):
        cr.predict(small_network(), x)


def test_predict_says_which_width_it_expected():
    with pytest.raises(ValueError, match=r"Linear\(2, 8\)\.forward: x must be \(batch, 2\), got \(5, 3\)"):
        cr.predict(small_network(), np.zeros((5, 3)))


def test_a_tensor_of_somebodys_graph_stays_out_of_the_model():
    x = torch.rand(10, 2, dtype=torch.float64, requires_grad=True)
    model = small_network().to("torch")
    assert not cr.predict(model, x).requires_grad
    cr.fit(model, cr.MSELoss(), (x, torch.zeros(10, 2, dtype=torch.float64)), epochs=2, optimizer=cr.SGD(lr=0.1))
    assert not any(p.value.requires_grad or p.grad.requires_grad for p in model.param())
    assert x.grad is None


# -- the rows that the loss counts

IGNORED = CLASSES.target.copy()
IGNORED[::3] = -100
SAMPLE_WEIGHT = np.random.default_rng(0).integers(0, 3, 500).astype(float)
COUNTED = {  # name: (data, positions of the rows that count, each as often as it weighs)
    "ignored": (cr.Dataset(CLASSES.x, IGNORED), np.flatnonzero(IGNORED >= 0)),
    "weighted": (
        cr.Dataset(CLASSES.x, CLASSES.target, SAMPLE_WEIGHT),
        np.repeat(np.arange(500), SAMPLE_WEIGHT.astype(int)),
    ),
    "both": (
        cr.Dataset(CLASSES.x, IGNORED, SAMPLE_WEIGHT),
        np.repeat(np.arange(500), np.where(IGNORED < 0, 0, SAMPLE_WEIGHT).astype(int)),
    ),
}
every_kind = pytest.mark.parametrize("kind", list(COUNTED))


@every_kind
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_loss_and_metrics_speak_of_the_same_rows_with_the_same_weights(kind, library):
    data, rows = COUNTED[kind]
    model = small_network().to(library)
    found, expected = (cr.evaluate(model, cr.CrossEntropyLoss(), part) for part in (data, CLASSES.take(rows)))
    assert found.loss == pytest.approx(expected.loss, rel=1000 * EPS)
    assert found.errors == expected.errors
    assert found.error_rate == pytest.approx(expected.error_rate, rel=1000 * EPS)
    assert found.accuracy == pytest.approx(expected.accuracy, rel=1000 * EPS)
    assert len(found.y) == len(found.target) == 500  # all of them


def test_numbers_are_weighted_too():
    data = cr.Dataset(DATA.x, DATA.target, SAMPLE_WEIGHT)
    model, again = small_network(), DATA.take(COUNTED["weighted"][1])
    found, expected = (cr.evaluate(model, cr.MSELoss(), part) for part in (data, again))
    assert found.rmse**2 == pytest.approx(found.loss, rel=1000 * EPS)
    for name in ("loss", "mae", "rmse", "r2"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1000 * EPS)
    y = cr.predict(model, DATA.x)
    assert found.r2 == pytest.approx(oracle.r2_score(DATA.target, y, sample_weight=SAMPLE_WEIGHT), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "target", "weight"),
    [
        (cr.CrossEntropyLoss(), np.full(500, -100), None),
        (cr.NLLLoss(ignore_index=1), np.ones(500, dtype=int), None),
        (cr.CrossEntropyLoss(), IGNORED, (IGNORED < 0).astype(float)),
        (cr.CrossEntropyLoss([0.0, 1.0]), np.zeros(500, dtype=int), None),
    ],
)
def test_data_of_which_nothing_counts_have_no_loss(loss, target, weight):
    model, data = small_network(cr.SGD(0.1)), cr.Dataset(CLASSES.x, target, weight)
    before = bits(model)
    with pytest.raises(ValueError, match=r"evaluate: no sample of data counts for (CrossEntropy|NLL)Loss"):
        cr.evaluate(model, loss, data)
    for engine in ("native", "python"):
        with pytest.raises(ValueError, match="fit: no sample of train counts for"):
            cr.fit(model, loss, data, epochs=2, engine=engine)
        with pytest.raises(ValueError, match="fit: no sample of validation counts for"):
            cr.fit(model, loss, CLASSES, validation=data, epochs=2, engine=engine)
    assert bits(model) == before
