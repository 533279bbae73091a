import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import random

MASK = 0xFFFFFFFF


def philox_by_the_paper(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10 in plain integers, word by word as in Salmon et al. 2011, section 3.3."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((MASK,) * 4, (MASK,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_the_paper_version_gives_the_known_answers_of_random123(
    counter: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]
) -> None:
    assert philox_by_the_paper(counter, key) == answer


def test_address_zero_gives_the_known_answer_of_random123() -> None:
    words = random.philox(1, seed=0, index=0, stream=0)
    assert words.dtype == np.uint32
    assert words.tolist() == [[0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]]
    seven = random.philox(1, seed=0, index=0, stream=0, rounds=7)
    assert seven.tolist() == [[0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48]]


@given(
    seed=st.integers(0, 2**64 - 1),
    index=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**32 - 1),
    n=st.integers(1, 20),
)
def test_every_block_is_that_of_the_paper(seed: int, index: int, stream: int, n: int) -> None:
    key = (seed & MASK, seed >> 32)
    expected = [philox_by_the_paper((block, index & MASK, index >> 32, stream), key) for block in range(n)]
    assert [tuple(row) for row in random.philox(n, seed=seed, index=index, stream=stream).tolist()] == expected


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    address = {"seed": 1, "index": 2, "stream": 3}
    np.testing.assert_array_equal(random.philox(100, **address)[:7], random.philox(7, **address))
    assert random.philox(0, **address).shape == (0, 4)


def chi_square_is_ordinary(counts: np.ndarray, expected: float | np.ndarray) -> bool:
    """Whether χ² lies within five standard deviations of its mean: it has mean k and variance 2k, k = bins - 1."""
    k = counts.size - 1
    chi2 = float((((counts - expected) ** 2) / expected).sum())
    return abs(chi2 - k) < 5 * math.sqrt(2 * k)


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_bytes_of_the_words_are_uniform(shift: int) -> None:
    for stream, index in ((0, 0), (1, 0), (0, 1)):
        words = random.philox(20_000, seed=7, index=index, stream=stream).ravel()
        counts = np.bincount(words >> shift & 0xFF, minlength=256)
        assert chi_square_is_ordinary(counts, words.size / 256)


@given(n=st.integers(0, 300), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**40))
def test_an_order_is_a_permutation_and_a_function_of_seed_and_epoch(n: int, seed: int, epoch: int) -> None:
    order = random.order(n, seed=seed, epoch=epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    np.testing.assert_array_equal(random.order(n, seed=seed, epoch=epoch), order)


def test_orders_of_other_epochs_and_seeds_are_others() -> None:
    first = random.order(100, seed=1, epoch=1)
    for seed, epoch in ((1, 2), (2, 1), (1, 1 + 2**32), (1 + 2**32, 1)):
        assert not np.array_equal(first, random.order(100, seed=seed, epoch=epoch))


def test_every_sample_comes_equally_often_at_every_place() -> None:
    epochs, n = 4000, 5
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        counts[np.arange(n), random.order(n, seed=3, epoch=epoch)] += 1
    assert all(chi_square_is_ordinary(row, epochs / n) for row in counts)
    assert all(chi_square_is_ordinary(column, epochs / n) for column in counts.T)


def test_all_orders_of_four_samples_are_equally_likely() -> None:
    weights = np.array([64, 16, 4, 1])
    codes = [int(weights @ random.order(4, seed=11, epoch=epoch)) for epoch in range(6000)]
    counts = np.unique(codes, return_counts=True)[1]
    assert counts.size == 24
    assert chi_square_is_ordinary(counts, 6000 / 24)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_mask_drops_the_share_that_it_is_told(p: float) -> None:
    mask = random.dropout_mask((999, 37), p, seed=1, layer=0, index=0)
    dropped = (mask == 0).mean()
    assert abs(dropped - p) <= 2**-17 + 5 * math.sqrt(p * (1 - p) / mask.size)  # five standard deviations
    if p < 1:
        np.testing.assert_allclose(mask[mask > 0], 1 / (1 - round(p * 2**16) / 2**16), rtol=1e-15)
    by_column = (mask == 0).sum(axis=0)
    if 0 < p < 1:  # over two bins, dropped and kept, of each column
        chi2 = (((by_column - 999 * p) ** 2) / (999 * p * (1 - p))).sum()
        assert abs(chi2 - 37) < 5 * math.sqrt(2 * 37)


@given(
    shape=st.lists(st.integers(1, 20), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 2**64 - 1),
    layer=st.integers(0, 100),
)
def test_a_mask_has_the_shape_that_it_is_told(shape: tuple[int, ...], seed: int, layer: int) -> None:
    mask = random.dropout_mask(shape, 0.5, seed=seed, layer=layer, index=3)
    assert mask.shape == shape
    assert set(np.unique(mask)) <= {0.0, 2.0}


def test_a_mask_of_more_rows_begins_with_that_of_fewer() -> None:
    address = {"seed": 1, "layer": 2, "index": 3}
    np.testing.assert_array_equal(
        random.dropout_mask((20, 5), 0.5, **address)[:3], random.dropout_mask((3, 5), 0.5, **address)
    )


def test_a_mask_by_hand() -> None:
    # Element after element takes the eight halfwords of block after block, low half first.
    mask = random.dropout_mask((3, 5), 0.25, seed=5, layer=4, index=3)
    blocks = random.philox(2, seed=5, index=3, stream=5, rounds=7).tolist()
    halves = [half for block in blocks for word in block for half in (word & 0xFFFF, word >> 16)]
    assert mask.ravel().tolist() == [4 / 3 if half >= 0x4000 else 0.0 for half in halves[:15]]


def test_seed_sets_the_default_generator() -> None:
    cr.seed(5)
    first = random.generator().normal(size=3)
    cr.seed(5)
    np.testing.assert_array_equal(random.generator().normal(size=3), first)
    np.testing.assert_array_equal(random.generator(5).normal(size=3), first)
    rng = np.random.default_rng(0)
    assert random.generator(rng) is rng


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (-1, ValueError, "seed must be in 0 … 2⁶⁴-1, got -1"),
        (2**64, ValueError, f"seed must be in 0 … 2⁶⁴-1, got {2**64}"),
        (1.0, TypeError, "seed must be an integer, got 1.0"),
        ("1", TypeError, "seed must be an integer, got '1'"),
        (True, TypeError, "seed must be an integer, got True"),
        (None, TypeError, "seed must be an integer, got None"),
    ],
)
def test_what_is_no_seed_is_refused(n: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        cr.seed(n)


def test_what_is_no_generator_is_refused() -> None:
    message = "rng must be a numpy.random.Generator, an integer seed or None, got str"
    with pytest.raises(TypeError, match=message):
        random.generator("0")
