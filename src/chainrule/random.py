"""Where every random number comes from.

Initial weights come from NumPy's default generator, which `seed(n)` sets and every layer's `rng=` overrides.

Everything that training draws comes from a counter-based generator instead: a number is a pure function of its address
(seed, index, stream), so any epoch's order and any step's dropout mask can be computed on its own, by Python and by the
native engine alike, and resuming a run needs no generator's state.
"""

import numbers
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_default = None  # made on first use: importing numpy.random costs more than the rest of this module

ORDER_STREAM = 0  # the order of samples; dropout layer 0, 1, … uses stream 1, 2, …
_HALFWORDS = 8  # 16-bit numbers in one Philox block of four 32-bit words
_DROPOUT_ROUNDS = 7  # of Philox: they pass every test of BigCrush; ten, as elsewhere, leave a margin


def seed(n: int) -> None:
    """Seed the generator that initial weights come from: after the same seed, the same layers get the same weights."""
    global _default
    _default = np.random.default_rng(check_seed(n))


@contextmanager
def seeded(n: int) -> Iterator[None]:
    """After `seed(n)` inside the block; outside of it the default generator goes on as if there had been none."""
    global _default
    before = _default
    seed(n)
    try:
        yield
    finally:
        _default = before


def generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """The generator that `rng` stands for: itself, a fresh one seeded by an integer, or the default one for None."""
    global _default
    if rng is not None:
        if not isinstance(rng, np.random.Generator | numbers.Integral):
            raise TypeError(f"rng must be a numpy.random.Generator, an integer seed or None, got {type(rng).__name__}")
        return np.random.default_rng(rng if isinstance(rng, np.random.Generator) else check_seed(rng, "rng"))
    if _default is None:
        _default = np.random.default_rng()
    return _default


def check_seed(n: int, name: str = "seed") -> int:
    """n, if it is a usable seed: an integer of 64 bits, not negative."""
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {n!r}")
    if not 0 <= n < 2**64:
        raise ValueError(f"{name} must be in 0 … 2⁶⁴-1, got {n}")
    return int(n)


def philox(n_blocks: int, *, seed: int, index: int, stream: int, rounds: int = 10) -> np.ndarray:
    """Blocks of four random 32-bit words, a pure function of the address.

    Key       seed, as two 32-bit words
    Counter   (block, index low, index high, stream), so one address holds up to 2³² blocks
    Shapes    -> (n_blocks, 4) uint32
    Source    Philox4x32: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
    """
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    # The words are kept in 64 bits so that a 32 x 32-bit product shows both its halves.
    c0 = np.arange(n_blocks, dtype=np.uint64)
    c1 = np.full(n_blocks, index & 0xFFFFFFFF, dtype=np.uint64)
    c2 = np.full(n_blocks, index >> 32, dtype=np.uint64)
    c3 = np.full(n_blocks, stream, dtype=np.uint64)
    for _ in range(rounds):
        product0 = np.uint64(0xD2511F53) * c0
        product1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (product1 >> half) ^ c1 ^ np.uint64(key0),
            product1 & low,
            (product0 >> half) ^ c3 ^ np.uint64(key1),
            product0 & low,
        )
        key0 = (key0 + 0x9E3779B9) & 0xFFFFFFFF  # Weyl sequences: the golden ratio and √3 - 1, times 2³²
        key1 = (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def order(n: int, *, seed: int, epoch: int, stream: int = ORDER_STREAM) -> np.ndarray:
    """The order in which epoch `epoch` visits n samples: every sample draws a 63-bit key, and the keys are sorted.

    A key's low bits make way for the number of its sample. So no two are alike, and sorting the keys sorts the samples.

    Shapes    -> (n,) int64
    """
    words = philox((n + 1) // 2, seed=seed, index=epoch, stream=stream).astype(np.uint64)
    keys = (words[:, 0::2] | words[:, 1::2] << np.uint64(32)).reshape(-1)[:n] >> np.uint64(1)
    low_bits = np.int64((1 << max(n - 1, 15).bit_length()) - 1)  # those that a number takes, at least four
    in_order: np.ndarray = np.sort(keys.astype(np.int64) & ~low_bits | np.arange(n)) & low_bits
    return in_order


def dropout_mask(shape: tuple[int, ...], p: float, *, seed: int, layer: int, index: int) -> np.ndarray:
    """What dropout multiplies its input by: 0 with probability p, and what keeps the mean at 1 elsewhere.

    Every element draws 16 bits, so p counts in steps of 2⁻¹⁶ (an error of at most 8e-6, and the scale is made for the
    p that results). Element after element takes them from block after block of the generator.

    Shapes    -> (batch, …) float64
    """
    n = int(np.prod(shape, dtype=np.int64))
    words = philox(-(-n // _HALFWORDS), seed=seed, index=index, stream=1 + layer, rounds=_DROPOUT_ROUNDS)
    draws = words.astype("<u4").view("<u2").reshape(-1)[:n]
    threshold = round(p * 2**16)
    return np.where(draws >= threshold, 2**16 / max(2**16 - threshold, 1), 0.0).reshape(shape)
