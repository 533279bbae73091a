"""Several arrays as one thing."""

import numpy as np
import pytest

from chainrule import structures

A, B = np.zeros(2), np.ones(3)


@pytest.mark.parametrize(
    ("value", "leaves", "names"),
    [(A, [A], [""]), ((A, B), [A, B], ["[0]", "[1]"]), ({"a": A, "b": B}, [A, B], ["['a']", "['b']"])],
)
def test_a_structure_is_its_arrays_and_its_form(value, leaves, names):
    assert all(one is other for one, other in zip(structures.leaves(value), leaves, strict=True))
    assert structures.names(value) == names
    again = structures.each(lambda array: array + 1, value)
    assert type(again) is type(value)
    for before, after in zip(structures.leaves(value), structures.leaves(again), strict=True):
        np.testing.assert_array_equal(after, before + 1)
    if isinstance(value, dict):
        assert list(again) == list(value)


def test_an_array_is_not_several():
    assert not structures.is_several(A)
    assert structures.is_several((A,))
    assert structures.is_several({"a": A})
