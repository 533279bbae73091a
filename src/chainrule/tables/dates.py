"""How the dates of a column of texts are written, as the formats of strftime, and which moments they are.

A time may follow each date, and a zone the time. What is written with a zone is the moment that it says, in UTC; what
is written without one counts as UTC, so that both say the same as the typed columns of a data frame or of Parquet.
"""

import re
from datetime import datetime, timezone
from typing import Any

from ..extras import require
from .marks import PROBE

ISO = "%Y-%m-%d"
TIME = "%H:%M:%S"  # of the day, in every way in which one may follow a date
MONTH = "%Y-%m"
FORMS = (  # where two of them read one column, it is not known which is meant
    *(ISO, "%Y/%m/%d", "%Y.%m.%d"),
    *("%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y"),
    *("%m/%d/%y", "%d/%m/%y", "%y/%m/%d", "%m-%d-%y", "%d-%m-%y", "%y-%m-%d", "%d.%m.%y"),
    *("%B %d %Y", "%B %d, %Y", "%d %B %Y", "%d. %B %Y", "%d-%B-%Y", "%d-%B-%y", "%Y-%B-%d"),
    *(MONTH, TIME),
)

_COMPLETED = {MONTH: ("", "-01"), TIME: ("1970-01-01 ", "")}  # what makes a date of ISO's of them
_SAYS_TIMES = re.compile(r"%(?:[-_0]?[aAcHIklMpPrRsSTXzZ+]|\.\d?f|\df)")  # of forms that nothing follows

_TIMES = ("", " %H:%M:%S%.f", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
_OFFSET = r"[+-]\d\d:\d\d"
_WORDS = {  # what must be there, as the library takes 20 for a year of the first century
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%m": r"\d{1,2}",
    "%d": r"\d{1,2}",
    "%B": "[A-Za-z]{3,9}",
    "%b": "[A-Za-z]{3,9}",
    "%H": r"\d{1,2}",
    "%I": r"\d{1,2}",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%.f": r"(?:\.\d+)?",
    "%p": "(?i:am|pm)",
}
_NUMBERS = re.compile(r"\d+")
_MONTH = re.compile(r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.I)
_NANOSECONDS = r":\d\d\.\d{6}(\d{1,3})"
_MOST_NANOSECONDS = 2**63 // 1000  # microseconds on either side of 1970 that 64 bits of nanoseconds can say: 292 years


def require_form(form: str) -> None:
    """Raise ValueError if this is no form of dates, with a year, a month and a day, nor MONTH nor TIME."""
    if form in _COMPLETED:
        return
    if not isinstance(form, str):
        raise ValueError(f"{form!r} is no form of dates, as %d/%m/%Y")
    if "%f" in form.replace(".%f", ""):
        raise ValueError(f"{form[:60]!r} is no form of dates: %f must follow a point")
    day = datetime(2001, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
    text = require("polars", "tables").Series([day.strftime(form.replace(".%f", "").replace("%.f", ""))])
    if _parsed(text, form).dt.date()[0] != day.date():
        raise ValueError(
            f"{form[:60]!r} is no form of dates: it must have a year, a month and a day, as %d/%m/%Y, or be {MONTH} or "
            f"{TIME}"
        )


def moments(bare: Any, form: str = ISO) -> tuple[Any, int]:
    """The moments in texts as integers since 1970, null where something else is written; and how many make a second."""
    pl = require("polars", "tables")
    given = _plain(bare)
    times: tuple[str, ...] = _TIMES
    zones: tuple[str, ...] = ("", "%z")
    if form in _COMPLETED:
        before, after = _COMPLETED[form]
        given, times, zones = before + given + after, _TIMES[1:] if form == TIME else ("",), ("",)
        form = ISO
    elif _SAYS_TIMES.search(form):
        given, times = bare, ("",)
    read = pl.repeat(None, len(given), dtype=pl.Int64, eager=True)
    for time in times:
        for zone in zones if time else ("",):
            if read.null_count() == given.null_count():
                break
            mask = given.str.contains(f"^{_pattern(form + time)}{_OFFSET if zone else ''}$") & read.is_null()
            if mask.any():
                read = read.zip_with(
                    read.is_not_null(), _parsed(given.set(~mask, None), form + time + zone).to_physical()
                )
    finer = given.str.extract(_NANOSECONDS).str.pad_end(3, "0").cast(pl.Int64)
    if finer.null_count() < len(finer) and (read.abs().max() or 0) < _MOST_NANOSECONDS:
        return read * 1000 + finer.fill_null(0), 10**9
    return read, 10**6


def fitting(bare: Any) -> list[str]:
    """Every form in which all of a column's texts are dates."""
    present = bare.drop_nulls()
    some = [form for form in FORMS if not wrong(present.head(PROBE), form).any()] if len(present) else []
    return some if len(present) <= PROBE else [form for form in some if not wrong(present, form).any()]


def wrong(bare: Any, form: str) -> Any:
    """Where there is a text that is no date of this form."""
    return moments(bare, form)[0].is_null() & bare.is_not_null()


def resembles(text: str) -> bool:
    """Whether a text has what a date has: a year, a month that is a number or a word, and a day."""
    groups = _NUMBERS.findall(text)
    years = [group for group in groups if group[:2] in ("19", "20") and len(group) in (4, 8, 12, 14)]
    named = _MONTH.search(text) is not None
    return bool(years) and (len(years[0]) > 4 or len(groups) >= 3 - named)


def have_zones(bare: Any) -> bool:
    """Whether there are times with a zone in a column of dates."""
    return bool(_plain(bare).str.contains(f"{_OFFSET}$").any())


def _plain(bare: Any) -> Any:
    """The same without names of days, with a space before the time, and a zone as +00:00."""
    if not bare.str.contains("[A-Za-z:]").any():
        return bare
    return (
        bare.str.replace(r"^(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+", "")
        .str.replace(r"(\d)[Tt](\d)", "${1} ${2}")
        .str.replace(r",\s+(\d{1,2}:)", " ${1}")
        .str.replace(r"(:\d\d),(\d)", "${1}.${2}")
        .str.replace(r"(:\d\d(?:\.\d+)?)\s*(?:[Zz]|UTC|GMT)$", "${1}+00:00")
        .str.replace(r"(:\d\d(?:\.\d+)?)\s*([+-]\d\d)$", "${1}${2}:00")
        .str.replace(r"(:\d\d(?:\.\d+)?)\s*([+-]\d\d):?(\d\d)$", "${1}${2}:${3}")
    )


def _pattern(form: str) -> str:
    """What texts of this form look like."""
    parts = re.split(r"(%\.\d?f|%[-_0]?.)", form.replace(".%f", "%.f"))  # words and directives by turns
    return "".join(_WORDS.get(part, ".*") if i % 2 else re.escape(part) for i, part in enumerate(parts))


def _parsed(texts: Any, form: str) -> Any:
    pl = require("polars", "tables")
    try:
        return texts.str.to_datetime(form.replace(".%f", "%.f"), strict=False, time_unit="us")
    except pl.exceptions.PolarsError as problem:
        raise ValueError(f"{form[:60]!r} is no form of dates: {str(problem).splitlines()[0]}") from None
