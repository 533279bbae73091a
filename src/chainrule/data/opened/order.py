"""In what order samples come that are read in windows: a pure function of seed, epoch and the blocks' lengths."""

import numpy as np

from ...random import ORDER_STREAM, order

BLOCKS = 1 << 31  # the stream of the order of blocks; window 0, 1, … draws from those that follow


def windows(sizes: np.ndarray, most: int, *, seed: int, epoch: int, shuffle: bool) -> list[np.ndarray]:
    """The blocks of each window, by their numbers: as many as have `most` samples together, or one that has more.

    Shuffled, the blocks come in the order of the epoch; what is one window as a whole needs none.

    Shapes    sizes (blocks,)
    """
    shuffle = shuffle and int(sizes.sum()) > most
    blocks = order(len(sizes), seed=seed, epoch=epoch, stream=BLOCKS) if shuffle else np.arange(len(sizes))
    found, first, samples = [], 0, 0
    for i, size in enumerate(sizes[blocks].tolist()):
        if i > first and samples + size > most:
            found.append(blocks[first:i])
            first, samples = i, 0
        samples += size
    return [*found, blocks[first:]]


def within(n: int, window: int, windows: int, *, seed: int, epoch: int) -> np.ndarray:
    """The order of a window's n samples, which stand there block after block; of the only window that of `random`."""
    return order(n, seed=seed, epoch=epoch, stream=ORDER_STREAM if windows == 1 else BLOCKS + 1 + window)
