"""The rules of a table model as JSON, and back, believing nothing. docs/tables.md has the grammar."""

import math
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, NoReturn

from .dates import require_form
from .encoding import Encoding
from .features import MOST, CategoryFeature, Feature, Ignored, NumberFeature
from .marks import Marks
from .target import ClassTarget, NumberTarget

VERSION = 2  # 1 had no `written` and no `origin`, and no classes of the form "words"

Target = ClassTarget | NumberTarget


def describe_table(encoding: Encoding, target: Target) -> dict[str, Any]:
    """The rules as plain values, for JSON."""
    return {"version": VERSION, "columns": encoding.to_list(), "target": target.to_dict()}


def build_table(description: Any, where: str) -> tuple[Encoding, Target]:
    """The rules that `describe_table` described.

    Raises ValueError, which begins with `where`, for anything else.
    """
    if not isinstance(description, dict) or not isinstance(description.get("version"), int):
        _fail(where, "its table must be an object with a version", description)
    if description["version"] > VERSION:
        raise ValueError(
            f"{where}: its table has the later format {description['version']}, known is {VERSION}; update it"
        )
    first = description["version"] < VERSION
    columns = description.get("columns")
    if not isinstance(columns, list):
        _fail(where, "its columns must be a list", columns)
    features = [_feature(item, f"{where}: column {i}", first) for i, item in enumerate(columns)]
    target = _target(description.get("target"), f"{where}: the target", first)
    names = [feature.name for feature in features] + [target.name]
    if len(set(names)) < len(names):
        raise ValueError(f"{where}: more than one column is called `{max(names, key=names.count)[:60]}`")
    return Encoding(tuple(features)), target


def _feature(item: Any, where: str, first: bool) -> Feature:
    kind = item.get("kind") if isinstance(item, dict) else None
    makers = {name: maker for maker in (NumberFeature, CategoryFeature, Ignored) for name in maker.KINDS}
    if not isinstance(kind, str) or kind not in makers:
        _fail(where, "must be an object of a known kind", item)
    feature: Feature = _filled(makers[kind], item, where, first)
    if isinstance(feature, NumberFeature):
        _require_number(feature, feature.kind, where)
    if isinstance(feature, CategoryFeature):
        categories = feature.categories + feature.rare
        if not feature.categories or len(set(categories)) < len(categories):
            _fail(where, "must have categories, each once", list(categories))
    return feature


def _target(item: Any, where: str, first: bool) -> Target:
    makers: dict[Any, type[Target]] = {maker.TASK: maker for maker in (ClassTarget, NumberTarget)}
    task = item.get("task") if isinstance(item, dict) else None
    if not isinstance(task, str) or task not in makers:
        _fail(where, "must be an object with a known task", item)
    target: Target = _filled(makers[task], item, where, first)
    if isinstance(target, NumberTarget):
        _require_number(target, "numeric", where)
        return target
    if len(target.classes) < 2 or len(set(target.classes)) < len(target.classes):
        _fail(where, "must have classes, each once", list(target.classes))
    try:
        allowed = {"text": True, "boolean": target.classes == ("false", "true"), "words": len(target.classes) == 2}
        good = (
            allowed[target.form] if target.form != "number" else all(not math.isnan(float(n)) for n in target.classes)
        )
    except (KeyError, ValueError):
        good = False
    if not good:
        _fail(where, "its classes must be of its form", [target.form, *target.classes])
    return target


def _require_number(rule: NumberFeature | NumberTarget, kind: str, where: str) -> None:
    """Raise ValueError if a scale, an origin or a way of writing can be none."""
    if not rule.scale > 0:
        _fail(where, "scale must be above 0", rule.scale)
    if rule.origin != math.floor(rule.origin) or abs(rule.origin) >= MOST:
        _fail(where, "origin must be a whole number of at most 30 digits", rule.origin)
    if rule.written:
        try:
            if kind == "date":
                require_form(rule.written)
            else:
                Marks.of(rule.written)
        except ValueError as problem:
            raise ValueError(f"{where}: written: {problem}") from None


def _filled(maker: Callable[..., Any], item: dict[str, Any], where: str, first: bool) -> Any:
    """An instance of a dataclass whose every field is there, or in the first format those without defaults."""
    wanted = {field.name: field.type for field in fields(maker)}  # type: ignore[arg-type]
    if first:
        item = {field.name: field.default for field in fields(maker) if field.default is not MISSING} | item  # type: ignore[arg-type]
    if item.keys() != wanted.keys():
        _fail(where, f"must have {', '.join(wanted)}", list(item))
    return maker(**{name: _value(item[name], kind, f"{where}: {name}") for name, kind in wanted.items()})


def _value(value: Any, kind: Any, where: str) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if math.isfinite(value):
                return float(value)
        except OverflowError:  # an integer of a thousand digits
            pass
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    names = {str: "a text", bool: "true or false", int: "a count", float: "a finite number"}
    return _fail(where, f"must be {names.get(kind, 'a list of texts')}", value)


def _fail(where: str, message: str, got: Any) -> NoReturn:
    raise ValueError(f"{where}: {message}, got {str(got)[:60]}" if "\n" not in str(got)[:60] else f"{where}: {message}")
