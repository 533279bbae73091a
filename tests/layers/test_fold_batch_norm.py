import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr


def drawn(model, seed=0):
    """The same network with parameters and statistics that are drawn."""
    rng = np.random.default_rng(seed)
    for parameter in model.param():
        parameter.value = rng.normal(size=parameter.shape).astype(parameter.value.dtype)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.value = rng.uniform(0.5, 2, buffer.value.shape).astype(buffer.value.dtype)
    return model


def kinds(model):
    return [type(layer).__name__ for layer in model.modules()]


@settings(max_examples=60)
@given(data=st.data())
def test_the_folded_network_predicts_the_same(data):
    axes, groups = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 2))
    bias, affine = data.draw(st.booleans()), data.draw(st.booleans())
    norm = getattr(cr, f"BatchNorm{max(axes, 1)}d")(4, eps=0.1, affine=affine, bias=affine, dtype="float64")
    if axes:
        kind = getattr(cr, f"{data.draw(st.sampled_from(['Conv', 'ConvTranspose']))}{axes}d")
        stride, padding = data.draw(st.integers(1, 2)), data.draw(st.integers(0, 1))
        before = kind(2 * groups, 4, 2, stride, padding, groups=groups, bias=bias, dtype="float64")
        x = np.random.default_rng(1).normal(size=(3, 2 * groups, *(3, 4, 2)[:axes]))
    else:
        before, x = cr.Linear(3, 4, bias=bias, dtype="float64"), np.random.default_rng(1).normal(size=(3, 3))
    model = drawn(cr.Sequential(cr.Identity(), before, norm, cr.Tanh()), data.draw(st.integers(0, 100)))
    kept = copy.deepcopy(model)
    folded = cr.fold_batch_norm(model)
    assert kinds(folded) == ["Sequential", "Identity", type(before).__name__, "Tanh"]
    y = model(x)
    # At most 16 products in a sum, of numbers that a BatchNorm makes 3 / √0.6 as large at most.
    np.testing.assert_allclose(folded(x), y, rtol=0, atol=64 * np.finfo(float).eps * max(1, np.abs(y).max()))
    np.testing.assert_array_equal(model(x), y)
    for name, value in kept.state_dict().items():  # which it has left alone
        np.testing.assert_array_equal(model.state_dict()[name], value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_weights_are_those_that_pytorch_makes(dtype):
    model = drawn(cr.Sequential(cr.Conv2d(3, 4, 3, dtype=dtype), cr.BatchNorm2d(4, dtype=dtype)))
    there = cr.to_torch(model).eval()
    expected = torch.nn.utils.fuse_conv_bn_eval(there[0], there[1])
    folded = cr.fold_batch_norm(model)
    eps = np.finfo(dtype).eps
    for name in ("weight", "bias"):
        found = folded.state_dict()[f"0.{name}"]
        assert found.dtype == dtype
        np.testing.assert_allclose(found, getattr(expected, name).detach().numpy(), rtol=8 * eps, atol=8 * eps)


def test_names_stay_and_the_optimizer_goes():
    model = cr.Sequential(cr.SGD(lr=0.1), cr.Linear(2, 3), cr.BatchNorm1d(3), cr.ReLU(), cr.Linear(3, 1))
    folded = cr.fold_batch_norm(model)
    assert list(folded.state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert folded.optimizer is None
    assert model.optimizer is not None


def test_what_cannot_be_folded_stays():
    model = cr.Sequential(
        cr.Linear(2, 3),
        cr.ReLU(),
        cr.BatchNorm1d(3),
        cr.Linear(3, 3),
        cr.BatchNorm1d(3, track_running_stats=False),
        cr.Unflatten(1, (3, 1)),
        cr.Linear(1, 4),
        cr.BatchNorm1d(3),  # of series: its channels are another axis than the Linear's outputs
    )
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    folded = cr.fold_batch_norm(drawn(model))
    assert kinds(folded) == kinds(model)
    np.testing.assert_array_equal(folded(x), model(x))


def test_a_layer_that_stands_elsewhere_too_is_itself_there():
    linear = cr.Linear(3, 3, dtype="float64")
    model = drawn(cr.Sequential(linear, cr.Tanh(), linear, cr.BatchNorm1d(3, dtype="float64"), linear))
    folded = cr.fold_batch_norm(model)
    assert kinds(cr.Sequential(*folded)) == ["Sequential", "Linear", "Tanh", "Linear"]  # one of them twice
    assert folded[0] is folded[3]
    assert folded[2] is not folded[0]
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-12)


def residual(nn):
    """A block as of ResNet, as a class of PyTorch's or what is made of it."""

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4)
            self.conv2, self.bn2 = torch.nn.Conv2d(4, 3, 3, padding=1, bias=False), torch.nn.BatchNorm2d(3)

        def forward(self, x):
            return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

    return Block().double()


def test_a_graph_is_folded_where_nobody_else_reads_what_comes_between():
    model = drawn(cr.from_torch(residual(torch.nn)))
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    folded = cr.fold_batch_norm(model)
    assert not [kind for kind in kinds(folded) if kind.startswith("BatchNorm")]
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-11, atol=1e-12)
    proto_layers = {node.op_type for node in cr.to_onnx(folded, sample_shape=(3, 5, 4)).graph.node}
    assert "BatchNormalization" not in proto_layers


def test_what_another_node_reads_or_what_comes_out_stays():
    def graph(**nodes):
        made = {"h": (cr.Linear(2, 3), "x"), "n": (cr.BatchNorm1d(3), "h"), **nodes}
        return drawn(cr.Graph(made, outputs=tuple(made)[-1]))

    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    read = graph(y=(cr.Sum(), ("h", "n")))
    assert kinds(cr.fold_batch_norm(read)) == kinds(read)
    last = graph()
    folded = cr.fold_batch_norm(last)
    assert (list(folded.nodes), folded.outputs) == (["n"], "n")
    np.testing.assert_allclose(folded(x), last(x), rtol=1e-5, atol=1e-5)
    both = drawn(cr.Graph({"h": (cr.Linear(2, 3), "x"), "n": (cr.BatchNorm1d(3), "h")}, outputs=("h", "n")))
    assert list(cr.fold_batch_norm(both).nodes) == ["h", "n"]
    twice = graph(m=(cr.BatchNorm1d(3), "n"), y=(cr.Tanh(), "m"))
    folded = cr.fold_batch_norm(twice)
    assert list(folded.nodes) == ["h", "y"]
    np.testing.assert_allclose(folded(x), twice(x), rtol=1e-5, atol=1e-5)


def test_networks_within_networks_are_folded_too():
    body = cr.Sequential(cr.Linear(3, 3), cr.BatchNorm1d(3))
    model = drawn(cr.Sequential(cr.Residual(body), cr.Parallel(cr.Sequential(cr.Linear(3, 2), cr.BatchNorm1d(2)))))
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    folded = cr.fold_batch_norm(model)
    assert not [kind for kind in kinds(folded) if kind.startswith("BatchNorm")]
    np.testing.assert_allclose(folded(x)[0], model(x)[0], rtol=1e-5, atol=1e-5)


def test_the_engine_and_c_know_a_folded_network(tmp_path):
    model = drawn(cr.Sequential(cr.Linear(3, 4), cr.BatchNorm1d(4), cr.Tanh(), cr.Linear(4, 2)))
    folded = cr.fold_batch_norm(model)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(cr.compile(folded).predict(x), model(x), rtol=1e-5, atol=1e-5)
    cr.to_c(folded, tmp_path)


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="fold_batch_norm: model must be a chainrule Module, got a Linear"):
        cr.fold_batch_norm(torch.nn.Linear(2, 2))
