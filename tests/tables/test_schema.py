import datetime as dt

import numpy as np
import polars as pl
import pytest
from frames import houses, texts

from chainrule.tables import dates, marks, read_table, schema
from chainrule.tables.schema import find_kinds, listed

N = 40


def kind(values, **told):
    """What a column is found to be, in a table with another one to learn from."""
    table = read_table({"column": values, "number": np.linspace(0, 1, len(values)), "target": [1] * len(values)})
    found = find_kinds(table, "target", **told)
    assert [one.name for one in found] == ["column", "number"]
    return found[0].kind, found[0].reason


@pytest.mark.parametrize("form", [lambda frame: frame, texts], ids=["typed", "texts"])
def test_every_kind_is_found_whether_the_values_have_types_or_are_texts(form):
    found = find_kinds(read_table(form(houses())), "price")
    assert {one.name: one.kind for one in found} == {
        "id": "ignored",
        "area": "numeric",
        "rooms": "numeric",
        "town": "categorical",
        "garden": "boolean",
        "built": "date",
        "country": "ignored",
    }
    reasons = {one.name: one.reason for one in found}
    assert reasons["id"] == "it numbers the rows: 1 to 200, each once"
    assert reasons["country"] == "every value is Germany"
    assert reasons["town"] == "3 different texts"


@pytest.mark.parametrize(
    ("values", "expected", "reason"),
    [
        ([None] * N, "ignored", "every value is missing"),
        (["NA", ""] * (N // 2), "ignored", "every value is missing"),
        ([3.0] * N, "ignored", "every value is 3.0"),
        (["x"] * N, "ignored", "every value is x"),
        ([3.0] * (N - 1) + [None], "numeric", "every value is a number"),
        (["x"] * (N - 1) + [None], "categorical", "1 different text"),
        ([f"name {i}" for i in range(N)], "ignored", f"too many different texts: {N} in {N} rows"),
        ([f"name {i % 20}" for i in range(N)], "categorical", "20 different texts"),
        (list(range(N)), "ignored", "it numbers the rows: 0 to 39, each once"),
        (list(range(N, 0, -1)), "ignored", "it numbers the rows: 1 to 40, each once"),
        (list(range(1900, 1900 + N)), "numeric", "every value is a number"),
        ([*range(N - 1), 3], "numeric", "every value is a number"),
        (list(range(19)), "numeric", "every value is a number"),
        ([0, 1] * (N // 2), "numeric", "every value is a number"),
        (["0", "1"] * (N // 2), "numeric", "every value is a number"),
        (["true", "False"] * (N // 2), "boolean", "every value is true or false"),
        (["yes", "no"] * (N // 2), "categorical", "2 different texts"),
        (["2024-01-31", "2024-02-01 10:30"] * (N // 2), "date", "every value is a date or a time"),
        ([dt.time(1), dt.time(2)] * (N // 2), "date", "every value is a date or a time"),
        (["1", "A"] * (N // 2), "categorical", "2 different texts"),
        (["NaN", "inf", "2"] * 10, "numeric", "every value is a number"),
    ],
)
def test_what_a_column_is_and_why(values, expected, reason):
    assert kind(values) == (expected, reason)


def test_numbers_with_a_unit_that_is_not_known_are_ignored_with_a_remark_and_read_if_that_is_said():
    table = read_table({"a": [f"{i / 2} kg" for i in range(N)], "b": np.linspace(0, 1, N), "target": [1] * N})
    found = find_kinds(table, "target")[0]
    assert found.kind == "ignored"
    assert found.note == "`a` could be numbers with the unit `kg`: if so, say that it is numeric"
    found = find_kinds(table, "target", numeric=["a"])[0]
    assert (found.kind, found.written) == ("numeric", "1234.5kg")


def test_a_date_that_shows_late_that_it_is_none_is_a_text():
    values = ["2024-01-31"] * schema.PROBE + ["soon"] * 15
    assert kind(values)[0] == "categorical"


def test_the_caller_is_believed():
    assert kind(list(range(N)), numeric=["column"]) == ("numeric", "you said so")
    assert kind([0, 1] * 20, categorical=["column"]) == ("categorical", "you said so")
    assert kind([0, 1] * 20, ignore=["column"]) == ("ignored", "you said so")
    assert kind([f"{i}" for i in range(N)], categorical=["column"]) == ("categorical", "you said so")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"ignore": ["colum"]}, "there is no column `colum`; is `column` meant?"),
        ({"numeric": ["q"]}, "there is no column `q`; there are `column`, `number`, `target`"),
        ({"numeric": ["column"], "ignore": ["column"]}, "`column` cannot be ignored and numeric at once"),
        ({"categorical": ["target"]}, "`target` is the target, and cannot be categorical as well"),
        ({"numeric": ["column"]}, r"column `column` is to be numeric, but row 1 holds 'a', and 39 more rows the like"),
    ],
)
def test_what_the_caller_says_must_fit_the_table(told, says):
    with pytest.raises(ValueError, match=f"^the table: {says}"):
        kind(["a", "b"] * 20, **told)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["1"] * 95 + ["abc"] * 5, r"holds numbers in 95.0% of its rows, but row 96 holds 'abc', and 4 more .*; mend"),
        (["1,2,345", "890"] * 10, "holds numbers with commas in odd places, but row 1 holds '1,2,345'"),
        (["1,5"] * 95 + ["abc"] * 5, r"holds numbers in 95.0% of its rows, but row 96 holds 'abc'"),
        (["$5", "€6"] * 10, "holds numbers of more than one unit, row 1 '\\$5' and row 2 '€6'; mend"),
        (
            ["1/31/2020"] * 38 + ["2020-01-31"],
            "holds dates as month/day/year in 97.4% .*, but row 39 holds '2020-01-31'",
        ),
        (["", "5", "$6"] * 10, "holds numbers of more than one unit, row 2 '5' and row 3 '\\$6'"),
        (["38%", "0.2"] * 10, "holds numbers of more than one unit, row 1 '38%' and row 2 '0.2'"),
    ],
)
def test_numbers_with_something_else_among_them_are_no_categories(values, says):
    with pytest.raises(ValueError, match=f"column `column` {says}"):
        kind(values)
    assert kind(values, categorical=["column"])[0] == "categorical"


def test_too_many_categories_are_refused(monkeypatch):
    monkeypatch.setattr(schema, "MOST_TEXTS", 30)
    assert kind([f"x{i}" for i in range(N)] * 4)[0] == "ignored"
    with pytest.raises(ValueError, match="which 30 different values may be, got 40"):
        kind([f"x{i}" for i in range(N)] * 4, categorical=["column"])


def test_a_table_with_nothing_to_learn_from_says_why_for_each_column():
    table = read_table({"a": [1, 1], "b": [None, None], "target": [1, 2]})
    with pytest.raises(ValueError, match="left to learn from: `a` every value is 1; `b` every value is missing"):
        find_kinds(table, "target")
    with pytest.raises(ValueError, match="left to learn from: there is only the target"):
        find_kinds(read_table({"target": [1, 2]}), "target")


def test_long_lists_are_cut():
    assert listed("ab") == "`a`, `b`"
    assert listed(range(15), most=2) == "`0`, `1` and 13 more"


def test_a_million_values_are_read_no_more_often_than_they_must_be(monkeypatch):
    """Dates are looked for in the first rows of a column of texts only, and marks too."""
    seen = []
    real = dates.moments
    monkeypatch.setattr(dates, "moments", lambda column, form: seen.append(len(column)) or real(column, form))
    plain = marks.Marks.plain
    monkeypatch.setattr(marks.Marks, "plain", lambda self, column: seen.append(len(column)) or plain(self, column))
    column = pl.Series(["x", "y"] * 50_000)
    table = read_table({"column": column, "number": np.arange(100_000) / 2, "target": column})
    marks.fitting(column)
    dates.fitting(column)
    assert set(seen) == {schema.PROBE}
    assert [kind.kind for kind in find_kinds(table, "target")] == ["categorical", "numeric"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([f"{i}k" for i in range(N)], "`column` could be numbers with the unit `k`: if so, say that it is numeric"),
        (
            [f"Thu Apr {i % 28 + 1:02} 15:18:{i:02} 2012" for i in range(N)],
            "`column` could be dates such as Thu Apr 01 15:18:00 2012: if so, say their form, as %d/%m/%Y (--date)",
        ),
        (
            ["-" if i % 4 == 3 else f"{i}.5" for i in range(2 * N)],
            "`column` holds numbers in most rows, but row 4 holds '-'",
        ),
        ([f"name {i}" for i in range(N)], ""),
    ],
)
def test_what_an_ignored_column_could_be_is_said(values, says):
    table = read_table({"column": values, "number": np.linspace(0, 1, len(values)), "target": [1] * len(values)})
    found = find_kinds(table, "target")[0]
    assert (found.kind, found.note) == ("ignored", says)


def test_numbers_in_parentheses_and_times_alone_are_told():
    values = ["(1)", "2.5"] * N
    table = read_table({"a": values, "b": ["10:30", "9:00"] * N, "target": [1] * len(values)})
    assert [one.note for one in find_kinds(table, "target")] == [
        "numbers of `a` in parentheses were read as negative ones",
        "`b` was read as times of the day",
    ]


def test_columns_of_other_things_are_ignored_unless_they_are_to_be_learned_from():
    table = read_table({"a": [[1], [2]], "b": [b"x", b"y"], "c": [None, {1}], "d": [1.0, 2.0], "target": [1, 2]})
    assert [one.reason.rpartition(": ")[2] for one in find_kinds(table, "target")[:3]] == [
        "List(Int64)",
        "Binary",
        "set",
    ]
    for told in ({"numeric": ["a"]}, {"categorical": ["a"]}, {"date": ["a"]}):
        with pytest.raises(ValueError, match=r"the column `a` must hold numbers, texts, .*, got List\(Int64\)"):
            find_kinds(table, "target", **told)
