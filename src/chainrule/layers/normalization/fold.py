"""BatchNorm folded into the layer before it, whose weights can do for predictions what both did."""

import copy
from typing import Any

import numpy as np

from ...arrays import Array, convert_like, to_numpy
from ...module import Module, Parameter
from ..convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..graph import Graph
from ..linear import Linear
from ..sequential import Sequential
from .batch import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d

BEFORE: dict[type, tuple[type, ...]] = {  # what may stand before each of them
    BatchNorm1d: (Linear, Conv1d, ConvTranspose1d),
    BatchNorm2d: (Conv2d, ConvTranspose2d),
    BatchNorm3d: (Conv3d, ConvTranspose3d),
}


def fold_batch_norm(model: Module) -> Module:
    """A copy of a network for predictions, without the BatchNorms that stand right behind a Linear or a convolution.

    Equation  y = weight (W x + b - mean) s + bias, s = 1/√(var + eps), is W' x + b' with a = weight s for each channel,
              W' = a W, b' = a (b - mean) + bias

    Parameters
    ----------
    model : any network. In its Sequentials and Graphs each BatchNorm with running statistics is folded that alone reads
        what a Linear, a Conv or a ConvTranspose gives; all else stays as it is, and bears the names that it had.

    Returns   the copy, without an optimizer, which predicts what `model` does, to rounding. Trained on, it is another
              network: the statistics are weights now

    Note      BatchNorm1d behind a Linear is taken to see rows (batch, num_features), as it does in all networks but
              those that show a Linear series of as many channels as it has outputs

    Raises TypeError for what is no Module.

    >>> from chainrule import BatchNorm1d, Linear, ReLU, Sequential
    >>> fold_batch_norm(Sequential(Linear(2, 3), BatchNorm1d(3), ReLU()))
    Sequential(
      (0): Linear(2, 3)                       9
      (2): ReLU()
    )  # 9 parameters
    """
    if not isinstance(model, Module):
        raise TypeError(f"fold_batch_norm: model must be a chainrule Module, got a {type(model).__name__}")
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, Sequential):
            module.optimizer = None
            _fold_chain(module)
        elif isinstance(module, Graph):
            _fold_graph(module)
    return copied


def _fold_chain(chain: Sequential) -> None:
    kept: list[tuple[str, Module]] = []
    for name, layer in chain.named_children():
        if kept and _fits(kept[-1][1], layer):
            kept[-1] = kept[-1][0], _folded(kept[-1][1], layer)
        else:
            kept.append((name, layer))
    if len(kept) < len(chain):
        Sequential.__init__(chain, dict(kept))


def _fold_graph(graph: Graph) -> None:
    nodes, outputs = graph.nodes, graph.outputs if isinstance(graph.outputs, tuple) else (graph.outputs,)
    for name in graph.nodes:
        norm, source = nodes[name]
        if not isinstance(source, str) or source not in nodes or source in outputs:
            continue
        layer, read = nodes[source]
        readers = [n for n, (_, sources) in nodes.items() if source == sources or source in _tuple(sources)]
        if readers != [name] or not _fits(layer, norm):
            continue
        del nodes[name]
        if name in outputs:  # which goes on being called so
            del nodes[source]
            nodes[name] = _folded(layer, norm), read
            continue
        nodes[source] = _folded(layer, norm), read
        for reader, (module, sources) in nodes.items():
            told = tuple(source if s == name else s for s in _tuple(sources))
            nodes[reader] = module, told if isinstance(sources, tuple) else told[0]
    if len(nodes) < len(graph.nodes):
        Graph.__init__(graph, nodes, graph.inputs, graph.outputs)


def _tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _fits(layer: Module, norm: Module) -> bool:
    """Whether `norm` is a BatchNorm that does to each output of `layer` always the same."""
    if not isinstance(norm, BatchNorm) or norm.running_mean is None or type(layer) not in BEFORE.get(type(norm), ()):
        return False
    n_out = layer.out_features if isinstance(layer, Linear) else getattr(layer, "out_channels", None)
    return bool(n_out == norm.num_features)


def _folded(layer: Any, norm: Any) -> Module:
    """The layer with weights that do what both did, computed in float64."""
    made: Any = copy.deepcopy(layer)
    weight = made.weight
    W, (a, mean, bias) = _exact(weight.value), in_evaluation(norm)
    b = a * ((0.0 if made.bias is None else _exact(made.bias.value)) - mean) + bias
    if isinstance(layer, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d):
        groups = layer.groups  # each has its own part of the first axis, and its outputs on the second
        parted = W.reshape((groups, -1, *W.shape[1:]))
        W = (parted * a.reshape((groups, 1, -1, *(1,) * (W.ndim - 2)))).reshape(W.shape)
    else:
        W = W * a.reshape((-1, *(1,) * (W.ndim - 1)))
    made.weight, made.bias = (Parameter(convert_like(value, weight.value)) for value in (W, b))
    folded: Module = made
    return folded


def in_evaluation(norm: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a BatchNorm does in evaluation, in float64: a, mean and bias of y = a (x - mean) + bias for each channel."""
    mean, var = _exact(norm.running_mean.value), _exact(norm.running_var.value)
    a = (1.0 if norm.weight is None else _exact(norm.weight.value)) / np.sqrt(var + norm.eps)
    return a, mean, np.zeros_like(a) if norm.bias is None else _exact(norm.bias.value)


def _exact(value: Array) -> np.ndarray:
    return to_numpy(value).astype(np.float64)
