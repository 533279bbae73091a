"""The compiled half: which module the CPU can run, and plans in its terms."""

import importlib
import importlib.util
import os
from functools import cache
from typing import Any

import numpy as np

from .. import layers
from .plan import Op, Plan
from .rules import losses as of_losses

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
    plan: Plan, limit_bytes: int | None = None, *, is_home: bool = False, keeps_gradients: bool = False
) -> Any:
    """The engine's own form of a plan, with its memory taken.

    Parameters
    ----------
    is_home : whether the plan's parameters live in it from its first call on; one that is run once does without.
    keeps_gradients : whether their gradients do too.

    Raises MemoryError if the plan needs more than `limit_bytes`, by default more than the machine has.
    """
    native = module()
    described = native.Plan()
    described.dtype = getattr(native.DType, plan.dtype)
    described.n_in = plan.n_in
    for parameter in plan.parameters:
        n_out, n_in = (*parameter.shape, 0)[:2]
        described.add_parameter(n_out, n_in)
    described.ops = [_op(native, op_settings(op)) for op in plan.ops]
    if plan.loss is not None:
        described.has_loss = True
        described.set_loss(*_sorted(loss_settings(plan)))
        described.class_targets, described.sample_weights = plan.class_targets, plan.sample_weights
    if plan.optimizer is not None:
        settings = optimizer_settings(plan.optimizer)
        described.clip_value, described.clip_norm = settings.pop("clip_value"), settings.pop("clip_norm")
        described.has_optimizer = True
        described.optimizer = _filled(native.Optimizer(), native.OptimizerKind, settings)
    if plan.batch >= 1 << 48:  # before C++ has to refuse it by its type
        raise MemoryError(f"the engine has no memory for {plan.batch:,} rows")
    described.batch, described.samples, described.seed = plan.batch, plan.samples, plan.seed
    described.threads = min(plan.threads, MOST_THREADS)
    described.limit_bytes = memory() if limit_bytes is None else limit_bytes
    parameters = plan.parameters if is_home else []
    compiled = native.Compiled(described, np.empty, np.dtype(plan.dtype), parameters, keeps_gradients)
    plan.bytes = compiled.bytes
    return compiled


# What the engine is told of each thing, by the engine's own names, as plain values that can be compared.

Settings = dict[str, Any]


def program(plan: Plan) -> dict[str, Settings]:
    """All that the engine is told of a plan but its sizes."""
    program = {f"op {i}": op_settings(op) for i, op in enumerate(plan.ops)}
    if plan.loss is not None:
        program["the loss"] = loss_settings(plan)
    if plan.optimizer is not None:
        program["the optimizer"] = optimizer_settings(plan.optimizer)
    return program


def op_settings(op: Op) -> Settings:
    """Of an op: of a linear one the places of its parameters, of the others what their layers say."""
    if op.kind == "linear":
        return {"kind": "linear", "weight": op.weight, "bias": op.bias}
    if op.kind == "dropout":
        return {"kind": "dropout", "p": op.layer.p, "dropout_layer": op.stream}
    settings = _named(op.layer, ("negative_slope", "alpha", "beta", "threshold"))
    if isinstance(op.layer, layers.GELU):
        settings["approximate_tanh"] = op.layer.approximate == "tanh"
    return settings


def loss_settings(plan: Plan) -> Settings:
    """Of the loss."""
    return of_losses.settings(plan.loss, (plan.n_out,), plan.class_targets)


def optimizer_settings(optimizer: Any) -> Settings:
    """Of an optimizer, but for its learning rate, which may change at any time."""
    settings = _named(optimizer, _OPTIMIZER_NAMES)
    if hasattr(optimizer, "betas"):
        settings["beta1"], settings["beta2"] = optimizer.betas
    settings["clip_value"], settings["clip_norm"] = optimizer.clip_value or 0.0, optimizer.clip_norm or 0.0
    return settings


_OPTIMIZER_NAMES = (
    "weight_decay",
    "decay_biases",
    "momentum",
    "dampening",
    "nesterov",
    "eps",
    "amsgrad",
    "alpha",
    "centered",
    "lr_decay",
    "initial_accumulator_value",
)


def _named(thing: Any, names: tuple[str, ...]) -> Settings:
    own = vars(thing)
    return {"kind": type(thing).__name__} | {name: own[name] for name in names if name in own}


def _filled(described: Any, kinds: Any, settings: Settings) -> Any:
    for name, value in settings.items():
        setattr(described, name, getattr(kinds, value) if name == "kind" else value)
    return described


def _op(native: Any, settings: Settings) -> Any:
    if settings["kind"] in ("linear", "dropout"):
        return _filled(native.Op(), native.OpKind, settings)
    described = native.Op()
    described.kind = native.OpKind.activation
    described.activation = _filled(native.Activation(), native.ActivationKind, settings)
    return described


def _sorted(settings: Settings) -> tuple[str, dict[str, float], dict[str, list[float]]]:
    """The kind, the numbers, and the lists of numbers."""
    kind, *rest = settings.items()
    lists = {name: value for name, value in rest if isinstance(value, list)}
    return kind[1], {name: float(value) for name, value in rest if name not in lists}, lists
