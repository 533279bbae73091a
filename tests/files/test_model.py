"""Models as files: what comes back, and what happens to files that something has happened to."""

import random

import numpy as np
import pytest
from counting import instructions

import chainrule as cr
from chainrule.files import read_file, write_file


def network():
    cr.seed(0)
    return cr.Sequential(
        cr.Adam(lr=cr.StepLR(0.01, 5)),
        cr.Linear(2, 6),
        cr.GELU(),
        cr.Dropout(0.1),
        cr.Linear(6, 6, bias=False),
        cr.Linear(6, 2),
    )


def test_a_trained_model_comes_back_with_its_history(tmp_path):
    model, data = network(), cr.data.disk(100, seed=0)
    history = cr.fit(model, cr.MSELoss(), data, epochs=3, validation=data, metrics=[cr.metrics.accuracy])
    model.save(tmp_path / "model.safetensors", history=history)
    other = cr.load(tmp_path / "model.safetensors")
    assert repr(other) == repr(model)
    np.testing.assert_array_equal(cr.predict(other, data.x), cr.predict(model, data.x))
    header = read_file(tmp_path / "model.safetensors")[1]
    assert cr.History.from_dict(header["history"]) == history
    cr.fit(other, cr.MSELoss(), data, epochs=1)  # it can be trained on, with the optimizer that came with it


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_of_another_library_comes_back_on_numpy_in_its_dtype(tmp_path, dtype):
    torch = pytest.importorskip("torch")
    model = network().to("torch", dtype=dtype)
    for parameter in model.param():
        parameter.value = parameter.value.T.contiguous().T if parameter.value.ndim == 2 else parameter.value
    model.save(tmp_path / "a")
    other = cr.load(str(tmp_path / "a"))
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(dtype)
    np.testing.assert_allclose(other(x), model(torch.from_numpy(x)), rtol=1e-5)
    for mine, theirs in zip(other.param(), model.param(), strict=True):
        np.testing.assert_array_equal(mine.value, theirs.value.numpy(), strict=True)


def test_pytorch_can_read_the_tensors(tmp_path):
    from safetensors.torch import load_file

    model = network()
    model.save(tmp_path / "a.safetensors")
    state = load_file(tmp_path / "a.safetensors")
    assert {name: tuple(x.shape) for name, x in state.items()} == {n: x.shape for n, x in model.state_dict().items()}


def test_saving_what_cannot_be_saved_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a"
    network().save(path)
    before = path.read_bytes()

    class Own(cr.Module):
        def __init__(self, width):
            pass

    with pytest.raises(TypeError, match="Own cannot be described"):
        cr.Sequential(Own(3)).save(path)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        network().save(tmp_path / "nowhere" / "a")


@pytest.mark.parametrize("kind", [None, "sandwich", 3])
def test_files_of_another_kind_are_an_error(tmp_path, kind):
    write_file(tmp_path / "a", {}, {"kind": kind})
    with pytest.raises(ValueError, match="must hold a model or a checkpoint"):
        cr.load(tmp_path / "a")


def damaged(data, rng):
    """The data with one thing wrong: cut off, a bit turned, bytes overwritten, taken out, or put in."""
    place, what = rng.randrange(len(data)), rng.randrange(5)
    if what == 0:
        return data[:place]
    if what == 1:
        return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    some = rng.randbytes(rng.randrange(1, 9))
    if what == 2:
        return data[:place] + some + data[place + len(some) :]
    if what == 3:
        return data[:place] + data[place + len(some) :]
    return data[:place] + some + data[place:]


@pytest.mark.parametrize("seed", range(10))
def test_damaged_files_are_an_error_or_a_model(tmp_path, seed):
    """Two hundred a seed. Bits of the weights themselves may turn without anybody knowing; nothing else may happen."""
    rng, path = random.Random(seed), tmp_path / "a"
    network().save(path)
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for n in range(200):
        data = damaged(whole, rng) if n % 2 else damaged(whole[:begin], rng) + whole[begin:]
        path.write_bytes(data)
        try:
            assert isinstance(cr.load(path), cr.Module)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - that there is a ValueError is not demanded
            refused += 1
    assert refused > 100


def test_every_truncation_is_an_error(tmp_path):
    path = tmp_path / "a"
    network().save(path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged"):
            cr.load(path)


def test_the_work_of_saving_and_loading_grows_as_the_number_of_layers(tmp_path):
    def work(n):
        model = cr.Sequential(*(layer for _ in range(n) for layer in (cr.Linear(2, 2, rng=0), cr.ReLU())))
        return instructions(model.save, tmp_path / "a"), instructions(cr.load, tmp_path / "a")

    for few, many in zip(work(10), work(80), strict=True):
        assert many < 9 * few
