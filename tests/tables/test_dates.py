import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.tables.dates import (
    FORMS,
    ISO,
    MONTH,
    TIME,
    fitting,
    have_zones,
    moments,
    require_form,
    resembles,
)  # fmt: skip


def texts(*values):
    return pl.Series(list(values), dtype=pl.String)


def seconds(text, form=ISO):
    found, units = moments(texts(text), form)
    return found[0] / units


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2020-01-31T00:00:00+02:00", "%Y-%m-%d"),
        ("2020-01-31 10:00:00-0530", "%Y-%m-%d"),
        ("2020-01-31 10:00:00 UTC", "%Y-%m-%d"),
        ("2020-01-31 10:00:00.5Z", "%Y-%m-%d"),
        ("2020-01-31 10:30", "%Y-%m-%d"),
        ("2020/01/31", "%Y/%m/%d"),
        ("01/31/2020", "%m/%d/%Y"),
        ("1/31/2020 3:05 PM", "%m/%d/%Y"),
        ("31/01/2020", "%d/%m/%Y"),
        ("31.01.2020", "%d.%m.%Y"),
        ("31.01.2020, 10:30", "%d.%m.%Y"),
        ("01/31/99", "%m/%d/%y"),
        ("Jan 31 2020", "%B %d %Y"),
        ("January 31, 2020", "%B %d, %Y"),
        ("31 Jan 2020", "%d %B %Y"),
        ("31-Jan-2020", "%d-%B-%Y"),
        ("Fri, 31 Jan 2020 10:00:00 GMT", "%d %B %Y"),
    ],
)
def test_a_date_is_the_moment_that_pandas_reads(text, form):
    assert fitting(texts(text)) == [form]
    expected = pd.to_datetime(text, dayfirst=form.startswith("%d"), utc=True)
    assert seconds(text, form) == expected.timestamp()


@pytest.mark.parametrize("text", ["01/02/2020", "1-2-2020", "12/11/10", "10-11-12"])
def test_day_and_month_that_could_be_either_are_two_ways_or_more(text):
    assert len(fitting(texts(text))) > 1
    assert len(fitting(texts(text, text.replace("2020", "2021")))) > 1


def test_one_row_tells_the_day_from_the_month():
    assert fitting(texts("01/02/2020", "01/31/2020")) == ["%m/%d/%Y"]
    assert fitting(texts("01/02/2020", "31/01/2020")) == ["%d/%m/%Y"]


@pytest.mark.parametrize(
    "text", ["31/13/2020", "2020-02-30", "2020-13-01", "25:00", "1.2.3", "20200131", "2020", "Janus 1 2020", "x", "1.5"]
)
def test_other_texts_are_no_dates(text):
    assert fitting(texts(text)) == []


def test_zones_are_found_where_there_are_any():
    assert have_zones(texts("2020-01-31", None, "2020-01-31 10:00Z"))
    assert not have_zones(texts("2020-01-31", "2020-01-31 10:00", "31-01-2020"))


def test_years_of_two_digits_are_of_this_and_the_last_century():
    assert [seconds(text, "%d.%m.%y") for text in ("01.01.70", "01.01.99", "01.01.68")] == [
        dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp() for year in (1970, 1999, 2068)
    ]


def test_nanoseconds_are_kept_where_there_are_any():
    found, units = moments(texts("1970-01-01 00:00:01.000000001", "1970-01-01 00:00:02.1234567", None))
    assert (found.to_list(), units) == ([1_000_000_001, 2_123_456_700, None], 10**9)
    found, units = moments(texts("9999-01-01 00:00:00.123456789"))  # beyond what nanoseconds can say
    assert (found[0] - 123_456) / units == dt.datetime(9999, 1, 1, tzinfo=dt.UTC).timestamp()


@given(st.dates(dt.date(1970, 1, 1), dt.date(2068, 12, 31)))
def test_every_form_reads_back_the_day_that_it_wrote(day):
    for form in set(FORMS) - {MONTH, TIME}:
        assert seconds(day.strftime(form), form) == (day - dt.date(1970, 1, 1)).days * 86_400


@given(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), st.sampled_from(["+00:00", "-05:00", "+05:30"]))
def test_a_zone_is_taken_off(moment, zone):
    text = moment.isoformat(sep=" ") + zone
    np.testing.assert_allclose(seconds(text), dt.datetime.fromisoformat(text).timestamp(), rtol=1e-15)


@pytest.mark.parametrize("form", ["%", "x", "", "%d", "%H:%M", "%q", "%Y-%m-%d %S,%f", 5])
def test_what_is_no_form_of_dates_is_an_error(form):
    with pytest.raises(ValueError, match="is no form of dates"):
        require_form(form)


def test_forms_may_hold_anything_else():
    require_form("(%d) [%m] %Y*")
    assert seconds("(02) [01] 1970*", "(%d) [%m] %Y*") == 86_400
    assert seconds("19700102", "%Y%m%d") == 86_400


@pytest.mark.parametrize(
    ("text", "time"),
    [("10:30", dt.time(10, 30)), ("9:05:07.25", dt.time(9, 5, 7, 250_000)), ("3:05 PM", dt.time(15, 5))],
)
def test_times_alone_are_parts_of_a_day(text, time):
    assert fitting(texts(text, None, "00:00")[:2]) == [TIME]
    want = dt.datetime.combine(dt.date(1970, 1, 1), time, dt.UTC).timestamp()
    assert seconds(text, TIME) == want
    assert moments(texts("10:30Z", "2020-01-31 10:30", "10", "25:00"), TIME)[0].null_count() == 4


def test_months_are_their_first_days():
    assert fitting(texts("2020-02", "1999-12")) == [MONTH]
    assert seconds("2020-02", MONTH) == dt.datetime(2020, 2, 1, tzinfo=dt.UTC).timestamp()
    assert fitting(texts("2020-13")) == fitting(texts("2020-02 10:30")) == fitting(texts("20-02")) == []


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%d/%b/%Y:%H:%M:%S %z", "31/Jan/2020:10:30:15 +0200"),
        ("%a %b %d %H:%M:%S %Y", "Fri Jan 31 08:30:15 2020"),
        ("%Y%m%dT%H%M%S", "20200131T083015"),
        ("%Y-%m-%d %H:%M:%S.%f", "2020-01-31 08:30:15.000000"),
        ("%-d. %-m. %Y, %H.%M.%S", "31. 1. 2020, 08.30.15"),
    ],
)
def test_forms_may_say_times_zones_and_days_of_the_week(form, text):
    require_form(form)
    assert seconds(text, form) == dt.datetime(2020, 1, 31, 8, 30, 15, tzinfo=dt.UTC).timestamp()
    assert moments(texts("2020-01-31", "x"), form)[0].null_count() == 2


def test_a_fraction_of_a_second_follows_a_point_or_a_comma():
    for text, form in [("2020-01-31 00:00:15,25", ISO), ("31.01.2020 00:00:15.250000", "%d.%m.%Y %H:%M:%S.%f")]:
        assert seconds(text, form) == dt.datetime(2020, 1, 31, 0, 0, 15, 250_000, tzinfo=dt.UTC).timestamp()


def test_what_resembles_a_date():
    for text in ("Thu Apr 12 15:18:45 2012", "20120412T151845", "12. 04. 2012", "2012 12 Apr", "2012-04-12 15:18 CET"):
        assert resembles(text)
    for text in ("2012", "April 2012", "192.168.0.1", "+49 611 5384", "x", "1.2.3", "0190-12-5"):
        assert not resembles(text)
