"""Modules of somebody's own: their forward becomes a network that says the same, or an error that names the call."""

import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from counting import instructions
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

import chainrule as cr
from chainrule.structures import each, leaves


def tensors(x):
    return each(lambda part: torch.from_numpy(part).requires_grad_(), x)


def same(module, x):
    """The network that is read, which says what the module says, in both directions, and its state_dict."""
    torch.manual_seed(0)
    module = module.double().eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    model = cr.from_torch(module).eval()
    given = tensors(x)
    several = isinstance(given, tuple) and len(model.inputs if isinstance(model, cr.Graph) else "x") == len(given) > 1
    takes_one = len(module.forward.__code__.co_varnames[: module.forward.__code__.co_argcount]) == 2
    expected = module(given) if takes_one or not several else module(*given)
    y, saved = model.forward(x)
    assert type(y) is type(expected) or not isinstance(expected, tuple | dict)
    if isinstance(expected, dict):
        expected = {name: expected[name] for name in y}
    for found, part in zip(leaves(y), leaves(expected), strict=True):
        np.testing.assert_allclose(found, part.detach().numpy(), rtol=1e-12, atol=1e-13)
    for found, part in zip(leaves(model(x)), leaves(y), strict=True):
        np.testing.assert_array_equal(found, part)
    rng = np.random.default_rng(1)
    dy = each(lambda part: rng.normal(size=part.shape), y)
    torch.autograd.backward(leaves(expected), [torch.from_numpy(part) for part in leaves(dy)])
    model.zero_grad()
    dx = model.backward(dy, saved)
    for found, part in zip(leaves(dx), leaves(given), strict=True):
        np.testing.assert_allclose(found, part.grad.numpy(), rtol=1e-10, atol=1e-12)
    theirs = {id(p): name for name, p in module.named_parameters()}
    for parameter, ours in cr.exchange.pytorch.modules.borrow(module)[1]:
        assert id(parameter) in theirs
        assert ours.shape == tuple(parameter.shape)
    ours = dict(model.named_parameters())
    assert len(ours) == len(theirs)
    grads = [parameter.grad for parameter in ours.values()]
    wanted = [parameter.grad.numpy() for parameter in module.parameters()]
    for grad in grads:
        assert any(grad.shape == one.shape and np.allclose(grad, one, rtol=1e-10, atol=1e-12) for one in wanted)
    return model


class Block(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.fc2(F.relu(self.fc1(x)))


class Skip(nn.Module):
    def __init__(self, shortcut=None):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)), shortcut

    def forward(self, x):
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.act, self.out = nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.act(self.hidden(x)))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.act = nn.Linear(4, 4), nn.Tanh()

    def forward(self, x):
        return self.act(self.fc(self.act(self.fc(x))))


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.a(x), self.b(x)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.left, self.heads = nn.Linear(3, 4), nn.ModuleDict({"price": nn.Linear(8, 2), "kind": nn.Linear(8, 3)})

    def forward(self, image, numbers):
        h = self.left(numbers)
        for block in self.blocks:
            image = block(image)
        h += image
        z = torch.cat([h, image], 1)
        z = z.view(z.size(0), 2, -1).permute(0, 2, 1).flatten(1)
        return {"price": self.heads["price"](z), "kind": F.log_softmax(self.heads["kind"](z), dim=1)}


class Unpacks(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.two = nn.Linear(4, 4), Heads()

    def forward(self, x):
        left, right = x
        p, q = self.two(self.a(left) * right)
        return p * torch.sigmoid(q), q


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        return self.a(x["p"]) + x["q"]


class SameNames(nn.Module):
    """Modules, inputs and outputs that are called alike."""

    def __init__(self):
        super().__init__()
        self.price, self.x = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return {"price": torch.tanh(self.price(self.x(x))), "again": x}


class NamesAgain(nn.Module):
    """What goes in and comes out is called alike."""

    def forward(self, x):
        return {"b": torch.tanh(x["a"]) * x["b"], "a": x["b"]}


class Functions(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        a = F.leaky_relu(self.fc(x), 0.2) + F.elu(x, alpha=0.5) + torch.tanh(x) + x.sigmoid()
        b = F.gelu(x, approximate="tanh") * F.softplus(x, 2.0, 3.0) * F.silu(a)
        c = torch.multiply(torch.softmax(a, dim=1), torch.add(b, x))
        batch, _columns = x.shape
        d = c.reshape((batch, 2, 2)).unflatten(2, (1, 2)).contiguous()
        return torch.flatten(torch.permute(d, (0, 2, 3, 1)), start_dim=1)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        torch.tanh(x)
        return self.a(x)


class InPlace(nn.Module):
    """What is changed in place, and nobody else reads."""

    def __init__(self):
        super().__init__()
        self.a, self.act = nn.Linear(4, 4), nn.ReLU(inplace=True)

    def forward(self, x):
        h = self.a(x)
        h += x
        h = F.elu(h, inplace=True) * x
        return self.act(h)


class Perceptron(nn.Sequential):
    def __init__(self):
        super().__init__(OrderedDict(fc=nn.Linear(4, 4), act=nn.ReLU()))


class Nothing(nn.Module):
    def forward(self, x):
        return x


class OneAsTwo(nn.Module):
    """What comes out has two names, of which one is that of the input."""

    def __init__(self):
        super().__init__()
        self.h = nn.Linear(4, 4)

    def forward(self, x):
        y = self.h(x)
        return {"x": y, "h": y}


class Networks(nn.Module):
    """Our own modules within somebody's."""

    def __init__(self):
        super().__init__()
        self.heads = cr.to_torch(cr.Parallel({"a": cr.Linear(4, 4), "b": cr.Linear(4, 4)}))
        self.sum = cr.to_torch(cr.Sum())
        self.two = cr.to_torch(
            cr.Graph({"p": (cr.Linear(4, 4), "u"), "q": (cr.Multiply(), ("p", "v"))}, inputs=("v", "u"))
        )

    def forward(self, x):
        heads = self.heads(x)
        more = self.heads({"b": x, "a": heads["a"]})
        return self.two({"u": self.sum((heads["a"], more["b"])), "v": more["a"]})


RNG = np.random.default_rng(0)
X, OTHER, THREE = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4)), RNG.normal(size=(5, 3))


@pytest.mark.parametrize(
    ("make", "x", "kind"),
    [
        (Block, X, cr.Graph),
        (Skip, X, cr.Residual),
        (lambda: Skip(nn.Linear(4, 4)), X, cr.Residual),
        (Chain, X, cr.Sequential),
        (Twice, X, cr.Sequential),
        (Heads, X, cr.Graph),
        (TwoInputs, (X, THREE), cr.Graph),
        (Unpacks, (X, OTHER), cr.Graph),
        (ByName, {"p": X, "q": OTHER}, cr.Graph),
        (SameNames, X, cr.Graph),
        (NamesAgain, {"b": X, "a": OTHER}, cr.Graph),
        (Functions, X, cr.Graph),
        (Unused, X, cr.Sequential),
        (InPlace, X, cr.Graph),
        (Perceptron, X, cr.Sequential),
        (Nothing, X, cr.Sequential),
        (OneAsTwo, X, cr.Graph),
        (Networks, X, cr.Graph),
        (lambda: torch.fx.symbolic_trace(Block()), X, cr.Graph),
        (lambda: nn.Sequential(Block(), Skip(), Perceptron()), X, cr.Sequential),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_forward_is_read_as_what_it_does(make, x, kind):
    assert type(same(make(), x)) is kind


@pytest.mark.parametrize("make", [Block, Skip, Chain, Heads, Unpacks, ByName, InPlace, Perceptron])
def test_state_dict_keeps_its_names_and_goes_back(make):
    module = make()
    model = cr.from_torch(module)
    assert list(model.state_dict()) == list(module.state_dict())
    module.load_state_dict(cr.to_torch(model).state_dict())


def test_names_that_have_dots_and_modules_that_come_again_are_told_apart():
    assert list(cr.from_torch(TwoInputs()).state_dict())[2:4] == ["blocks_0.fc1.weight", "blocks_0.fc1.bias"]
    model = cr.from_torch(Twice())
    assert model.names == ("fc", "act", "fc_1", "act_1")
    assert model[0] is model[2]


def test_inputs_and_outputs_are_called_as_there():
    model = cr.from_torch(TwoInputs())
    assert (model.inputs, model.outputs) == (("image", "numbers"), ("price", "kind"))
    assert cr.from_torch(ByName()).inputs == ("p", "q")
    assert cr.from_torch(Block()).inputs == "x"


def test_inputs_have_their_names_before_modules_do():
    alone = same(forward(lambda self, m0: self.m0(m0) + m0, nn.Linear(4, 4)), X)
    assert (alone.inputs, list(alone.nodes)) == ("m0_", ["m0", "add"])
    two = same(forward(lambda self, a, m0: self.m0(m0) + a, nn.Linear(4, 4)), (X, OTHER))
    assert (two.inputs, list(two.nodes)) == (("a", "m0"), ["m0_1", "add"])


def test_training_mode_is_that_of_the_module():
    module = Block()
    module.fc1.eval()
    model = cr.from_torch(module)
    assert [(name, inner.training) for name, inner in model.named_children()] == [
        ("fc1", False), ("relu", True), ("fc2", True), ("add", True)
    ]  # fmt: skip
    assert model.training
    assert module.training
    assert not any(inner.training for inner in cr.from_torch(module.eval()).modules())


def forward(function, *modules):
    """A module with a forward of its own: m0, m1, … stand for those inside."""

    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            for i, module in enumerate(modules):
                self.add_module(f"m{i}", module)

    Written.forward = function
    return Written()


def decides(self, x):
    return x if x.sum() > 0 else -x


def scales(self, x):
    return self.m0(x) * self.scale


def scaled():
    module = forward(scales, nn.Linear(4, 4))
    module.scale = nn.Parameter(torch.ones(4))
    return module


def alias(self, x):
    y = self.m0(x)
    z = y.view(-1, 4)
    y += x
    return z * y


def on_its_input(self, x):
    return x + self.m0(x)


def statement(self, x):
    F.relu(x, inplace=True)
    return self.m0(x)


class ChangesItsInput(nn.Module):
    def forward(self, x):
        x *= x
        return x


def defaults(self, x, mask=None):
    return x


def drops(self, x):
    return F.dropout(x, 0.5, self.training)


def skips_in_training(self, x):
    return self.m0(x) if self.training else x


def shape(self, x):
    return x.view(x.shape[1], -1)


def moved(self, x):
    return self.m0(x).reshape((x.shape[0], -1))


def frozen(self, x):
    with torch.no_grad():
        h = self.m0(x)
    return x + h


class Called(nn.Module):
    def __call__(self, x):
        return 2 * super().__call__(x)

    def forward(self, x):
        return x


def mixed(self, x, y):
    return x["a"] + y


def torch_sum(self, x):
    return torch.stack((x, x))


def gives_itself(self, x):
    _a, _ = x
    return x


def odd_output(self, x):
    return x, [x]


def parts(self, x):
    return self.m0(x)[:, 1:]


def first(self, x):
    return self.m0(x)[0]


def relu(x):
    return x


torch.fx.wrap("relu")


def bears_the_name(self, x):
    return relu(x)


CHANCES = [lambda: torch.rand(1).item(), random.random, lambda: np.random.rand()]  # noqa: NPY002


def skips_by_chance(draw):
    """Stochastic depth; most often it does in training what it does in evaluation."""
    return lambda self, x: x if self.training and draw() < 1e-9 else x + self.m0(x)


def autocast(self, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return self.m0(x)


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.tensor([0.0, float("nan")]))

    def forward(self, x):
        self.calls += 1
        return torch.relu(x)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (forward(decides), r"Written is no graph, as its forward decides by numbers: .*: return x if x.sum\(\) > 0"),
        (forward(lambda self, x: x.nothing_of_the_sort(x)), "nothing_of_the_sort is none of the functions"),
        (forward(lambda self, x: float(x)), "Written is no graph, as its forward cannot be followed"),
        (forward(lambda self, x: self.nobody(x)), "Written is no graph, as its forward cannot be followed"),
        (scaled(), r"scale is a tensor of the module's own.*test_trace.py:\d+: return self.m0\(x\) \* self.scale"),
        (forward(lambda self, x: 2 * x), "mul must take what the network computes, got 2"),
        (forward(lambda self, x: x + 1.0), "add must take what the network computes, got 1.0"),
        (forward(lambda self, x: torch.add(x, x, alpha=2)), "add has alpha=2"),
        (forward(lambda self, x: torch.cat((x, x))), "cat: Concat: dim must be another axis"),
        (forward(lambda self, x: x - x), "sub is none of the functions"),
        (forward(lambda self, x: x.transpose(1, 2)), "transpose is none of the functions"),
        (forward(lambda self, x: F.relu_(x)), "relu_ is none of the functions"),
        (forward(lambda self, x: F.dropout(x)), "dropout is none of the functions"),
        (
            forward(lambda self, x: F.softmax(x, 1, dtype=torch.float64)),
            "softmax takes other arguments in .*dtype",
        ),
        (forward(lambda self, x: F.softmax(x)), "softmax: "),
        (forward(torch_sum), "stack is none of the functions"),
        (forward(bears_the_name), "relu is none of the functions"),
        (forward(shape), "view must keep the first axis"),
        (forward(lambda self, x: torch.flatten(x).view(x.shape[0], -1)), "view must keep the first axis by the shape"),
        (forward(moved, nn.Flatten(-2)), "reshape must keep the first axis by the shape of what it takes"),
        (forward(frozen, nn.Linear(4, 4)), "m0 is called without gradients"),
        (Called(), "Called has a __call__ of its own"),
        (forward(lambda self, x: x.view(3, 4)), "view must keep the first axis"),
        (forward(lambda self, x: x.view(-1)), "view must keep the first axis"),
        (forward(lambda self, x: x.reshape(-1, -1)), "reshape must keep the first axis"),
        (forward(lambda self, x: x.T), "getattr asks for 'T'"),
        (forward(alias, nn.Linear(4, 4)), r"iadd changes in place what others read.*: y \+= x"),
        (forward(on_its_input, nn.ReLU(inplace=True)), "m0 changes in place what others read too"),
        (forward(on_its_input, nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True))), "m0 changes in place"),
        (forward(on_its_input, ChangesItsInput()), "m0 changes in place"),
        (forward(on_its_input, nn.Sequential(ChangesItsInput())), "m0 changes in place"),
        (forward(statement, nn.Linear(4, 4)), "relu changes in place"),
        (forward(drops), "Written does something in training that it leaves in evaluation"),
        (forward(skips_in_training, nn.Linear(4, 4)), "Written does something in training"),
        *((forward(skips_by_chance(draw), nn.Linear(4, 4)), "Written draws random numbers") for draw in CHANCES),
        (forward(autocast, nn.Linear(4, 4)), "m0 is called under autocast"),
        (Counts(), "Counts changes its tensor calls in its forward"),
        (forward(defaults), "arguments are its inputs, each with a name and none with a default, got mask=None"),
        (forward(lambda self, *x: x[0]), r"each with a name and none with a default, got \*x"),
        (forward(lambda self: torch.ones(2)), "has a forward without inputs"),
        (forward(mixed), "must take its input 'x' as a tensor, or apart and have no other"),
        (forward(gives_itself), "must take its input 'x' as a tensor, or apart|got its input as it came"),
        (forward(odd_output), "must return a tensor, or a tuple or dict of tensors"),
        (forward(lambda self, x: {0: x}), "must return a tensor, or a tuple or dict of tensors by words"),
        (forward(lambda self, x: {"a.b": x}), "must return a tensor, or a tuple or dict of tensors by words"),
        (forward(lambda self, x: (x, x.shape[0])), "must return a tensor"),
        (forward(lambda self, x: (x["a"], x)), "must take its input 'x' as a tensor, or apart"),
        (forward(lambda self, x: {"a": x, "b": x.shape}), "must return a tensor"),
        (forward(lambda self, x: [x, None]), "must return a tensor"),
        (forward(lambda self, x: x[""] + x["a"]), "Written: Graph: sources must be a name"),
        (forward(parts, nn.Linear(4, 4)), "getitem takes a part of a tensor"),
        (forward(first, nn.Linear(4, 4)), "getitem takes a part of a tensor"),
        (nn.Sequential(nn.Sequential(forward(decides))), "0.0: Written is no graph"),
    ],
    ids=str,
)
def test_what_no_layer_does_is_an_error_that_names_the_call(module, says):
    with pytest.raises(ValueError, match=f"^from_torch: .*({says})"):
        cr.from_torch(module)


def test_what_stands_inside_is_refused_by_its_place():
    with pytest.raises(TypeError, match=r"from_torch: m0\.1: RReLU is none of the modules"):
        cr.from_torch(forward(on_its_input, nn.Sequential(nn.ReLU(), nn.RReLU())))
    module = forward(on_its_input, nn.Linear(4, 4))
    module.m0.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="from_torch: m0: Linear has hooks"):
        cr.from_torch(module)
    module = forward(on_its_input, nn.Linear(4, 4))
    module.more = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"from_torch: more\.weight is a parameter that would be lost"):
        cr.from_torch(module)


def test_branches_of_ours_refuse_what_writes_into_what_others_read():
    module = cr.to_torch(cr.Residual(cr.ReLU()))
    module.body = nn.ReLU(inplace=True)
    with pytest.raises(ValueError, match="Residual has modules inside that change in place what others read"):
        cr.from_torch(module)


def test_a_program_without_gradients_reads_modules_too():
    with torch.no_grad():
        assert type(cr.from_torch(Block())) is cr.Graph
        assert not torch.is_grad_enabled()


def test_a_program_under_autocast_reads_modules_too():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert type(cr.from_torch(Block())) is cr.Graph


def test_a_module_that_is_refused_has_the_numbers_that_it_had():
    module = Counts()
    with pytest.raises(ValueError, match="changes its tensor calls"):
        cr.from_torch(module)
    assert module.calls[0] == 0


def test_reading_a_module_leaves_it_as_it_was():
    module = TwoInputs().train()
    module.heads.eval()
    before = {name: (inner.training, set(vars(inner))) for name, inner in module.named_modules()}
    random = torch.random.get_rng_state()
    cr.from_torch(module)
    assert {name: (inner.training, set(vars(inner))) for name, inner in module.named_modules()} == before
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_work_grows_as_the_number_of_calls():
    def work(n):
        class Deep(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(n)])

            def forward(self, x):
                for layer in self.layers:
                    x = x + torch.tanh(layer(x))
                return x

        return instructions(cr.from_torch, Deep())

    assert work(80) < 9 * work(10)
