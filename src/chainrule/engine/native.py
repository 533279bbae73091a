"""The compiled half: which module the CPU can run, and plans in its terms."""

import importlib
import importlib.util
import os
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from ..structures import Structure
from .plan import Plan

INSTRUCTION_SETS = ("avx512", "avx2", "baseline")  # the best first
VARIABLE = "CHAINRULE_INSTRUCTION_SET"
MOST_THREADS = 256


class EngineMissing(ImportError):
    """The package was installed without its native half, or runs where that cannot."""


@cache
def module() -> Any:
    """The best engine that is built and that this CPU can run, or that which CHAINRULE_INSTRUCTION_SET names.

    Raises EngineMissing if there is none, or in a subinterpreter, whose GIL the engine would wait for in vain;
    ValueError if the variable names what this CPU cannot run or was not built.
    """
    try:
        cpu = importlib.import_module("chainrule.engine._cpu")
    except ImportError as problem:
        raise EngineMissing(f"the native engine is not built: {problem}") from None
    if not cpu.is_main_interpreter():
        raise EngineMissing("the native engine runs in Python's main interpreter only, and this is a subinterpreter")
    able = cpu.instruction_sets()
    wanted = os.environ.get(VARIABLE)
    if wanted and wanted not in able:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(able)} on this machine, got {wanted!r}")
    for name in (wanted,) if wanted else able:
        if importlib.util.find_spec(f"chainrule.engine._{name}"):  # `make demo` builds one, wheels hold all
            return importlib.import_module(f"chainrule.engine._{name}")
    if wanted:
        raise ValueError(f"{VARIABLE}: the engine is not built for {wanted} here")
    raise EngineMissing(f"the native engine is not built for {', '.join(able)}, which this CPU can run")


@cache
def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available() -> bool:
    """Whether the engine is there."""
    try:
        module()
    except EngineMissing:
        return False
    return True


@cache
def memory() -> int:
    """The bytes of the machine's memory: more would be promised by the system, and the process killed for using it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not everywhere can one ask
        return 1 << 40


def compile_plan(
    plan: Plan,
    limit_bytes: int | None = None,
    *,
    told: dict[str, Any] | None = None,
    is_home: bool = False,
    keeps_gradients: bool = False,
) -> Any:
    """The engine's own form of a plan, with its memory taken.

    Parameters
    ----------
    told : described(plan), if that is known.
    is_home : whether the plan's parameters live in it from its first call on; one that is run once does without.
    keeps_gradients : whether their gradients do too.

    Raises MemoryError if the plan needs more than `limit_bytes`, by default more than the machine has.
    """
    if plan.batch >= 1 << 48:  # before C++ has to refuse it by its type
        raise MemoryError(f"the engine has no memory for {plan.batch:,} rows")
    limit = memory() if limit_bytes is None else limit_bytes
    parameters = list(plan.parameters) if is_home else []
    dtype = np.dtype(plan.dtype)
    told = described(plan) if told is None else told
    return module().Compiled(told | {"limit_bytes": limit}, np.empty, dtype, parameters, keeps_gradients)


def measured(plan: Plan, compiled: Any) -> Plan:
    """The plan with what is known once it is compiled: the bytes that it takes, and what became of each op."""
    return replace(plan, bytes=compiled.bytes, notes=tuple(compiled.notes))


# What the engine is told, as plain values: native/src/python/plan.h reads them.

Settings = dict[str, Any]


def described(plan: Plan) -> dict[str, Any]:
    """A plan in the terms of native/src/plan.h; two that are equal run the same program."""
    return {
        "dtype": plan.dtype,
        "values": list(plan.values),
        "parameters": [(*matrix, shape) for matrix, shape in zip(plan.matrices, plan.shapes, strict=True)]
        + [(shape[0], 0, 0, shape) for of in plan.statistics for shape in of.shapes()],
        "inputs": list(plan.inputs),
        "outputs": list(plan.outputs),
        "x": _form(plan.x, plan.x_shapes),
        "y": _form(plan.y, plan.y_shapes),
        "ops": [({"kind": op.kind} | op.settings, op.inputs, op.output, plan.places(op)) for op in plan.ops],
        "heads": [(head.settings, head.weight, head.class_targets) for head in plan.heads],
        "rules": [({k: v for k, v in rule.items() if k != "constraints"}, rule["constraints"]) for rule in plan.rules],
        "rule_of": list(plan.rule_of) + [-1] * (3 * len(plan.statistics)),
        "statistics": 3 * len(plan.statistics),
        "lookahead": plan.lookahead,
        "batch": plan.batch,
        "accumulate": plan.accumulate,
        "average": plan.average,
        "samples": plan.samples,
        "seed": plan.seed,
        "threads": min(plan.threads, MOST_THREADS),
    }


def program(told: dict[str, Any]) -> dict[str, str]:
    """The parts of what is told of a plan, but for its sizes, as words."""
    found = {}
    for i, (settings, _, _, parameters) in enumerate(told["ops"]):
        of = f" with parameters {', '.join(map(str, parameters))}" if parameters else ""
        found[f"op {i}"] = _text(settings) + of
    for i, (_, inputs, output, _) in enumerate(told["ops"]):
        found[f"what op {i} reads and writes"] = f"{', '.join(map(str, inputs))} → {output}"
    found["the network's values"] = ", ".join(str(tuple(value)) for value in told["values"])
    found |= {f"the network's {name}": str(told[name]) for name in ("inputs", "outputs", "x", "y")}
    losses = [f"{weight:g} · {_text(s)}{', class indices' * c}" for s, weight, c in told["heads"]]
    if losses:
        found["the loss"] = "; ".join(losses).removeprefix("1 · ")
    rule_of = told["rule_of"][: len(told["rule_of"]) - told["statistics"]]
    found |= {f"parameter {i}": "frozen" if rule < 0 else "trainable" for i, rule in enumerate(rule_of)}
    if told["rules"]:
        around = f"{_text(told['lookahead'])} around " if told["lookahead"] else ""
        found["the optimizer"] = around + "; ".join(_text(rule) for rule, _ in told["rules"])
    if len(told["rules"]) > 1:
        found["the rules of the parameters"] = ", ".join(map(str, told["rule_of"]))
    return found


def _form(structure: Structure, shapes: tuple[tuple[int, ...], ...]) -> tuple[str, list[str], list[tuple[int, ...]]]:
    """How arrays come to the network or from it: as one array, a tuple or a dict; the names; and their shapes."""
    kind = "dict" if isinstance(structure, dict) else "tuple" if isinstance(structure, tuple) else "array"
    return kind, list(structure) if isinstance(structure, dict) else [], list(shapes)


def _text(settings: Settings) -> str:
    kind, *rest = settings.items()
    return f"{kind[1]}({', '.join(f'{name}={value}' for name, value in rest)})"
