import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.tables.divide import divide


@given(
    st.lists(st.integers(0, 4), min_size=20, max_size=300), st.floats(0, 0.5), st.floats(0, 0.45), st.integers(0, 99)
)
def test_every_row_is_in_one_part_and_every_stratum_is_learned_from(strata, validation, test, seed):
    strata = np.array(strata)
    try:
        parts = divide(strata, validation=validation, test=test, seed=seed)
    except ValueError as error:
        assert "rows are too few: none is left for" in str(error)  # noqa: PT017 - small shares of few rows are none
        return
    together = np.concatenate([parts.training, parts.validation, parts.test])
    assert sorted(together.tolist()) == list(range(len(strata)))
    assert set(strata[parts.training]) == set(strata)
    for rows, share in ((parts.test, test), (parts.validation, validation)):
        assert abs(len(rows) - share * len(strata)) <= 6 + len(set(strata))


def test_each_stratum_gives_its_share_to_each_part():
    strata = np.repeat([0, 1, 2], [1000, 500, 100])
    parts = divide(strata, validation=0.2, test=0.1, seed=3)
    np.testing.assert_allclose(np.bincount(strata[parts.validation]), [200, 100, 20], atol=2)
    np.testing.assert_allclose(np.bincount(strata[parts.test]), [100, 50, 10], atol=2)


def test_the_same_seed_divides_in_the_same_way_and_another_one_in_another():
    strata = np.zeros(100, int)
    first, same, other = (divide(strata, validation=0.2, test=0.2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.test, same.test)
    assert first.test.tolist() != other.test.tolist()


def test_a_part_that_was_not_asked_for_is_empty_and_one_that_cannot_be_is_an_error():
    parts = divide(np.zeros(10, int), validation=0, test=0, seed=0)
    assert (len(parts.training), len(parts.validation), len(parts.test)) == (10, 0, 0)
    with pytest.raises(ValueError, match="2 rows are too few: none is left for"):
        divide(np.zeros(2, int), validation=0.15, test=0.15, seed=0)
