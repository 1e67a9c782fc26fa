"""EVT 2.1: vectors of 32 columns, in both orders of the halves of a word."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutated_files import decoded_or_refused
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import NO_OPTIONS, open_recording, recording
from preprocess.formats.prophesee import prophesee_recording

SIZE = (48, 128)
HEADERS = {
    "little": "% evt 2.1\n% format EVT21;endianness=little;height=48;width=128\n% end\n",
    "legacy": "% evt 2.1\n% format EVT21;endianness=legacy;height=48;width=128\n% end\n",
    "plain": "% evt 2.1\n% geometry 128x48\n% end\n",
    "plain legacy": "% evt 2.1\n% geometry 128x48\n",
}
Vector = tuple[int, int, int, int, int]
vectors = st.lists(
    st.tuples(
        st.integers(0, 1 << 30), st.integers(0, 96), st.integers(0, 47), st.integers(0, 1), st.integers(0, 2**32 - 1)
    ),
    max_size=30,
).map(sorted)


def words_of(rows: list[Vector]) -> NDArray[np.uint64]:
    """The words of vectors of time, first column, row, polarity and mask."""
    words: list[int] = []
    for t, x, y, p, mask in rows:
        words.append(0x8 << 60 | t >> 6 << 32)
        words.append((p << 28 | t % 64 << 22 | x << 11 | y) << 32 | mask)
    return np.array(words, np.uint64)


def write(path: Path, kind: str, words: NDArray[np.uint64]) -> Path:
    swapped = words << np.uint64(32) | words >> np.uint64(32)
    path.write_bytes(HEADERS[kind].encode() + (swapped if "legacy" in kind else words).tobytes())
    return path


def events_of(rows: list[Vector]) -> list[tuple[int, int, int, int]]:
    return [(t, x + k, y, p) for t, x, y, p, mask in rows for k in range(32) if mask >> k & 1]


def decode(path: Path) -> Events:
    opened = open_recording(path)
    assert opened.format == "Prophesee EVT 2.1" and (opened.height, opened.width) == SIZE
    return Events.concatenate(opened.chunks(), *SIZE)


ROWS = [(k * 37, k % 96, k % 48, k % 2, 0x80000001 << k % 3 & 0xFFFFFFFF) for k in range(300)]


@pytest.mark.parametrize("kind", HEADERS)
@given(rows=vectors.filter(bool))
def test_events_are_those_of_the_vectors(tmp_path: Path, kind: str, rows: list[Vector]):
    events = decode(write(tmp_path / "a.raw", kind, words_of(rows)))
    assert list(zip(*(getattr(events, c).tolist() for c in "txyp"), strict=True)) == events_of(rows)


def test_data_that_begin_like_a_header_line_are_no_header(tmp_path: Path):
    """The first word, an upper half of the time, has the bytes of "% "."""
    rows = [(0x2025 << 6, 1, 2, 1, 1), (0x2025 << 6, 10, 2, 1, 1)]
    events = decode(write(tmp_path / "a.raw", "plain legacy", words_of(rows)))
    assert list(zip(*(getattr(events, c).tolist() for c in "txyp"), strict=True)) == events_of(rows)


def test_of_two_possible_orders_of_halves_the_one_that_begins_with_a_time_is_taken(tmp_path: Path):
    rows = [(0, 0, 0, 0, 1 << 31)]
    for kind in ("plain", "plain legacy"):
        assert decode(write(tmp_path / "a.raw", kind, words_of(rows))).x.tolist() == [31]


def test_blocks_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "BLOCK_BYTES", 24)
    monkeypatch.setattr(prophesee_recording, "_EVENTS_A_CHUNK", 33)
    events = decode(write(tmp_path / "a.raw", "legacy", words_of(ROWS)))
    assert list(zip(*(getattr(events, c).tolist() for c in "txyp"), strict=True)) == events_of(ROWS)


@pytest.mark.parametrize(
    ("more", "lost", "message"),
    [
        ([0x5 << 60], 8, "expected a word of Prophesee EVT 2.1, found 0x5000000000000000 at byte"),
        ([(120 << 11 | 5) << 32 | 1 << 9], 8, "found row 5, column 129 in the event at byte"),
        ([(120 << 11 | 5) << 32 | 1 << 8], 8, "found row 5, column 128 in the event at byte"),
        ([(1 << 11 | 48) << 32 | 1], 8, "found row 48, column 1 in the event at byte"),
        ([], 3, "expected events of 8 bytes, found 3 bytes left at byte"),
    ],
)
def test_damage_is_named_by_its_byte_and_salvage_keeps_what_is_before(
    tmp_path: Path, more: list[int], lost: int, message: str
):
    words = words_of(ROWS)
    path = write(tmp_path / "a.raw", "little", np.concatenate([words, np.array(more, np.uint64)]))
    at = len(HEADERS["little"]) + 8 * len(words)
    if not more:
        path.write_bytes(path.read_bytes() + b"abc")
    with pytest.raises(RecordingError, match=f"{message} {at}\\."):
        decode(path)
    opened = dataclasses.replace(open_recording(path), salvage=True)
    assert sum(map(len, opened.chunks())) == len(events_of(ROWS))
    assert opened.notes == {"recordings_salvaged": 1, "bytes_lost_to_damage": lost}


def test_mutated_files_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int]):
    contents = []
    for kind in HEADERS:
        content = write(tmp_path / "base.raw", kind, words_of(ROWS)).read_bytes()
        contents.append(("a.raw", content, NO_OPTIONS))
    decoded_or_refused(tmp_path, contents, SIZE, share_of(5000))
