import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def net(*first: Any) -> cr.Sequential:
    return cr.Sequential(*first, cr.Linear(2, 3, rng=0), cr.Tanh(), cr.Linear(3, 1, rng=1))


def test_a_chain_by_hand() -> None:
    double, square = cr.Linear(1, 1, weight=[[2.0]], bias=[1.0]), cr.Linear(1, 1, weight=[[3.0]], bias=False)
    chain = cr.Sequential(double, cr.ReLU(), square)
    y, saved = chain.forward(np.array([[2.0]], dtype="float32"))  # 3 (2 · 2 + 1)
    assert y.tolist() == [[15.0]]
    assert chain.backward(np.array([[1.0]], dtype="float32"), saved).tolist() == [[6.0]]
    assert [p.grad.ravel().tolist() for p in chain.param()] == [[6.0], [3.0], [5.0]]


def test_the_first_argument_may_be_an_optimizer() -> None:
    sgd = cr.SGD(lr=0.1)
    model = net(sgd)
    assert model.optimizer is sgd
    assert len(model) == 3
    before = [p.value.copy() for p in model.param()]
    for p in model.param():
        p.grad[...] = 1
    model.optimize()
    for p, old in zip(model.param(), before, strict=True):
        np.testing.assert_allclose(p.value, old - np.float32(0.1), rtol=2e-7)


def test_a_given_optimizer_comes_before_the_own_one() -> None:
    own, other = cr.SGD(lr=0.1), cr.SGD(lr=0.1)
    net(own).optimize(other)
    assert (own.steps, other.steps) == (0, 1)


def test_optimize_without_an_optimizer_says_so() -> None:
    with pytest.raises(ValueError, match=r"Sequential.optimize: there is no optimizer; give one"):
        net().optimize()


def test_layers_are_reached_by_index_and_slice() -> None:
    model = net()
    assert model[0] is model.layers[0]
    assert model[-1] is model.layers[2]
    head = model[:2]
    assert isinstance(head, cr.Sequential)
    assert head.layers == model.layers[:2]
    with pytest.raises(IndexError, match="Sequential: there are 3 layers, got index 3"):
        model[3]


def test_append_adds_at_the_end_and_can_be_chained() -> None:
    model = cr.Sequential().append(cr.Linear(2, 2)).append(cr.ReLU())
    assert [type(layer) for layer in model] == [cr.Linear, cr.ReLU]


def test_a_layer_may_be_replaced() -> None:
    model = net()
    model[1] = relu = cr.ReLU()
    model[-1] = last = cr.Linear(3, 2, rng=0)
    assert [type(layer) for layer in model] == [cr.Linear, cr.ReLU, cr.Linear]
    assert (model[1], model[2]) == (relu, last)
    with pytest.raises(IndexError, match="Sequential: there are 3 layers, got index 3"):
        model[3] = relu
    with pytest.raises(TypeError, match="Sequential: layer 0 must be a Module, got 'relu'"):
        model[0] = "relu"  # type: ignore[assignment]


def named() -> cr.Sequential:
    return cr.Sequential(cr.SGD(), {"a": cr.Linear(2, 3, rng=0), "act": cr.Tanh(), "b": cr.Linear(3, 1, rng=1)})


def test_layers_may_have_names() -> None:
    model = named()
    assert [name for name, _ in model.named_children()] == ["a", "act", "b"]
    assert list(model.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert re.findall(r"\((\w+)\): ", repr(model)) == ["a", "act", "b"]
    assert isinstance(model.optimizer, cr.SGD)
    x = np.ones((2, 2), "float32")
    np.testing.assert_array_equal(model(x), net()(x))
    assert next(iter(cr.Sequential({"inner": model}).state_dict())) == "inner.a.weight"


def test_names_go_with_the_layers() -> None:
    model = named()
    assert list(model[1:].state_dict()) == ["b.weight", "b.bias"]
    model[0] = cr.Linear(2, 3, bias=False)
    model.append(cr.Linear(1, 1)).append(cr.ReLU())
    assert [name for name, _ in model.named_children()] == ["a", "act", "b", "3", "4"]
    later = cr.Sequential({"1": cr.ReLU(), "2": cr.ReLU()}).append(cr.Tanh())  # what PyTorch calls a slice's layers
    assert [name for name, _ in later.named_children()] == ["1", "2", "3"]


def test_numbers_are_no_names() -> None:
    assert cr.Sequential({"0": cr.ReLU(), "1": cr.Tanh()}).names is None
    assert cr.Sequential({"1": cr.ReLU(), "0": cr.Tanh()}).names == ("1", "0")
    assert len(cr.Sequential({})) == 0


@pytest.mark.parametrize(
    ("name", "error"), [("a.b", ValueError), ("", ValueError), (0, TypeError)], ids=["dot", "nothing", "number"]
)
def test_a_name_is_a_word_without_dots(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"Sequential: the name of a layer must be a .*, got {name!r}"):
        cr.Sequential({name: cr.ReLU()})
    with pytest.raises(TypeError, match="Sequential: layer 1 must be a Module, got 3"):
        cr.Sequential({"a": cr.ReLU(), "b": 3})


def test_nested_networks_have_dotted_names() -> None:
    model = cr.Sequential(net(), cr.Sequential(cr.Identity(), cr.Linear(1, 1, bias=False)))
    names = ["0.0.weight", "0.0.bias", "0.2.weight", "0.2.bias", "1.1.weight"]
    assert [name for name, _ in model.named_parameters()] == names
    assert list(model.state_dict()) == names


def test_the_outermost_optimize_updates_nested_networks_by_its_own_rule() -> None:
    inner = net(cr.SGD(lr=1.0))
    outer = cr.Sequential(cr.SGD(lr=0.0), inner)
    before = inner.state_dict()
    for p in outer.param():
        p.grad[...] = 1
    outer.optimize()
    assert inner.optimizer.steps == 0
    np.testing.assert_array_equal(inner.state_dict()["0.weight"], before["0.weight"])


def test_an_empty_network_hands_on_what_comes() -> None:
    x = np.ones((2, 3))
    y, saved = cr.Sequential().forward(x)
    assert y is x
    assert cr.Sequential().backward(x, saved) is x


def test_repr_prints_the_network_and_counts_parameters() -> None:
    text = repr(cr.Sequential(cr.SGD(lr=0.1, momentum=0.9), net(), cr.ReLU()))
    assert text.splitlines() == [
        "Sequential(",
        "  SGD(lr=0.1, momentum=0.9)",
        "  (0): Sequential(",
        "    (0): Linear(2, 3)                       9",
        "    (1): Tanh()",
        "    (2): Linear(3, 1)                       4",
        "  )  # 13 parameters",
        "  (1): ReLU()",
        ")  # 13 parameters",
    ]


def test_repr_says_what_is_frozen() -> None:
    inner, branched = net(), cr.Residual(cr.Linear(1, 1))
    inner[0].freeze()
    inner[2].bias.trainable = False  # type: ignore[union-attr]
    branched.freeze()
    assert repr(cr.Sequential(inner, branched)).splitlines() == [
        "Sequential(",
        "  (0): Sequential(",
        "    (0): Linear(2, 3)                       9  frozen",
        "    (1): Tanh()",
        "    (2): Linear(3, 1)                       4  frozen: bias",
        "  )  # 13 parameters, 10 of them frozen",
        "  (1): Residual(",
        "    (body): Linear(1, 1)                       2  frozen",
        "  )  # x + body(x), 2 parameters, frozen",
        ")  # 15 parameters, 12 of them frozen",
    ]


DEEP = 1500  # more than Python lets calls stand in each other


def nested(depth: int = DEEP) -> cr.Sequential:
    model = cr.Sequential(cr.Linear(2, 2, rng=0), cr.Tanh())
    for _ in range(depth):
        model = cr.Sequential(model)
    return model


def test_networks_may_be_nested_to_any_depth() -> None:
    model, flat = nested(), nested(0)
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.testing.assert_array_equal(model(x), flat(x))
    (y, saved), (flat_y, flat_saved) = model.forward(x), flat.forward(x)
    np.testing.assert_array_equal(model.backward(y, saved), flat.backward(flat_y, flat_saved))
    for deep, plain in zip(model.param(), flat.param(), strict=True):
        np.testing.assert_array_equal(deep.grad, plain.grad)
    for engine in ("native", "python"):
        how = {"epochs": 2, "engine": engine}
        losses = [cr.fit(one, cr.MSELoss(), (x, x), optimizer=cr.SGD(lr=0.1), **how).losses for one in (model, flat)]
        assert losses[0] == losses[1]
    np.testing.assert_array_equal(cr.compile(model).predict(x), cr.compile(flat).predict(x))
    np.testing.assert_array_equal(copy.deepcopy(model)(x), flat(x))
    assert [name for name, _ in model.named_parameters()] == ["0." * DEEP + "0.weight", "0." * DEEP + "0.bias"]
    model.load_state_dict(model.double().float().state_dict())
    assert [type(layer) for layer in model.chain()] == [cr.Linear, cr.Tanh]


def test_a_network_of_any_depth_can_be_printed() -> None:
    lines = repr(nested(400)).splitlines()
    assert len(lines) == 2 * 401 + 2
    assert lines[401].split() == ["(0):", "Linear(2,", "2)", "6"]


def test_what_others_limit_says_so(tmp_path: Path) -> None:
    model = nested()
    with pytest.raises(ValueError, match=r"nested too deeply to be described, more than 100 .*\(\*model\.chain\(\)\)"):
        model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="to_torch: networks are nested too deeply"):
        cr.to_torch(model)
    with pytest.raises(RecursionError, match="recursion"):
        pickle.dumps(model)
    assert not list(tmp_path.iterdir())
    nested(100).save(tmp_path / "model")
    assert cr.load(tmp_path / "model").num_parameters == 6


def test_a_copy_keeps_what_is_shared() -> None:
    shared = cr.Linear(2, 2, rng=0)
    model = cr.Sequential(cr.SGD(), shared, cr.Sequential(cr.Tanh(), shared))
    copied = copy.deepcopy(model)
    assert copied[0] is copied[1][1]
    assert copied[0] is not shared
    assert copied.optimizer is not model.optimizer
    assert len(copied.param()) == 2


def test_a_network_cannot_contain_itself() -> None:
    model = net()
    words = "Sequential: layer 3 must be another network, got one that contains this one"
    with pytest.raises(ValueError, match=words):
        model.append(cr.Sequential(model))
    assert len(model) == 3
    own = cr.Module()
    own.inner = cr.Sequential(own)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"Module 'inner\.0' contains itself"):
        list(own.named_modules())


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=re.escape("Sequential: layer 1 must be a Module, got 'tanh'")):
        cr.Sequential(cr.Linear(2, 2), "tanh")
    with pytest.raises(TypeError, match=r"layer 0 must be a Module, got <class '.*Tanh'> \(call the class\)"):
        cr.Sequential(cr.Tanh)
    with pytest.raises(TypeError, match=r"layer 0 must be a Module, got <class '.*SGD'> \(call the class\)"):
        cr.Sequential(cr.SGD)
    with pytest.raises(TypeError, match=re.escape("layer 1 must be a Module, got SGD(lr=0.001)")):
        cr.Sequential(cr.Linear(2, 2), cr.SGD())


def test_a_layer_that_does_not_fit_names_itself() -> None:
    model = cr.Sequential(cr.Linear(2, 3), cr.Linear(4, 1))
    with pytest.raises(ValueError, match=re.escape("Linear(4, 1).forward: x must be (batch, 4), got (5, 3)")):
        model.forward(np.ones((5, 2), dtype="float32"))
