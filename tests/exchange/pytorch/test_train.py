import copy

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset, WeightedRandomSampler

import chainrule as cr
from chainrule.exchange.pytorch.modules import borrow
from chainrule.exchange.pytorch.optimizers import optimizer_from_torch

DISK = cr.data.disk(200, seed=0)
X, TARGET = torch.from_numpy(DISK.x).double(), torch.from_numpy(DISK.target).double()
DATA = TensorDataset(X, TARGET)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(2, 9), torch.nn.ReLU(), torch.nn.Linear(9, 9), torch.nn.Tanh(), torch.nn.Linear(9, 2)
    ).double()


def loop(module, optimizer, epochs, loss=torch.nn.functional.mse_loss):
    """What a user of PyTorch writes."""
    for _ in range(epochs):
        for start in range(0, len(X), 20):
            optimizer.zero_grad()
            loss(module(X[start : start + 20]), TARGET[start : start + 20]).backward()
            optimizer.step()


def numbers(module):
    return [parameter.detach().numpy().copy() for parameter in module.parameters()]


OPTIMIZERS = [
    (torch.optim.SGD, {"lr": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}),
    (torch.optim.Adam, {"lr": 0.01, "amsgrad": True, "weight_decay": 1e-3}),
    (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (torch.optim.AdamW, {"lr": 0.01}),
    (torch.optim.RMSprop, {"lr": 0.001, "momentum": 0.5, "centered": True}),
    (torch.optim.RMSprop, {"lr": 0.001}),
    (torch.optim.NAdam, {"lr": 0.01, "weight_decay": 1e-3}),
    (torch.optim.RAdam, {"lr": 0.01, "betas": (0.8, 0.9)}),
    (torch.optim.Adamax, {"lr": 0.01}),
    (torch.optim.Adadelta, {"weight_decay": 1e-3}),
    (torch.optim.Rprop, {"lr": 0.001, "step_sizes": (1e-6, 0.01)}),
    (torch.optim.ASGD, {"lr": 0.1, "lambd": 0.01, "t0": 15}),
    (torch.optim.Adafactor, {"lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.Adagrad, {"lr": 0.01, "lr_decay": 0.01, "initial_accumulator_value": 0.1}),
]


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=str)
@pytest.mark.usefixtures("float64_by_default")
def test_training_goes_on_from_pytorch_and_back_to_it(kind, options, engine):
    """Two epochs there, two here, two there, next to six there."""
    mine, theirs = network(), network()
    optimizer, peer = kind(mine.parameters(), **options), kind(theirs.parameters(), **options)
    loop(theirs, peer, 6)
    loop(mine, optimizer, 2)
    loader = DataLoader(DATA, batch_size=20)
    cr.train_torch(mine, torch.nn.MSELoss(), loader, optimizer=optimizer, epochs=2, keep="last", engine=engine)
    loop(mine, optimizer, 2)
    for ours, expected in zip(numbers(mine), numbers(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)


def grouped(kind, module, **options):
    """An optimizer of PyTorch's with three groups, of which the last has the options of the first."""
    weights = [module[2].weight, module[4].weight]
    rest = [module[2].bias, module[4].bias]
    groups = [
        {"params": module[0].parameters()},
        {"params": weights, "weight_decay": 0.1, "lr": 0.002},
        {"params": rest},
    ]
    return kind(groups, lr=0.01, **options)


@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.Adadelta, torch.optim.Adam, torch.optim.Rprop])
def test_a_group_that_is_added_later_has_a_count_of_its_own(kind):
    mine, theirs = network(), network()
    optimizer, peer = (kind(list(module.parameters())[:2], lr=0.001) for module in (mine, theirs))
    loader = DataLoader(DATA, batch_size=20)
    for module, one in ((mine, optimizer), (theirs, peer)):
        rest = list(module.parameters())[2:]
        for parameter in rest:
            parameter.requires_grad_(False)
        loop(module, one, 1)
        for parameter in rest:
            parameter.requires_grad_(True)
        one.add_param_group({"params": rest, "lr": 0.002})
    cr.train_torch(mine, torch.nn.MSELoss(), loader, optimizer=optimizer, epochs=2, keep="last")
    loop(theirs, peer, 2)
    counts = [
        [int(one.state[parameter]["step"]) for parameter in module.parameters()]
        for module, one in ((mine, optimizer), (theirs, peer))
    ]
    assert counts[0] == counts[1]
    assert counts[0][0] > counts[0][-1] > 0
    for ours, expected in zip(numbers(mine), numbers(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.Adagrad])
@pytest.mark.parametrize("maximize", [False, True])
def test_groups_and_frozen_parameters_train_as_in_pytorch(kind, maximize):
    mine, theirs = frozen(), frozen()
    mine[2].weight.requires_grad_(False), theirs[2].weight.requires_grad_(False)
    optimizer, peer = (grouped(kind, module, maximize=maximize) for module in (mine, theirs))
    before = numbers(mine)
    loop(theirs, peer, 4)
    loop(mine, optimizer, 1)
    loader = DataLoader(DATA, batch_size=20)
    cr.train_torch(mine, torch.nn.MSELoss(), loader, optimizer=optimizer, epochs=2, keep="last")
    loop(mine, optimizer, 1)
    for ours, expected in zip(numbers(mine), numbers(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)
    moved = [bool((a != b).any()) for a, b in zip(numbers(mine), before, strict=True)]
    assert moved == [parameter.requires_grad for parameter in mine.parameters()]
    assert not optimizer.state.get(mine[0].bias, {}).get("step")  # PyTorch's Adagrad keeps a 0 from the beginning


def test_an_optimizer_may_leave_out_what_is_frozen():
    module, peer = frozen(), frozen()
    for one, epochs in ((module, 1), (peer, 2)):
        optimizer = torch.optim.Adam([p for p in one.parameters() if p.requires_grad], lr=0.01)
        loop(one, optimizer, epochs)
        if one is module:
            cr.train_torch(
                module, torch.nn.MSELoss(), DataLoader(DATA, batch_size=20), optimizer=optimizer, epochs=1, keep="last"
            )
    for ours, expected in zip(numbers(module), numbers(peer), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)


def test_groups_that_differ_become_groups_and_others_do_not():
    module = network()
    model, pairs, _ = borrow(module)
    rule = optimizer_from_torch(grouped(torch.optim.AdamW, module, betas=(0.5, 0.9)), pairs)
    assert (rule.lr, rule.betas, rule.weight_decay) == (0.01, (0.5, 0.9), 0.01)
    (group,) = rule.groups
    assert (group.lr, group.betas, group.weight_decay) == (0.002, (0.5, 0.9), 0.1)
    assert group.parameters == {model[2].weight, model[4].weight}


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            torch.optim.NAdam,
            {"betas": (0.5, 0.999)},
            r"mu_product of NAdam would be .* by its options and steps, and is",
        ),
        (torch.optim.ASGD, {"t0": 2.0}, r"mu of ASGD would be 0\.125 by its options and steps, and is 1"),
    ],
)
def test_what_pytorch_remembers_and_does_not_follow_from_the_count_of_steps_is_refused(kind, change, message):
    module = network()
    optimizer = kind(module.parameters())
    loop(module, optimizer, 1)
    optimizer.param_groups[0].update(change)
    before = numbers(module)
    with pytest.raises(ValueError, match=message):
        cr.train_torch(module, torch.nn.MSELoss(), DATA, optimizer=optimizer, epochs=1)
    same_as_before(module, before)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_number_of_steps_is_kept_as_pytorch_keeps_it(kind, dtype):
    """Its fused kernels count in float32, whatever the default dtype is."""
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        for options in ({}, {"fused": True}):
            module = network()
            optimizer = kind(module.parameters(), **options)
            loop(module, optimizer, 1)
            kept = [state["step"].dtype for state in optimizer.state.values()]
            cr.train_torch(module, torch.nn.MSELoss(), DataLoader(DATA, batch_size=20), optimizer=optimizer, epochs=1)
            assert [state["step"].dtype for state in optimizer.state.values()] == kept
            loop(module, optimizer, 1)
            assert {int(state["step"]) for state in optimizer.state.values()} == {30}
    finally:
        torch.set_default_dtype(default)


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_numbers_are_those_of_fit_and_the_parameters_are_the_same_objects(shuffle):
    module = network()
    model = cr.from_torch(module)
    held = list(module.parameters())
    places = [parameter.data_ptr() for parameter in held]
    how = {"epochs": 3, "optimizer": cr.Adam(), "seed": 4}
    expected = cr.fit(model, cr.MSELoss(), (DISK.x, DISK.target), batch_size=20, shuffle=shuffle, **how)
    loader = DataLoader(DATA, batch_size=20, shuffle=shuffle)
    history = cr.train_torch(module, torch.nn.MSELoss(), loader, **how | {"optimizer": cr.Adam()})
    assert history.losses == expected.losses
    assert [p.data_ptr() for p in module.parameters()] == places
    for theirs, same, ours in zip(module.parameters(), held, model.param(), strict=True):
        assert theirs is same
        np.testing.assert_array_equal(theirs.detach().numpy(), ours.value)


def test_classes_and_validation_and_plain_tensors():
    module = network().float()
    classes = cr.data.disk(200, seed=0, classes=True)
    x, target = torch.from_numpy(classes.x), torch.from_numpy(np.asarray(classes.target))
    history = cr.train_torch(
        module,
        torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])),
        (x, target),
        optimizer=torch.optim.Adam(module.parameters(), lr=0.01),
        epochs=5,
        validation=TensorDataset(x, target),
        metrics=[cr.metrics.accuracy],
    )
    assert len(history.validation_losses) == 5
    loss = torch.nn.functional.cross_entropy(module(x), target, weight=torch.tensor([1.0, 2.0]))
    assert float(loss.detach()) == pytest.approx(history.best_loss, rel=1e-5)


def same_as_before(module, before):
    for now, then in zip(numbers(module), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_when_it_fails_the_module_is_as_it_was():
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e300)
    before, state = numbers(module), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(FloatingPointError, match="NaN or infinite"):
        cr.train_torch(module, torch.nn.MSELoss(), DATA, optimizer=optimizer, epochs=3)
    same_as_before(module, before)
    assert optimizer.state_dict() == state


def frozen():
    module = network()
    module[0].bias.requires_grad_(False)
    return module


def hooked():
    module = network()
    module[2].weight.register_hook(lambda gradient: 0 * gradient)
    return module


def watched():
    module = network()
    module[2].weight.register_post_accumulate_grad_hook(lambda parameter: None)
    return module


def tied_by_memory():
    module = network()
    module.append(torch.nn.Linear(2, 9).double())
    module[5].weight.data = module[0].weight.data
    return module


def expanded():
    """Its last parameter has one number for both outputs; PyTorch lets nobody write there."""
    module = network()
    module[4].bias = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64).expand(2))
    return module


def inferring():
    module = network()
    with torch.inference_mode():
        module[4] = torch.nn.Linear(9, 2).double()
    return module


class Noisy(TensorDataset):
    def __getitem__(self, index):
        return tuple(tensor + 1 for tensor in super().__getitem__(index))


class Loader(DataLoader):
    pass


def counted():
    optimizer = torch.optim.SGD(MODULE.parameters())
    optimizer.register_step_post_hook(lambda *_: None)
    return optimizer


def overlapping():
    module = network()
    module[0].bias.data = module[0].weight.data.flatten()[: len(module[0].bias)]
    return module


MODULE = network()
SGD = torch.optim.SGD(MODULE.parameters())
OURS = {"optimizer": cr.SGD()}


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"module": overlapping()}, ValueError, "0.(bias and 0.weight|weight and 0.bias) share memory"),
        ({"loss": "mse"}, TypeError, "loss must be a module"),
        ({"loss": torch.nn.KLDivLoss()}, TypeError, "KLDivLoss is none of"),
        ({"optimizer": torch.optim.SGD(network().parameters())}, ValueError, "for all parameters of the module"),
        ({"optimizer": torch.optim.LBFGS(MODULE.parameters())}, TypeError, "must be one of (.*, )?SGD"),
        ({"optimizer": None}, TypeError, "optimizer must be one of torch.optim or chainrule, got None"),
        (
            {"data": DataLoader(DATA, sampler=WeightedRandomSampler(torch.ones(200), 9))},
            TypeError,
            "sampler of its own",
        ),
        ({"data": DataLoader(DATA, batch_size=30, drop_last=True)}, ValueError, "the last batch of 20 samples"),
        ({"data": torch.utils.data.ConcatDataset([DATA])}, TypeError, "must be a TensorDataset"),
        ({"data": TensorDataset(X)}, TypeError, "must be a TensorDataset of x, target"),
        ({"data": Noisy(X, TARGET)}, TypeError, "must be a TensorDataset of x, target .* got Noisy"),
        ({"data": Loader(DATA)}, TypeError, "a class or a collate_fn of its own"),
        ({"data": DataLoader(DATA, collate_fn=lambda rows: rows)}, TypeError, "a class or a collate_fn of its own"),
        ({"data": DataLoader(DATA, sampler=RandomSampler(DATA, True))}, TypeError, "sampler of its own"),
        ({"data": DataLoader(DATA, sampler=RandomSampler(DATA, num_samples=7))}, TypeError, "sampler of its own"),
        ({"data": DataLoader(DATA, sampler=SequentialSampler(range(7)))}, TypeError, "sampler of its own"),
        ({"optimizer": counted()}, ValueError, "SGD has hooks"),
        ({"module": torch.nn.Sequential(torch.nn.ReLU()), **OURS}, ValueError, "no parameters to train"),
        ({"module": network().requires_grad_(False), **OURS}, ValueError, "no parameters to train"),
        ({"optimizer": torch.optim.SGD(MODULE[0].parameters())}, ValueError, "all parameters of the module that are"),
        ({"module": hooked(), **OURS}, ValueError, "2.weight has hooks"),
        ({"module": watched(), **OURS}, ValueError, "2.weight has hooks"),
        ({"module": tied_by_memory(), **OURS}, ValueError, "0.weight and 5.weight share memory"),
        ({"module": expanded(), **OURS}, ValueError, "the parameters cannot be written: .*single memory location"),
        ({"module": inferring(), **OURS}, ValueError, "4.weight is an inference tensor, in which nobody may write"),
    ],
    ids=range(25),
)
def test_what_it_cannot_do_is_an_error_that_says_why_and_changes_nothing(changes, error, says):
    arguments = {"module": MODULE, "loss": torch.nn.MSELoss(), "data": DATA, "optimizer": SGD, "epochs": 1} | changes
    module = arguments.pop("module")
    before = numbers(module)
    with pytest.raises(error, match=says):
        cr.train_torch(module, arguments.pop("loss"), arguments.pop("data"), **arguments)
    same_as_before(module, before)


# -- networks with branches


class Branches(torch.nn.Module):
    """Two inputs and two outputs; `form` is that of what comes out."""

    def __init__(self, form=dict):
        super().__init__()
        torch.manual_seed(0)
        self.form, self.left, self.right = form, torch.nn.Linear(2, 4), torch.nn.Linear(3, 4)
        self.skip = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh())
        self.size, self.kind = torch.nn.Linear(8, 1), torch.nn.Linear(8, 3)

    def forward(self, image, numbers):
        h = torch.cat([torch.relu(self.left(image)), self.right(numbers)], dim=1)
        h = h + self.skip(h)
        return {"size": self.size(h), "kind": self.kind(h)} if self.form is dict else (self.size(h), self.kind(h))


def branched_tensors(n=60):
    generator = torch.Generator().manual_seed(1)
    image, numbers = (torch.randn(n, width, generator=generator, dtype=torch.float64) for width in (2, 3))
    return image, numbers, image[:, :1] * numbers[:, :1], (image[:, 0] > 0).long() + (numbers[:, 1] > 0).long()


@pytest.mark.parametrize("form", [dict, tuple])
def test_several_inputs_and_outputs_train_as_in_pytorch(form):
    mine, theirs = Branches(form).double(), Branches(form).double()
    optimizer, peer = (torch.optim.Adam(module.parameters(), lr=0.02) for module in (mine, theirs))
    image, numbers_, size, kind = branched_tensors()
    for _ in range(3):
        for start in range(0, 60, 20):
            rows = slice(start, start + 20)
            y = theirs(image[rows], numbers_[rows])
            y = list(y.values()) if form is dict else y
            loss = torch.nn.functional.mse_loss(y[0], size[rows]) + torch.nn.functional.cross_entropy(y[1], kind[rows])
            peer.zero_grad()
            loss.backward()
            peer.step()
    losses = {"size": torch.nn.MSELoss(), "kind": cr.CrossEntropyLoss()}
    losses = losses if form is dict else tuple(losses.values())
    loader = DataLoader(TensorDataset(image, numbers_, size, kind), batch_size=20)
    history = cr.train_torch(
        mine, losses, loader, optimizer=optimizer, epochs=3, keep="last", validation=loader.dataset
    )
    assert history.steps == 9
    for ours, expected in zip(numbers(mine), numbers(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)


def test_structures_of_tensors_are_data_too():
    image, numbers_, size, kind = branched_tensors()
    one, other = Branches().double(), Branches().double()
    loss = cr.MultiLoss({"size": cr.MSELoss(), "kind": cr.CrossEntropyLoss()})
    pair = ({"image": image, "numbers": numbers_}, {"size": size, "kind": kind})
    how = {"optimizer": cr.SGD(lr=0.1), "epochs": 2, "batch_size": 20}
    first = cr.train_torch(one, loss, pair, **how)
    weight = torch.ones(60, dtype=torch.float64)
    second = cr.train_torch(other, loss, TensorDataset(image, numbers_, size, kind, weight), **how)
    np.testing.assert_allclose(first.losses, second.losses, rtol=1e-12)


def test_tensors_that_are_not_one_for_each_input_and_output_are_refused():
    image, numbers_, size, kind = branched_tensors()
    module = Branches().double()
    before, loss = numbers(module), {"size": torch.nn.MSELoss(), "kind": torch.nn.CrossEntropyLoss()}
    with pytest.raises(TypeError, match="must be a TensorDataset of 2 inputs, 2 targets and perhaps sample_weight"):
        cr.train_torch(module, loss, TensorDataset(image, size), optimizer=cr.SGD(), epochs=1)
    with pytest.raises(TypeError, match=r"loss must be a module of torch\.nn or chainrule"):
        cr.train_torch(module, {"size": 3}, TensorDataset(image, numbers_, size, kind), optimizer=cr.SGD(), epochs=1)
    with pytest.raises((TypeError, ValueError)):
        cr.train_torch(
            module, torch.nn.MSELoss(), TensorDataset(image, numbers_, size, kind), optimizer=cr.SGD(), epochs=1
        )
    same_as_before(module, before)


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.out = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.out(x + torch.tanh(self.body(x)))


def test_a_forward_of_ones_own_trains_as_in_pytorch():
    mine, theirs = Residual().double(), Residual().double()
    optimizer, peer = (torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9) for module in (mine, theirs))
    loop(theirs, peer, 4)
    loader = DataLoader(DATA, batch_size=20)
    cr.train_torch(mine, torch.nn.MSELoss(), loader, optimizer=optimizer, epochs=2, keep="last")
    loop(mine, optimizer, 2)
    for ours, expected in zip(numbers(mine), numbers(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)
