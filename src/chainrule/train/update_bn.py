"""Running statistics for weights that no training pass has seen, such as an average's."""

from typing import Any

from ..arguments import positive
from ..data.dataset import take
from ..module import Module, outside_inference
from ..roles import require_model
from ..structures import leaves
from .prepare import batch_norms, inputs, reference
from .session import TrainingMode


@outside_inference()
def update_bn(model: Module, x: Any, *, batch_size: int = 32) -> None:
    """Take the running statistics of each BatchNorm anew: their mean over all batches of x, which pass in order.

    With `fit(average=…)` the model is left with an average of weights, but with the running statistics of those that
    were trained, as PyTorch's AveragedModel is; this goes over the data once more and gives it its own.

    Parameters
    ----------
    model : any Module; its parameters stay as they are. It runs in training mode, with Dropout, and is then in its own.
    x : what it was trained on, as in `predict`.
    batch_size : rows at a time, whose statistics are taken together.

    Source    torch.optim.swa_utils.update_bn, whose numbers these are; Izmailov et al. 2018, section 3.2

    Raises ValueError for an x that does not fit, and for a batch that BatchNorm refuses, as the last one of a single
    sample; the statistics are then what they were.
    """
    x = inputs("update_bn", "x", x, reference(require_model("update_bn", model)))
    rows, n = positive("update_bn", "batch_size", batch_size), leaves(x)[0].shape[0]
    if n == 0:
        raise ValueError("update_bn: x must have at least one row")
    norms = [norm for norm in batch_norms(model) if norm.running_mean is not None]
    before = [(norm, norm.momentum, {b: b.value for b in norm.persistent_buffers()}) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        with TrainingMode(model.modules()):
            for start in range(0, n, rows):
                model.forward(take(x, slice(start, start + rows)))
    except BaseException:
        for _, _, held in before:
            for buffer, value in held.items():
                buffer.value = value
        raise
    finally:
        for norm, momentum, _ in before:
            norm.momentum = momentum
