"""Every kind of array at every door: read as the numbers that it holds, or refused by one sentence. docs/arrays.md."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

import chainrule as cr
from chainrule import arrays

NUMBERS = np.random.default_rng(0).integers(0, 2, (8, 2)).astype("float32")  # which every dtype can hold
ELSEWHERE = np.random.default_rng(1).normal(size=(8, 2)).astype("float32")  # for the arrays that are not looked at


class Units(np.ndarray):
    """A subclass whose arithmetic is its own."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        raise AssertionError("somebody computed with it")


class Foreign:
    """An array of a library that chainrule does not know, such as JAX, as far as NumPy can see."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)


class Exchanged:
    """An array that can be had by DLPack alone."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __dlpack__(self, **options: Any) -> Any:
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.values.__dlpack_device__()


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def mapped(x: np.ndarray) -> np.ndarray:
    memory = np.memmap("/dev/zero", dtype=x.dtype, mode="c", shape=x.shape)
    memory[...] = x
    return memory


RIGHT: dict[str, Callable[[np.ndarray], Any]] = {
    **{name: lambda x, name=name: x.astype(name) for name in ("float16", "float32", "float64", "longdouble")},
    **{name: lambda x, name=name: x.astype(name) for name in ("bool", "int8", "uint8", "int32", "int64", "uint64")},
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian integers": lambda x: x.astype(">i8"),
    "Fortran order": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "read-only": read_only,
    "memory map": mapped,
    "matrix": lambda x: x.view(np.matrix) if x.ndim == 2 else x,
    "subclass": lambda x: x.view(Units),
    "bfloat16 of ml_dtypes": lambda x: x.astype(ml_dtypes.bfloat16),
    "float8 of ml_dtypes": lambda x: x.astype(ml_dtypes.float8_e5m2),
    "another float8 of ml_dtypes": lambda x: x.astype(ml_dtypes.float8_e4m3fn),
    "list": lambda x: x.tolist(),
    "list of integers": lambda x: x.astype(int).tolist(),
    "list of arrays": list,
    "range of tuples": lambda x: tuple(map(tuple, x)) if x.ndim == 2 else tuple(x),
    "pandas": lambda x: pd.DataFrame(x) if x.ndim == 2 else pd.Series(x),
    "pandas integers": lambda x: pd.DataFrame(x.astype(int)) if x.ndim == 2 else pd.Series(x.astype(int)),
    "pandas Int64": lambda x: pd.DataFrame(x).astype("Int64") if x.ndim == 2 else pd.Series(x).astype("Int64"),
    "pandas Float64": lambda x: pd.DataFrame(x).astype("Float64") if x.ndim == 2 else pd.Series(x).astype("Float64"),
    "pandas of two kinds": lambda x: (
        pd.DataFrame({"a": x[:, 0].astype(bool), "b": pd.array(x[:, 1].astype(int), dtype="Int64")})
        if x.ndim == 2
        else pd.Series(list(x), dtype=object)
    ),
    "objects": lambda x: x.astype(object),
    "polars": lambda x: pl.DataFrame(x) if x.ndim == 2 else pl.Series(x),
    **{
        f"PyTorch {name}": lambda x, name=name: torch.from_numpy(x.copy()).to(getattr(torch, name))
        for name in (
            "float16",
            "bfloat16",
            "float32",
            "float64",
            "float8_e4m3fn",
            "float8_e5m2",
            "int64",
            "uint8",
            "bool",
        )
    },
    "PyTorch in a graph": lambda x: torch.from_numpy(x.copy()).requires_grad_() * 1,
    "PyTorch Parameter": lambda x: torch.nn.Parameter(torch.from_numpy(x.copy())),
    "PyTorch transposed": lambda x: torch.from_numpy(x.T.copy()).T if x.ndim == 2 else torch.from_numpy(x.copy()),
    "another library": Foreign,
    "DLPack": Exchanged,
}

PLAIN = r"{name} must be a plain array, got a masked one; its mask would be lost; use its filled\(value\)"
REAL = r"{name} must hold real numbers, got dtype "
WRONG: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "masked": (lambda x: np.ma.masked_array(x, mask=x > 0), PLAIN),
    "masked, with nothing under it": (np.ma.masked_array, PLAIN),
    "list of masked": (lambda x: [np.ma.masked_array(row, mask=True) for row in x], PLAIN),
    "None among numbers": (
        lambda x: [[1.0, None] if x.ndim == 2 else None] * len(x),
        REAL + "object with None in row 0",
    ),
    "objects": (lambda x: np.array([[1.0, 2.0], ["a", 2.0]], object), REAL + "object with 'a' in row 1"),
    "pandas with NA": (
        lambda x: pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": pd.array([True, False])}),
        REAL + "object with <NA> in row 1",
    ),
    "None": (lambda x: None, REAL + "object, a NoneType"),
    "dictionary": (lambda x: {0: x}, r"({name} must name its arrays by words, got|" + REAL + "object, a dict)"),
    "text": (lambda x: "numbers", REAL + "<U7, a str"),
    "words": (lambda x: np.full(x.shape, "a"), REAL + "<U1"),
    "dates": (lambda x: x.astype("datetime64[s]"), REAL + r"datetime64\[s\]"),
    "complex": (lambda x: x.astype("complex64"), REAL + "complex64"),
    "structured": (lambda x: np.zeros(8, [("a", "f4"), ("b", "f4")]), REAL + r"\[\('a'"),
    "PyTorch complex": (lambda x: torch.from_numpy(x.copy()).to(torch.complex64), REAL + "complex64"),
    "PyTorch sparse": (
        lambda x: torch.from_numpy(x.copy()).to_sparse(),
        r"{name} must be a dense array, got a sparse Tensor; use its to_dense\(\)",
    ),
    "PyTorch CSR": (
        lambda x: torch.sparse_compressed_tensor(
            [0, 1], [0], [1.0], (1, 2), layout=torch.sparse_csr, check_invariants=True
        ),
        r"{name} must be a dense array, got a sparse Tensor; use its to_dense\(\)",
    ),
    "PyTorch nested": (
        lambda x: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)], layout=torch.jagged),
        r"{name} must be a dense array, got a nested NestedTensor; use its to_padded_tensor\(value\)",
    ),
    "sparse": (
        lambda x: scipy.sparse.csr_array(np.atleast_2d(x)),
        r"{name} must be a dense array, got a sparse csr_array; use its toarray\(\)",
    ),
    "ragged": (lambda x: [[1.0], [1.0, 2.0]], "{name} must be an array of numbers, but "),
}


def network(dtype: str = "float32") -> cr.Sequential:
    layers = cr.Linear(2, 3, rng=0, dtype=dtype), cr.Tanh(), cr.Linear(3, 2, rng=1, dtype=dtype)
    return cr.Sequential(cr.SGD(lr=0.1), *layers)


def numbers(values: Any) -> np.ndarray:
    return np.asarray(arrays.to_numpy(values))


def compiled(model: cr.Module | None = None) -> Any:
    return cr.compile(network() if model is None else model, cr.MSELoss())


def trained(data: Any, **options: Any) -> np.ndarray:
    model = network()
    history = cr.fit(model, cr.MSELoss(), data, epochs=2, batch_size=3, **options)
    losses = [*history.losses, *(history.validation_losses if "validation" in options else ())]
    return np.concatenate([*(p.value.ravel() for p in model.param()), losses])


def after_a_step(x: Any, target: Any) -> np.ndarray:
    model = network()
    step = compiled(model)
    step.step(x, target)
    return np.concatenate([p.value.ravel() for p in model.param()])


def through(x: Any) -> np.ndarray:
    step = compiled()
    step.forward(ELSEWHERE)
    return step.backward(x)


def loaded(value: Any) -> np.ndarray:
    layer = cr.Linear(2, 8, bias=False)
    layer.load_state_dict({"weight": value})
    return layer.weight.value


def of_many(data: Any) -> np.ndarray:
    results = cr.fit_many(network, cr.MSELoss(), data, epochs=1, progress=False)
    if results[0].error:
        raise TypeError(results[0].error)
    return np.array(results[0].history.losses)


# What goes in is (8, 2), and what comes out must be the same for every kind; the name is that of the argument.
DOORS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "Dataset": ("x", lambda x: np.concatenate([numbers(b[0]) for b in cr.data.Dataset(x, ELSEWHERE).batches(3)])),
    "Dataset, target": ("target", lambda x: numbers(cr.data.Dataset(ELSEWHERE, x).target)),
    "fit": ("x", lambda x: trained((x, ELSEWHERE))),
    "fit, target": ("target", lambda x: trained((ELSEWHERE, x))),
    "fit, validation": ("x", lambda x: trained((ELSEWHERE, ELSEWHERE), validation=(x, ELSEWHERE))),
    "fit in Python": ("x", lambda x: trained((x, ELSEWHERE), engine="python")),
    "fit_many": ("x", lambda x: of_many((x, ELSEWHERE))),
    "evaluate": ("x", lambda x: np.array(cr.evaluate(network(), cr.MSELoss(), (x, ELSEWHERE)).loss)),
    "evaluate, target": ("target", lambda x: np.array(cr.evaluate(network(), cr.MSELoss(), (ELSEWHERE, x)).loss)),
    "predict": ("x", lambda x: cr.predict(network(), x)),
    "model": ("x", lambda x: network()(x)),
    "layer": ("x", lambda x: network()[0](x)),
    "compile.predict": ("x", lambda x: compiled().predict(x)),
    "compile.forward": ("x", lambda x: compiled().forward(x)),
    "compile.backward": ("dy", through),
    "compile.step": ("x", lambda x: after_a_step(x, ELSEWHERE)),
    "compile.step, target": ("target", lambda x: after_a_step(ELSEWHERE, x)),
    "Parameter": ("value", lambda x: numbers(cr.Parameter(x).value)),
    "Linear": ("weight", lambda x: numbers(cr.Linear(2, 8, bias=False, weight=x).weight.value)),
    "load_state_dict": ("weight", loaded),
}
every_door = pytest.mark.parametrize("door", DOORS)


@every_door
@pytest.mark.parametrize("kind", RIGHT)
def test_every_kind_of_array_is_read_as_its_numbers_at_every_door(kind: str, door: str) -> None:
    enter = DOORS[door][1]
    given = RIGHT[kind](NUMBERS)
    found, expected = enter(given), enter(NUMBERS)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, expected)  # the same bits, where computing begins
    if isinstance(given, np.ndarray):
        np.testing.assert_array_equal(np.asarray(given), np.asarray(RIGHT[kind](NUMBERS)))


@every_door
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
def test_what_cannot_be_read_is_refused_in_the_same_words_at_every_door(kind: str, door: str) -> None:
    name, enter = DOORS[door]
    make, words = WRONG[kind]
    if (kind, door) == ("None", "Linear"):
        pytest.skip("no weight means one that is drawn")
    with pytest.raises(ValueError if kind == "ragged" else TypeError, match=words.format(name=name)):
        enter(make(NUMBERS))


@pytest.mark.parametrize(
    "door", [door for door in DOORS if door.startswith(("fit", "evaluate", "predict", "model", "layer"))]
)
@pytest.mark.parametrize("several", [lambda x: {"a": x, "b": x}, lambda x: (x, x)], ids=["a dict", "a tuple"])
def test_several_arrays_are_refused_where_the_network_takes_one(
    door: str, several: Callable[[np.ndarray], Any]
) -> None:
    with pytest.raises((TypeError, ValueError), match=r"got a (dict|tuple)"):
        DOORS[door][1](several(NUMBERS))


@pytest.mark.parametrize("kind", RIGHT)
def test_weights_of_samples_and_of_classes_may_be_of_every_kind(kind: str) -> None:
    ones = np.ones(8, "float32")
    weight = RIGHT[kind](ones)
    data = cr.data.Dataset(ELSEWHERE, ELSEWHERE, weight)
    assert cr.evaluate(network(), cr.MSELoss(), data).loss == pytest.approx(
        cr.evaluate(network(), cr.MSELoss(), (ELSEWHERE, ELSEWHERE)).loss
    )
    np.testing.assert_array_equal(numbers(cr.CrossEntropyLoss(weight).weight.value), ones)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@pytest.mark.parametrize("kind", [kind for kind, (make, _) in WRONG.items() if kind not in ("ragged", "None")])
def test_weights_of_samples_and_of_classes_are_refused_alike(kind: str) -> None:
    make, words = WRONG[kind]
    weight = make(np.ones(8, "float32"))
    with pytest.raises(TypeError, match=words.format(name="sample_weight")):
        cr.data.Dataset(ELSEWHERE, ELSEWHERE, weight)
    with pytest.raises(TypeError, match=words.format(name="weight")):
        cr.CrossEntropyLoss(weight)


@pytest.mark.parametrize("kind", RIGHT)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_network_in_pytorch_reads_every_kind_too(kind: str, dtype: str) -> None:
    model = network().to("torch", dtype=dtype)
    given = RIGHT[kind](NUMBERS)
    expected = model(torch.from_numpy(NUMBERS))
    for found in (model(given), cr.predict(model, given)):
        assert found.dtype == getattr(torch, dtype)
        assert not found.requires_grad
        assert torch.equal(found, expected)


RULES = [
    cr.SGD(lr=0.1),
    cr.Adam(),
    cr.AdamW(),
    cr.RMSprop(),
    cr.Adagrad(),
    cr.NAdam(),
    cr.RAdam(0.01),
    cr.Adamax(),
    cr.Adadelta(),
    cr.Rprop(),
    cr.ASGD(0.1),
    cr.Adafactor(),
    cr.Muon(0.01, weight_decay=0.0),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize(("library", "dtype"), [("numpy", "float16"), ("torch", "float16"), ("torch", "bfloat16")])
def test_networks_of_16_bits_learn(library: str, dtype: str, rule: cr.Optimizer, tmp_path: Path) -> None:
    x = ELSEWHERE * [1, 0]  # the weights of the second input have gradients of zero
    model, other = (network().to(library, dtype=dtype) for _ in range(2))
    before = numbers(model[0].weight.value).copy()
    how = {"batch_size": 3, "keep": "last"}
    history = cr.fit(model, cr.MSELoss(), (x, x), epochs=30, optimizer=copy.deepcopy(rule), **how)
    assert history.losses[-1] < history.losses[0]
    if not rule.weight_decay:
        np.testing.assert_array_equal(numbers(model[0].weight.value)[:, 1], before[:, 1])
    for epochs in (10, 30):  # and go on after an interruption
        resume = {"checkpoint": tmp_path / "run", "resume": epochs == 30}
        cr.fit(other, cr.MSELoss(), (x, x), epochs=epochs, optimizer=copy.deepcopy(rule), **how, **resume)
    for one, two in zip(model.param(), other.param(), strict=True):
        np.testing.assert_array_equal(numbers(one.value), numbers(two.value))


def test_a_newcomers_first_call_works() -> None:
    x = np.random.default_rng(0).random((3, 2))  # float64, as NumPy makes it
    model = network()
    np.testing.assert_array_equal(model(x), model(x.astype("float32")))
    assert model(x).dtype == np.float32
    assert network("float64")(x.astype("float32")).dtype == np.float64
    assert model([[0, 1], [1, 0]]).shape == (2, 2)


def test_a_loop_of_ones_own_is_told_what_to_write() -> None:
    x = np.random.default_rng(0).random((3, 2))
    words = (
        'x must be a numpy float32 array like the weight, got a numpy float64 array; x.astype("float32") converts it'
    )
    with pytest.raises(TypeError, match=re.escape(words)):
        network().forward(x)


def test_longdouble_is_rounded_once() -> None:
    x = np.full((1, 2), np.longdouble(1) / 3)
    np.testing.assert_array_equal(network("float64")(x), network("float64")(x.astype("float64")))
    assert cr.Parameter(x).value.dtype == np.float64


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": [1, None]}, dtype="Int64"), pl.DataFrame({"a": [1, None]})])
def test_a_missing_number_is_nan_and_refused_where_nan_is(frame: Any) -> None:
    layer = cr.Linear(1, 1)
    with pytest.raises(ValueError, match=r"predict: x must be finite in float32, got nan in row 1"):
        cr.predict(layer, frame)
    with pytest.raises(ValueError, match=r"fit: train\.x must be finite in float32, got nan in row 1"):
        cr.fit(layer, cr.MSELoss(), (frame, [[0.0], [0.0]]), epochs=1, optimizer=cr.SGD())
    assert np.isnan(layer(frame)[1, 0])  # arithmetic, as in NumPy


def test_a_module_without_parameters_takes_arrays_as_they_come() -> None:
    x = np.array([[-1, 2]])
    assert cr.ReLU()(x).dtype == x.dtype
    with pytest.raises(TypeError, match=r"ReLU\(\)\.forward: x must be an array"):
        cr.ReLU()(np.ma.masked_array([1.0]))


def test_a_further_input_is_left_to_the_module() -> None:
    class Pick(cr.Module):
        def __init__(self) -> None:
            self.weight = cr.Parameter(np.ones(3, "float32"))

        def forward(self, x: Any, index: Any) -> tuple[Any, Any]:
            return x * self.weight.value[index], None

    assert Pick()([1.0, 2.0], np.array([0, 1])).tolist() == [1.0, 2.0]


# -- targets that are classes

LABELS = np.array([0, 1, 1, 0, 1, 0, 0, 1])
CLASS_LOSSES = {"CrossEntropyLoss": cr.CrossEntropyLoss(), "NLLLoss": cr.NLLLoss()}


def class_doors(loss: cr.Loss) -> dict[str, Callable[[Any], Any]]:
    def one_of_many(target: Any) -> None:
        results = cr.fit_many(network, loss, (ELSEWHERE, target), epochs=1, progress=False)
        if results[0].error:
            kind, _, words = results[0].error.partition(": ")
            raise {"TypeError": TypeError, "ValueError": ValueError}[kind](words)

    return {
        "fit": lambda target: cr.fit(network(), loss, (ELSEWHERE, target), epochs=1),
        "fit in Python": lambda target: cr.fit(network(), loss, (ELSEWHERE, target), epochs=1, engine="python"),
        "validation": lambda target: cr.fit(
            network(), loss, (ELSEWHERE, LABELS), validation=(ELSEWHERE, target), epochs=1
        ),
        "evaluate": lambda target: cr.evaluate(network(), loss, (ELSEWHERE, target)),
        "fit_many": one_of_many,
        "compile.step": lambda target: cr.compile(network(), loss, class_targets=True).step(ELSEWHERE, target),
    }


NO_LABELS: dict[str, tuple[Any, type[Exception], str]] = {
    "floats": (LABELS * 1.0, TypeError, r"target must hold class indices, integers.* got a numpy float\d\d array"),
    "a column of floats": (LABELS[:, None] * 1.0, TypeError, "target must hold class indices, integers"),
    "booleans": (LABELS > 0, TypeError, "target must hold class indices, integers.* got a numpy bool array"),
    "one-hot integers": (np.eye(2, dtype=int)[LABELS], (TypeError, ValueError), "class indices|must be "),
    "one-hot booleans": (np.eye(2, dtype=bool)[LABELS], TypeError, "target must hold class indices, integers"),
    "a column": (LABELS[:, None], ValueError, r"target must be \(.* got \(\d, 1\)"),
    "words": (np.array(["no", "yes"])[LABELS], TypeError, r"number the classes: names, target = numpy\.unique"),
    "words as objects": (np.array(["no", "yes"], object)[LABELS], TypeError, "number the classes: "),
    "objects": (np.array([None, *LABELS[1:]]), TypeError, "target must hold real numbers, got dtype object with None"),
    "negative": (LABELS - 1, ValueError, "target must be in 0 … 1, got -1 at position 0"),
    "too large": (LABELS + 1, ValueError, "target must be in 0 … 1, got 2 at position 1"),
    "masked": (np.ma.masked_array(LABELS, LABELS > 0), TypeError, "must be a plain array, got a masked one"),
}


@pytest.mark.parametrize("kind", NO_LABELS)
@pytest.mark.parametrize("door", class_doors(cr.NLLLoss()))
@pytest.mark.parametrize("loss", CLASS_LOSSES)
def test_what_are_no_labels_is_refused_by_what_is_wrong_with_it(loss: str, door: str, kind: str) -> None:
    target, error, words = NO_LABELS[kind]
    with pytest.raises(error, match=words):
        class_doors(CLASS_LOSSES[loss])[door](target)


@pytest.mark.parametrize("loss", CLASS_LOSSES)
@pytest.mark.parametrize("door", class_doors(cr.NLLLoss()))
@pytest.mark.parametrize("dtype", ["int8", "uint8", ">i4", "int64", "uint64", "O", "list", "torch"])
def test_labels_of_any_integers_are_labels(loss: str, door: str, dtype: str) -> None:
    labels = {"list": LABELS.tolist(), "torch": torch.from_numpy(LABELS)}.get(dtype)
    class_doors(CLASS_LOSSES[loss])[door](LABELS.astype(dtype) if labels is None else labels)


def test_class_indices_need_a_network_that_was_compiled_for_them() -> None:
    step = cr.compile(network(), cr.CrossEntropyLoss())
    words = re.escape("compile(…, class_targets=True) takes class indices")
    with pytest.raises(TypeError, match=f"step: target must hold probabilities.* {words}"):
        step.step(ELSEWHERE, LABELS)


@pytest.mark.parametrize("loss", [cr.BCEWithLogitsLoss(), cr.MSELoss()], ids=["BCEWithLogitsLoss", "MSELoss"])
def test_labels_for_one_output_are_a_column(loss: cr.Loss) -> None:
    model = cr.Sequential(cr.SGD(), cr.Linear(2, 1))
    with pytest.raises(ValueError, match=r"target must have the shape of y, \(\d, 1\), got \(\d,\); reshape it"):
        cr.fit(model, loss, (ELSEWHERE, LABELS), epochs=1)
    cr.fit(model, loss, (ELSEWHERE, LABELS.reshape(-1, 1)), epochs=1)
