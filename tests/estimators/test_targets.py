import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from chainrule.estimators.targets import Labels

labels = st.one_of(
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
    st.lists(st.sampled_from(["a", "b", "ä", ""]), min_size=1, max_size=30),
    st.lists(st.booleans(), min_size=1, max_size=30),
)


@given(labels)
def test_labels_come_back_as_they_went_in(values):
    y = np.array(values)
    known = Labels(y)
    index = known.encode(y)
    assert index.dtype == np.int64
    assert list(known.classes) == sorted(set(values))
    np.testing.assert_array_equal(known.classes[index], y)
    np.testing.assert_array_equal(known.decode(np.eye(len(known.classes))[index]), y)


@given(st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=1, max_size=20))
def test_several_labels_are_columns_of_zeros_and_ones(rows):
    y = np.array([*rows, (0, 1, 0)])
    for given_as in (y, sparse.csr_matrix(y), y.astype(float)):
        known = Labels(given_as)
        assert known.several
        np.testing.assert_array_equal(known.encode(given_as), y)
        np.testing.assert_array_equal(known.decode(np.where(y, 0.7, 0.5)), y)


def test_a_tie_is_the_first_class():
    assert Labels(np.array([3, 7])).decode(np.array([[0.5, 0.5]])) == 3


@pytest.mark.parametrize("y", [np.array(["a", "d"]), np.array([1, 2]), np.array([["a"], ["b"]])], ids=range(3))
def test_what_is_no_class_is_an_error_that_shows_both(y):
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`. .*\['a' 'b' 'c'\]"):
        Labels(np.array(["a", "b", "c"])).encode(y)


def test_other_columns_than_before_are_an_error():
    known = Labels(np.array([[0, 1], [1, 1]]))
    for y in (np.array([[0, 1, 1]]), np.array([[0, 2]]), np.array([0, 1])):
        with pytest.raises(ValueError, match=r"y must be \(n, 2\) of 0 and 1, as before"):
            known.encode(y)
