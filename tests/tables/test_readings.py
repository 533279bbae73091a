import datetime as dt

import numpy as np
import polars as pl
import pytest

from chainrule.tables import read_table
from chainrule.tables.marks import Marks
from chainrule.tables.readings import date_form, number_marks, read


def table(tmp_path, text, **how):
    (tmp_path / "t.csv").write_text(text)
    return read_table(tmp_path / "t.csv", **how)


TWO = r"t\.csv: column `a` can be read in two ways: row 1 \(line 2\) holds '{}', which is {} if .* point and {} if"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\n70,545\t1\n987\t2\n", ("70,545", "70545", "70.545")),
        ("a;b\n1.234;1\n950;2\n", ("1.234", "1.234", "1234")),
        ("a|b\n-1.234|1\n950|2\n", ("-1.234", "-1.234", "-1234")),
        ('a,b\n"70,545",1\n987,2\n', ("70,545", "70545", "70.545")),
        ('a,b\n"$70,545",1\n$987,2\n', (r"\$70,545", "70545", "70.545")),
        ('a,b\n1.234,"3,5"\n950,0.5\n', None),  # the other column says nothing, as it is none of numbers
        ('a,b,c\n1.234,"3,5",0.5\n950,"4,5",1.5\n', ("1.234", "1.234", "1234")),  # two columns say two things
    ],
)
def test_marks_before_three_digits_throughout_are_refused_with_both_readings(tmp_path, text, shown):
    one = table(tmp_path, text)
    if shown is None:
        assert number_marks(one, "a") == Marks()
        return
    with pytest.raises(ValueError, match=TWO.format(*shown) + r" .* by decimal='\.' or decimal=',' \(--decimal\)$"):
        number_marks(one, "a")


def test_what_the_caller_says_decides(tmp_path):
    text = "a\tb\n70,545\t1\n987\t2\n"
    for how, expected in [
        ({"decimal": "."}, [70545, 987]),
        ({"decimal": ","}, [70.545, 987]),
        ({"thousands": ","}, [70545, 987]),
        ({"thousands": "."}, [70.545, 987]),
        ({"decimal": ".", "thousands": ","}, [70545, 987]),
    ]:
        one = table(tmp_path, text, **how)
        assert numbers_of(one, "a") == expected
        assert numbers_of(one, "b") == [1, 2]
    with pytest.raises(ValueError, match=r"row 1 \(line 2\) holds '70,545', which is no number with decimal='\.'"):
        number_marks(table(tmp_path, text, decimal=".", thousands="'"), "a")
    for how in ({"decimal": ";"}, {"thousands": ""}, {"decimal": ",", "thousands": ","}, {"decimal": 3}):
        with pytest.raises(ValueError, match=r"read_table: (decimal|thousands)"):
            table(tmp_path, text, **how)
    with pytest.raises(ValueError, match=r"t\.csv: there is no column `z` that dates could be in"):
        table(tmp_path, text, date={"z": "%d/%m/%Y"})


def numbers_of(one, name, **known):
    return read(one, name, "numeric", **known).numbers.tolist()


def test_one_row_or_another_column_decides(tmp_path):
    assert numbers_of(table(tmp_path, "a;b\n1.234;x\n950,5;y\n"), "a") == [1234, 950.5]
    assert numbers_of(table(tmp_path, "a;b\n1.234;x\n0.5;y\n"), "a") == [1.234, 0.5]
    assert numbers_of(table(tmp_path, "a;b\n1.234;3,5\n950;4,5\n"), "a") == [1234, 950]
    assert numbers_of(table(tmp_path, "a\tb\n70,545\t3.5\n987\t4.5\n"), "a") == [70545, 987]


def test_who_separates_by_commas_or_hands_over_texts_writes_points(tmp_path):
    assert numbers_of(table(tmp_path, "a,b\n1.234,1\n950,2\n"), "a") == [1.234, 950]
    assert numbers_of(read_table({"a": ["1.234", "950"]}), "a") == [1.234, 950]
    pl.DataFrame({"a": ["1.234", "950"]}).write_parquet(tmp_path / "t.parquet")
    assert numbers_of(read_table(tmp_path / "t.parquet"), "a") == [1.234, 950]


@pytest.mark.parametrize(
    ("written", "expected"), [("1.234,5", [1234, -950]), ("1234,5", [1234, -950]), ("1234.5", [1.234, -950])]
)
def test_the_reading_of_the_model_holds_where_a_table_can_be_read_in_two_ways(tmp_path, written, expected):
    assert numbers_of(table(tmp_path, "a;b\n1.234;1\n-950;2\n"), "a", written=written) == expected


def test_a_table_that_can_be_read_in_one_way_only_is_read_so_and_it_is_told(tmp_path):
    notes = []
    one = table(tmp_path, "a,b\n1234.56,1\n12.345,2\n")
    assert read(one, "a", "numeric", "1.234,5", notes=notes).numbers.tolist() == [1234.56, 12.345]
    assert notes == ["column `a`: numbers as 1234.5, in training as 1.234,5"]
    with pytest.raises(ValueError, match="can be read in two ways"):  # b shows another mark than training had
        numbers_of(table(tmp_path, "a,b\n12.345,0.5\n"), "a", written="1.234,5")
    assert numbers_of(table(tmp_path, "a,b\n12.345,0.5\n", decimal="."), "a", written="1.234,5") == [12.345]


def test_units_must_be_those_of_training(tmp_path):
    one = table(tmp_path, "a;b\n38%;$5\n4%;$6\n")
    assert numbers_of(one, "a", written="1234.5%") == [38, 4]
    assert read(one, "a", "numeric").wrong.all()
    assert read(one, "b", "numeric", "1234.5%").wrong.all()
    assert read(table(tmp_path, "a;b\n0.38;1\n"), "a", "numeric", "1234.5%").wrong.all()
    assert numbers_of(read_table({"a": [38, 4]}), "a", written="1234.5%") == [38, 4]  # what is a number has no unit


def test_dates_that_could_be_of_two_days_are_refused_with_both(tmp_path):
    one = table(tmp_path, "a,b\n01/02/2020,1\n03/04/2020,2\n")
    with pytest.raises(
        ValueError,
        match=r"row 1 \(line 2\) holds '01/02/2020', which is 2020-01-02 as month/day/year or 2020-02-01 as "
        r"day/month/year; say which, by date={'a': '%m/%d/%Y'} \(--date a=%m/%d/%Y or a=%d/%m/%Y\)$",
    ):
        date_form(one, "a")
    days = {
        "%m/%d/%Y": [dt.date(2020, 1, 2), dt.date(2020, 3, 4)],
        "%d/%m/%Y": [dt.date(2020, 2, 1), dt.date(2020, 4, 3)],
    }
    for form, expected in days.items():
        numbers = [(day - dt.date(1970, 1, 1)).days for day in expected]
        assert read(one, "a", "date", form).numbers.tolist() == numbers
        told = read_table(one, date={"a": form})
        assert date_form(told, "a") == form
        assert read(told, "a", "date").numbers.tolist() == numbers


def test_dates_in_another_form_than_in_training_are_read_and_it_is_told(tmp_path):
    notes = []
    one = table(tmp_path, "a,b\n31.01.2020,1\n01.02.2020,2\n")
    assert read(one, "a", "date", notes=notes).numbers.tolist() == [18292, 18293]
    assert notes == ["column `a`: dates as day.month.year, in training as year-month-day"]


def test_times_with_a_zone_are_the_moments_of_typed_columns(tmp_path):
    moments = [dt.datetime(2020, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=hours))) for hours in (0, 2, -5)]
    typed = read_table(pl.DataFrame({"a": pl.Series(moments).dt.convert_time_zone("Europe/Berlin"), "b": [1, 2, 3]}))
    typed.frame.write_parquet(tmp_path / "t.parquet")
    written = table(tmp_path, "a,b\n" + "".join(f"{moment.isoformat(sep=' ')},1\n" for moment in moments))
    expected = [18262.5, 18262.5 - 2 / 24, 18262.5 + 5 / 24]
    for one in (typed, read_table(tmp_path / "t.parquet"), written):
        np.testing.assert_allclose(read(one, "a", "date").numbers, expected, rtol=1e-15)


def test_long_whole_numbers_are_subtracted_from_exactly():
    values = [2**60 + i for i in range(5)]
    for column in (
        values,
        [str(value) for value in values],
        [f"{value:,}" for value in values],
        pl.Series(values, dtype=pl.UInt64),
    ):
        written = "1,234.5" if isinstance(column[0], str) and "," in column[0] else ""
        found = read(read_table({"a": column}), "a", "numeric", written, float(2**60))
        assert found.numbers.tolist() == [0, 1, 2, 3, 4]


def test_nanoseconds_are_subtracted_from_exactly(tmp_path):
    moments = pl.Series([1_600_000_000_000_000_000 + i for i in range(5)]).cast(pl.Datetime("ns"))
    written = moments.dt.to_string("%Y-%m-%d %H:%M:%S%.f")
    day = float(1_600_000_000 // 86_400)
    for column in (moments, moments.to_numpy(), written):
        found = read(read_table({"a": column}), "a", "date", origin=day).numbers
        np.testing.assert_allclose(np.diff(found) * 86_400e9, 1, rtol=1e-2)
