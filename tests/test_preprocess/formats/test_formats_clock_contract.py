"""Every format against the true times: a late start, wraps, small steps back, a damaged word, a pause of an hour.

A format that is added to the registry needs an entry in `CLOCKS` (tests/clock_files.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock_files import CLOCKS, SIZE, Clock, Times, pixels, units
from numpy.typing import NDArray

from preprocess.events import Events
from preprocess.formats import FORMATS, open_recording

HOUR_US = 3_600_000_000

clocks = pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)


def decode(clock: Clock, path: Path, t: Times, flip: Times | None = None) -> tuple[Times, dict[str, int]]:
    """Times of a file of these events, and the notes; no event is lost, and each keeps its place."""
    file = path / f"a{FORMATS[clock.format].SUFFIX}"
    clock.write(file, t, np.zeros_like(t) if flip is None else flip)
    opened = open_recording(file, format=clock.format, size=(SIZE, SIZE))
    events = Events.concatenate(opened.chunks(), opened.height, opened.width)
    expected = units(len(t)) if clock.is_of_units else pixels(len(t))
    for found, written in zip((events.x, events.y, events.p), expected, strict=True):
        np.testing.assert_array_equal(found, written)
    return events.t, opened.notes


def in_ms(t: NDArray[Any]) -> Times:
    """Whole milliseconds in µs: what every format can say."""
    return np.asarray(t).astype(np.int64) // 1000 * 1000


def test_every_format_has_a_clock_here():
    assert {clock.format for clock in CLOCKS.values()} == set(FORMATS)


@clocks
def test_a_recording_that_starts_late_keeps_its_times(clock: Clock, tmp_path: Path):
    span = min(clock.range_us, 1 << 33)
    for start in (0.3, 0.7, 0.9):
        t = in_ms(start * span + np.linspace(0, 0.05 * span, 300))
        found, notes = decode(clock, tmp_path, t)
        np.testing.assert_array_equal(found, t)
        assert "clock_wraps" not in notes and "isolated_timestamps" not in notes


@clocks
@pytest.mark.parametrize("events", [12, 300, 5000])
def test_a_recording_that_wraps_twice_keeps_its_times(clock: Clock, tmp_path: Path, events: int):
    # Where the clock does not wrap, the times pass 2^32 µs twice.
    span = clock.range_us if clock.wraps or clock.is_of_steps else 1 << 32
    t = in_ms(np.linspace(0.1 * span, 2.8 * span, events))
    if clock.format == "atis" and not clock.wraps:
        t //= 100  # one mark each 8 ms
        t = in_ms(t)
    found, notes = decode(clock, tmp_path, t)
    np.testing.assert_array_equal(found, t)
    assert notes.get("clock_wraps", 0) == 2 * clock.wraps and "isolated_timestamps" not in notes


@clocks
def test_small_steps_back_stay_small(clock: Clock, tmp_path: Path):
    span = clock.range_us if clock.wraps else 1 << 26
    t = in_ms(np.linspace(0.1 * span, 2.8 * span, 400))
    t[100:300:7] -= 3000
    # And from just after a wrap to just before it.
    for around in (span, 2 * span):
        k = int(np.argmax(t > around))
        t[k : k + 6] = in_ms(around + np.array([-2000, 3000, -1000, 2000, -3000, 4000]))
    if clock.format == "atis" and not clock.wraps:
        # No event can be written that is earlier than the mark before it.
        t = np.maximum(t, np.maximum.accumulate(t >> 13) << 13)
        assert np.any(np.diff(t) < 0)
    if clock.is_of_steps:
        t = np.maximum.accumulate(t)
    found, notes = decode(clock, tmp_path, t)
    np.testing.assert_array_equal(found, t)
    assert notes.get("clock_wraps", 0) == 2 * clock.wraps and "isolated_timestamps" not in notes


@pytest.mark.slow
@pytest.mark.parametrize("clock", [c for c in CLOCKS.values() if not c.is_of_steps], ids=lambda clock: clock.format)
def test_a_damaged_word_spoils_only_its_own_event(clock: Clock, tmp_path: Path):
    """The damaged time is kept as it is; the clock counts it where it had to tell it from a wrap."""
    span = clock.range_us if clock.wraps else 1 << 26
    isolated = 0
    for start in (0.001, 0.02, 0.45, 0.98, 1.02, 1.97):
        t = in_ms(start * span + np.arange(21) * max(1000, span >> 10))
        for bit in range(clock.bits):
            for flipped in (1 << bit, (1 << clock.bits) - (1 << bit)):
                flip = np.zeros_like(t)
                flip[10] = flipped
                # What the first times lack, nothing tells: the recording began within some round.
                truth = t - (t[0] - t[0] % span if clock.wraps else 0)
                found, notes = decode(clock, tmp_path, t, flip)
                others = np.delete(np.arange(21), 10)
                np.testing.assert_array_equal(found[others], truth[others])
                assert found[10] != truth[10]
                isolated += notes.get("isolated_timestamps", 0)
    assert (isolated > 0) == (clock.wraps or clock.format == "atis")


@clocks
def test_a_pause_of_an_hour_is_kept_where_the_file_can_say_it(clock: Clock, tmp_path: Path):
    t = in_ms(np.concatenate([np.arange(50) * 2000, HOUR_US + np.arange(50, 100) * 2000]))
    found, _ = decode(clock, tmp_path, t)
    if clock.counts_pauses:
        np.testing.assert_array_equal(found, t)
        return
    # Whole rounds are lost, as no word of the file counts them; the pause is what remains.
    assert clock.range_us < HOUR_US
    np.testing.assert_array_equal(found % clock.range_us, t % clock.range_us)
    np.testing.assert_array_equal(np.delete(np.diff(found), 49), np.delete(np.diff(t), 49))
