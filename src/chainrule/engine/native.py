"""The compiled half: which module the CPU can run, and plans in its terms."""

import importlib
import os
from functools import cache
from typing import Any

import numpy as np

from .. import arrays, layers, losses
from .plan import Plan

INSTRUCTION_SETS = ("avx512", "avx2", "baseline")  # the best first
VARIABLE = "CHAINRULE_INSTRUCTION_SET"
MOST_THREADS = 256


class EngineMissing(ImportError):
    """The package was installed without its native half."""


@cache
def module() -> Any:
    """The engine for this CPU, or for the instruction set that CHAINRULE_INSTRUCTION_SET names.

    Raises EngineMissing if it was not built, ValueError if the variable names what this CPU cannot run.
    """
    try:
        able = importlib.import_module("chainrule.engine._cpu").instruction_sets()
    except ImportError as problem:
        raise EngineMissing(f"the native engine is not built: {problem}") from None
    wanted = os.environ.get(VARIABLE)
    if wanted and wanted not in able:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(able)} on this machine, got {wanted!r}")
    return importlib.import_module(f"chainrule.engine._{wanted or able[0]}")


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


def compile_plan(plan: Plan, limit_bytes: int | None = None) -> Any:
    """The engine's own form of a plan, with its memory taken.

    Raises MemoryError if the plan needs more than `limit_bytes`, by default more than the machine has.
    """
    native = module()
    described = native.Plan()
    described.dtype = getattr(native.DType, plan.dtype)
    described.n_in = plan.n_in
    for parameter in plan.parameters:
        n_out, n_in = (*parameter.shape, 0)[:2]
        described.add_parameter(n_out, n_in)
    described.ops = [_op(native, op) for op in plan.ops]
    if plan.loss is not None:
        described.has_loss, described.loss = True, _loss(native, plan.loss, plan.n_out)
        described.class_targets, described.sample_weights = plan.class_targets, plan.sample_weights
    if plan.optimizer is not None:
        described.has_optimizer, described.optimizer = True, _optimizer(native, plan.optimizer)
        described.clip_value = plan.optimizer.clip_value or 0.0
        described.clip_norm = plan.optimizer.clip_norm or 0.0
    if plan.batch >= 1 << 48:  # before C++ has to refuse it by its type
        raise MemoryError(f"the engine has no memory for {plan.batch:,} rows")
    described.batch, described.samples, described.seed = plan.batch, plan.samples, plan.seed
    described.threads = min(plan.threads, MOST_THREADS)
    described.limit_bytes = memory() if limit_bytes is None else limit_bytes
    dtype = np.dtype(plan.dtype)
    compiled = native.Compiled(described, lambda shape: np.empty(shape, dtype))
    plan.bytes = compiled.bytes
    return compiled


def _op(native: Any, op: Any) -> Any:
    described = native.Op()
    described.kind = getattr(native.OpKind, op.kind)
    if op.kind == "linear":
        described.weight, described.bias = op.weight, op.bias
    elif op.kind == "dropout":
        described.p, described.dropout_layer = op.layer.p, op.stream
    else:
        activation = native.Activation()
        activation.kind = getattr(native.ActivationKind, type(op.layer).__name__)
        for name in ("negative_slope", "alpha", "beta", "threshold"):
            if hasattr(op.layer, name):
                setattr(activation, name, float(getattr(op.layer, name)))
        activation.approximate_tanh = isinstance(op.layer, layers.GELU) and op.layer.approximate == "tanh"
        described.activation = activation
    return described


def _loss(native: Any, loss: losses.Loss, n_out: int) -> Any:
    described = native.Loss()
    described.kind = getattr(native.LossKind, type(loss).__name__)
    described.mean = loss.reduction == "mean"
    for name in ("beta", "delta", "ignore_index", "label_smoothing"):
        if hasattr(loss, name):
            setattr(described, name, getattr(loss, name))
    weight, pos_weight = (_numbers(getattr(loss, name, None)) for name in ("weight", "pos_weight"))
    if weight or pos_weight:
        described.set_weights(weight, pos_weight, n_out)
    return described


def _numbers(buffer: Any) -> list[float]:
    return [] if buffer is None or buffer.value is None else arrays.to_numpy(buffer.value).reshape(-1).tolist()


def _optimizer(native: Any, optimizer: Any) -> Any:
    described = native.Optimizer()
    described.kind = getattr(native.OptimizerKind, type(optimizer).__name__)
    names = ("weight_decay", "momentum", "dampening", "nesterov", "eps", "amsgrad", "alpha", "centered", "lr_decay")
    for name in (*names, "initial_accumulator_value"):
        if hasattr(optimizer, name):
            setattr(described, name, getattr(optimizer, name))
    if hasattr(optimizer, "betas"):
        described.beta1, described.beta2 = optimizer.betas
    return described
