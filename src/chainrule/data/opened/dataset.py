"""A Dataset whose numbers stay in files."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from ... import random
from ...arguments import positive
from ...structures import Structure, each, leaves, rebuild
from ..dataset import Dataset, take
from .ahead import ahead
from .fields import Fields, array, chosen, column
from .file import File
from .find import files
from .order import windows, within

WINDOW = 1 << 24  # numbers, by default: 64 MB of float32
BLOCKS = 64  # in a window, by default


class Piece(NamedTuple):
    """Rows of a file that are read at once."""

    file: File
    start: int
    stop: int


class Window(NamedTuple):
    """Samples of an epoch from `first` on: those of `data`, in this order."""

    epoch: int
    first: int
    data: Dataset
    order: np.ndarray


class Opened(Dataset):
    """Samples in files; made by `Dataset.open`.

    Whatever needs all of them at once (`x`, `target`, `take` by positions) has them read, if they are no more than a
    window, and says so otherwise.

    pieces : the blocks, in order. window : the most samples of a window. readers : the threads that read.
    """

    in_files = True

    def __init__(self, fields: Fields, pieces: list[Piece], window: int, readers: int) -> None:
        self.fields, self.pieces, self.window, self.readers = fields, pieces, window, readers
        self.extra = {}
        self.sizes = np.array([piece.stop - piece.start for piece in pieces])
        self.ready: Callable[[Dataset], Dataset] | None = None  # what makes samples ready for a network
        self.by_block = True  # whether that is done by those who read, or with each window
        self.checks: list[Callable[[Dataset], None]] = []  # what samples that are ready have to pass

    @classmethod
    def of_files(
        cls,
        path: Any,
        inputs: Any,
        targets: Any,
        sample_weight: Any,
        block: int | None,
        window: int | None,
        readers: int,
    ) -> "Opened":
        """What `Dataset.open` opens."""
        found = files(path)
        fields = chosen(found, inputs, targets, sample_weight)
        columns = [column(found[0], field) for _, field in fields.named()]
        fit = WINDOW // max(1, sum(math.prod(one.shape) for one in columns))
        rows = 1 << max(fit, BLOCKS).bit_length() - 1 if window is None else positive("Dataset.open", "window", window)
        size = max(1, rows // BLOCKS) if block is None else positive("Dataset.open", "block", block)
        pieces = [Piece(file, *ends) for file in found for ends in file.blocks(size) if ends[1] > ends[0]]
        if not pieces:
            raise ValueError(f"Dataset.open: there are no samples in {path}")
        return cls(fields, pieces, rows, positive("Dataset.open", "readers", readers))

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def __repr__(self) -> str:
        n, first = len(self), self.pieces[0].file
        shapes = [(name, column(first, field)) for name, field in self.fields.named()]
        parts = ", ".join(f"{name} {(n, *of.shape)} {of.dtype}" for name, of in shapes)
        files = len({id(piece.file) for piece in self.pieces})
        return f"Dataset({parts}, in {files} file{'s' * (files > 1)}, windows of {self.window:,})"

    @property
    def x(self) -> Structure:
        """The inputs, read."""
        return self._whole("x").x

    @property
    def target(self) -> Structure:
        """The targets, read."""
        return self._whole("target").target

    @property
    def sample_weight(self) -> Any:  # type: ignore[override]
        """The weights, read; None if there are none."""
        return None if self.fields.sample_weight is None else self._whole("sample_weight").sample_weight

    def _whole(self, what: str) -> Dataset:
        if len(self) > self.window:
            raise ValueError(
                f"Dataset: {what} of {len(self):,} samples is in files, and this would need all of it in memory; "
                f"take(slice(0, n)).read() reads a part"
            )
        return self.read()

    def read(self) -> Dataset:
        """All samples, in memory, in the dtypes on disk."""
        found = _joined([self._block(piece) for piece in self.pieces])
        return found if self.by_block else self._made_ready(found)

    def take(self, index: Any) -> Dataset:
        """The samples that a slice picks, still in their files; or that an array of positions picks, in memory."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._of(self._cut(start, max(start, stop)))
            index = np.arange(start, stop, step)
        index = np.arange(len(self))[index] if np.asarray(index).dtype == bool else np.asarray(index)
        index = np.where(index < 0, index + len(self), index)
        if index.size and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"Dataset.take: positions must be below {len(self)}, got {index.min()} … {index.max()}")
        ends = np.concatenate([[0], self.sizes.cumsum()])
        block, found, at = np.searchsorted(ends, index, side="right") - 1, [], []
        for i in np.unique(block):
            here = np.flatnonzero(block == i)
            found.append(_rows(self._block(self.pieces[i]), index[here] - ends[i]))
            at.append(here)
        data = _rows(_joined(found), np.argsort(np.concatenate(at)))
        return data if self.by_block else self._made_ready(data)

    def split(self, fraction: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Divide at random into two, block by block: the first gets `fraction` of the samples, the second the rest."""
        n = self._first_of_two(fraction)
        order = random.order(len(self.pieces), seed=random.check_seed(seed), epoch=0)
        shuffled = self._of([self.pieces[i] for i in order])
        return shuffled.take(slice(0, n)), shuffled.take(slice(n, None))

    def batches(
        self, batch_size: int, *, seed: int = 0, epoch: int = 0, shuffle: bool = True, start: int = 0
    ) -> Iterator[tuple[Structure, ...]]:
        """Yield (x, target) or (x, target, sample_weight), batch after batch, in the order that `fit` uses."""
        size = positive("Dataset.batches", "batch_size", batch_size)
        random.check_seed(seed)
        read = self.windows(size, seed=seed, epoch=epoch, shuffle=shuffle, start=start * size)
        with closing(read):
            for _, _, data, order in read:
                for first in range(0, len(order), size):
                    yield tuple(take(part, order[first : first + size]) for part in _parts(data))

    def parts(self) -> Iterator[Dataset]:
        """All samples in their order, a window at a time, each read while the one before is used."""
        with closing(self.windows(1, shuffle=False)) as read:
            for one in read:
                yield _rows(one.data, slice(0, len(one.order)))

    def windows(
        self,
        multiple: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        start: int = 0,
        epochs: int | None = 1,
        recycle: bool = False,
    ) -> Generator[Window, None, None]:
        """The samples of an epoch from `start` on, a window at a time, and of those that follow.

        multiple : each window but the last of an epoch has a multiple of so many; what is over goes to the next.
        start : a multiple of that. epochs : how many; None for no end.
        recycle : whether the memory of a window is used for others as soon as the next one is asked for.
        """
        due = (
            part
            for e in (count(epoch) if epochs is None else range(epoch, epoch + epochs))
            for part in self._planned(e, multiple, seed, shuffle)
            if e > epoch or part.first + part.rows > start
        )
        spare: deque[Dataset] = deque()
        carried: Dataset | None = None
        with closing(ahead(partial(self._gathered, spare), due, self.readers)) as gathered:
            for part, data, order in gathered:
                if carried is not None:
                    _copy(carried, data, slice(0, part.over))
                whole = len(order) if part.is_last else len(order) - len(order) % multiple
                carried = None if part.is_last else _rows(data, order[whole:])
                begin = part.first - part.over
                skipped = max(0, start - begin) if part.epoch == epoch else 0
                if whole > skipped:
                    yield self._window(part.epoch, begin + skipped, data, order[skipped:whole])
                if recycle:
                    spare.append(data)

    def _window(self, epoch: int, first: int, data: Dataset, order: np.ndarray) -> Window:
        if self.by_block:
            return Window(epoch, first, data, order)
        return Window(epoch, first, self._made_ready(_rows(data, order)), np.arange(len(order)))

    def _planned(self, epoch: int, multiple: int, seed: int, shuffle: bool) -> Iterator["Part"]:
        """What is read for an epoch, one window after the other."""
        blocks = windows(self.sizes, self.window, seed=seed, epoch=epoch, shuffle=shuffle)
        sizes = [int(self.sizes[of].sum()) for of in blocks]
        first, room = 0, max(sizes) + multiple - 1
        for k, (of, rows) in enumerate(zip(blocks, sizes, strict=True)):
            order = (lambda n, k=k: within(n, k, len(blocks), seed=seed, epoch=epoch)) if shuffle else np.arange
            yield Part(epoch, first, rows, of, first % multiple, k + 1 == len(blocks), order, room)
            first += rows

    def _gathered(self, spare: deque[Dataset], part: "Part") -> tuple["Part", Dataset, np.ndarray]:
        """The samples of a window, behind room for those that the one before leaves over, and their order."""
        first, room = part.over, None
        with suppress(IndexError):
            room = spare.popleft()
        for i in part.blocks:
            block = self._block(self.pieces[i])
            if room is None or len(room) < part.room:
                room = _map(lambda rows: np.empty((part.room, *rows.shape[1:]), rows.dtype), block)
            _copy(block, room, slice(first, first + len(block)))
            first += len(block)
        assert room is not None
        return part, room, np.concatenate([np.arange(part.over), part.over + part.order(part.rows)])

    def _block(self, piece: Piece) -> Dataset:
        """The samples of a block, checked."""
        file, start, stop = piece
        read = file.read(self.fields.names(), start, stop)
        x, target, weight = (
            None if part is None else each(lambda field: array(field, read), part) for part in self.fields
        )
        data = Dataset.of_checked(x, target, weight)
        try:
            return self._made_ready(data) if self.by_block else data
        except (ValueError, TypeError) as problem:
            raise type(problem)(f"{problem}, counted from row {start:,} of {file.path}") from None

    def _made_ready(self, data: Dataset) -> Dataset:
        data = data if self.ready is None else self.ready(data)
        for check in self.checks:
            check(data)
        return data

    def prepared(self, ready: Callable[[Dataset], Dataset], *, by_block: bool) -> "Opened":
        """The same samples, each made ready by a function when it is read: by the threads that read, or after that."""
        found = self._of(self.pieces)
        found.ready, found.by_block, found.checks = ready, by_block, []
        return found

    def _of(self, pieces: list[Piece]) -> "Opened":
        found = type(self)(self.fields, pieces, self.window, self.readers)
        found.ready, found.by_block, found.checks = self.ready, self.by_block, self.checks
        return found

    def _cut(self, start: int, stop: int) -> list[Piece]:
        """The blocks, or parts of them, in which samples `start` to before `stop` are."""
        found, first = [], 0
        for file, begin, end in self.pieces:
            here, there = max(begin, begin + start - first), min(end, begin + stop - first)
            if there > here:
                found.append(Piece(file, here, there))
            first += end - begin
        return found


class Part(NamedTuple):
    """A window to be read: `rows` samples of an epoch from `first` on, in these blocks, in this order.

    over : the samples before them that come with them, as they do not fill a batch. is_last : of the epoch. room : for
    how many samples there has to be memory, for this window and others.
    """

    epoch: int
    first: int
    rows: int
    blocks: np.ndarray
    over: int
    is_last: bool
    order: Callable[[int], np.ndarray]
    room: int


def _parts(data: Dataset) -> list[Structure]:
    return [part for part in (data.x, data.target, data.sample_weight) if part is not None]


def _map(function: Callable[[Any], Any], data: Dataset) -> Dataset:
    """What a function makes of every array."""
    parts = (None if part is None else each(function, part) for part in (data.x, data.target, data.sample_weight))
    return Dataset.of_checked(*parts)


def _rows(data: Dataset, index: Any) -> Dataset:
    """The samples that a slice or an array of positions picks, none perhaps."""
    return _map(lambda array: array[index], data)


def _copy(data: Dataset, to: Dataset, where: slice) -> None:
    """Write the samples of one Dataset to places of another."""
    for part, into in zip(_parts(data), _parts(to), strict=True):
        for rows, place in zip(leaves(part), leaves(into), strict=True):
            place[where] = rows


def _joined(parts: list[Dataset]) -> Dataset:
    """The samples of several, one after the other."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(_parts(part) for part in parts), strict=True)
    joined = [
        rebuild(column[0], [np.concatenate(of) for of in zip(*map(leaves, column), strict=True)]) for column in columns
    ]
    target, weight = parts[0].target is not None, parts[0].sample_weight is not None
    return Dataset.of_checked(joined[0], joined[1] if target else None, joined[-1] if weight else None)
