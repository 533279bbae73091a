"""What becomes of normalizations in a plan that predicts: numbers that are known are computed now, and not in C."""

from collections import Counter
from dataclasses import replace

import numpy as np

from ...engine.plan import Op, Plan
from ...layers.normalization.fold import in_evaluation
from ...module import Parameter
from .convolution import Convolution
from .kinds import KINDS
from .linear import Linear
from .normalization import BatchNorm, GroupNorm, InPlace

Numbers = dict[int, list[np.ndarray]]  # of the parameters of an op, by the number of the value that it writes


def folded_plan(plan: Plan) -> Plan:
    """The plan with each BatchNorm within the weights of the op before it, where nobody else reads what that gives.

    Where somebody does, where the weights are shared, or where there is no such op, it is a scale and a shift.
    """
    kinds = {op.output: KINDS.get(op.kind) for op in plan.ops}
    if not any(isinstance(kind, InPlace) for kind in kinds.values()):
        return plan
    readers = Counter([*plan.outputs, *(value for op in plan.ops for value in op.inputs)])
    uses = Counter(i for op in plan.ops for i in op.parameters)
    made: Numbers = {}
    ops: dict[int, Op] = {}
    for op in plan.ops:
        kind = kinds[op.output]
        numbers = [plan.parameters[i].value for i in op.parameters]
        if isinstance(kind, BatchNorm):
            scale, mean, shift = in_evaluation(op.layer)
            before = ops.get(op.inputs[0])
            alone = before is not None and readers[before.output] == 1 and all(uses[i] == 1 for i in before.parameters)
            if before is not None and alone and _takes(before, plan, len(scale)):
                weight, *bias = made.pop(before.output, None) or [plan.parameters[i].value for i in before.parameters]
                del ops[before.output]
                numbers = [(weight.T * scale).T, ((bias[0] if bias else 0.0) - mean) * scale + shift]
                op = before._replace(output=op.output, settings=before.settings | {"folded": 1})
            else:
                numbers = [scale, shift - scale * mean]
            made[op.output] = numbers
        elif isinstance(kind, GroupNorm) and len(numbers) == 1:
            made[op.output] = [*numbers, np.zeros_like(numbers[0])]
        elif isinstance(kind, InPlace) and any(one.ndim > 1 for one in numbers):
            made[op.output] = [one.reshape(-1) for one in numbers]  # C keeps other arrays column by column
        ops[op.output] = op
    return _with(plan, list(ops.values()), made)


def _takes(op: Op, plan: Plan, channels: int) -> bool:
    """Whether a scale of each of so many channels can be one of the weights of an op, which gives one to each row."""
    kind = KINDS.get(op.kind)
    by_rows = isinstance(kind, Convolution) or (isinstance(kind, Linear) and plan.values[op.output].positions == 1)
    return by_rows and plan.shapes[op.parameters[0]][0] == channels  # else they are in other channels by now


def _with(plan: Plan, ops: list[Op], made: Numbers) -> Plan:
    """The plan with these ops, and for some of them with parameters that are made for it."""
    parameters: list[Parameter] = []
    places: dict[Parameter, int] = {}
    found = []
    for op in ops:
        known = [Parameter(one.astype(np.float32)) for one in made.get(op.output, ())]
        own = known or [plan.parameters[i] for i in op.parameters]
        for one in own:
            if one not in places:
                places[one] = len(parameters)
                parameters.append(one)
        found.append(op._replace(parameters=tuple(places[one] for one in own)))
    shapes, rules = tuple(one.shape for one in parameters), (0,) * len(parameters)
    return replace(plan, ops=tuple(found), parameters=tuple(parameters), shapes=shapes, rule_of=rules)
