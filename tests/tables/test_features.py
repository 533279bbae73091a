import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.tables import read_table
from chainrule.tables.features import MOST_CATEGORIES, CategoryFeature, Ignored, NumberFeature, mean_and_scale
from chainrule.tables.notes import Notes
from chainrule.tables.schema import Kind


def number(values, kind="numeric"):
    return NumberFeature.fit(Kind("a", kind, "because"), read_table({"a": values}))


def category(values):
    return CategoryFeature.fit(Kind("a", "categorical", "because"), read_table({"a": values}))


def encode(feature, values):
    table, notes = read_table({"a": values}), Notes()
    out = np.zeros((len(table), len(feature.inputs)), np.float32)
    feature.encode(table, out, notes)
    return out, notes


def test_a_number_is_standardised_by_hand():
    feature = number([1, 2, 3, 6])
    assert (feature.mean, feature.scale, feature.middle) == (3, np.sqrt(14 / 4), 2.5)
    out, notes = encode(feature, ["3", "6"])
    np.testing.assert_allclose(out, [[0], [3 / np.sqrt(3.5)]], rtol=1e-7)
    assert feature.inputs == ["a"]
    assert notes == Notes()


def test_what_is_missing_in_training_is_an_input_and_becomes_the_median():
    feature = number([1, None, 2, "NA", 9])
    assert feature.inputs == ["a", "a is missing"]
    assert (feature.middle, feature.missing) == (2, 2)
    assert feature.mean == (1 + 2 + 2 + 2 + 9) / 5
    out, notes = encode(feature, [None, 2, 9])
    assert out[:, 1].tolist() == [1, 0, 0]
    assert out[0, 0] == out[1, 0]
    assert notes == Notes()


def test_what_was_never_missing_in_training_is_told_and_becomes_the_median():
    out, notes = encode(number([1, 2, 3]), [None, "inf", "-inf", 2])
    assert out[:, 0].tolist() == [0, 0, 0, 0]
    assert notes.missing == {"a": 1}
    assert notes.infinite == {"a": 2}
    assert notes.sentences() == [
        "column `a`: 1 row without a value, which training always had",
        "column `a`: 2 rows with an infinite number, taken as missing",
    ]


def test_numbers_far_outside_are_told_and_stay_finite():
    out, notes = encode(number([1.0, 2.0]), [1e300, -1e300, 3.5, 2.9, 0.1])
    assert out[:2, 0].tolist() == [1e6, -1e6]
    assert notes.sentences() == ["column `a`: 3 rows far outside of what training had, 1 to 2"]


def test_numbers_that_were_all_the_same_or_all_missing_in_the_training_rows_still_work():
    assert encode(number([5, 5, 5]), [5, 6])[0].tolist() == [[0], [1]]
    assert encode(number([None, None]), [7, None])[0].tolist() == [[7], [0]]


def test_what_is_no_number_names_its_row():
    with pytest.raises(ValueError, match=r"the table: column `a` is a number in the model, but row 2 holds 'abc'$"):
        encode(number([1, 2]), ["1", "abc"])
    with pytest.raises(
        ValueError, match="is true or false in the model, but row 1 holds 'yes', and 1 more row the like"
    ):
        encode(number([True, False], "boolean"), ["yes", "no"])
    with pytest.raises(ValueError, match=r"is a date in the model, but row 1 holds '31.13.2024'"):
        encode(number(["2024-01-31", "2024-02-01"], "date"), ["31.13.2024"])


def test_dates_are_shown_as_dates():
    assert number(["2024-01-01", "2024-01-03"], "date").explained == "2024-01-01 to 2024-01-03, mean 2024-01-02"
    assert number(["1", "3", None]).explained == "1 to 3, mean 2; 1 missing, taken as 2"


def test_categories_are_inputs_of_their_own_the_most_frequent_first():
    feature = category(["x"] * 3 + ["y"] * 5)
    assert feature.inputs == ["a = y", "a = x"]
    out, notes = encode(feature, ["x", " y ", "x"])
    assert out.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert notes == Notes()


def test_rare_categories_share_an_input_that_unknown_ones_join():
    feature = category(["x"] * 5 + ["y", "y", "z", None])
    assert feature.inputs == ["a = x", "a = other", "a is missing"]
    out, notes = encode(feature, ["x", "y", "z", None, "new", "new"])
    assert out.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]]
    assert notes.unknown == {"a": Counter(new=2)}
    assert notes.sentences() == ["column `a`: 2 rows with a category that training did not have: `new`"]


def test_unknown_categories_are_zeros_where_none_was_rare():
    out, notes = encode(category(["x"] * 3 + ["y"] * 3), ["new", None, "x"])
    assert out.tolist() == [[0, 0], [0, 0], [1, 0]]
    assert notes.unknown == {"a": Counter(new=1)}
    assert notes.missing == {"a": 1}


def test_in_a_table_too_small_for_frequent_categories_all_are_kept():
    assert category(["x", "y", "z"]).inputs == ["a = x", "a = y", "a = z"]


def test_only_so_many_categories_become_inputs():
    feature = category([f"c{i}" for i in range(MOST_CATEGORIES + 10)] * 3)
    assert len(feature.inputs) == MOST_CATEGORIES + 1
    assert len(feature.rare) == 10


def test_texts_as_categories_are_what_they_are():
    assert category(["01234", "1234"] * 3).categories == ("01234", "1234")
    assert set(category(["3.0", "3", "A"] * 3).categories) == {"3.0", "3", "A"}
    ids = [str(2**60 + i) for i in range(4)]
    for values in (ids, [int(one) for one in ids]):
        feature = category(values * 3)
        assert feature.categories == tuple(ids)
        assert (
            encode(feature, ids)[0].tolist()
            == encode(feature, [int(one) for one in ids])[0].tolist()
            == np.eye(4).tolist()
        )


def test_numbers_are_the_category_whose_text_alone_says_them():
    codes = category(["01", "02", "10"] * 3)
    assert encode(codes, [1, 2, 10])[0].tolist() == encode(codes, [1.0, 2.0, 10.0])[0].tolist() == np.eye(3).tolist()
    out, notes = encode(
        codes, ["1", "01.0", "10.0"]
    )  # texts are what they are, but for a point that libraries put there
    assert out.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert notes.unknown == {"a": Counter(["1"])}
    both = category(["01", "1"] * 3)
    assert encode(both, [1])[0].tolist() == [[0, 1]]
    assert encode(category(["01", "001"] * 3), [1])[1].unknown == {"a": Counter(["1"])}
    numbers = category([3.0, 1.0] * 3)
    assert numbers.categories == ("1", "3")
    assert encode(numbers, ["03", "1.0"])[0].tolist() == [[0, 1], [1, 0]]


def test_ignored_columns_are_no_inputs():
    assert Ignored("a", "ignored", "because").inputs == []
    assert encode(Ignored("a", "ignored", "because"), [1, 2])[0].shape == (2, 0)


FLOATS = st.floats(-1e300, 1e300, allow_subnormal=False)


@given(st.lists(FLOATS, min_size=1, max_size=30))
def test_any_numbers_are_encoded_to_finite_float32_about_zero(values):
    feature = number(values)
    out, _ = encode(feature, values)
    assert np.isfinite(out).all()
    assert feature.scale > 0
    if len(set(values)) > 1 and feature.scale > 1e-6 * abs(feature.mean + feature.origin):
        assert abs(out[:, 0].mean()) < 1e-3


@given(st.lists(FLOATS, min_size=1, max_size=30))
def test_mean_and_scale_are_those_of_numpy_where_numpy_has_no_overflow(values):
    mean, scale = mean_and_scale(np.array(values))
    assert np.isfinite([mean, scale]).all()
    assert scale > 0
    small = np.array(values) / 1e160
    np.testing.assert_allclose(mean / 1e160, small.mean(), rtol=1e-12, atol=1e-12 * np.abs(small).max())


WORDS = st.one_of(st.none(), st.sampled_from(["x", "y", "z", "1", "1.0", "NA"]), st.text(max_size=5))


@given(st.lists(WORDS, min_size=1, max_size=30), st.lists(WORDS, min_size=1, max_size=30))
def test_every_row_has_at_most_one_category_and_what_is_written_as_json_encodes_the_same(values, others):
    feature = category(pl.Series(values, dtype=pl.String))
    written = json.loads(json.dumps(vars(feature)))
    again = CategoryFeature(**{key: tuple(v) if isinstance(v, list) else v for key, v in written.items()})
    assert again == feature
    new = pl.Series(others, dtype=pl.String)
    out, notes = encode(again, new)
    assert set(np.unique(out)) <= {0, 1}
    assert (out.sum(axis=1) <= 1).all()
    zeros = int((out.sum(axis=1) == 0).sum())
    unknown, missing = sum(notes.unknown.get("a", Counter()).values()), notes.missing.get("a", 0)
    assert zeros == missing + (0 if feature.rare else unknown)
    assert (encode(feature, pl.Series(values, dtype=pl.String))[0].sum(axis=1) == 1).all()  # training rows are known
