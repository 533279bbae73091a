"""Learning rates that change: each is a function of the number of epochs (or of steps) that are over.

    SGD(lr=StepLR(0.1, step_size=30))                                 0.1, and a tenth of it every 30 epochs
    Adam(lr=LinearLR(CosineAnnealingLR(1e-3, T_max=100)))             5 epochs of warm-up, and a cosine from the start
    Adam(lr=OneCycleLR(1e-2, total_steps=5_000))                      up and down once; β1 goes the other way

`lr`, what a schedule starts from, is a number or again a schedule: so they are chained, as by PyTorch's
ChainedScheduler; SequentialLR has them run one after another. PyTorch's names, arguments and numbers; where PyTorch
advances a schedule by `scheduler.step()`, `fit` advances it after every epoch, and loops written by hand call
`optimizer.end_epoch(loss)`. With `every="step"` a schedule counts updates instead.

A schedule begins when it is set as the `lr` of an optimizer, and counts for each network by itself: a new one begins
it anew, training the same one further goes on, in another run, from a checkpoint or after another network. So it is as
if each network had an optimizer and a scheduler of PyTorch's. `repr(optimizer)` shows where it is. (Loops written by
hand say `optimizer.turn_to(model.param())` when they begin with another network.) A schedule belongs to one optimizer.
"""

from .cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from .cyclic import CyclicLR
from .exponential import ExponentialLR
from .functions import LambdaLR, MultiplicativeLR
from .one_cycle import OneCycleLR
from .plateau import ReduceLROnPlateau
from .polynomial import PolynomialLR
from .schedule import Schedule
from .sequential import SequentialLR
from .step import MultiStepLR, StepLR
from .warm_up import ConstantLR, LinearLR

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "Schedule",
    "SequentialLR",
    "StepLR",
]
