import numpy as np
import polars as pl
import pytest
from frames import houses, texts

from chainrule.tables import read_table
from chainrule.tables.encoding import Encoding
from chainrule.tables.notes import Notes
from chainrule.tables.schema import find_kinds


def fitted(frame):
    table = read_table(frame)
    return Encoding.fit(find_kinds(table, "price"), table)


def test_the_inputs_stand_side_by_side_in_the_order_of_the_columns():
    encoding = fitted(houses())
    expected = ["area", "area is missing", "rooms", "town = Aachen", "town = Bonn", "town = Celle", "garden", "built"]
    assert encoding.inputs == expected
    x = encoding.encode(read_table(houses()))
    assert x.dtype == np.float32
    assert x.shape == (200, 8)
    np.testing.assert_allclose(x[:, [0, 2, 6, 7]].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x[:, [0, 2, 6, 7]].std(axis=0), 1, rtol=1e-5)


def test_typed_columns_and_texts_are_encoded_to_the_same_bits():
    typed, spelled = fitted(houses()), fitted(texts(houses()))
    other = houses(seed=1)
    rows = [encoding.encode(read_table(f)) for encoding in (typed, spelled) for f in (other, texts(other))]
    for row in rows[1:]:
        np.testing.assert_array_equal(row, rows[0])


def test_the_order_of_columns_and_those_that_are_not_used_do_not_matter():
    encoding, other = fitted(houses()), houses(seed=1)
    shuffled = other.select(sorted(other.columns)).drop("id", "country", "price").with_columns(more=pl.lit("?"))
    np.testing.assert_array_equal(encoding.encode(read_table(shuffled)), encoding.encode(read_table(other)))


def test_a_row_is_encoded_alike_alone_and_among_others():
    encoding, table = fitted(houses()), read_table(houses(20, seed=1))
    alone = [encoding.encode(table.take(np.array([i]))) for i in range(20)]
    np.testing.assert_array_equal(np.concatenate(alone), encoding.encode(table))


def test_missing_columns_are_an_error_that_lists_them():
    with pytest.raises(
        ValueError, match=r"^the table: the model reads what is not there; the missing column is `area`$"
    ):
        fitted(houses()).encode(read_table(houses().drop("area")))
    with pytest.raises(ValueError, match=r"the missing columns are `rooms`, `town`$"):
        fitted(houses()).encode(read_table(houses().drop("town", "rooms")))


def test_what_training_did_not_have_is_written_down():
    notes = Notes()
    other = houses(10).with_columns(town=pl.lit("Ulm"), rooms=pl.lit(None), area=pl.lit(1e9))
    fitted(houses()).encode(read_table(other), notes)
    assert (notes.unknown["town"]["Ulm"], notes.missing, set(notes.outside)) == (10, {"rooms": 10}, {"area"})
