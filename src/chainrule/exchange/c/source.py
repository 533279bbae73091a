"""A network as C99: one source file, one header, and a test of its own; with a loss, the training step too."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ... import signature
from ...arguments import as_arrays, positive
from ...arrays import to_numpy
from ...engine.lower import CannotLower, checked_shapes, lower
from ...engine.lower import sample_shape as least_shape
from ...engine.plan import Plan
from ...files import build, describe, write_text
from ...files.description import build_rule, describe_rule
from ...layers.networks import described
from ...module import Module
from ...optimizers import Optimizer, Schedule
from ...optimizers.groups import OF_ALL
from ...structures import Structure, is_several, leaves, names, rebuild
from ...train.prepare import require_finite
from . import training
from .constraints import KNOWN as CONSTRAINTS
from .folding import folded_plan
from .header import about, header
from .interface import Interface, interface
from .kinds import RULES
from .layout import program_of
from .names import refusal
from .optimizers import rule_of
from .parameters import places, trained
from .predict import prediction
from .selftest import selftest
from .spelling import array, by_columns, folded, prefixed


def to_c(
    model: Module,
    folder: str | PathLike[str],
    *,
    name: str = "network",
    sample_shape: Structure = None,
    test_rows: int = 32,
    test_inputs: Any = None,
    loss: Module | None = None,
    optimizer: Any = None,
) -> list[Path]:
    """Write a trained network as C99: NAME.c and NAME.h to use, NAME_test.c to check them.

    They need a C compiler and <math.h>, allocate nothing, and may be called from several threads. Numbers are float32:

        void NAME_predict(const float x[NAME_INPUTS], float y[NAME_OUTPUTS]);

    With a loss they also learn. All that changes is a NAME_state, of fixed size, which the caller owns:

        void NAME_init(NAME_state *state);
        void NAME_predict_with(const NAME_state *state, const float *x, float *y);
        float NAME_step(NAME_state *state, const float *x, const float *target, int batch);

    Several inputs, outputs and targets are as many arguments, called as in Python where C has nothing against it:

        void NAME_predict(const float image[NAME_IMAGE_INPUTS], const float numbers[NAME_NUMBERS_INPUTS], float *y);

    Parameters
    ----------
    model : made of this library's layers, in any chain or graph; Dropout does nothing in prediction, and BatchNorm goes
        by its running statistics.
    folder : for the files; made if it is not there.
    name : of the files, and the beginning of every name in them: an identifier of C that is no word of C or C++, and
        not the name of a header of the system.
    sample_shape : the shape of one sample, or a tuple or dict of shapes; needed where the layers do not say it. In C a
        sample's numbers lie one after the other, the last axis first.
    test_rows : how many random inputs the test compares. It holds what Python says of them in float64, and for each
        output how far float32 may be from that. A training step is tested on the first 31 of them at most.
    test_inputs : what it compares instead of random inputs from a normal distribution, in the form in which the network
        takes them: rows that are like yours tell more of a network that takes other numbers than those around 0.
    loss : what a training step makes smaller; without one, the files only predict. Targets of CrossEntropyLoss and
        NLLLoss are class indices, an int for each row; those of other losses are floats, as many as there are outputs.
        Several outputs need a MultiLoss.
    optimizer : the rule of the updates; the model's own unless given. It begins anew: no moments, no steps. Its lr, a
        number, is what state.lr starts from; with groups that is an array, of its own and of each group's. Parameters
        that are frozen now are constants in C.

    Returns   the paths of the three files

    Raises ValueError for a layer, a loss, an optimizer or a constraint that it does not know, for a schedule, for a
    training step where all parameters are frozen, and for numbers that are not finite, before anything is written.
    """
    test_rows = positive("to_c", "test_rows", test_rows)
    if expected := refusal(name):
        raise ValueError(f"to_c: name must be {expected}, got {name!r}")
    if sample_shape is not None:
        sample_shape = checked_shapes("to_c", sample_shape)
    twin, plan = _plan(model, sample_shape, loss, _checked(model, loss, optimizer))
    x = _test_inputs(test_inputs, test_rows, plan)
    face = interface(name, plan)
    texts = {
        f"{name}.h": header(name, plan, face),
        f"{name}.c": _source(name, plan, face),
        f"{name}_test.c": selftest(name, twin, plan, face, x),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        write_text(folder / file, text)
    return [folder / file for file in texts]


def _test_inputs(given: Any, rows: int, plan: Plan) -> Structure:
    """What the test compares: for each input (rows, …) in float32."""
    if given is None:
        rng = np.random.default_rng(0)
        return rebuild(plan.x, [rng.normal(size=(rows, *shape)).astype(np.float32) for shape in plan.x_shapes])
    x, form = as_arrays("to_c", "test_inputs", given), plan.x
    fits = len(leaves(x)) == len(leaves(form)) if type(x) is type(form) else not (is_several(x) or is_several(form))
    if not fits or (isinstance(form, dict) and x.keys() != form.keys()):
        expected, got = (described(one) if is_several(one) else "one array" for one in (form, x))
        raise ValueError(f"to_c: test_inputs must be {expected}, got {got}")
    named = zip(names(form), form if isinstance(form, dict) else range(len(plan.inputs)), plan.x_shapes, strict=True)
    parts = x if is_several(x) else [x]
    read = [_of_input(f"test_inputs{of}", parts[key], shape) for of, key, shape in named]
    if len({len(part) for part in read}) > 1:
        lengths = ", ".join(str(len(part)) for part in read)
        raise ValueError(f"to_c: test_inputs must have as many rows each, got {lengths}")
    return rebuild(form, read)


def _of_input(name: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    x = to_numpy(given)
    if x.shape[1:] != shape or len(x) == 0:
        raise ValueError(f"to_c: {name} must be (rows, {', '.join(map(str, shape))}), got {x.shape}")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        x = x.astype(np.float32)
    require_finite("to_c", name, x)
    return x


def _checked(model: Module, loss: Module | None, optimizer: Any) -> Any:
    """The optimizer, with learning rates that are numbers; None where there is no loss."""
    if loss is None:
        if optimizer is not None:
            raise ValueError(f"to_c: an optimizer needs a loss, got loss=None and {optimizer!r}")
        return None
    optimizer = getattr(model, "optimizer", None) if optimizer is None else optimizer
    if optimizer is None:
        raise ValueError("to_c: a training step needs an optimizer; give one, here or as the model's first argument")
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"to_c: there is no C for {type(optimizer).__name__}")
    rule_of(optimizer)  # which refuses one that C does not know
    for i, rule in enumerate(optimizer.rules):
        if isinstance(rule.lr, Schedule):
            of = f" of groups[{i - 1}]" if i else ""
            raise ValueError(f"to_c: lr{of} must be a number, which the device may change at any time, got {rule.lr!r}")
        for constraint in rule.constraints:
            if type(constraint) not in CONSTRAINTS:
                raise ValueError(f"to_c: there is no C for {type(constraint).__name__}")
    return optimizer


def _fresh(optimizer: Any, model: Module, twin: Module) -> Any:
    """The optimizer as if it had made no step, with its groups of the parameters that the twin has in their place."""
    places = dict(zip(model.param(), twin.param(), strict=True))
    known = [argument.name for argument in signature.parameters(type(optimizer)) if argument.name not in OF_ALL]
    try:
        described = describe_rule(optimizer, model)
        described.pop("groups", None)
        fresh = build_rule(described)
        fresh.groups = [
            {name: getattr(group, name) for name in known}
            | {"parameters": [places[one] for one in group.parameters if one in places]}
            for group in optimizer.groups
        ]
    except (TypeError, ValueError) as reason:
        raise ValueError(f"to_c: there is no C for {type(optimizer).__name__}: {reason}") from None
    return fresh


def _plan(model: Module, sample_shape: Structure, loss: Module | None, optimizer: Any) -> tuple[Module, Plan]:
    """A copy on NumPy arrays in float32, and as a flat program."""
    try:
        twin = build(*describe(model)).to(dtype="float32")
        shape = least_shape(twin, RULES) if sample_shape is None else sample_shape
        heads = getattr(loss, "heads", None)
        classes: Any = bool(getattr(loss, "classes", False))
        if heads is not None:
            classes = {key: bool(getattr(head, "classes", False)) for key, head in heads.items()}
        rule = None if optimizer is None else _fresh(optimizer, model, twin)
        plan = lower(twin, loss, rule, sample_shape=shape, class_targets=classes, others=RULES)
        if plan.heads and not trained(plan):
            raise CannotLower("a training step of a network whose parameters are all frozen")
        plan = plan if plan.heads else folded_plan(plan)
    except CannotLower as reason:
        raise ValueError(f"to_c: there is no C for {reason}") from None
    except (TypeError, ValueError) as reason:
        raise ValueError(f"to_c: there is no C for this model: {reason}") from None
    for i, parameter in enumerate(plan.parameters):
        require_finite("to_c", f"parameter {i}", parameter.value)
    return twin, plan


def _source(name: str, plan: Plan, face: Interface) -> str:
    """The text of NAME.c."""
    functions: list[str] = []
    body, _ = prediction(plan, face, functions)
    if not plan.heads:
        last = f"void {name}_predict({face.arguments})\n{body}"
    else:
        last = f"static void forward(const float *w, {face.arguments})\n{body}\n"
        last += training.definitions(name, plan, face, functions)
    includes = [f'#include "{name}.h"\n', "#include <math.h>"]
    if plan.heads:
        includes += ["#include <string.h>\n", training.NO_FAST_MATH.rstrip()]
    head = "\n".join([about(name, plan), *includes])
    return "\n".join([head, "", prefixed(name, folded("\n".join([*_constants(name, plan), *functions, last])))])


def _constants(name: str, plan: Plan) -> list[str]:
    """The numbers of the parameters, and where each begins in the state that holds those which are trained."""
    numbers, here = by_columns([parameter.value for parameter in plan.parameters]), places(plan)
    used = {i for op in program_of(plan, learns=False).ops for i in op.parameters}
    found = [array(f"parameter_{i}", numbers[i]) for i in sorted(used - here.keys())]
    if here:
        begins = [f"    PARAMETER_{i} = {place.start}" for i, place in here.items()]
        all_of_them = np.concatenate([numbers[i] for i in here])
        found.append("/* Where each parameter begins. */\nenum {\n" + ",\n".join(begins) + "\n};\n")
        found.append(array("trained", all_of_them, of=f"{name.upper()}_PARAMETERS"))
    return found
