"""How numbers and arrays are spelt in C, and in which order."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

WIDTH = 120  # of a line
COUNTERS = "ijklmnpq"  # of loops


def array(name: str, values: Any, *, of: str = "", kind: str = "float", digits: int = 17) -> str:
    """A constant array of "float", "double" or some kind of int, eight numbers a line; `of` is its length in words."""
    values = np.asarray(values).reshape(-1)
    if kind == "float":
        spelt = [real(value) for value in values]
    else:
        spelt = [double(value, digits) if kind == "double" else str(value) for value in values]
    rows = [", ".join(spelt[start : start + 8]) for start in range(0, len(values), 8)]
    body = ",\n".join(f"    {row}" for row in rows)
    return f"static const {kind} {name}[{of or len(values)}] = {{\n{body}\n}};\n"


def real(value: Any) -> str:
    """A float: nine digits give every float32 back."""
    return double(np.float32(value), 9) + "f"


def words(value: Any) -> str:
    """A float for people to read, in as few digits as give it back."""
    return str(np.float32(_finite(value)))


def short(value: Any) -> str:
    """The same for the compiler."""
    return words(value) + "f"


def double(value: Any, digits: int = 17) -> str:
    """A double."""
    text = f"{_finite(value):.{digits}g}"
    return text if any(mark in text for mark in ".e") else text + ".0"


def _finite(value: Any) -> float:
    with np.errstate(over="ignore"):
        if np.isfinite(np.float32(value)):
            return float(value)
    raise ValueError(f"to_c: all numbers must be finite in float32, got {value}")


def name_of(text: str) -> str:
    """The name of the function that a text defines."""
    return statics(text)[-1]


def arguments_of(text: str) -> list[str]:
    """The names of its arguments."""
    arguments = re.search(r"^static .*?\((.*?)\)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"(\w+)(?:\[\d*\])?(?:,|$)", arguments[1]) if arguments else []


def statics(text: str) -> list[str]:
    """The names that a text keeps to itself: its functions and constant arrays."""
    return re.findall(r"^static .*?(\w+)[(\[]", text, re.MULTILINE)


def apart(texts: tuple[str, ...], others: Iterable[str], number: int) -> tuple[str, ...]:
    """The texts: what others say differently by the same name, and what calls it, gets a name with this number."""
    known = {name: text for text in others for name in statics(text)}
    other = {name for text in texts for name in statics(text) if known.get(name, text) != text}
    while more := {name for text in texts if _says(text, other) for name in statics(text)} - other:
        other |= more
    if not other:
        return texts
    return tuple(re.sub(rf"\b({'|'.join(sorted(other))})\b", rf"\1_{number}", text) for text in texts)


def _says(text: str, names: set[str]) -> bool:
    return not names.isdisjoint(re.findall(r"\w+", text))


def add(functions: list[str], *texts: str) -> None:
    """Add the texts of functions, each once."""
    functions += [text for text in dict.fromkeys(texts) if text not in functions]


def folded(text: str) -> str:
    """The text with calls and comments that are too long for a line broken: behind a comma, or between words."""
    lines: list[str] = []
    for line in text.split("\n"):
        comment = line.startswith((" * ", "/* "))
        begin, mark = (" * ", " ") if comment else (" " * (line.find("(") + 1), ", ")
        while len(line) > WIDTH and '"' not in line and begin:
            at = line.rfind(mark, len(begin) + 1, WIDTH)
            if at < 0:
                break
            lines.append(line[: at + 1].rstrip())
            line = begin + line[at + 1 :].lstrip()
        lines.append(line)
    return "\n".join(lines)


def prefixed(name: str, source: str) -> str:
    """The source with the name of the network before everything that it keeps to itself: two may be in one file."""
    own = set(statics(source))
    spelt = dict.fromkeys(own, f"{name}_") | {f"PARAMETER_{i}": f"{name.upper()}_" for i in _numbered(source)}
    pattern = re.compile(rf"/\*.*?\*/|\b({'|'.join(sorted(spelt))})\b", re.DOTALL)  # comments stay as they are
    return pattern.sub(lambda found: found[0] if found[1] is None else spelt[found[1]] + found[1], source)


def _numbered(source: str) -> list[str]:
    return re.findall(r"^    PARAMETER_(\d+) = ", source, re.MULTILINE)


def by_columns(numbers: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Arrays like parameters in the order in which C keeps them: those of weights column by column."""
    return [array.T.reshape(-1) for array in numbers]  # what has one axis stays as it is
