import copy
import pickle
import re
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from cases import LIBRARIES, array, numpy
from drawn_networks import Drawn, drawn_networks
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import Buffer, Module, Parameter


class Scaled(Module):
    """A layer as a user would write it: y = scale · x, with a count of passes and an inner layer."""

    def __init__(self) -> None:
        self.scale = Parameter(np.array([2.0, 3.0]))
        self.inner = cr.Linear(2, 2, bias=False, dtype="float64", rng=0)
        self.mean = Buffer(np.array([0.5, 0.5]))
        self.count = Buffer(0)
        self.cache = Buffer(np.zeros(1), persistent=False)
        self.note = "no state"

    def forward(self, x: Any) -> tuple[Any, Any]:
        y, saved = self.inner.forward(x)
        return y * self.scale.value, (y, saved)

    def backward(self, dy: Any, kept: Any) -> Any:
        y, saved = kept
        self.scale.grad += (dy * y).sum(axis=0)
        return self.inner.backward(dy * self.scale.value, saved)


# -- Parameter and Buffer


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("dtype", "kept"), [("float32", "float32"), ("float64", "float64"), ("int64", "float32"), ("bool", "float32")]
)
def test_a_parameter_is_a_copy_with_a_gradient_of_the_same_kind(library: str, dtype: str, kept: str) -> None:
    given = array(np.ones((2, 3), dtype), library, dtype)
    parameter = Parameter(given)
    given[...] = 0
    assert numpy(parameter.value).tolist() == [[1.0] * 3] * 2
    assert numpy(parameter.grad).tolist() == [[0.0] * 3] * 2
    assert numpy(parameter.value).dtype == numpy(parameter.grad).dtype == kept
    assert (parameter.shape, parameter.size) == ((2, 3), 6)
    assert repr(parameter) == f"Parameter(2, 3) {kept}"


def test_a_parameter_keeps_nothing_of_read_only_and_big_endian_arrays() -> None:
    given = np.broadcast_to(np.array([1.0, 2.0], ">f8"), (3, 2))
    parameter = Parameter(given)
    parameter.value += 1
    assert parameter.value.dtype.isnative
    assert parameter.value[0].tolist() == [2.0, 3.0]


def test_a_buffer_says_what_it_holds() -> None:
    assert repr(Buffer(3)) == "Buffer(3)"


# -- what is inside


def test_parameters_buffers_and_inner_modules_are_found_by_name() -> None:
    module = Scaled()
    assert [name for name, _ in module.named_parameters()] == ["scale", "inner.weight"]
    assert [name for name, _ in module.named_buffers()] == ["mean", "count", "cache"]
    assert [name for name, _ in module.named_modules()] == ["", "inner"]
    assert [name for name, _ in module.named_children()] == ["inner"]
    assert module.param() == [module.scale, module.inner.weight]
    assert module.num_parameters == 6
    cr.check_gradients(module, np.random.default_rng(0).normal(size=(3, 2)))


def test_a_module_that_stands_twice_is_one_module_with_two_names() -> None:
    layer = cr.Linear(2, 2)
    net = cr.Sequential(layer, cr.Tanh(), layer)
    assert [name for name, _ in net.named_modules()] == ["", "0", "1", "2"]
    assert len(net.modules()) == 3
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]  # as in PyTorch


def test_a_module_without_passes_says_so() -> None:
    class Nothing(Module):
        pass

    with pytest.raises(NotImplementedError, match="Nothing has no forward"):
        Nothing()(np.ones((1, 1)))
    with pytest.raises(NotImplementedError, match="Nothing has no backward"):
        Nothing().backward(np.ones((1, 1)), None)
    assert repr(Nothing()) == "Nothing()"


# -- training


def test_zero_grad_is_in_place() -> None:
    module = Scaled()
    grads = [parameter.grad for parameter in module.param()]
    for grad in grads:
        grad[...] = 5
    module.zero_grad()
    for parameter, grad in zip(module.param(), grads, strict=True):
        assert parameter.grad is grad
        assert not grad.any()


def test_optimize_asks_nothing_of_an_optimizer_but_a_step() -> None:
    class Halve:
        def step(self, parameters: Any) -> None:
            for parameter in parameters:
                parameter.value *= 0.5

    module = Scaled()
    module.optimize(Halve())
    assert module.scale.value.tolist() == [1.0, 1.5]


def test_train_and_eval_reach_everything_below() -> None:
    net = cr.Sequential(cr.Dropout(), cr.Sequential(cr.Dropout(), cr.ReLU()))
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())
    net[1].eval()
    assert [module.training for module in net.modules()] == [True, True, False, False, False]


class Mode(cr.Module):
    """Says in which mode it is, and lets something happen meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.meanwhile = meanwhile
        self.seen: list[bool] = []

    def forward(self, x: Any) -> tuple[Any, None]:
        self.meanwhile()
        self.seen.append(self.training)
        return x, None

    def backward(self, dy: Any, saved: None) -> Any:
        return dy


def test_a_call_is_inference_and_sets_nothing() -> None:
    mode = Mode()
    net = cr.Sequential(cr.Linear(1, 1), mode)
    heard: list[str] = []

    class Listener:
        def changed(self, name: str) -> None:
            heard.append(name)

    network = Listener()
    for module in net.modules():
        module.watch(network)
    x = np.ones((1, 1), "float32")
    net(x)
    net.forward(x)
    net.eval().forward(x)
    net.train()(x)
    assert mode.seen == [False, True, False, False]
    assert heard == ["training"] * 6  # of eval and train alone


def test_a_call_in_one_thread_leaves_a_training_in_another_alone() -> None:
    within, done = threading.Event(), threading.Event()
    other = Mode(lambda: (within.set(), done.wait(10)))  # type: ignore[arg-type, func-returns-value]
    layer = cr.Dropout(0.5, rng=0)
    thread = threading.Thread(target=lambda: cr.Sequential(layer, other)(np.ones((1, 1))))
    thread.start()
    within.wait(10)
    assert layer.training
    assert layer.forward(np.ones((2, 2)))[1] is not None  # a mask
    done.set()
    thread.join()
    assert other.seen == [False]


def test_a_fit_within_a_call_is_training() -> None:
    inner = Mode()
    x = np.ones((4, 1), "float32")

    def train() -> None:
        how: dict[str, Any] = {"epochs": 1, "batch_size": 4, "engine": "python"}
        cr.fit(cr.Sequential(cr.Linear(1, 1), inner), cr.MSELoss(), (x, x), optimizer=cr.SGD(lr=0.1), **how)

    outer = Mode(train)
    outer(x)
    assert inner.seen == [False, True]  # a row is tried beforehand
    assert outer.seen == [False]


def test_a_call_that_fails_leaves_training_flags_as_they_were() -> None:
    net = cr.Sequential(cr.Dropout(), cr.Linear(2, 2))
    for module in (net, Scaled()):
        with pytest.raises(ValueError, match="x must be"):
            module(np.ones((1, 3), "float32") if module is net else np.ones((1, 3)))
        assert all(inner.training for inner in module.modules())


def test_a_call_is_inference() -> None:
    x = np.ones((4, 2))
    net = cr.Sequential(cr.Dropout(0.5), Scaled())
    np.testing.assert_array_equal(net(x), net[1](x))


# -- state


def test_state_dict_holds_copies_of_parameters_and_persistent_buffers() -> None:
    module = Scaled()
    state = module.state_dict()
    assert list(state) == ["scale", "inner.weight", "mean", "count"]
    module.scale.value[...] = module.mean.value[...] = 7
    assert state["scale"].tolist() == [2.0, 3.0]
    assert state["mean"].tolist() == [0.5, 0.5]


def test_load_state_dict_restores_all_of_it_in_place() -> None:
    module, other = Scaled(), Scaled()
    for p in other.param():
        p.value[...] = 9
    other.mean.value, other.count.value = np.array([4.0, 4.0]), 12
    place = module.scale.value
    module.load_state_dict(other.state_dict())
    assert module.scale.value is place
    assert place.tolist() == [9.0, 9.0]
    assert (module.mean.value.tolist(), module.count.value) == ([4.0, 4.0], 12)
    other.mean.value[...] = 0
    assert module.mean.value.tolist() == [4.0, 4.0]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64", ">f8", "list"])
def test_load_state_dict_converts_to_the_modules_own_kind(library: str, dtype: str) -> None:
    layer = cr.Linear(2, 1, bias=False).to(library)
    value = [[1.0, 2.0]] if dtype == "list" else np.array([[1.0, 2.0]], dtype)
    layer.load_state_dict({"weight": value})
    assert numpy(layer.weight.value).tolist() == [[1.0, 2.0]]
    assert numpy(layer.weight.value).dtype == np.float32
    layer.load_state_dict({"weight": torch.tensor([[3.0, 4.0]], requires_grad=True)})
    assert numpy(layer.weight.value).tolist() == [[3.0, 4.0]]


def test_states_are_exchanged_with_pytorch() -> None:
    ours = cr.Sequential(cr.Linear(3, 4), cr.Tanh(), cr.Linear(4, 2))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    # Sums of at most 5 products near 1, twice.
    np.testing.assert_allclose(ours(x), numpy(theirs(torch.from_numpy(x))), atol=16 * np.finfo("float32").eps)
    theirs.load_state_dict(ours.to("torch").state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": None}, "Scaled.load_state_dict: the names differ; missing: ['scale'], unknown: []"),
        ({"more": np.ones(1)}, "Scaled.load_state_dict: the names differ; missing: [], unknown: ['more']"),
        ({"inner.weight": np.ones((2, 3))}, "Scaled.load_state_dict: inner.weight must be (2, 2), got (2, 3)"),
        ({"mean": np.ones(1)}, "Scaled.load_state_dict: mean must be (2,), got (1,)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change: dict[str, Any], message: str) -> None:
    module = Scaled()
    before = module.state_dict()
    state = {name: np.full_like(value, 7.0) for name, value in before.items()} | change
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=re.escape(message)):
        module.load_state_dict(state)
    np.testing.assert_equal(module.state_dict(), before)


def test_a_state_is_loaded_whole_or_not_at_all_where_an_array_is_read_only() -> None:
    module = Scaled()
    before = module.state_dict()
    module.inner.weight.value.flags.writeable = False
    with pytest.raises(ValueError, match=r"the array of Parameter\(2, 2\) float64 is read-only; .* to a copy"):
        module.load_state_dict({name: value + 1 for name, value in before.items()})
    np.testing.assert_equal(module.state_dict(), before)
    module.inner.weight.value = module.inner.weight.value.copy()
    module.load_state_dict({name: value + 1 for name, value in before.items()})
    np.testing.assert_equal(module.state_dict(), {name: value + 1 for name, value in before.items()})


def test_a_value_in_another_order_of_bytes_is_refused() -> None:
    layer = cr.Linear(2, 2, rng=0)
    swapped = layer.weight.value.astype(layer.weight.value.dtype.newbyteorder())
    with pytest.raises(TypeError, match=r'Parameter.value: must be in this machine.s .*; convert it .*"float32"'):
        layer.weight.value = swapped
    assert Parameter(swapped).value.dtype == np.float32  # a copy is converted


# -- moving


@pytest.mark.parametrize("library", [*LIBRARIES, torch, np])
def test_to_moves_values_gradients_and_buffers_and_keeps_their_numbers(library: Any) -> None:
    module = Scaled()
    module.scale.grad[...] = 3
    assert module.to(library) is module
    kind = torch.Tensor if library in ("torch", torch) else np.ndarray
    for value in (module.scale.value, module.scale.grad, module.inner.weight.value, module.mean.value):
        assert isinstance(value, kind)
    assert numpy(module.scale.value).tolist() == [2.0, 3.0]
    assert numpy(module.scale.grad).tolist() == [3.0, 3.0]
    assert module.count.value == 0


def test_float_and_double_change_the_dtype_of_floating_state_only() -> None:
    module = Scaled()
    module.numbers = Buffer(np.array([1, 2]))
    assert module.float() is module
    assert module.scale.value.dtype == module.scale.grad.dtype == module.mean.value.dtype == np.float32
    assert module.numbers.value.dtype == np.int64
    assert module.double().inner.weight.value.dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32"), torch.float32])
def test_to_takes_dtypes_of_any_library(dtype: Any) -> None:
    assert Scaled().to(dtype=dtype).scale.value.dtype == np.float32


def test_a_shared_parameter_stays_shared() -> None:
    first = cr.Linear(2, 2)
    net = cr.Sequential(first, cr.Linear(2, 2, weight=first.weight)).to("torch", dtype="float64")
    assert net[0].weight is net[1].weight
    assert len(net.param()) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"library": "jax"}, ValueError, 'library must be "numpy", "torch" or "cupy", got \'jax\''),
        ({"dtype": "int64"}, TypeError, "Scaled.to: dtype must be float16, bfloat16, float32 or float64, got int64"),
        ({"dtype": "bfloat16"}, TypeError, "dtype 'bfloat16' has no counterpart in NumPy"),
        ({"device": "cuda"}, ValueError, "NumPy arrays live on device"),
    ],
)
def test_a_move_that_fails_leaves_the_module_whole(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    module = Scaled()
    before = module.state_dict()
    with pytest.raises(error, match=re.escape(message)):
        module.to(**arguments)
    np.testing.assert_equal(module.state_dict(), before)
    assert all(type(p.value) is np.ndarray for p in module.param())


# -- words


def test_refuse_says_who_what_and_what_came() -> None:
    with pytest.raises(TypeError, match=re.escape("ELU(alpha=2.0).forward: x must be nice, got 5")):
        cr.ELU(2.0).refuse("forward", "x must be nice", 5, TypeError)


# -- who is told of changes


def test_all_are_told_of_a_change_that_began_to_watch_at_once() -> None:
    class Listener:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def changed(self, name: str) -> None:
            self.heard.append(name)

    layer, listeners = cr.Tanh(), [[Listener() for _ in range(300)] for _ in range(4)]
    together = threading.Barrier(len(listeners))

    def watch(mine: list[Listener]) -> None:
        together.wait()
        for listener in mine:
            layer.watch(listener)

    threads = [threading.Thread(target=watch, args=(mine,)) for mine in listeners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    layer.note = "set"  # type: ignore[attr-defined]
    del layer.note  # type: ignore[attr-defined]
    assert all(listener.heard == ["note", "note"] for mine in listeners for listener in mine)


# -- what is frozen


def test_freezing_is_for_all_parameters_below_and_gives_the_module_back() -> None:
    net = cr.Sequential(cr.Linear(2, 3), cr.Tanh(), cr.Sequential(cr.Linear(3, 1, bias=False)))
    assert net[2].freeze() is net[2]
    assert [p.trainable for p in net.param()] == [True, True, False]
    assert [m.has_trainable() for m in net] == [True, False, False]
    assert net.num_parameters == 12
    assert len(list(net.named_parameters())) == len(net.param()) == 3
    assert not net.freeze().has_trainable()
    assert net.unfreeze() is net
    assert all(p.trainable for p in net.param())
    assert repr(net[0].freeze().weight) == "Parameter(3, 2) float32, frozen"


def test_trainable_is_true_or_false_and_may_be_given() -> None:
    assert not Parameter(np.ones(2), trainable=False).trainable
    with pytest.raises(TypeError, match="Parameter: trainable must be True or False, got 'no'"):
        Parameter(np.ones(2), trainable="no")  # type: ignore[arg-type]
    parameter = Parameter(np.ones(2))
    with pytest.raises(TypeError, match="Parameter: trainable must be True or False, got None"):
        parameter.trainable = None  # type: ignore[assignment]
    assert parameter.trainable


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_frozen_like_what_they_are_of(copied: Callable[[Any], Any]) -> None:
    assert not copied(Parameter(np.ones(2), trainable=False)).trainable
    assert copied(Parameter(np.ones(2))).trainable
    net = cr.Sequential(cr.Linear(2, 3).freeze(), cr.Linear(3, 1))
    assert [p.trainable for p in copied(net).param()] == [False, False, True, True]


def test_who_watches_a_parameter_hears_when_it_is_frozen() -> None:
    heard: list[str] = []

    class Listener:
        def changed(self, name: str) -> None:
            heard.append(name)

    layer, listener = cr.Linear(1, 1), Listener()
    layer.weight.watch(listener)
    layer.freeze()
    layer.unfreeze()
    assert heard == ["trainable", "trainable"]
    copy.deepcopy(layer).freeze()
    del listener
    layer.freeze()
    assert heard == ["trainable", "trainable"]


def after_a_pass(drawn: Drawn, way: str) -> list[np.ndarray]:
    """The gradients of a network's parameters after a pass, by `backward` or `backward_parameters`."""
    model = copy.deepcopy(drawn.model).train()
    for module in model.modules():
        if hasattr(module, "reseed"):
            module.reseed(0, 0)
    model.zero_grad()
    y, saved = model.forward(drawn.x)
    _, kept = drawn.loss.forward(y, drawn.target)
    getattr(model, way)(drawn.loss.backward(1.0, kept), saved)
    return [parameter.grad for parameter in model.param()]


@settings(max_examples=60)
@given(drawn=drawn_networks(), data=st.data())
def test_frozen_parameters_get_no_gradient_and_all_others_the_same_bits(drawn: Drawn, data: st.DataObject) -> None:
    whole = after_a_pass(drawn, "backward")
    parameters = drawn.model.param()
    for parameter in parameters:
        parameter.trainable = data.draw(st.booleans())
    for way in ("backward", "backward_parameters"):
        for parameter, grad, expected in zip(parameters, after_a_pass(drawn, way), whole, strict=True):
            np.testing.assert_array_equal(grad, expected if parameter.trainable else np.zeros_like(expected))


class Wall(cr.Tanh):
    """Nothing comes back through it."""

    def backward(self, dy: Any, y: Any) -> Any:
        raise AssertionError("somebody asked for dx")


def linear() -> cr.Linear:
    return cr.Linear(2, 2)


@pytest.mark.parametrize(
    "net",
    [
        cr.Sequential(Wall(), linear(), cr.Tanh(), linear()),
        cr.Sequential(linear().freeze(), Wall(), linear().freeze(), Wall(), linear(), cr.Tanh()),
        cr.Sequential(cr.Sequential(linear().freeze(), Wall()), linear()),
        cr.Residual(cr.Sequential(Wall(), linear()), Wall()),
        cr.Residual(Wall(), cr.Sequential(Wall(), linear())),
        cr.Sequential(cr.Parallel(Wall(), cr.Sequential(Wall(), linear())), cr.Sum(), linear()),
        cr.Graph({"a": (Wall(), "x"), "b": (linear(), "a"), "c": (Wall(), "a"), "d": (cr.Sum(), ("b", "c"))}),
        cr.Sequential(linear(), Wall()).freeze(),
    ],
    ids=lambda net: type(net).__name__,
)
def test_nothing_comes_back_to_where_no_parameter_waits_for_it(net: Module) -> None:
    x = np.ones((4, 2), "float32")
    before = [p.value.copy() for p in net.param()]
    cr.fit(net, cr.MSELoss(), (x, x), epochs=1, optimizer=cr.SGD(lr=0.1), engine="python", keep="last")
    for p, value in zip(net.param(), before, strict=True):
        assert bool((p.value != value).any()) == p.trainable
    y, saved = net.forward(x)
    with pytest.raises(AssertionError, match="somebody asked for dx"):
        net.backward(np.ones_like(y), saved)


def test_a_backward_of_its_own_is_what_training_goes_by() -> None:
    class Doubled(cr.Linear):
        def backward(self, dy: Any, x: Any) -> Any:
            return super().backward(2 * dy, x)

    class Alone(cr.Linear):
        def backward_parameters(self, dy: Any, x: Any) -> None:
            self.weight.grad += 7

    x = np.ones((1, 1), "float32")
    for kind, expected in ((cr.Linear, 1), (Doubled, 2), (type("Lower", (Doubled,), {}), 2), (Alone, 7)):
        for net in (kind(1, 1, bias=False), cr.Sequential(kind(1, 1, bias=False))):
            y, saved = net.forward(x)
            net.backward_parameters(np.ones_like(y), saved)
            assert net.param()[0].grad.tolist() == [[expected]]


def test_gradients_of_frozen_parameters_have_no_share_in_clipping() -> None:
    layer = cr.Linear(1, 1, rng=0)
    for p in layer.param():
        p.grad[...] = 3
    layer.bias.trainable = False  # type: ignore[union-attr]
    assert cr.clip_grad_norm_(layer.param(), 1.0) == 3
    cr.clip_grad_value_(layer.param(), 0.5)
    assert [p.grad.item() for p in layer.param()] == [0.5, 3]


def test_a_callback_may_melt_layers_one_by_one() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    net = cr.Sequential(linear().freeze(), cr.Tanh(), linear().freeze(), cr.Tanh(), linear())
    seen = []

    def melt(run: cr.Run) -> None:
        seen.append([p.value.copy() for p in net.param()])
        if run.history.epochs < 3:
            net[4 - 2 * run.history.epochs].unfreeze()

    how: dict[str, Any] = {"epochs": 3, "optimizer": cr.SGD(lr=0.1), "callbacks": [melt], "keep": "last"}
    cr.fit(net, cr.MSELoss(), (x, x), engine="python", **how)
    moved = [[bool((a != b).any()) for a, b in zip(one, other, strict=True)] for one, other in pairwise(seen)]
    assert moved == [[False, False, True, True, True, True], [True] * 6]


@pytest.mark.parametrize("name", ["trainable", "requires_grad"])
def test_what_others_freeze_a_module_by_names_freeze(name):
    model = cr.Sequential(cr.Linear(2, 2))
    for module in (model, model[0]):
        with pytest.raises(
            AttributeError, match=rf"{type(module).__name__}\.{name}: a module has freeze\(\) and unfreeze"
        ):
            setattr(module, name, False)
    assert all(parameter.trainable for parameter in model.param())


def test_a_layer_of_ones_own_may_have_an_attribute_of_that_name():
    class Own(cr.Module):
        trainable = True

    layer = Own()
    layer.trainable = False
    assert layer.trainable is False
