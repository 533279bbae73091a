"""chainrule: deep learning with small networks, every derivative written out by hand.

import chainrule as cr

train, test = cr.data.disk(1000, seed=0), cr.data.disk(1000, seed=1)
model = cr.Sequential(cr.Adam(lr=0.01), cr.Linear(2, 25), cr.Tanh(), cr.Linear(25, 2))
history = cr.fit(model, cr.MSELoss(), train, epochs=50, validation=test)
cr.evaluate(model, cr.MSELoss(), test).error_rate
"""

from typing import TYPE_CHECKING, Any

from . import constraints, data, initializers, plots
from .averages import EMA, SWA, Average
from .checks import check_gradients
from .data import Dataset
from .engine import Compiled, compile  # noqa: A004 - the name that the field gives it
from .layers import (
    ELU,
    GELU,
    GLU,
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    ChannelShuffle,
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    Concat,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    Flatten,
    Fold,
    Graph,
    GroupNorm,
    Identity,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LeakyReLU,
    Linear,
    LocalResponseNorm,
    LogSoftmax,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
    Mish,
    Multiply,
    Parallel,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReLU,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    Reshape,
    Residual,
    RMSNorm,
    Select,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Sum,
    Tanh,
    Unflatten,
    Unfold,
    Upsample,
    UpsamplingBilinear2d,
    UpsamplingNearest2d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
    fold_batch_norm,
)
from .losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    MultiLoss,
    NLLLoss,
    PoissonNLLLoss,
    QuantileLoss,
    SmoothL1Loss,
    SoftMarginLoss,
)
from .many import Ensemble, Result, Results, fit_many
from .module import Buffer, Module, Parameter
from .optimizers import (
    ASGD,
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    Lookahead,
    MultiplicativeLR,
    MultiStepLR,
    Muon,
    NAdam,
    OneCycleLR,
    Optimizer,
    PolynomialLR,
    RAdam,
    ReduceLROnPlateau,
    RMSprop,
    Rprop,
    Schedule,
    SequentialLR,
    StepLR,
    clip_grad_norm_,
    clip_grad_value_,
)
from .random import seed
from .train import EarlyStopping, Evaluation, History, Run, evaluate, fit, metrics, predict, update_bn

if TYPE_CHECKING:
    from . import callbacks, estimators
    from .exchange.c import to_c
    from .exchange.onnx import from_onnx, to_onnx
    from .exchange.pytorch import from_torch, to_torch, train_torch
    from .files import load
    from .tables import TableModel, read_table, train_table
    from .train.checkpoint import Checkpoint

__version__ = "0.1.0"

# Doors that not every program goes through: where each name is, imported when it is first asked for.
_DOORS = {
    "Checkpoint": "train.checkpoint",
    "callbacks": "callbacks",
    "estimators": "estimators",
    "from_onnx": "exchange.onnx",
    "from_torch": "exchange.pytorch",
    "TableModel": "tables",
    "load": "files",
    "read_table": "tables",
    "to_c": "exchange.c",
    "to_onnx": "exchange.onnx",
    "to_torch": "exchange.pytorch",
    "train_table": "tables",
    "train_torch": "exchange.pytorch",
}


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_DOORS[name]}")
    found = module if name == _DOORS[name] else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOORS})
