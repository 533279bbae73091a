import numpy as np
import pytest

import chainrule as cr
from chainrule.tables import read_table
from chainrule.tables.plain import plain_inputs

NETWORK = cr.Sequential(cr.Linear(2, 1))


def test_all_columns_are_inputs_or_the_array_x(tmp_path):
    assert plain_inputs(NETWORK, read_table({"b": ["1", "2"], "a": [3, 4.5]})).tolist() == [[1, 3], [2, 4.5]]
    np.savez(tmp_path / "a.npz", y=np.zeros(3), x=np.arange(6).reshape(3, 2))
    assert plain_inputs(NETWORK, read_table(tmp_path / "a.npz")).tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"a": [1]}, "must have 2 columns, an input of the network each, got 1"),
        ({"a": [1, 2], "b": ["3", "x"]}, "column `b` must hold numbers, .* but row 2 holds 'x'"),
        ({"a": [1, 2], "b": [3, None]}, "column `b` must hold a finite number in each row, unlike row 2"),
        ({"x0": [1], "x1": [1], "x2": [1]}, "must have 2 columns, an input of the network each, got 3"),
    ],
)
def test_other_tables_are_an_error(columns, says):
    with pytest.raises(ValueError, match=f"^the table: {says}"):
        plain_inputs(NETWORK, read_table(columns))


def test_a_network_of_unknown_width_is_an_error():
    with pytest.raises(ValueError, match="how many columns the network takes is not known"):
        plain_inputs(cr.Sequential(cr.Tanh()), read_table({"a": [1]}))
