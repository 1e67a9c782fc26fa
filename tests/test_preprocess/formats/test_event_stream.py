"""Event Stream: the events are those of faery, and of the bytes of the format."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path

import faery
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutated_files import decoded_or_refused

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import NO_OPTIONS, open_recording, recording

SIZE = (34, 48)
Row = tuple[int, int, int, int]

rows_of_events = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 47), st.integers(0, 33), st.integers(0, 1)), min_size=1, max_size=50
).map(sorted)


def header(kind: int = 1, version: int = 2) -> bytes:
    return b"Event Stream" + bytes([version, 0, 0, kind]) + struct.pack("<HH", SIZE[1], SIZE[0])


def dvs(rows: list[Row]) -> bytes:
    previous, parts = 0, [header()]
    for t, x, y, p in rows:
        parts.append(b"\xff" * ((t - previous) // 127))
        parts.append(struct.pack("<BHH", (t - previous) % 127 << 1 | p, x, SIZE[0] - 1 - y))
        previous = t
    return b"".join(parts)


def atis(rows: list[Row], exposures: int) -> bytes:
    """Events, each followed by measurements of exposure at the same pixel and time."""
    previous, parts = 0, [header(2)]
    for t, x, y, p in rows:
        overflows, rest = divmod(t - previous, 63)
        parts.append(b"\xff" * (overflows // 3) + (bytes([0xFC | overflows % 3]) if overflows % 3 else b""))
        parts.append(struct.pack("<BHH", rest << 2 | p << 1, x, SIZE[0] - 1 - y))
        parts += [struct.pack("<BHH", k % 2 << 1 | 1, x, SIZE[0] - 1 - y) for k in range(exposures)]
        previous = t
    return b"".join(parts)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def decode(path: Path) -> tuple[list[Row], dict[str, int]]:
    opened = open_recording(path)
    assert (opened.height, opened.width) == SIZE
    events = Events.concatenate(opened.chunks(), *SIZE)
    return list(zip(*(getattr(events, c).tolist() for c in "txyp"), strict=True)), opened.notes


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_events_are_those_that_faery_wrote_and_reads(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "BLOCK_BYTES", block)
    rng = np.random.default_rng(3)
    written = np.zeros(2000, faery.EVENTS_DTYPE)
    written["t"] = np.sort(rng.integers(0, 200_000, 2000))
    written["t"] -= written["t"][0]  # faery counts from the first event
    written["x"], written["y"], written["p"] = (rng.integers(0, n, 2000) for n in (SIZE[1], SIZE[0], 2))
    path = tmp_path / "a.es"
    faery.events_stream_from_array(written, dimensions=(SIZE[1], SIZE[0])).to_file(path)
    theirs = np.concatenate(list(faery.events_stream_from_file(path)))
    assert decode(path)[0] == written.tolist() == theirs.tolist()


@given(rows_of_events)
def test_events_of_both_kinds_are_those_of_the_bytes(tmp_path: Path, rows: list[Row]):
    assert decode(write(tmp_path / "a.es", dvs(rows))) == (rows, {})
    assert decode(write(tmp_path / "a.es", atis(rows, 0))) == (rows, {})
    assert decode(write(tmp_path / "a.es", atis(rows, 2))) == (rows, {"exposure_measurements_skipped": 2 * len(rows)})


def test_a_byte_without_meaning_is_passed_over(tmp_path: Path):
    rows = [(5, 1, 2, 1), (9, 3, 4, 0)]
    content = dvs(rows)
    assert decode(write(tmp_path / "a.es", content[:25] + b"\xfe" + content[25:] + b"\xfe\xff"))[0] == rows


ROWS = [(10 * k, k % 48, k % 34, k % 2) for k in range(40)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dvs(ROWS)[:-2], "expected an event of 5 bytes, found the last 3 bytes at byte 215. The file is truncated;"),
        (dvs(ROWS) + struct.pack("<BHH", 2, 48, 0), "found row 33, column 48 in the event at byte 220."),
        (dvs(ROWS) + struct.pack("<BHH", 2, 7, 34), "found row -1, column 7 in the event at byte 220."),
        (header(4) + bytes(10), "expected DVS or ATIS events, found colour events at byte 15."),
        (header(0) + bytes(10), "expected DVS or ATIS events, found generic events at byte 15."),
        (header(1, 1), "expected version 2 of Event Stream, found version 1.0.0 at byte 12."),
        (header()[:17], "expected a header of 20 bytes, found the end of the file after 17 at byte 17."),
        (b"Event Stream", "expected a header of 20 bytes, found the end of the file after 12 at byte 12."),
    ],
)
def test_damaged_and_other_files_are_refused(tmp_path: Path, content: bytes, message: str):
    path = write(tmp_path / "a.es", content)
    with pytest.raises(RecordingError) as refused:
        decode(path)
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: expected ") and message in line


def test_salvage_keeps_the_events_before_the_damage(tmp_path: Path):
    opened = open_recording(write(tmp_path / "a.es", dvs(ROWS)[:-2]))
    opened = dataclasses.replace(opened, salvage=True)
    assert sum(map(len, opened.chunks())) == 39
    assert opened.notes == {"recordings_salvaged": 1, "bytes_lost_to_damage": 3}


def test_mutated_files_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int]):
    contents = [(f"{k}.es", content, NO_OPTIONS) for k, content in enumerate((dvs(ROWS), atis(ROWS, 1)))]
    decoded_or_refused(tmp_path, contents, SIZE, share_of(5000))
