import numpy as np
import pytest
import torch
from networks import small_network

import chainrule as cr
from chainrule import metrics


class Known(cr.MSELoss):
    """The mean over the elements whose target is above -90."""

    def counts(self, target):
        return target > -90

    def forward(self, y, target, sample_weight=None):
        known = self.counts(target)
        weight = known * (1.0 if sample_weight is None else sample_weight[:, None])
        share = weight / weight.sum()
        difference = y - target
        return (share * difference**2).sum(), (difference, share)

    def backward(self, dvalue, saved):
        difference, share = saved
        return dvalue * 2 * difference * share


RNG = np.random.default_rng(0)
X, TARGET = RNG.normal(size=(40, 2)), RNG.normal(size=(40, 2))
TARGET[RNG.random((40, 2)) < 0.3] = -99
TARGET[:4] = -99
WEIGHT = RNG.integers(0, 3, 40).astype(float)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_samples_count_of_which_an_element_does(weight, library):
    bring = torch.from_numpy if library == "torch" else np.asarray
    data = cr.Dataset(bring(X), bring(TARGET), None if weight is None else bring(weight))
    counted = metrics.counting(Known(), data)
    rows = np.flatnonzero((TARGET > -90).any(axis=1) & (True if weight is None else weight > 0))
    np.testing.assert_array_equal(counted.x, X[rows])


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_metrics_of_numbers_speak_of_the_elements_that_the_loss_counts(weight):
    model = small_network()
    result = cr.evaluate(model, Known(), (X, TARGET, weight))
    y = cr.predict(model, X)
    share = (TARGET > -90) * (1.0 if weight is None else weight[:, None])
    share /= share.sum()
    assert result.rmse**2 == pytest.approx(result.loss, rel=1e-13)
    assert result.mae == pytest.approx((share * np.abs(y - TARGET)).sum(), rel=1e-13)
    assert result.mape == pytest.approx((share * np.abs((y - TARGET) / TARGET)).sum(), rel=1e-13)
    assert result.r2 == pytest.approx(metrics.r2(y, TARGET, share), rel=1e-12)
    history = cr.fit(
        model, Known(), (X, TARGET, weight), epochs=1, keep="last", optimizer=cr.SGD(1e-9), metrics=[metrics.rmse]
    )
    assert history.metrics["rmse"][0] == pytest.approx(result.rmse, rel=1e-6)


def test_where_all_elements_count_weights_stay_those_of_samples():
    data = cr.Dataset(X, np.ones((40, 2)), WEIGHT)
    seen = []

    def weights(y, target, sample_weight):
        seen.append(sample_weight)
        return 0.0

    cr.evaluate(small_network(), Known(), data, metrics=[weights])
    np.testing.assert_array_equal(seen[0], WEIGHT[WEIGHT > 0])
    mae = cr.evaluate(small_network(), Known(), data).mae
    assert mae == cr.evaluate(small_network(), cr.MSELoss(), data).mae
