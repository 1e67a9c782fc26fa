"""EVT 3.0 decoded in runs without branches equals the decoding of word by word, also where a file is damaged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from preprocess.formats.clock_wraps import new_clock
from preprocess.formats.prophesee import evt3_kernels
from preprocess.formats.prophesee.decoder_state import GOOD, OUTSIDE_SENSOR, new_state

SIZE = 720, 1280
KINDS = {0x0: 0.2, 0x2: 0.5, 0x3: 0.04, 0x4: 0.1, 0x5: 0.05, 0x6: 0.05, 0x7: 0.01, 0x8: 0.03, 0xA: 0.01, 0xE: 0.01}
BEGIN = np.array([0x8001, 0x6002, 0x0003], "<u2")


def random_words(rng: np.random.Generator, n: int, invalid: float) -> NDArray[np.uint16]:
    """Words of all kinds, mostly within the sensor; a share of them may be anything."""
    kinds = rng.choice(list(KINDS), n, p=list(KINDS.values()))
    values = rng.integers(0, 700, n)
    vector = (kinds == 0x4) | (kinds == 0x5) | (kinds == 0x2)
    values[vector] |= rng.integers(0, 2, vector.sum()) << 11
    # Mostly a few steps, sometimes far, also back over a wrap.
    far = rng.random(n) < rng.choice([0, 0.01, 0.3])
    values[kinds == 0x8] = np.where(far, rng.integers(0, 1 << 12, n), rng.integers(1, 4, n))[kinds == 0x8]
    values[kinds == 0x6] = rng.integers(0, 1 << 12, (kinds == 0x6).sum())
    # As sensors send them: a base, then vectors of 32 columns.
    for at in rng.integers(0, n, n // 30):
        kinds[at : at + 4] = [0x3, 0x4, 0x4, 0x5][: n - at]
    words = (kinds << 12 | values).astype("<u2")
    wrong = rng.random(n) < invalid
    words[wrong] = rng.integers(0, 1 << 16, wrong.sum())
    if invalid:
        # One column, or one row, too far.
        words[rng.integers(n)] = rng.choice([0x2 << 12 | SIZE[1], SIZE[0]])
    return np.concatenate([BEGIN, words])


def columns(n: int) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]:
    return np.zeros(n, np.int64), np.zeros(n, np.uint16), np.zeros(n, np.uint16), np.zeros(n, np.uint8)


def word_by_word(words: NDArray[np.uint16], size: tuple[int, int] = SIZE):
    clock, state, found = new_clock(), new_state(), columns(12 * len(words) + 24)
    ended, start = evt3_kernels._start_evt3(words, clock, state)
    if ended == GOOD:
        ended, taken, n = evt3_kernels._decode_words(words[start:], *size, clock, state, *found)
        return ended, start + taken, [column[:n] for column in found], clock, state
    return ended, start, [column[:0] for column in found], clock, state


def in_runs(words: NDArray[np.uint16], room: int, size: tuple[int, int] = SIZE):
    """As the reader calls the kernel: until the columns are full, and again."""
    clock, state, parts, at = new_clock(), new_state(), [columns(0)], 0
    while True:
        found = columns(room)
        ended, taken, n = evt3_kernels.decode_evt3(words[at:], *size, clock, state, *found)
        parts.append(tuple(column[:n] for column in found))
        at += taken
        if ended != GOOD or at == len(words):
            return ended, at, [np.concatenate(column) for column in zip(*parts, strict=True)], clock, state


def test_runs_equal_words_one_by_one(share_of: Callable[[int], int]):
    rng = np.random.default_rng(5)
    stopped = 0
    for k in range(share_of(4000)):
        words = random_words(rng, int(rng.integers(1, 5000)), (0, 0, 0.0003, 0.01)[k % 4])
        expected, found = word_by_word(words), in_runs(words, int(rng.choice([12, 24, 100, 13_000, 1 << 17])))
        assert found[:2] == expected[:2]
        for mine, theirs in zip(found[2], expected[2], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(found[3], expected[3])
        np.testing.assert_array_equal(found[4], expected[4])
        stopped += found[0] != GOOD
    assert stopped > 0


def test_vectors_up_to_the_last_of_2048_columns():
    """The widest that the encoding has; its last columns have no room in a packed event beside their offset."""
    group = [0x4FFF, 0x4FFF, 0x50FF]
    outside = 0
    for base in range(1950, 2048):
        for words in ([0x3800 | base, *group], [0x3800 | base, *group, 0x5001], [0x3000 | base, 0x4801, 0x5080]):
            whole = np.concatenate([BEGIN, [0x07FE], words, [0x8002, 0x2005]]).astype("<u2")
            expected, found = word_by_word(whole, (2048, 2048)), in_runs(whole, 1000, (2048, 2048))
            assert found[:2] == expected[:2]
            for mine, theirs in zip(found[2], expected[2], strict=True):
                np.testing.assert_array_equal(mine, theirs)
            outside += found[0] == OUTSIDE_SENSOR
    assert outside > 60


def test_vectors_without_events_move_the_base_to_no_other_column():
    """65,544 columns to the right, which 16 bits would store as column 8."""
    words = np.concatenate([BEGIN, [0x3000], np.full(5462, 0x4000), [0x4001]]).astype("<u2")
    ended, taken, events, _, _ = in_runs(words, 1 << 17)
    assert (ended, taken) == (OUTSIDE_SENSOR, len(words) - 1)
    assert [len(column) for column in events] == [0, 0, 0, 0]


def test_a_run_of_words_of_the_time_that_wrap_again_and_again():
    upper = np.tile([0x8000, 0x8555, 0x8AAA], 700)
    words = np.concatenate([BEGIN, np.stack([upper, np.full_like(upper, 0x2007)], axis=1).reshape(-1)]).astype("<u2")
    expected, found = word_by_word(words), in_runs(words, 1 << 17)
    assert int(expected[3][1]) > 600, "wraps"
    np.testing.assert_array_equal(found[2][0], expected[2][0])
    np.testing.assert_array_equal(found[3], expected[3])
