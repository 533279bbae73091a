"""Borrow a network from PyTorch, train it here, and give it back."""

from collections import deque
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ... import losses, optimizers
from ...data import Dataset
from ...extras import require
from ...layers import Graph, Parallel, Residual, Sequential
from ...module import Buffer, Module, Parameter, is_update_rule
from ...roles import told
from ...structures import Structure, each, is_several, leaves, rebuild
from ...train import History, fit
from .modules import borrow, from_torch
from .optimizers import optimizer_from_torch, state_for_torch, state_from_torch


def train_torch(module: Any, loss: Any, data: Any, *, optimizer: Any, epochs: int, **options: Any) -> History:
    """Train a PyTorch network in chainrule's engine, and write the weights back into its own parameters.

    What else training changes goes back too: the running statistics of BatchNorm.

    Parameters
    ----------
    module : a torch.nn.Module that `from_torch` knows, on any device; several inputs are the arguments of its forward,
        or the parts of the only one. Parameters without requires_grad stay as they are.
    loss : of torch.nn or of chainrule; for several outputs a MultiLoss, or a tuple or dict of losses like what forward
        returns, which are added up.
    data : a DataLoader over a TensorDataset, whose batch size and shuffling are taken; a TensorDataset of one tensor
        for each input, one for each output, and perhaps sample_weight; or what `fit` takes.
    optimizer : of torch.optim, for the parameters of the module that are trained, in any parameter groups, whose state
        is taken and given back, so that training can go on on either side; or of chainrule, which begins anew at each
        call, with its schedule too.
    epochs : how often every sample is visited.
    options : of `fit`. `validation` may be a TensorDataset or a DataLoader too.

    Returns   the History of `fit`. The numbers are those of `fit` on `from_torch(module)`, to the last bit

    Raises what `from_torch` and `fit` raise, and then the module and the optimizer are as they were; so they are after
    any other exception, unless all was given back before it.
    """
    torch = require("torch", "torch")
    model, parameters, buffers = borrow(module)
    trained = [(theirs, parameter) for theirs, parameter in parameters if parameter.trainable]
    if not trained:
        raise ValueError("train_torch: the module has no parameters to train")
    _require_plain(module)
    _require_memory_of_their_own(module)
    loss = _loss(torch, loss)
    data, found = _data("data", data, model)
    if options.get("validation") is not None:
        options["validation"] = _data("validation", options["validation"], model)[0]
    if isinstance(optimizer, torch.optim.Optimizer):
        _require_parameters(optimizer, module, trained)
        rule = optimizer_from_torch(optimizer, parameters)
        state_from_torch(optimizer, rule, parameters)
    elif is_update_rule(optimizer):
        rule = optimizer
    else:
        raise TypeError(
            f"train_torch: optimizer must be one of torch.optim or chainrule, got {told(optimizer, optimizers)}"
        )

    written: list[tuple[Any, Parameter | Buffer]] = [*trained, *buffers]
    _try_to_write(torch, written)

    history = fit(model, loss, data, epochs=epochs, optimizer=rule, **(found | options))

    changes: list[Any] = [_writing(torch, written)]
    if rule is not optimizer:
        changes += [partial(dict.update, *pair) for pair in state_for_torch(rule, optimizer, trained)]
    deque(map(partial.__call__, changes), maxlen=0)  # one call, in which Python handles no signal: all or nothing
    return history


def _writing(torch: Any, parameters: list[tuple[Any, Parameter | Buffer]]) -> Any:
    """What writes the numbers of ours into PyTorch's parameters and buffers, when it is called.

    Into detached ones: inside torch.no_grad() an exception could leave the whole program without gradients.
    """
    theirs = [parameter.detach() for parameter, _ in parameters]
    return partial(torch._foreach_copy_, theirs, [torch.from_numpy(np.asarray(ours.value)) for _, ours in parameters])


def _try_to_write(torch: Any, parameters: list[tuple[Any, Parameter | Buffer]]) -> None:
    """Write into PyTorch's parameters what is there, so that what cannot be written is an error before, not half-way.

    Raises ValueError for an expanded tensor, say.
    """
    try:
        _writing(torch, parameters)()
    except RuntimeError as problem:
        raise ValueError(f"train_torch: the parameters cannot be written: {problem}") from None


def _require_plain(module: Any) -> None:
    """Raise ValueError for parameters that no step may change, or with which PyTorch does something of its own then."""
    for name, parameter in module.named_parameters():
        if parameter.is_inference():
            raise ValueError(f"train_torch: {name} is an inference tensor, in which nobody may write; clone it outside")
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            raise ValueError(f"train_torch: {name} has hooks, which chainrule cannot call; remove them")


def _loss(torch: Any, loss: Any) -> Module:
    """A loss of PyTorch's or ours as one of ours; several as a MultiLoss."""
    if is_several(loss):
        parts = each(lambda one: _loss(torch, one), loss)
        return losses.MultiLoss(*([parts] if isinstance(parts, dict) else parts))
    loss = from_torch(loss) if isinstance(loss, torch.nn.Module) else loss
    if not isinstance(loss, Module):
        raise TypeError(
            f"train_torch: loss must be a module of torch.nn or chainrule, or a tuple or dict of them, got "
            f"{told(loss, losses)}"
        )
    return loss


def _inputs(model: Module) -> Structure:
    """What a network takes, with None in the place of each array."""
    if isinstance(model, Sequential) and len(model):
        return _inputs(model[0])
    if isinstance(model, Graph):
        return None if isinstance(model.inputs, str) else dict.fromkeys(model.inputs)
    return _inputs(model.body) if isinstance(model, Residual) else None


def _outputs(model: Module) -> Structure:
    """What a network gives, with None in the place of each array."""
    if isinstance(model, Sequential) and len(model):
        return _outputs(model[-1])
    if isinstance(model, Graph):
        return _outputs(model[model.outputs]) if isinstance(model.outputs, str) else dict.fromkeys(model.outputs)
    if isinstance(model, Parallel):
        return dict.fromkeys(model.names) if model.names else (None,) * len(model)
    return None


def _data(name: str, data: Any, model: Module) -> tuple[Any, dict[str, Any]]:
    """Data of PyTorch as a Dataset, and what `fit` is to be told of the batches; other data as they are."""
    utils = require("torch.utils.data", "torch")
    if not isinstance(data, utils.DataLoader | utils.Dataset):
        return data, {}
    source = data.dataset if isinstance(data, utils.DataLoader) else data
    x, target = _inputs(model), _outputs(model)
    n = len(leaves(x)) + len(leaves(target))
    if type(source) is not utils.TensorDataset or len(source.tensors) not in (n, n + 1):
        named = "x, target" if n == 2 else f"{len(leaves(x))} inputs, {len(leaves(target))} targets"
        raise TypeError(
            f"train_torch: {name} must be a TensorDataset of {named} and perhaps sample_weight, or a DataLoader over "
            f"one, got {type(source).__name__}; datasets of other kinds can be read into one"
        )
    tensors = list(source.tensors)
    shown, asked, weight = (tensors[: len(leaves(x))], tensors[len(leaves(x)) : n], tensors[n:])
    samples = Dataset(rebuild(x, shown), rebuild(target, asked), *weight)
    if source is data:
        return samples, {}
    if type(data) is not utils.DataLoader or data.collate_fn is not utils.default_collate:
        raise TypeError(f"train_torch: {name} must be a DataLoader without a class or a collate_fn of its own")
    sampler, kind = data.sampler, type(data.sampler)
    shuffle = kind is utils.RandomSampler and not sampler.replacement
    in_order = kind is utils.SequentialSampler
    if data.batch_size is None or not (shuffle or in_order) or len(sampler) != len(samples):
        raise TypeError(f"train_torch: {name} must be a DataLoader with a batch size and without a sampler of its own")
    if data.drop_last and len(samples) % data.batch_size:
        raise ValueError(
            f"train_torch: {name} must not drop the last batch of {len(samples) % data.batch_size} samples"
        )
    return samples, {"batch_size": data.batch_size, "shuffle": shuffle}


def _require_memory_of_their_own(module: Any) -> None:
    """Raise ValueError for tensors that overlap: an update of one would change the other in PyTorch, and not here."""
    spans = []
    for name, parameter in module.named_parameters():
        reach = 1 + sum((n - 1) * stride for n, stride in zip(parameter.shape, parameter.stride(), strict=True))
        begin = parameter.data_ptr()
        spans.append((str(parameter.device), begin, begin + reach * parameter.element_size(), name))
    for (device, _, end, one), (there, begin, _, other) in pairwise(sorted(spans)):
        if there == device and begin < end:
            raise ValueError(
                f"train_torch: {one} and {other} share memory; give both the same Parameter, or each its own tensor"
            )


def _require_parameters(optimizer: Any, module: Any, trained: list[tuple[Any, Parameter]]) -> None:
    """Raise ValueError unless the optimizer is for all parameters that are trained, and for none of another module."""
    known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not {id(theirs) for theirs, _ in trained} <= known <= set(map(id, module.parameters())):
        raise ValueError(
            "train_torch: the optimizer must be for all parameters of the module that are trained, and for no others"
        )
