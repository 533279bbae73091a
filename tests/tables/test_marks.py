import io

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.tables.marks import Marks, fitting

WAYS = [(decimal, thousands) for decimal in ".," for thousands in ("", ",", ".", "'", " ") if thousands != decimal]


def texts(*values):
    return pl.Series(list(values), dtype=pl.String)


def read(*values, **how):
    """What the first way reads, and how it is written."""
    marks = fitting(texts(*values), **how)[0]
    return marks.plain(texts(*values)).cast(pl.Float64).to_list(), marks.written


@pytest.mark.parametrize(("decimal", "thousands"), WAYS)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("$", ""), ("", "%"), ("", "€")])
def test_an_example_says_how_numbers_are_written(decimal, thousands, before, after):
    marks = Marks(decimal, thousands, before, after)
    assert Marks.of(marks.written) == marks


@pytest.mark.parametrize("text", ["", "1", "12345", "1.234.5", "1234.55", "1;234,5"])
def test_what_is_no_example_is_an_error(text):
    with pytest.raises(ValueError, match=r"must be a number like 1,234\.5 with its marks, got"):
        Marks.of(text)


@pytest.mark.parametrize(
    ("values", "numbers", "written"),
    [
        (["1.5", "-2"], [1.5, -2], "1234.5"),
        (["1,5", "-2"], [1.5, -2], "1234,5"),
        (["1,234.5", "1.234"], [1234.5, 1.234], "1,234.5"),
        (["1.234,5", "-1.000.000"], [1234.5, -1e6], "1.234,5"),
        (["1,234,567", "890"], [1234567, 890], "1,234.5"),
        (["1.234.567", "890"], [1234567, 890], "1.234,5"),
        (["0,123", "1,5"], [0.123, 1.5], "1234,5"),
        (["70,545", "1,5"], [70.545, 1.5], "1234,5"),
        (["70,545", "1234,567"], [70.545, 1234.567], "1234,5"),
        (["1 234,5", "3"], [1234.5, 3], "1 234,5"),
        (["1\u202f234,5", "\u22123"], [1234.5, -3], "1 234,5"),
        (["1\u00a0234.5", "+3"], [1234.5, 3], "1 234.5"),
        (["1'234.5", "1\u2019000"], [1234.5, 1000], "1'234.5"),
        (["$1,234.00", "-$5.5", "$-2", "($3)", "$ 4"], [1234, -5.5, -2, -3, 4], "$1,234.5"),
        (["1.234,50 €", "-3,00 €"], [1234.5, -3], "1.234,5€"),
        (["1 234 €", "5 €"], [1234, 5], "1 234.5€"),
        (["\u22123.5", "4"], [-3.5, 4], "1234.5"),
        (["38%", "-4.5 %"], [38, -4.5], "1234.5%"),
        (["USD 1,000.00", "USD 5.00"], [1000, 5], "USD1,234.5"),
        (["12,34,567.5", "1,00,000"], [1234567.5, 100000], "1,234.5"),
        (["₹1,23,456", "₹5"], [123456, 5], "₹1,234.5"),
        (["(1,234.50)", "5", "( 6.5 )"], [-1234.5, 5, -6.5], "1,234.5"),
        (["$(3.50)", "$ (4)", "$5"], [-3.5, -4, 5], "$1234.5"),
        (["1,5e3", "inf"], [1500, np.inf], "1234,5"),
    ],
)
def test_numbers_are_read_as_they_are_written(values, numbers, written):
    assert read(*values) == (numbers, written)


@pytest.mark.parametrize(
    "values",
    [["70,545", "987"], ["1.234", "950"], ["-1,000", "+2,000"], ["$70,545", "$987"], ["1.234 %", "99.000 %"]],
)
def test_where_every_mark_stands_before_three_digits_there_are_two_ways(values):
    assert {marks.decimal for marks in fitting(texts(*values))} == {".", ","}


@pytest.mark.parametrize(
    "values",
    [
        ["a"],
        ["1", "a"],
        ["1,5", "1.5"],
        ["1,2,345", "5"],
        ["1.23.456", "5"],
        ["(5", "5)"],
        ["(-5)"],
        ["(555) 123"],
        ["12 34"],
        ["1.2.3"],
        ["192.168.0.1"],
        ["2020-01-01"],
        ["01/31/2020"],
        ["31.01.2020"],
        ["12:30"],
        ["A12", "A13"],
        ["$5", "€5"],
        ["$5", "5"],
        ["38%", "0.38"],
        ["--5"],
        ["-$-5"],
        ["5$5"],
        ["$"],
    ],
)
def test_what_are_no_numbers_of_one_way_is_left_alone(values):
    assert fitting(texts(*values)) == []


def test_any_unit_is_found_in_a_column_that_is_said_to_hold_numbers():
    assert read("5 km/h", "1,234.5 km/h", any_unit=True) == ([5, 1234.5], "1,234.5km/h")
    assert read("No 5", "No 7", any_unit=True)[0] == [5, 7]


@pytest.mark.parametrize(("decimal", "thousands"), [way for way in WAYS if way[1] != " "])
@given(data=st.data())
def test_numbers_are_those_that_pandas_reads(decimal, thousands, data):
    values = data.draw(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 99)), min_size=1, max_size=8))
    rows = [f"{whole:,}".replace(",", thousands) + f"{decimal}{part:02d}" for whole, part in values]
    how = {"thousands": thousands} if thousands else {}
    frame = pd.read_csv(io.StringIO("\n".join(["a;b", *(f"{row};" for row in rows)])), sep=";", decimal=decimal, **how)
    way = Marks(decimal, thousands)
    np.testing.assert_array_equal(way.plain(texts(*rows)).cast(pl.Float64).to_numpy(), frame["a"].to_numpy())
    assert [found.decimal for found in fitting(texts(*rows))] == [decimal]


@given(st.lists(st.text("0123456789.,' $%-+()eE", max_size=9), min_size=1, max_size=4))
def test_any_texts_are_numbers_or_none(values):
    for marks in fitting(texts(*values)):
        found = marks.plain(texts(*values)).cast(pl.Float64, strict=False)
        assert found.null_count() == 0
        assert Marks.of(marks.written) == marks
