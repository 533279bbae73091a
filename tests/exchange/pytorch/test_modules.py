import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from cases import CASES, Case, Peer, SumOfLosses, numpy
from counting import instructions

import chainrule as cr
from chainrule.structures import each, leaves

with_peer = pytest.mark.parametrize("case", [case for case in CASES if case.peer], ids=str)


def tensors(x):
    return each(torch.from_numpy, each(np.asarray, x))


def assert_close(found, expected, **tolerance):
    """Structures of the same form and dtype that hold the same numbers."""
    found, expected = (each(lambda part: np.asarray(numpy(part)), y) for y in (found, expected))
    assert type(found) is type(expected)
    expected = {name: expected[name] for name in found} if isinstance(found, dict) else expected
    for one, other in zip(leaves(found), leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, **tolerance)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_and_back_is_the_same(case: Case, dtype):
    if case.kind is cr.QuantileLoss:  # which PyTorch does not have
        return
    for shape in case.fixed:
        module, inputs = case.example(shape, dtype=dtype)
        inputs = inputs[:2]  # PyTorch's losses have no weights of samples
        theirs = cr.to_torch(module)
        back = cr.from_torch(theirs)
        bare = cr.Sequential(*module) if isinstance(module, cr.Sequential) else module  # without its optimizer
        assert repr(back) == repr(bare)
        assert [m.training for m in back.modules()] == [m.training for m in module.modules()]
        assert list(theirs.state_dict()) == list(module.state_dict())
        y = module(*inputs)
        assert_close(back(*inputs), y, rtol=0, atol=0)
        said = theirs.eval()(*map(tensors, inputs))
        single = dtype == "float32"
        assert_close(said, y, rtol=1e-5 if single else 1e-12, atol=1e-6 if single else 1e-13)


@with_peer
def test_what_pytorch_made_comes_over(case: Case):
    for shape in case.fixed:
        peer = case.peer(shape).double().eval()
        try:
            ours = cr.from_torch(peer)
        except ValueError as reason:  # of a forward that is written out in a way that cannot be followed
            assert isinstance(peer, Peer | SumOfLosses)
            assert re.search(r"from_torch: .*\(cases.py:\d+: |must take (its input|parts)", str(reason))  # noqa: PT017
            continue
        _, inputs = case.example(shape)
        expected = peer(*map(tensors, inputs))
        if case.kind is cr.Select:  # how many parts there are besides, its peer does not say
            inputs = ({"b": inputs[0]["b"]} if isinstance(inputs[0], dict) else inputs[0][:2],)
        assert_close(ours(*inputs), expected, rtol=1e-12, atol=1e-13)
        if not isinstance(peer, Peer | SumOfLosses):
            state = {name: tuple(value.shape) for name, value in peer.state_dict().items()}
            assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == state


def test_what_is_shared_stays_shared_both_ways():
    first, drop = torch.nn.Linear(3, 3), torch.nn.Dropout(0.2)
    second = torch.nn.Linear(3, 3)
    second.weight = first.weight
    ours = cr.from_torch(torch.nn.Sequential(first, drop, second, torch.nn.Sequential(drop, first)))
    assert ours[2].weight is ours[0].weight
    assert ours[3][0] is ours[1]
    assert ours[3][1] is ours[0]
    back = cr.to_torch(ours)
    assert back[2].weight is back[0].weight
    assert back[3][0] is back[1]
    assert len(list(back.parameters())) == 3


def test_names_stay_both_ways_and_in_files(tmp_path):
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 2)
    inner = torch.nn.Sequential(OrderedDict(b=torch.nn.Tanh(), c=layer))
    theirs = torch.nn.Sequential(OrderedDict(a=layer, act=torch.nn.ReLU(), inner=inner))
    ours = cr.from_torch(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.save(tmp_path / "a.safetensors")
    for model in (ours, cr.load(tmp_path / "a.safetensors")):
        back = cr.to_torch(model)
        assert repr(back) == repr(theirs)
        back.load_state_dict(theirs.state_dict())
        assert back.inner.c is back.a
    assert repr(cr.load(tmp_path / "a.safetensors")) == repr(ours)
    tail = theirs[1:]
    assert list(cr.from_torch(tail).state_dict()) == list(tail.state_dict()) == ["inner.c.weight", "inner.c.bias"]


def test_names_without_letters_stay_too():
    theirs = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 2))[1:]
    assert list(cr.from_torch(theirs).state_dict()) == list(theirs.state_dict()) == ["1.weight", "1.bias"]


def test_a_name_that_pytorch_does_not_allow_is_refused_by_its_place():
    with pytest.raises(ValueError, match=r"to_torch: inner.forward: ReLU has a name that PyTorch does not allow"):
        cr.to_torch(cr.Sequential({"inner": cr.Sequential({"forward": cr.ReLU()})}))


def test_the_work_grows_as_the_number_of_layers():
    def work(n):
        ours = cr.Sequential(*(layer for _ in range(n) for layer in (cr.Linear(2, 2, rng=0), cr.ReLU())))
        theirs = cr.to_torch(ours)
        return instructions(cr.to_torch, ours), instructions(cr.from_torch, theirs)

    for few, many in zip(work(10), work(80), strict=True):
        assert many < 9 * few


def test_numbers_are_copies_and_gradients_do_not_matter():
    theirs = torch.nn.Linear(2, 2)
    theirs(torch.ones(1, 2)).sum().backward()
    ours = cr.from_torch(theirs)
    before = theirs.weight.detach().clone()
    ours.weight.value[...] = 7
    assert torch.equal(theirs.weight, before)
    back = cr.to_torch(ours)
    ours.weight.value[...] = 8
    assert torch.all(back.weight == 7)
    assert all(p.requires_grad for p in back.parameters())


def test_what_is_frozen_on_one_side_is_frozen_on_the_other():
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    theirs[0].weight.requires_grad_(False)
    ours = cr.from_torch(theirs)
    assert [p.trainable for p in ours.param()] == [False, True, True, True]
    assert [p.requires_grad for p in cr.to_torch(ours).parameters()] == [False, True, True, True]


def test_weights_that_are_not_contiguous_come_over():
    theirs = torch.nn.Linear(2, 3)
    theirs.weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).T)
    ours = cr.from_torch(theirs)
    np.testing.assert_array_equal(ours.weight.value, theirs.weight.detach().numpy())
    assert ours.weight.value.flags.c_contiguous


def test_to_torch_converts():
    assert cr.to_torch(cr.Linear(2, 3), dtype=torch.float64).weight.dtype == torch.float64
    assert cr.to_torch(cr.Linear(2, 3), device="meta").weight.device.type == "meta"


def test_moving_a_network_draws_no_random_numbers():
    model = cr.Sequential(cr.Linear(2, 3), cr.Tanh())
    before = torch.random.get_rng_state()
    cr.to_torch(model)
    assert torch.equal(torch.random.get_rng_state(), before)


class Own(torch.nn.Linear):
    pass


@pytest.mark.parametrize(
    ("module", "error", "says"),
    [
        (3, TypeError, "module must be a torch.nn.Module, got a int"),
        (
            torch.nn.RReLU(),
            TypeError,
            "RReLU is none of the modules that chainrule has: .*Linear.* Sequential",
        ),
        (
            torch.nn.Sequential(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.LSTM(1, 1))),
            TypeError,
            "0.1: LSTM is none",
        ),
        (Own(1, 1), TypeError, "Own is none of the modules"),
        (torch.nn.Sequential(torch.nn.Linear(1, 1).bfloat16()), TypeError, "0 must be of a dtype that NumPy has"),
        (torch.nn.Sequential(torch.nn.Softmax()), ValueError, "0: Softmax must have a dim"),
    ],
    ids=str,
)
def test_what_chainrule_does_not_have_is_refused_by_its_place(module, error, says):
    with pytest.raises(error, match=f"from_torch: {says}"):
        cr.from_torch(module)


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"])
def test_hooks_are_refused_because_nobody_would_call_them(kind):
    module = torch.nn.Sequential(torch.nn.ReLU())
    getattr(module[0], f"register_{kind}")(lambda *_: None)
    with pytest.raises(ValueError, match="0: ReLU has hooks"):
        cr.from_torch(module)


def test_hooks_of_all_modules_are_refused():
    hook = torch.nn.modules.module.register_module_forward_hook(lambda module, args, y: 2 * y)
    try:
        with pytest.raises(ValueError, match="there are hooks for all modules"):
            cr.from_torch(torch.nn.ReLU())
    finally:
        hook.remove()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_modules_are_refused():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    for compiled in (torch.jit.script(module), torch.jit.trace(module, torch.ones(1, 2))):
        with pytest.raises(ValueError, match="Module is compiled; give the module that it was made of"):
            cr.from_torch(compiled)


def test_so_is_a_forward_of_its_own():
    module = torch.nn.Sequential(torch.nn.ReLU())
    module[0].forward = torch.neg
    with pytest.raises(ValueError, match="0: ReLU has a forward of its own"):
        cr.from_torch(module)


def test_no_parameter_is_left_behind():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    module[0].register_parameter("scale", torch.nn.Parameter(torch.ones(2)))
    with pytest.raises(ValueError, match=r"0\.scale is a parameter that would be lost"):
        cr.from_torch(module)


class Layer(cr.Module):
    pass


def test_what_pytorch_does_not_have_is_refused_by_its_place():
    with pytest.raises(TypeError, match=r"to_torch: 1\.0: Layer is no module that PyTorch has"):
        cr.to_torch(cr.Sequential(cr.ReLU(), cr.Sequential(Layer())))
    with pytest.raises(TypeError, match="model must be a chainrule Module, got a ReLU"):
        cr.to_torch(torch.nn.ReLU())


def test_an_option_that_only_one_side_has_is_refused_by_its_name(monkeypatch):
    """Both directions, on classes that have the same name and more options than the other."""

    class Scaled(cr.Module):
        def __init__(self, factor=1.0, shift=0.0):
            self.factor, self.shift = factor, shift

    class Theirs(torch.nn.Module):
        def __init__(self, factor=1.0, mode="zeros", inplace=False):
            super().__init__()
            self.factor, self.mode, self.inplace = factor, mode, inplace

    monkeypatch.setattr(cr.layers, "__all__", [*cr.layers.__all__, "Scaled"])
    monkeypatch.setattr(cr.layers, "Scaled", Scaled, raising=False)
    monkeypatch.setattr(torch.nn, "Scaled", Theirs, raising=False)
    assert cr.from_torch(Theirs(2.0, inplace=True)).factor == 2
    assert cr.to_torch(Scaled(3.0)).factor == 3
    with pytest.raises(ValueError, match="from_torch: 0: Theirs has mode='circular', which chainrule does not have"):
        cr.from_torch(torch.nn.Sequential(Theirs(mode="circular")))
    with pytest.raises(ValueError, match=r"to_torch: 0: Scaled has shift=0.5, which PyTorch does not have"):
        cr.to_torch(cr.Sequential(Scaled(shift=0.5)))
