from dataclasses import replace

import numpy as np
import polars as pl
from frames import houses, texts

from chainrule.tables import read_table
from chainrule.tables.features import NumberFeature
from chainrule.tables.prepare import prepare, with_numbers
from chainrule.tables.schema import find_kinds

ALL = {"task": None, "ignore": (), "categorical": (), "numeric": (), "validation": 0.2, "test": 0.2, "seed": 0}


def test_rows_are_divided_and_encoded_once():
    frame = houses().with_columns(price=pl.when(pl.col("rooms") == 3).then(None).otherwise("price"))
    ready = prepare(read_table(frame), "price", **ALL)
    assert len(ready.rows) == len(ready.data) == (frame["rooms"] != 3).sum()
    assert len(ready.training) + len(ready.validation) + len(ready.parts.test) == len(ready.data)
    name, held_back = ready.held_back
    assert (name, len(held_back)) == ("test", len(ready.parts.test))
    np.testing.assert_array_equal(ready.encoding.encode(held_back), ready.data.x[ready.parts.test])
    np.testing.assert_array_equal(ready.target.encode(held_back), ready.data.target[ready.parts.test])


def test_the_training_rows_are_standardised_and_the_others_are_not():
    ready = prepare(read_table(houses()), "price", **ALL)
    np.testing.assert_allclose([ready.training.target.mean(), ready.training.target.std()], [0, 1], atol=1e-9)
    assert abs(ready.validation.target.mean()) > 1e-6


def test_texts_that_are_numbers_are_read_once_and_what_is_missing_stays_missing():
    table = read_table(texts(houses()))
    kinds = find_kinds(table, "price")
    found = with_numbers(table, kinds)
    assert {name for name, dtype in found.frame.schema.items() if dtype == pl.Float64} == {"area", "rooms"}
    assert table.frame["area"].dtype == pl.String
    assert np.isnan(found.frame["area"].to_numpy()).sum() == houses()["area"].null_count()
    assert find_kinds(found, "price") == [replace(kind, written="") for kind in kinds]


def test_training_from_texts_and_from_numbers_gives_the_same_bits():
    typed, spelled = (prepare(read_table(form), "price", **ALL) for form in (houses(), texts(houses())))
    np.testing.assert_array_equal(typed.data.x, spelled.data.x)
    np.testing.assert_array_equal(typed.data.target, spelled.data.target)
    for one, other in zip(typed.encoding.features, spelled.encoding.features, strict=True):
        assert replace(other, written="") == one if isinstance(one, NumberFeature) else other == one
