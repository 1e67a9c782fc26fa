"""EVT 2.0 decoded in blocks of events equals a plain loop over its words, also where a file is damaged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocess.formats.clock_wraps import advance_clock, new_clock
from preprocess.formats.prophesee.decoder_state import (
    GOOD,
    LEFT_OUT,
    OUTSIDE_SENSOR,
    TRIGGERS,
    UNKNOWN_WORD,
    new_state,
)
from preprocess.formats.prophesee.evt2_kernels import decode_evt2

HEIGHT, WIDTH = 720, 1280
TIME, TRIGGER, OTHER = 0x8, 0xA, 0xE


def random_words(rng: np.random.Generator, n: int, events_per_time: int, invalid: float) -> NDArray[np.uint32]:
    """Events with a word of the time after about that many of them; a share of the words may be anything."""
    words = rng.integers(0, 2, n) << 28 | rng.integers(0, 64, n) << 22 | rng.integers(0, WIDTH, n) << 11
    words |= rng.integers(0, HEIGHT, n)
    kinds = rng.choice([TIME, TRIGGER, OTHER], n, p=[0.9, 0.05, 0.05])
    rare = rng.random(n) < 1 / (events_per_time + 1)
    words[rare] = kinds[rare] << 28 | np.cumsum(rare)[rare]
    wrong = rng.random(n) < invalid
    words[wrong] = rng.integers(0, 1 << 32, wrong.sum())
    if invalid:
        # One column, or one row, too far.
        words[rng.integers(n)] = rng.choice([WIDTH << 11 | HEIGHT - 1, WIDTH - 1 << 11 | HEIGHT])
    return words.astype("<u4")


def word_by_word(words: NDArray[np.uint32]):
    clock, counts, upper = new_clock(), {LEFT_OUT: 0, TRIGGERS: 0}, None
    events: list[tuple[int, int, int, int]] = []
    for at, word in enumerate(words.tolist()):
        kind = word >> 28
        if kind == TIME:
            value = word & 0xFFFFFFF
            upper = ((advance_clock(clock, value, 28) << 28) + value) << 6
        elif kind == TRIGGER:
            counts[TRIGGERS] += 1
        elif kind <= 1 and upper is None:
            counts[LEFT_OUT] += 1
        elif kind <= 1:
            x, y = word >> 11 & 0x7FF, word & 0x7FF
            if x >= WIDTH or y >= HEIGHT:
                return OUTSIDE_SENSOR, at, events, counts, clock
            events.append((upper + (word >> 22 & 0x3F), x, y, kind))
        elif kind not in (0xE, 0xF):
            return UNKNOWN_WORD, at, events, counts, clock
    return GOOD, len(words), events, counts, clock


def in_blocks(words: NDArray[np.uint32], room: int):
    """As the reader calls the kernel: until the columns are full, and again."""
    clock, state, at = new_clock(), new_state(), 0
    events: list[tuple[int, int, int, int]] = []
    while True:
        t, p = np.zeros(room, np.int64), np.zeros(room, np.uint8)
        x, y = np.zeros(room, np.uint16), np.zeros(room, np.uint16)
        ended, taken, n = decode_evt2(words[at:], HEIGHT, WIDTH, clock, state, t, x, y, p)
        events += zip(*(column[:n].tolist() for column in (t, x, y, p)), strict=True)
        at += taken
        if ended == OUTSIDE_SENSOR:
            assert (x[n], y[n]) == (words[at] >> 11 & 0x7FF, words[at] & 0x7FF)
        if ended != GOOD or at == len(words):
            return ended, at, events, {kind: int(state[kind]) for kind in (LEFT_OUT, TRIGGERS)}, clock


def test_blocks_equal_words_one_by_one(share_of: Callable[[int], int]):
    rng = np.random.default_rng(3)
    endings = set()
    for k in range(max(100, share_of(2000))):
        per_time = int(rng.choice([1, 20, 200, 3000]))
        words = random_words(rng, int(rng.integers(1, 6000)), per_time, (0, 0, 0.0003, 0.01)[k % 4])
        expected, found = word_by_word(words), in_blocks(words, int(rng.choice([1000, 4099, 1 << 17])))
        assert found[:4] == expected[:4]
        np.testing.assert_array_equal(found[4], expected[4])
        endings.add(found[0])
    assert endings == {GOOD, OUTSIDE_SENSOR, UNKNOWN_WORD}


@pytest.mark.parametrize("at", [1, 64, 65, 300, 1999])
@pytest.mark.parametrize(
    ("word", "ending"),
    [
        (WIDTH << 11 | HEIGHT - 1, OUTSIDE_SENSOR),
        (WIDTH - 1 << 11 | HEIGHT, OUTSIDE_SENSOR),
        (0x2 << 28, UNKNOWN_WORD),
        (0x3 << 28, UNKNOWN_WORD),
        (0x4 << 28, UNKNOWN_WORD),
    ],
)
def test_one_bad_word_among_events_is_found(word: int, ending: int, at: int):
    words = random_words(np.random.default_rng(4), 2000, 1 << 30, 0)
    words[0], words[at] = TIME << 28 | 5, word
    expected, found = word_by_word(words), in_blocks(words, 1 << 17)
    assert found[:2] == expected[:2] == (ending, at)
    assert found[2:4] == expected[2:4]
