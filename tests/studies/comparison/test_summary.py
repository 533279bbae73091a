import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chainrule.studies.comparison.summary import Mean, Median, Summary

numbers = st.lists(st.floats(0, 1), min_size=2, max_size=30).filter(lambda values: np.std(values) > 1e-6)


@given(numbers)
def test_a_mean_has_the_interval_of_scipy(values):
    found = Mean.of(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    np.testing.assert_allclose((found.low, found.high), expected, rtol=1e-9, atol=1e-12)
    assert (found.n, found.failed) == (len(values), 0)


def test_what_failed_is_counted_and_not_in_the_mean():
    found = Mean.of([0.1, math.nan, 0.3])
    assert (found.mean, found.n, found.failed) == (pytest.approx(0.2), 2, 1)
    assert math.isnan(Mean.of([0.5]).half)
    assert math.isnan(Mean.of([]).mean)
    assert Mean.of([math.nan]).failed == 1


@given(numbers)
def test_a_median_has_the_quartiles_of_numpy(values):
    found = Median.of(values)
    expected = np.percentile(values, [25, 50, 75])
    np.testing.assert_allclose((found.low, found.median, found.high), expected, rtol=1e-9)


def test_one_value_is_its_own_quartiles_and_none_is_nan():
    assert Median.of([2.0, math.nan]) == Median(2.0, 2.0, 2.0)
    assert math.isnan(Median.of([]).median)


def test_the_summary_gathers_seeds_and_rounds(measured):
    summary, plan = Summary(measured.store), measured.plan
    assert (summary.seeds, summary.rounds, summary.frameworks) == (2, 2, ["chainrule", "torch"])
    for cell in plan.cells():
        for who in summary.frameworks:
            rows = [row for row in measured.store.errors.rows if row["framework"] == who and row["disk"] == "report"]
            wrong = [row["test_error"] for row in rows if all(row[k] == v for k, v in vars(cell).items())]
            assert len(wrong) == 2
            assert summary.error("report", who, cell).mean == pytest.approx(np.mean(wrong))
            assert summary.time("test_s", who, "default", cell).median > 0
        times = [summary.time("train_s", who, "1", cell).median for who in ("torch", "chainrule")]
        assert summary.ratio("train_s", cell) == times[0] / times[1]
    assert summary.networks_per_second() > 0
