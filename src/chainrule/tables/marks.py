"""How the numbers of a column of texts are written: which mark is decimal, which stands between thousands, what unit.

    1234.5   1,234.5   1.234,5   1 234,5   1'234.5   $1,234.5   38%

Such an example is how a model keeps it. Where every mark stands before exactly three digits, as in 70,545, a column
can be read in two ways; `readings` decides.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..extras import require

PROBE = 100  # rows that show of most columns that they hold something else

IN_PARENTHESES = (
    r"^([^\d\s()+-]*)\s*\(\s*([^()+-]*\d[^()+-]*?)\s*\)$"  # which is how accountants write what is negative
)

_SPACES = "[\u00a0\u2007\u2009\u202f]"  # no-break, figure, thin, and narrow no-break
_PRINTED = f"{_SPACES[:-1]}’−(]"
_UNIT = r"[$€£¥₹₩₽₺%‰]|USD|EUR|GBP|CHF|JPY|CNY|INR"
_ANY_UNIT = r"[^\d\s.,'+()-](?:[^\d()]*[^\d\s.,'+()-])?"  # of a column that is said to be numeric
_INDIAN = r"|[1-9]\d?(?:,\d\d)+,\d{3}"  # 12,34,567
_WORD = "[+-]?(?i:inf|infinity|nan)"
_EXAMPLE = re.compile(r"(?P<before>\D*?)1(?P<thousands>[,.' ]?)234(?P<decimal>[.,])5(?P<after>\D*)")


@dataclass(frozen=True)
class Marks:
    """One way to write numbers.

    decimal, thousands : the marks; "" where nothing stands between thousands.
    before, after : the unit, as "$" or "%".
    """

    decimal: str = "."
    thousands: str = ""
    before: str = ""
    after: str = ""

    @classmethod
    def of(cls, written: str) -> "Marks":
        """The way in which an example is written; raises ValueError if it is none."""
        found = _EXAMPLE.fullmatch(written)
        if found is None or found["thousands"] == found["decimal"]:
            raise ValueError(f"must be a number like 1,234.5 with its marks, got {written[:60]!r}")
        return cls(**found.groupdict())

    @property
    def written(self) -> str:
        """An example."""
        return f"{self.before}1{self.thousands}234{self.decimal}5{self.after}"

    @property
    def unit(self) -> str:
        """What stands before and after the number."""
        return self.before + self.after

    def plain(self, bare: Any) -> Any:
        """The same numbers as Python writes them; null where something is not written in this way."""
        return self._plain(typed(bare))

    def reads(self, inside: Any) -> bool:
        """Whether all texts, as `typed` gives them, are numbers that are written in this way."""
        pl = require("polars", "tables")
        return not self._plain(inside).cast(pl.Float64, strict=False).null_count()

    def _plain(self, inside: Any) -> Any:
        if self == Marks():
            return inside
        given = self._without_unit(inside)
        mark, decimal = re.escape(self.thousands), re.escape(self.decimal)
        whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{mark}\d{{3}})+{_INDIAN if mark == ',' else ''})" if mark else r"\d+"
        pattern = rf"^(?:[+-]?(?:{whole}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?|{_WORD})$"
        good = given.str.contains(pattern)
        if self.thousands:
            given = given.str.replace_all(self.thousands, "", literal=True)
        if self.decimal != ".":
            given = given.str.replace(self.decimal, ".", literal=True)
        return given.set(~good.fill_null(False), None)

    def _without_unit(self, bare: Any) -> Any:
        """The numbers alone, null where the unit is not there."""
        if not self.unit:
            return bare
        pattern = rf"^([+-]?)\s*{re.escape(self.before)}\s*([+-]?[^\s+-].*?)\s*{re.escape(self.after)}$"
        return bare.str.replace(pattern, "${1}${2}").set(~bare.str.contains(pattern).fill_null(False), None)


def typed(bare: Any) -> Any:
    """The same with the spaces, the apostrophe and the minus of a keyboard, not a printer's or an accountant's."""
    if not bare.str.contains(_PRINTED).any():
        return bare
    return (
        bare.str.replace_all(_SPACES, " ")
        .str.replace_all("’", "'", literal=True)
        .str.replace_all("−", "-", literal=True)
        .str.replace(IN_PARENTHESES, "-${1}${2}")
    )


def fitting(bare: Any, *, units: Sequence[Marks] | None = None, any_unit: bool = False) -> list[Marks]:
    """Every way in which all of a column's texts can be numbers; none with marks that the column does not have.

    units : those to look for, as a model knows them; found in the first value unless given. any_unit : whatever it is.
    """
    present = bare.drop_nulls()
    if not len(present):
        return []
    units = _units(str(present[0]), _ANY_UNIT if any_unit else _UNIT) if units is None else units
    for unit in units:
        if _right(present.head(PROBE), unit):
            return _right(present, unit)
    return []


def two_units(bare: Any) -> tuple[int, int] | None:
    """Two rows whose units differ, where all texts are numbers but for their units."""
    unit = bare.str.extract(f"({_UNIT})")
    first = int(bare.is_not_null().to_numpy().argmax())
    other = (unit.fill_null("") != (unit[first] or "")) & bare.is_not_null()
    if not other.any() or not fitting(bare.str.replace(_UNIT, "").str.strip_chars()):
        return None
    return first, int(other.to_numpy().argmax())


def _right(present: Any, unit: Marks) -> list[Marks]:
    """The ways with a unit that read every text of a column, of those whose marks are the column's."""
    inside = typed(present)
    plain = Marks(before=unit.before, after=unit.after)
    some = "." if plain.reads(inside) else ",.' "  # no other mark can be there
    has = {mark for mark in some if inside.str.contains(mark, literal=True).any()}
    wide = has - {" "} if unit.unit else has  # a space may belong to the unit
    if not wide and plain.reads(inside):  # both decimal marks are the same
        return [plain, replace(plain, decimal=",")]
    ways = [(decimal, thousands) for decimal in ".," for thousands in ["", *sorted(has - {decimal})]]
    found = [replace(plain, decimal=decimal, thousands=mark) for decimal, mark in ways if wide <= {decimal, mark}]
    return [way for way in found if way.reads(inside)]


def _units(first: str, unit: str) -> list[Marks]:
    """No unit, or that of a text such as $1,234.00."""
    text = re.sub(f"{_SPACES}|[()]", " ", first).strip().lstrip("+-−").strip()
    before, after = re.match(rf"(?:{unit})", text), re.search(rf"(?:{unit})$", text)
    found = [Marks(before=before[0] if before else "", after=after[0] if after else "")]
    return [Marks(), *(marks for marks in found if marks.unit and not (marks.before and marks.after))]
