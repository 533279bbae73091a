import functools
import json

import numpy as np
import polars as pl
import pytest
from frames import houses

import chainrule as cr
from chainrule.tables import TableModel, train_table
from chainrule.tables.raw import columns_that_lose_digits, disagreement, inputs_text, raw_inputs, raw_network, raw_rows


@functools.cache
def model(target="price", **options):
    return train_table(houses(), target, epochs=5, progress=False, **options)


def by_hand(described, frame):
    """The raw inputs of a table's rows, from nothing but what `raw_inputs` says."""
    rows = np.zeros((frame.height, len(described["inputs"])))
    for i, one in enumerate(described["inputs"]):
        values = frame[one["column"]]
        if one["is"] == "number":
            values = values.to_physical() if values.dtype == pl.Date else values
            rows[:, i] = values.cast(pl.Float64).fill_null(one["if_missing"]).to_numpy()
        elif one["is"] == "missing":
            rows[:, i] = values.is_null().to_numpy()
        elif one["is"] == "other":
            known = [
                other["value"] for other in described["inputs"] if other["column"] == one["column"] and "value" in other
            ]
            rows[:, i] = (~values.is_in(known) & values.is_not_null()).to_numpy()
        else:
            rows[:, i] = (values == one["value"]).fill_null(False).to_numpy()
    return rows


@pytest.mark.parametrize("hidden", [(), (6,), (8, 8)])
def test_raw_numbers_give_what_the_table_gives(hidden):
    trained = model(hidden=hidden)
    rows = by_hand(json.loads(json.dumps(raw_inputs(trained))), houses(seed=1))
    y = cr.predict(raw_network(trained), rows)
    scale = trained.target.scale
    np.testing.assert_allclose(y[:, 0] / scale, trained.predict(houses(seed=1)) / scale, atol=1e-4)


def test_raw_numbers_give_probabilities_or_logits():
    frame = houses(300).with_columns(
        kind=pl.Series(["a", "b", "c"] * 100), rare=pl.Series(["x"] * 290 + [f"r{i}" for i in range(10)])
    )
    trained = train_table(frame, "kind", epochs=5, progress=False)
    rows = by_hand(raw_inputs(trained), frame)
    np.testing.assert_allclose(cr.predict(raw_network(trained), rows), trained.predict_proba(frame), atol=1e-5)
    logits = cr.predict(raw_network(trained, probabilities=False), rows)
    np.testing.assert_allclose(trained.target.probabilities(logits), trained.predict_proba(frame), atol=1e-5)
    assert [one["name"] for one in raw_inputs(trained)["outputs"]] == ["kind = a", "kind = b", "kind = c"]
    assert "rare = other" in [one["name"] for one in raw_inputs(trained)["inputs"] if one["is"] == "other"]


def test_what_is_subtracted_exactly_is_said_and_not_inside():
    above = np.random.default_rng(0).integers(0, 1000, 200)
    frame = {"x": 2**60 + above, "day": pl.Series(above).cast(pl.Datetime("ns")), "y": 2**60 + 3 * above}
    trained = train_table(frame, "y", epochs=5, progress=False)
    rows = np.stack([above, above / 86_400e9], axis=1)
    raw = cr.predict(raw_network(trained), rows)[:, 0]
    np.testing.assert_allclose(raw, trained.predict(frame) - int(trained.target.origin), atol=1)
    described = raw_inputs(trained)
    assert [one["unit"] for one in described["inputs"]] == [f"as in the table less {2**60}", "days since 1970"]
    assert described["outputs"][0]["unit"] == f"as in the table less {trained.target.origin:.0f}"
    assert f"a number, as in the table less {trained.target.origin:.0f}" in inputs_text(trained)


def test_the_model_itself_is_not_changed():
    before = model().predict(houses())
    raw_network(model())[0].weight.value[...] = 0
    np.testing.assert_array_equal(model().predict(houses()), before)


def test_the_inputs_are_listed_in_words():
    lines = inputs_text(model()).splitlines()
    assert len(lines) == 1 + len(model().encoding.inputs) + 1
    assert lines[1].startswith("x[0]   area             as in the table; ")
    assert "x[4]   town = Bonn      1 in rows that have it, else 0" in lines
    assert lines[-1] == "y[0]   price            a number, as in the table"


@pytest.mark.parametrize("target", ["price", "town"])
def test_the_disagreement_on_typical_rows_is_rounding(target):
    assert 0 < disagreement(model(target)) < 1e-3
    rows = raw_rows(model(target), 1000)
    is_number = [one["is"] == "number" for one in raw_inputs(model(target))["inputs"]]
    assert set(np.unique(rows[:, np.logical_not(is_number)])) == {0, 1}


def test_columns_far_from_zero_are_named():
    frame = houses().with_columns(year=pl.Series(1e9 + np.random.default_rng(0).normal(size=200)))
    assert columns_that_lose_digits(train_table(frame, "price", epochs=1, progress=False)) == ["year"]


def test_a_network_of_another_form_is_refused():
    odd = TableModel(cr.Sequential(cr.Tanh(), cr.Linear(8, 1)), model().encoding, model().target)
    with pytest.raises(ValueError, match="must begin and end with a Linear that has a bias"):
        raw_network(odd)
