"""Drawn networks through every door: the same numbers in float64, or an error that says what cannot go through."""

import copy
import io

import numpy as np
import onnx
import pytest
import torch
from drawn_networks import drawn_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import run

import chainrule as cr
from chainrule import files
from chainrule.structures import each, is_several, leaves


def assert_equal(found, expected, **tolerance):
    """Structures of the same form with the same numbers."""
    assert type(found) is type(expected)
    found = {name: found[name] for name in expected} if isinstance(expected, dict) else found
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


def gradients(model, x, target, loss):
    """What one pass forth and back in evaluation gives: dx, and the gradient of each parameter."""
    model.eval().zero_grad()
    y, saved = model.forward(x)
    _, kept = loss.forward(y, target)
    dx = model.backward(loss.backward(1.0, kept), saved)
    return dx, {name: parameter.grad.copy() for name, parameter in model.named_parameters()}


@settings(max_examples=60)
@given(drawn=drawn_networks())
def test_files_bring_back_the_bits(drawn):
    model, x, target, loss = drawn
    description, tensors = files.describe(model)
    back = files.build(description, tensors)
    assert repr(back) == repr(model)
    assert_equal(back(x), model(x), rtol=0, atol=0)
    dx, grads = gradients(model, x, target, loss)
    again, found = gradients(back, x, target, files.build(*files.describe(loss)))
    assert_equal(again, dx, rtol=0, atol=0)
    assert_equal(found, grads, rtol=0, atol=0)
    for name in ("train", "eval"):  # dropout goes on where it was
        assert_equal(getattr(back, name)().forward(x)[0], getattr(model, name)().forward(x)[0], rtol=0, atol=0)


def tensors(x):
    return each(lambda part: torch.from_numpy(part).requires_grad_(part.dtype.kind == "f"), x)


def gradient(tensor):
    """None means zeros, of what nobody reads."""
    return np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()


@settings(max_examples=60)
@given(drawn=drawn_networks())
def test_pytorch_computes_the_same_and_gives_it_back(drawn):
    model, x, target, loss = drawn
    theirs, given_x = cr.to_torch(model).eval(), tensors(x)
    assert list(theirs.state_dict()) == list(model.state_dict())
    y = theirs(given_x)
    assert_equal(each(lambda part: part.detach().numpy(), y), model(x), rtol=1e-12, atol=1e-13)
    cr.to_torch(loss)(y, each(torch.from_numpy, target)).backward()
    dx, grads = gradients(model, x, target, loss)
    assert_equal(each(gradient, given_x), dx, rtol=1e-9, atol=1e-12)
    named = dict(theirs.named_parameters())
    for name, grad in grads.items():
        np.testing.assert_allclose(gradient(named[name]), grad, rtol=1e-9, atol=1e-12)
    back = cr.from_torch(theirs)
    assert repr(back) == repr(model)
    assert_equal(back(x), model(x), rtol=0, atol=0)


def written_out(model):
    """The same as a module whose forward is written out by hand, in plain PyTorch."""
    graph = model[0] if isinstance(model, cr.Sequential) else model
    calls, children, first = [], {}, {}
    for name, (module, sources) in graph.nodes.items():
        several = (sources,) if isinstance(sources, str) else sources
        if isinstance(module, cr.Sum | cr.Multiply) and len(several) > 1:
            call = (" + " if isinstance(module, cr.Sum) else " * ").join(several)
        elif isinstance(module, cr.Concat):
            call = f"torch.cat([{', '.join(several)}], {module.dim})"
        elif isinstance(module, cr.Tanh):
            call = f"torch.tanh({sources})"
        elif isinstance(module, cr.Select):
            call = f"{sources}[{module.key}]"
        elif type(module) is cr.Parallel and isinstance(module[0], cr.Identity):
            call = f"{', '.join(several)},"
        else:
            known = first.setdefault(id(module), name)
            children[known] = cr.to_torch(module)
            read = sources if isinstance(sources, str) else f"({', '.join(sources)},)"
            call = f"self.{known}({read})"
        calls.append(f"{name} = {call}")
    inputs = (graph.inputs,) if isinstance(graph.inputs, str) else graph.inputs
    outputs = graph.outputs
    told = outputs if isinstance(outputs, str) else f"{{{', '.join(f'{name!r}: {name}' for name in outputs)}}}"
    text = "\n    ".join([f"def forward(self, {', '.join(inputs)}):", *calls, f"return {told}"])
    names = {"torch": torch}
    exec(text, names)
    module = type("Written", (torch.nn.Module,), {"forward": names["forward"]})()
    for name, child in children.items():
        module.add_module(name, child)
    return module


@settings(max_examples=60)
@given(drawn=drawn_networks(dropout=False))
def test_a_forward_that_is_written_out_is_read_as_what_it_computes(drawn):
    model, x, target, loss = drawn
    theirs = written_out(model).double().eval()
    expected = theirs(*leaves(each(torch.from_numpy, x)))
    back = cr.from_torch(theirs)
    said = back(x)
    assert_equal(said, each(lambda part: part.detach().numpy(), expected), rtol=1e-12, atol=1e-13)
    dx, _ = gradients(model, x, target, loss)
    assert_equal(gradients(back, x, target, loss)[0], dx, rtol=1e-9, atol=1e-12)


@settings(max_examples=60)
@given(drawn=drawn_networks(), opset=st.sampled_from([None, 13, 17, 20]))
def test_onnx_computes_the_same_and_gives_it_back(drawn, opset):
    model, x, _, _ = drawn
    if not model.param():
        model = model.to(dtype="float32")
        x = each(lambda part: part.astype("float32"), x)
    proto = cr.to_onnx(model, sample_shape=each(lambda part: part.shape[1:], x), opset=opset)
    onnx.checker.check_model(proto, full_check=True)
    names = [value.name for value in proto.graph.input]
    feeds = {name: x[name] for name in names} if isinstance(x, dict) else dict(zip(names, leaves(x), strict=True))
    y = model(x)
    said = run(proto, feeds)
    said = said if isinstance(said, dict) else {"y": said}
    back = cr.from_onnx(proto)(feeds if len(feeds) > 1 else x if not is_several(x) else next(iter(feeds.values())))
    back = back if isinstance(back, dict) else {"y": back}
    rough = "GELU()" in repr(model) or leaves(x)[0].dtype == np.float32
    for name, part in zip(said, leaves(y), strict=True):
        np.testing.assert_allclose(said[name], part, rtol=1e-6 if rough else 1e-11, atol=1e-6 if rough else 1e-12)
        np.testing.assert_allclose(back[name], part, rtol=0, atol=0)


@settings(max_examples=15)
@given(drawn=drawn_networks(dropout=False))
def test_what_comes_from_pytorch_can_be_copied_saved_and_exported(drawn):
    model, x, _, _ = drawn
    theirs, given_x = cr.to_torch(model).eval(), each(torch.from_numpy, x)
    expected = leaves(theirs(given_x))
    file = io.BytesIO()
    torch.save(theirs, file)
    file.seek(0)
    exported = torch.export.export(theirs, (given_x,)).module()
    for other in (copy.deepcopy(theirs), torch.load(file, weights_only=False), exported):
        for one, part in zip(leaves(other(given_x)), expected, strict=True):
            torch.testing.assert_close(one, part, rtol=1e-13, atol=1e-14)


def test_what_cannot_go_through_a_door_says_so_by_name():
    class Own(cr.Module):
        def forward(self, x):
            return x, None

    model = cr.Graph({"h": (cr.Linear(2, 2), "x"), "own": (Own(), "h"), "y": (cr.Sum(), ("h", "own"))})
    with pytest.raises(TypeError, match="to_torch: own: Own is no module that PyTorch has"):
        cr.to_torch(model)
    with pytest.raises(ValueError, match=r"to_onnx: there is no ONNX for this model: .*own is of the class 'Own'"):
        cr.to_onnx(model)
    loss = cr.Graph({"h": (cr.Linear(2, 2), "x"), "loss": (cr.MSELoss(), "h")})
    with pytest.raises(ValueError, match="to_onnx: there is no ONNX for loss: MSELoss"):
        cr.to_onnx(loss, sample_shape=(2,))
