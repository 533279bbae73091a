"""Every public constructor refuses nonsense, by an error that names the argument and what came."""

import inspect
import math
import re

import numpy as np
import pytest
from cases import BASES, NORMALIZATIONS, exported_modules

import chainrule as cr
from chainrule.arguments import flag, number, positive, whole

REQUIRED = {
    cr.Linear: {"in_features": 2, "out_features": 3},
    cr.Unflatten: {"dim": 1, "unflattened_size": (2, 3)},
    cr.Select: {"key": 0},
    cr.Lookahead: {"optimizer": cr.SGD()},
    cr.Residual: {"body": cr.Tanh()},
    cr.Graph: {"nodes": {"y": (cr.Tanh(), "x")}},
    cr.Lookahead: {"optimizer": cr.SGD()},
    cr.StepLR: {"step_size": 3},
    cr.MultiStepLR: {"milestones": [1, 2]},
    cr.ExponentialLR: {"gamma": 0.5},
    cr.CosineAnnealingLR: {"T_max": 3},
    cr.CosineAnnealingWarmRestarts: {"T_0": 3},
    cr.LambdaLR: {"lr_lambda": math.exp},
    cr.MultiplicativeLR: {"lr_lambda": math.exp},
    cr.OneCycleLR: {"max_lr": 0.1, "total_steps": 10},
    cr.CyclicLR: {"base_lr": 0.1, "max_lr": 0.2},
    cr.SequentialLR: {"schedulers": [cr.LinearLR(0.1), cr.LinearLR(0.1)], "milestones": [3]},
}
# What layers of series, images and volumes must be told.
USUAL = {"in_channels": 2, "out_channels": 3, "kernel_size": 2, "output_size": 2, "padding": 1, "value": 1.0}
USUAL |= {"norm_type": 2, "upscale_factor": 2, "downscale_factor": 2, "groups": 2}
for kind in set(exported_modules()) - REQUIRED.keys():
    told = {p.name for p in inspect.signature(kind).parameters.values() if p.default is p.empty}
    if found := {name: value for name, value in USUAL.items() if name in told}:
        REQUIRED[kind] = found
REQUIRED |= {cr.Upsample: {"size": 2}, cr.UpsamplingNearest2d: {"size": 2}, cr.UpsamplingBilinear2d: {"size": 2}}
for case in NORMALIZATIONS:
    options = inspect.signature(case.kind).parameters
    told = [name for name, option in options.items() if option.default is option.empty]
    REQUIRED[case.kind] = dict.fromkeys(told, 3) | ({"affine": True} if "affine" in options else {})
POSITIONAL = {cr.MultiLoss: (cr.MSELoss(),)}
OPTIMIZERS = [
    kind
    for kind in vars(cr).values()
    if isinstance(kind, type) and issubclass(kind, cr.Optimizer) and kind is not cr.Optimizer
]
SCHEDULES = [kind for kind in vars(cr).values() if isinstance(kind, type) and kind in cr.Schedule.__subclasses__()]
PLACES = ("dim", "start_dim", "end_dim", "ignore_index")  # axes and classes count from the end, too
SIGNED = ("negative_slope", "alpha", "threshold")  # of activations, any numbers

NONE_AT_ALL = ()
NONSENSE = ("a", b"a", None, -1, -0.5, math.nan, math.inf, -math.inf, 1j, object(), {}, NONE_AT_ALL, "0.1", np.ones(2))


def makes_sense(kind, name, value):
    """What is no nonsense after all."""
    module = issubclass(kind, cr.Module)
    if name in ("constraint", "groups") and value is NONE_AT_ALL:
        return True
    if name == "key":  # a place or a name
        return type(value) in (int, str)
    if value is None and (kind is cr.RMSNorm or name == "momentum"):
        return name in ("eps", "weight", "dtype") or (name == "momentum" and module)
    if value is None:
        return name in (
            "weight",
            "shortcut",
            "inputs",
            "outputs",
            "weights",
            "pos_weight",
            "bias",
            "init",
            "dtype",
            "rng",
            "clip_norm",
            "clip_value",
            "epochs",
            "steps_per_epoch",
            "step_size_down",
            "scale_fn",
            "adjust_lr_fn",
            "constraint",
            "stride",
            "divisor_override",
            "output_size",
            "align_corners",
            "recompute_scale_factor",
            "scale_factor",
        )
    if type(value) is int and name == "padding" and "Pad" in kind.__name__:  # less than none cuts off
        return True
    if type(value) is int and name == "divisor_override":
        return True
    if type(value) in (int, float) and name in ("value", "norm_type") and module and not math.isnan(value):
        return True
    if type(value) in (int, float) and math.isfinite(value) and kind is cr.LocalResponseNorm:
        return name in ("alpha", "beta", "k")
    if type(value) in (int, float) and math.isfinite(value):
        return name == "beta2_decay" or (name in PLACES and type(value) is int) or (module and name in SIGNED)
    if name in ("weight", "pos_weight") and not issubclass(kind, cr.Linear):
        return isinstance(value, np.ndarray | tuple)  # how many classes there are is known later
    return kind is cr.MultiStepLR and name == "milestones" and type(value) in (tuple, dict)


def arguments():
    for kind in [*sorted(set(exported_modules()) - BASES, key=str), *OPTIMIZERS, *SCHEDULES, cr.EarlyStopping]:
        for parameter in inspect.signature(kind).parameters.values():
            if parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
                yield pytest.param(kind, parameter.name, id=f"{kind.__name__}({parameter.name}=)")


@pytest.mark.parametrize(("kind", "name"), list(arguments()))
def test_nonsense_is_refused_by_who_and_what(kind, name):
    options = REQUIRED.get(kind, {})
    if issubclass(kind, cr.Schedule) and "lr" in inspect.signature(kind).parameters:
        options = options | {"lr": 0.1}
    others = POSITIONAL.get(kind, ())
    kind(*others, **options)
    for value in NONSENSE:
        if not makes_sense(kind, name, value):
            with pytest.raises((TypeError, ValueError)) as caught:
                kind(*others, **options | {name: value})
            said = str(caught.value)
            assert name in said, said
            assert kind.__name__ in said or name == "rng", said
            assert "got" in said, said


def test_what_makes_sense_is_taken():
    assert cr.Flatten(-2, -1).start_dim == -2
    assert cr.LeakyReLU(np.float64(0.5)).negative_slope == 0.5
    assert cr.SGD(lr=1, momentum=np.float32(0.5), nesterov=1).nesterov is True
    assert cr.MultiStepLR(0.1, np.array([2, 1])).milestones == [1, 2]
    assert cr.clip_grad_norm_([], math.inf, norm_type=math.inf) == 0


def test_a_number_of_numpy_does_not_change_the_dtype():
    y = cr.LeakyReLU(np.float64(0.5))(np.array([-1.0], "float32"))
    assert y.dtype == np.float32


@pytest.mark.parametrize("value", ["a", None, 1j, object(), {}])
def test_a_parameter_must_hold_numbers(value):
    with pytest.raises(TypeError, match="Parameter: value must hold real numbers, got dtype"):
        cr.Parameter(value)


@pytest.mark.parametrize(
    ("bounds", "right", "wrong", "message"),
    [
        ({}, (-1e300, 0, 2), (math.nan, math.inf, -math.inf), "finite"),
        ({"least": 0}, (0, 1e300), (-1e-300, math.inf), "at least 0 and finite"),
        ({"least": 0, "most": 1}, (0, 1), (-0.1, 1.1, math.nan), "at least 0 and at most 1"),
        ({"least": 0, "below": 1}, (0, 0.5), (1, -1), "at least 0 and below 1"),
        ({"above": 0}, (1e-300, 2), (0, -1, math.inf), "above 0 and finite"),
        ({"least": 0, "finite": False}, (0, math.inf), (-1, math.nan), "at least 0"),
    ],
)
def test_a_number_is_within_its_bounds(bounds, right, wrong, message):
    for value in right:
        assert number("f", "x", value, **bounds) == value
    for value in wrong:
        with pytest.raises(ValueError, match=re.escape(f"f: x must be {message}, got {value}")):
            number("f", "x", value, **bounds)


def test_integers_and_flags():
    assert (whole("f", "n", np.int8(-3)), positive("f", "n", 3), flag("f", "n", np.True_)) == (-3, 3, True)
    for wrong in (True, 2.0, "2", None):
        with pytest.raises(TypeError, match="f: n must be an integer, got"):
            whole("f", "n", wrong)
    with pytest.raises(ValueError, match="f: n must be at least 2, got 1"):
        whole("f", "n", 1, least=2)
    for wrong in (2, 1.0, "yes", None):
        with pytest.raises(TypeError, match="f: n must be True or False, got"):
            flag("f", "n", wrong)


def test_infinity_comes_in_on_both_sides_or_above_the_least():
    assert [number("f", "x", x, finite=False) for x in (math.inf, -math.inf)] == [math.inf, -math.inf]
    assert number("f", "x", math.inf, above=0.0, finite=False) == math.inf
    for x in (-math.inf, 0.0):
        with pytest.raises(ValueError, match=f"^f: x must be above 0, got {x}"):
            number("f", "x", x, above=0.0, finite=False)
