import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.tables.columns import MISSING, days, number_texts, numbers, positions, texts, truths


@pytest.mark.parametrize("word", MISSING)
def test_words_that_mean_nothing_are_missing_in_every_reading(word):
    column = pl.Series(["1", f" {word} ", None])
    assert texts(column).to_list() == ["1", None, None]
    for reader in (numbers, truths):
        assert reader(column).missing.tolist() == [False, True, True]
        assert not reader(column).wrong.any()


def test_texts_have_no_spaces_around_them_and_whole_numbers_no_point():
    assert texts(pl.Series([" a ", "b c"])).to_list() == ["a", "b c"]
    assert texts(pl.Series([1.0, 2.5, float("nan"), None])).to_list() == ["1", "2.5", None, None]
    assert texts(pl.Series([1, -2])).to_list() == ["1", "-2"]
    assert texts(pl.Series([True, False, None])).to_list() == ["true", "false", None]
    assert texts(pl.Series(["x", "y"], dtype=pl.Categorical)).to_list() == ["x", "y"]


def test_one_whole_number_is_one_text_however_it_is_written_and_however_long_it_is():
    written = [
        "3",
        "3.0",
        "03",
        "+3",
        "-03.",
        "-0",
        "three",
        "1.10",
        None,
        "1152921504606846977",
        "0123456789012345678901",
    ]
    expected = ["3", "3", "3", "3", "-3", "0", "three", "1.10", None, "1152921504606846977", "123456789012345678901"]
    assert number_texts(pl.Series(written)).to_list() == expected


def test_numbers_are_read_from_texts_and_everything_else_is_wrong():
    found = numbers(pl.Series(["1", " 2.5", "-1e3", "inf", "nan", "1,5", "0x1", "1_0", "abc"]))
    np.testing.assert_array_equal(found.numbers[:4], [1, 2.5, -1000, np.inf])
    assert found.wrong.tolist() == [False] * 5 + [True] * 4
    assert found.missing.tolist() == [False] * 4 + [True] + [False] * 4


def test_dates_are_no_numbers_and_numbers_are_no_dates():
    assert numbers(pl.Series([dt.date(2024, 1, 1), None])).wrong.tolist() == [True, False]
    assert days(pl.Series([1.0, None])).wrong.tolist() == [True, False]


def test_true_and_false_may_be_written_large_or_small_or_as_1_and_0():
    found = truths(pl.Series(["true", "FALSE", "True", "1", "0", "yes"]))
    np.testing.assert_array_equal(found.numbers[:5], [1, 0, 1, 1, 0])
    assert found.wrong.tolist() == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([dt.date(1970, 1, 3)], 2),
        ([dt.datetime(1970, 1, 1, 6)], 0.25),
        ([dt.timedelta(days=2, hours=12)], 2.5),
        ([dt.time(12)], 0.5),
        (["1970-01-03"], 2),
        (["1970-01-02 12:00"], 1.5),
        (["1970-01-01T06:00:00"], 0.25),
        (["1970-01-01T06:00:00.000Z"], 0.25),
        (["1969-12-31"], -1),
    ],
)
def test_days_count_from_1970(values, expected):
    found = days(pl.Series(values))
    assert found.numbers.tolist() == [expected]
    assert not found.wrong.any()


@pytest.mark.parametrize("text", ["31.12.2024", "2024-13-01", "2024-02-30", "12/31/2024", "2024-01-01 25:00", "x"])
def test_other_texts_are_no_dates(text):
    assert days(pl.Series([text, "2024-01-01"])).wrong.tolist() == [True, False]


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_any_number_comes_back_from_its_text(values):
    as_texts = pl.Series([repr(value) for value in values])
    np.testing.assert_array_equal(numbers(as_texts).numbers, values)


@given(st.lists(st.one_of(st.none(), st.text(max_size=8), st.just("NA"), st.just("1.5")), min_size=1, max_size=20))
def test_every_value_is_read_or_missing_or_wrong_and_never_two_of_them(values):
    column = pl.Series(values, dtype=pl.String)
    absent = texts(column).is_null().to_numpy()
    for reader in (numbers, truths, days):
        found = reader(column)
        assert (np.isnan(found.numbers) == (absent | found.wrong)).all()
        assert not (found.missing & found.wrong).any()
        np.testing.assert_array_equal(found.missing, absent)


def test_true_and_false_are_found_however_they_are_written_where_they_were_no_texts():
    assert positions(pl.Series([True, False, None]), ("FALSE", "TRUE")).tolist() == [1, 0, -1]
    assert positions(pl.Series(["True", "FALSE", "x"]), ("false", "true")).tolist() == [1, 0, -1]
    assert positions(pl.Series(["True"]), ("TRUE", "FALSE", "true")).tolist() == [-1]


def test_positions_are_those_in_the_list_and_can_be_written_into():
    found = positions(pl.Series(["b", "a", "z", None]), ("a", "b"))
    assert found.tolist() == [1, 0, -1, -1]
    found[0] = 5


def test_numbers_of_32_bits_and_full_seconds_are_the_texts_that_other_types_are():
    assert texts(pl.Series([0.1, 3.0, None], dtype=pl.Float32)).to_list() == ["0.1", "3", None]
    for unit in ("ms", "us", "ns"):
        moment = pl.Series([dt.datetime(2020, 1, 31, 10, 30), dt.datetime(2020, 1, 31, 10, 30, 0, 250_000)])
        assert texts(moment.cast(pl.Datetime(unit))).to_list() == ["2020-01-31 10:30:00", "2020-01-31 10:30:00.25"]
    assert texts(pl.Series([dt.time(10, 30)])).to_list() == ["10:30:00"]


def test_texts_stand_among_numbers_as_the_numbers_that_they_are():
    column = pl.Series(["0.250", ".1", "1e20", "+1E-7", "3.0", "0.3", "x"])
    assert positions(column, ["0.1", "0.25", "1e+20", "1e-7", "3"], as_numbers=True).tolist() == [1, 0, 2, 3, 4, -1, -1]
    assert positions(column, ["0.1", "0.25", "1e+20", "1e-7", "3"]).tolist() == [-1, -1, -1, -1, 4, -1, -1]


def test_dates_of_digits_may_be_numbers_with_a_point_where_some_are_missing():
    for column in (pl.Series([20200131.0, None]), pl.Series(["20200131.0", ""]), pl.Series([20200131, None])):
        assert days(column, "%Y%m%d").numbers[0] == (dt.date(2020, 1, 31) - dt.date(1970, 1, 1)).days
