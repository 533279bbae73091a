import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import Dataset
from chainrule.data.opened.dataset import Opened
from chainrule.random import order

N = 500
X = np.arange(3.0 * N).reshape(N, 3).astype(np.float16)
TARGET = np.arange(N, dtype=np.uint16)
WEIGHT = np.linspace(1, 2, N)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("opened") / "samples.npz"
    np.savez(path, x=X, target=TARGET, weight=WEIGHT)
    return path


def _opened(path, **how):
    return Dataset.open(path, sample_weight="weight", **({"block": 8, "window": 64} | how))


def test_shapes_and_dtypes_are_those_on_disk_and_nothing_is_read_for_them(path, monkeypatch):
    data = _opened(path)
    monkeypatch.setattr(Opened, "_block", None)
    assert len(data) == N
    shapes = "x (500, 3) float16, target (500,) uint16, sample_weight (500,) float64"
    assert repr(data) == f"Dataset({shapes}, in 1 file, windows of 64)"


def test_read_brings_everything_as_it_is_on_disk(path):
    data = _opened(path).read()
    assert not data.in_files
    for found, expected in ((data.x, X), (data.target, TARGET), (data.sample_weight, WEIGHT)):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@given(
    block=st.integers(1, 70),
    window=st.integers(1, 700),
    batch_size=st.integers(1, 300),
    shuffle=st.booleans(),
    epoch=st.integers(0, 2**40),
    start=st.integers(0, 5),
)
def test_every_sample_comes_once_an_epoch_with_its_own_target(path, block, window, batch_size, shuffle, epoch, start):
    data = _opened(path, block=block, window=window)
    how = {"seed": 3, "epoch": epoch, "shuffle": shuffle}
    batches = list(data.batches(batch_size, **how))
    assert [len(x) for x, _, _ in batches] == [batch_size] * (N // batch_size) + [N % batch_size] * (N % batch_size > 0)
    x, target, weight = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(np.sort(target), TARGET)
    np.testing.assert_array_equal(x, X[target])
    np.testing.assert_array_equal(weight, WEIGHT[target])
    later = [target.tolist() for _, target, _ in data.batches(batch_size, start=start, **how)]
    assert later == [target.tolist() for _, target, _ in batches][start:]


def _order(data, **how):
    return [int(one) for _, target, _ in data.batches(50, **how) for one in target]


def test_the_order_is_that_of_seed_and_epoch_for_any_number_of_readers(path):
    orders = [_order(_opened(path, readers=n), seed=1, epoch=2) for n in (1, 2, 5)]
    assert orders[0] == orders[1] == orders[2]
    assert orders[0] != _order(_opened(path), seed=1, epoch=3)
    assert orders[0] != _order(_opened(path), seed=2, epoch=2)


def test_a_window_holds_whole_blocks_and_is_shuffled_within(path):
    data = _opened(path, block=10, window=40)
    first = _order(data, seed=1)[:40]
    blocks = order(50, seed=1, epoch=0, stream=1 << 31)[:4]
    stand = np.concatenate([np.arange(10 * i, 10 * i + 10) for i in blocks])
    assert first == stand[order(40, seed=1, epoch=0, stream=(1 << 31) + 1)].tolist()


def test_one_window_has_the_order_of_memory(path):
    expected = [int(one) for _, target in Dataset(X, TARGET).batches(50, seed=4, epoch=7) for one in target]
    assert _order(_opened(path, window=N), seed=4, epoch=7) == expected


def test_a_slice_stays_in_its_files_and_positions_come_to_memory(path):
    data = _opened(path)
    part = data.take(slice(13, 300))
    assert part.in_files
    np.testing.assert_array_equal(part.read().target, TARGET[13:300])
    np.testing.assert_array_equal(part.take(slice(-5, None)).read().x, X[295:300])
    np.testing.assert_array_equal(data.take(np.array([499, 0, -2, 0])).target, [499, 0, 498, 0])
    np.testing.assert_array_equal(data.take(TARGET % 7 == 0).target, TARGET[::7])
    with pytest.raises(IndexError, match=r"positions must be below 500, got 500"):
        data.take(np.array([500]))


def test_split_divides_block_by_block(path):
    a, b = _opened(path).split(0.7, seed=2)
    assert (len(a), len(b)) == (350, 150)
    assert a.in_files
    found = np.concatenate([a.read().target, b.read().target])
    np.testing.assert_array_equal(np.sort(found), TARGET)
    assert np.count_nonzero(np.diff(a.read().target.astype(int)) != 1) < 350 / 8 + 1
    with pytest.raises(ValueError, match="leaves one part empty"):
        _opened(path).split(1e-9)


def test_what_needs_all_of_it_is_given_a_window_and_no_more(path):
    np.testing.assert_array_equal(_opened(path, window=N).x, X)
    assert Dataset.open(path).sample_weight is None
    with pytest.raises(ValueError, match=r"x of 500 samples is in files.*read\(\) reads a part"):
        _ = _opened(path).x


def test_several_inputs_and_heads_keep_their_form(path):
    data = Dataset.open(path, inputs={"a": "x", "b": "weight"}, targets=("target", "weight"), window=64)
    batch, targets = next(data.batches(16, shuffle=False))
    np.testing.assert_array_equal(batch["b"], WEIGHT[:16])
    np.testing.assert_array_equal(targets[0], TARGET[:16])


@pytest.mark.parametrize("kind", ["npy", "npy folder", "npz", "safetensors", "arrow", "parquet", "parts"])
def test_every_kind_of_file_holds_the_same_samples(kind, tmp_path):
    place = _written(kind, tmp_path)
    named = {"inputs": ["x0", "x1", "x2"]} if kind in ("arrow", "parquet") else {}
    data = Dataset.open(place, window=64, **named)
    read = data.read()
    assert (read.x.dtype, read.target.dtype) == (np.float32, np.int16)
    np.testing.assert_array_equal(read.x, X.astype(np.float32))
    np.testing.assert_array_equal(read.target, TARGET.astype(np.int16))
    np.testing.assert_array_equal(data.take(slice(90, 320)).read().target, TARGET[90:320])


def _written(kind, folder):
    arrays = {"x": X.astype(np.float32), "target": TARGET.astype(np.int16)}
    columns = {f"x{i}": arrays["x"][:, i] for i in range(3)} | {"target": arrays["target"]}
    path = folder / f"samples.{kind}"
    if kind.startswith("npy"):
        paths = {name: folder / f"{name}.npy" for name in arrays}
        for name, array in arrays.items():
            np.save(paths[name], array)
        return folder if "folder" in kind else paths
    if kind == "npz":
        np.savez(path, **arrays)
    if kind == "safetensors":
        from safetensors.numpy import save_file

        save_file(arrays, path, {"of": "somebody"})
    if kind == "arrow":
        table = pa.table(columns)
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table, max_chunksize=77)
    if kind == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), path, row_group_size=77)
    if kind == "parts":
        path.mkdir()
        for i in range(13):  # part 10 comes after part 9
            np.savez(path / f"part-{i}.npz", **{name: array[40 * i : 40 * i + 40] for name, array in arrays.items()})
    return path
