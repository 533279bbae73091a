"""What an optimizer is to go on from, looked at before anything of it is taken over."""

import copy
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from .. import arrays
from ..module import Parameter
from .half import widened
from .schedules import Schedule

MOST = 2**53  # steps or epochs, which every number type here can count to


def checked(rule: Any, parameters: Sequence[Parameter], state: Any) -> list[dict[str, Any]]:
    """What a state of `state_dict` holds of each parameter, converted to where the parameter is.

    Raises ValueError for whatever `rule` could not go on from with these parameters.
    """
    who = f"{type(rule).__name__}.load_state_dict"
    if not isinstance(state, Mapping):
        raise ValueError(f"{who}: the state must be a mapping, got {type(state).__name__}")
    for name in ("steps", "epochs"):
        _require_count(who, name, state.get(name))
    groups = state.get("groups", [])
    if not isinstance(groups, list | tuple) or len(groups) != len(rule.groups):
        what = f"the state of {len(groups)}" if isinstance(groups, list | tuple) else type(groups).__name__
        raise ValueError(f"{who}: {len(rule.groups)} groups expected, got {what}")
    for one, own in zip(rule.rules, (state, *groups), strict=True):
        _require_rate(who, one, own)
    each = state.get("parameters")
    if not isinstance(each, list | tuple) or len(each) != len(parameters):
        what = f"the state of {len(each)}" if isinstance(each, list | tuple) else type(each).__name__
        raise ValueError(f"{who}: {len(parameters)} parameters expected, got {what}")
    rules = [rule.rule_of(parameter) for parameter in parameters]
    return [_converted(who, *one) for one in zip(rules, parameters, each, strict=True)]


def _require_count(who: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= int(value) <= MOST:
        raise ValueError(f"{who}: {name} must be an integer in 0 … 2⁵³, got {str(value)[:60]}")


def _require_rate(who: str, rule: Any, state: Mapping[str, Any]) -> None:
    """Look at what a rule has counted, and try what its schedule has learned on a copy of it."""
    if not isinstance(state, Mapping):
        raise ValueError(f"{who}: the state of a group must be a mapping, got {type(state).__name__}")
    counted = state.get("counted", state)
    if not isinstance(counted, Mapping):
        raise ValueError(f"{who}: counted must be a mapping, got {type(counted).__name__}")
    for name in ("steps", "epochs"):
        _require_count(who, name, counted.get(name))
    if not isinstance(rule.lr, Schedule):
        return
    try:
        schedule = copy.deepcopy(rule.lr)
        schedule.load_state(state["schedule"])
        rate = schedule.at(steps=counted["steps"], epochs=counted["epochs"])
    except Exception as problem:  # whatever a schedule makes of what is no state of its
        raise ValueError(
            f"{who}: its schedule cannot go on from {str(state.get('schedule'))[:60]}: {problem}"
        ) from None
    if not (isinstance(rate, float | int) and math.isfinite(rate) and rate >= 0):
        raise ValueError(f"{who}: the learning rate would be {rate}")


def _converted(who: str, rule: Any, parameter: Parameter, kept: Any) -> dict[str, Any]:
    if not isinstance(kept, Mapping):
        raise ValueError(f"{who}: the state of a parameter must be a mapping, got {type(kept).__name__}")
    like, ours = widened(parameter).value, type(rule).__module__.startswith(__package__ or ".")
    begun = rule.begin(like) if ours else {}
    found = {}
    for name, value in kept.items():
        array, expected = arrays.is_array(value), begun.get(name)
        shape = parameter.shape if expected is None or name == "step" else tuple(expected.shape)
        if ours and array and tuple(value.shape) != shape:
            raise ValueError(f"{who}: {name} must be {shape}, got {tuple(value.shape)}")
        if ours and array and not arrays.is_floating(value):
            raise ValueError(f"{who}: {name} must hold floating-point numbers, got {arrays.describe_kind(value)}")
        if ours and not array and not (name == "step" and name in begun):
            raise ValueError(f"{who}: {name} must be an array, got {type(value).__name__}")
        found[name] = arrays.following(arrays.convert(value), like) if array else value
    for name in begun if kept else ():
        if name == "step":
            _require_count(who, name, kept.get(name))
        elif name not in kept:
            raise ValueError(f"{who}: {name} must be an array, and is missing")
    return found
