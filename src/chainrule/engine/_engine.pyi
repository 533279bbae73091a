"""What each compiled module (_avx512, _avx2, _baseline) is like. Written by `make stubs` from native/src/bindings.cpp.

No module has this name: import it under typing.TYPE_CHECKING only.
"""

from collections.abc import Sequence
import enum
from typing import Annotated, Any

import numpy
from numpy.typing import NDArray


instruction_set: str

class DType(enum.Enum):
    float32 = 0

    float64 = 1

class ActivationKind(enum.Enum):
    ReLU = 0

    LeakyReLU = 1

    ELU = 2

    Tanh = 3

    Sigmoid = 4

    SiLU = 5

    GELU = 6

    Softplus = 7

    Softmax = 8

    LogSoftmax = 9

class Activation:
    def __init__(self) -> None: ...

    @property
    def kind(self) -> ActivationKind: ...

    @kind.setter
    def kind(self, arg: ActivationKind, /) -> None: ...

    @property
    def negative_slope(self) -> float: ...

    @negative_slope.setter
    def negative_slope(self, arg: float, /) -> None: ...

    @property
    def alpha(self) -> float: ...

    @alpha.setter
    def alpha(self, arg: float, /) -> None: ...

    @property
    def beta(self) -> float: ...

    @beta.setter
    def beta(self, arg: float, /) -> None: ...

    @property
    def threshold(self) -> float: ...

    @threshold.setter
    def threshold(self, arg: float, /) -> None: ...

    @property
    def approximate_tanh(self) -> bool: ...

    @approximate_tanh.setter
    def approximate_tanh(self, arg: bool, /) -> None: ...

class LossKind(enum.Enum):
    MSELoss = 0

    L1Loss = 1

    SmoothL1Loss = 2

    HuberLoss = 3

    QuantileLoss = 4

    PoissonNLLLoss = 5

    BCEWithLogitsLoss = 6

    CrossEntropyLoss = 7

    NLLLoss = 8

class Loss:
    def __init__(self) -> None: ...

    @property
    def kind(self) -> LossKind: ...

    @kind.setter
    def kind(self, arg: LossKind, /) -> None: ...

    @property
    def mean(self) -> bool: ...

    @mean.setter
    def mean(self, arg: bool, /) -> None: ...

    @property
    def beta(self) -> float: ...

    @beta.setter
    def beta(self, arg: float, /) -> None: ...

    @property
    def delta(self) -> float: ...

    @delta.setter
    def delta(self, arg: float, /) -> None: ...

    @property
    def quantile(self) -> float: ...

    @quantile.setter
    def quantile(self, arg: float, /) -> None: ...

    @property
    def log_input(self) -> bool: ...

    @log_input.setter
    def log_input(self, arg: bool, /) -> None: ...

    @property
    def eps(self) -> float: ...

    @eps.setter
    def eps(self, arg: float, /) -> None: ...

    @property
    def ignore_index(self) -> int: ...

    @ignore_index.setter
    def ignore_index(self, arg: int, /) -> None: ...

    @property
    def label_smoothing(self) -> float: ...

    @label_smoothing.setter
    def label_smoothing(self, arg: float, /) -> None: ...

    def set_weights(self, weights: Sequence[float], pos_weights: Sequence[float], columns: int) -> None: ...

class OptimizerKind(enum.Enum):
    SGD = 0

    Adam = 1

    AdamW = 2

    RMSprop = 3

    Adagrad = 4

class Optimizer:
    def __init__(self) -> None: ...

    @property
    def kind(self) -> OptimizerKind: ...

    @kind.setter
    def kind(self, arg: OptimizerKind, /) -> None: ...

    @property
    def weight_decay(self) -> float: ...

    @weight_decay.setter
    def weight_decay(self, arg: float, /) -> None: ...

    @property
    def decay_biases(self) -> bool: ...

    @decay_biases.setter
    def decay_biases(self, arg: bool, /) -> None: ...

    @property
    def momentum(self) -> float: ...

    @momentum.setter
    def momentum(self, arg: float, /) -> None: ...

    @property
    def dampening(self) -> float: ...

    @dampening.setter
    def dampening(self, arg: float, /) -> None: ...

    @property
    def nesterov(self) -> bool: ...

    @nesterov.setter
    def nesterov(self, arg: bool, /) -> None: ...

    @property
    def beta1(self) -> float: ...

    @beta1.setter
    def beta1(self, arg: float, /) -> None: ...

    @property
    def beta2(self) -> float: ...

    @beta2.setter
    def beta2(self, arg: float, /) -> None: ...

    @property
    def eps(self) -> float: ...

    @eps.setter
    def eps(self, arg: float, /) -> None: ...

    @property
    def amsgrad(self) -> bool: ...

    @amsgrad.setter
    def amsgrad(self, arg: bool, /) -> None: ...

    @property
    def alpha(self) -> float: ...

    @alpha.setter
    def alpha(self, arg: float, /) -> None: ...

    @property
    def centered(self) -> bool: ...

    @centered.setter
    def centered(self, arg: bool, /) -> None: ...

    @property
    def lr_decay(self) -> float: ...

    @lr_decay.setter
    def lr_decay(self, arg: float, /) -> None: ...

    @property
    def initial_accumulator_value(self) -> float: ...

    @initial_accumulator_value.setter
    def initial_accumulator_value(self, arg: float, /) -> None: ...

class OpKind(enum.Enum):
    linear = 0

    activation = 1

    dropout = 2

class Op:
    def __init__(self) -> None: ...

    @property
    def kind(self) -> OpKind: ...

    @kind.setter
    def kind(self, arg: OpKind, /) -> None: ...

    @property
    def weight(self) -> int: ...

    @weight.setter
    def weight(self, arg: int, /) -> None: ...

    @property
    def bias(self) -> int: ...

    @bias.setter
    def bias(self, arg: int, /) -> None: ...

    @property
    def activation(self) -> Activation: ...

    @activation.setter
    def activation(self, arg: Activation, /) -> None: ...

    @property
    def p(self) -> float: ...

    @p.setter
    def p(self, arg: float, /) -> None: ...

    @property
    def dropout_layer(self) -> int: ...

    @dropout_layer.setter
    def dropout_layer(self, arg: int, /) -> None: ...

class Plan:
    def __init__(self) -> None: ...

    @property
    def dtype(self) -> DType: ...

    @dtype.setter
    def dtype(self, arg: DType, /) -> None: ...

    @property
    def n_in(self) -> int: ...

    @n_in.setter
    def n_in(self, arg: int, /) -> None: ...

    @property
    def ops(self) -> list[Op]: ...

    @ops.setter
    def ops(self, arg: Sequence[Op], /) -> None: ...

    @property
    def has_loss(self) -> bool: ...

    @has_loss.setter
    def has_loss(self, arg: bool, /) -> None: ...

    @property
    def loss(self) -> Loss: ...

    @loss.setter
    def loss(self, arg: Loss, /) -> None: ...

    @property
    def class_targets(self) -> bool: ...

    @class_targets.setter
    def class_targets(self, arg: bool, /) -> None: ...

    @property
    def sample_weights(self) -> bool: ...

    @sample_weights.setter
    def sample_weights(self, arg: bool, /) -> None: ...

    @property
    def has_optimizer(self) -> bool: ...

    @has_optimizer.setter
    def has_optimizer(self, arg: bool, /) -> None: ...

    @property
    def optimizer(self) -> Optimizer: ...

    @optimizer.setter
    def optimizer(self, arg: Optimizer, /) -> None: ...

    @property
    def clip_value(self) -> float: ...

    @clip_value.setter
    def clip_value(self, arg: float, /) -> None: ...

    @property
    def clip_norm(self) -> float: ...

    @clip_norm.setter
    def clip_norm(self, arg: float, /) -> None: ...

    @property
    def batch(self) -> int: ...

    @batch.setter
    def batch(self, arg: int, /) -> None: ...

    @property
    def samples(self) -> int: ...

    @samples.setter
    def samples(self, arg: int, /) -> None: ...

    @property
    def seed(self) -> int: ...

    @seed.setter
    def seed(self, arg: int, /) -> None: ...

    @property
    def threads(self) -> int: ...

    @threads.setter
    def threads(self, arg: int, /) -> None: ...

    @property
    def limit_bytes(self) -> int: ...

    @limit_bytes.setter
    def limit_bytes(self, arg: int, /) -> None: ...

    def add_parameter(self, n_out: int, n_in: int) -> None: ...

class Data:
    @property
    def rows(self) -> int: ...

class Position:
    def __init__(self) -> None: ...

    @property
    def epoch(self) -> int: ...

    @epoch.setter
    def epoch(self, arg: int, /) -> None: ...

    @property
    def step(self) -> int: ...

    @step.setter
    def step(self, arg: int, /) -> None: ...

    @property
    def loss_sum(self) -> float: ...

    @loss_sum.setter
    def loss_sum(self, arg: float, /) -> None: ...

    @property
    def loss_denominator(self) -> float: ...

    @loss_denominator.setter
    def loss_denominator(self, arg: float, /) -> None: ...

class Compiled:
    def __init__(self, plan: Plan, empty: object) -> None: ...

    @property
    def bytes(self) -> int: ...

    @property
    def n_out(self) -> int: ...

    @property
    def states(self) -> int: ...

    def threads_used(self, batch: int) -> int: ...

    def read_value(self, arg0: int, arg1: Annotated[NDArray[Any], dict(order='C', device='cpu')], /) -> None: ...

    def read_gradient(self, arg0: int, arg1: Annotated[NDArray[Any], dict(order='C', device='cpu')], /) -> None: ...

    def read_best(self, arg0: int, arg1: Annotated[NDArray[Any], dict(order='C', device='cpu')], /) -> None: ...

    def write_value(self, arg0: int, arg1: Annotated[NDArray[Any], dict(order='C', device='cpu', writable=False)], /) -> None: ...

    def write_gradient(self, arg0: int, arg1: Annotated[NDArray[Any], dict(order='C', device='cpu', writable=False)], /) -> None: ...

    def read_state(self, arg0: int, arg1: int, arg2: Annotated[NDArray[Any], dict(order='C', device='cpu')], /) -> None: ...

    def write_state(self, arg0: int, arg1: int, arg2: Annotated[NDArray[Any], dict(order='C', device='cpu', writable=False)], /) -> None: ...

    def steps_taken(self, arg: int, /) -> int: ...

    def set_steps_taken(self, arg0: int, arg1: int, /) -> None: ...

    @property
    def dropout_pass(self) -> int: ...

    @dropout_pass.setter
    def dropout_pass(self, arg: int, /) -> None: ...

    @property
    def best_epoch(self) -> int: ...

    @property
    def best_loss(self) -> float: ...

    def set_best(self, epoch: int, loss: float) -> None: ...

    def data(self, x: object, target: object, sample_weight: object | None) -> Data: ...

    def run(self, data: Data, validation: Data | None, lr: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], lr_per_step: bool, batch: int, shuffle: bool, seed: int, first_epoch: int, end_epoch: int, max_seconds: float, keep_best: bool, losses: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], validation_losses: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], position: Position, seconds: object | None = None) -> str: ...

    def evaluate(self, data: Data, y: object | None) -> tuple[float, float]: ...

    def predict(self, x: object, out: object | None = None) -> object: ...

    def forward(self, x: object, training: bool = True) -> object: ...

    def backward(self, dy: object, input: bool = True) -> object: ...

    def step(self, x: object, target: object) -> float: ...

    def update(self) -> None: ...

    def zero_grad(self) -> None: ...

    @property
    def owns(self) -> bool: ...

    @owns.setter
    def owns(self, arg: bool, /) -> None: ...

    @property
    def take(self) -> object: ...

    @take.setter
    def take(self, arg: object | None, /) -> None: ...

    @property
    def next_lr(self) -> object: ...

    @next_lr.setter
    def next_lr(self, arg: object | None, /) -> None: ...

    @property
    def lr(self) -> float: ...

    @lr.setter
    def lr(self, arg: float, /) -> None: ...

class Queue:
    def __init__(self, threads: int) -> None: ...

    def submit(self, compiled: object, data: object, validation: object | None, lr: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], lr_per_step: bool, batch: int, shuffle: bool, seed: int, first_epoch: int, end_epoch: int, max_seconds: float, keep_best: bool, losses: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], validation_losses: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu')], position: object, patience: int = 0, min_delta: float = 0.0) -> int: ...

    def wait(self, seconds: float) -> list[tuple[int, str, float, str]]: ...

    def stop(self) -> None: ...
