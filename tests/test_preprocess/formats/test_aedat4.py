"""AEDAT 4 of every compression decodes to what was written and to what `aedat` decodes; hostile files are refused."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import re
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import aedat
import lz4.frame
import numpy as np
import pytest
import zstandard
from aedat4_files import (
    DV,
    DV_PROCESSING,
    EVENT,
    LZ4,
    NAMES,
    NONE,
    ZSTD,
    aedat4,
    compressed,
    event_packet,
    file_header,
    file_of,
    header_text,
    some_events,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_formats_faults import MUTATORS

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import Recording, open_recording, recording
from preprocess.formats.aedat import aedat4 as aedat4_module
from preprocess.formats.aedat import aedat4_codecs, aedat4_lz4, aedat4_packets

compressions = pytest.mark.parametrize("compression", range(5), ids=NAMES)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def decode(opened: Recording | Path) -> Events:
    if isinstance(opened, Path):
        opened = open_recording(opened)
    return Events.concatenate(opened.chunks(), opened.height, opened.width)


def assert_equal(events: Events, reference: NDArray[np.void]) -> None:
    assert len(events) == len(reference)
    for name, theirs in zip("txyp", ("t", "x", "y", "on"), strict=True):
        np.testing.assert_array_equal(getattr(events, name), reference[theirs])
    assert (events.t.dtype, events.x.dtype, events.p.dtype) == (np.int64, np.uint16, np.uint8)


def twin(path: Path) -> NDArray[np.void]:
    """What `aedat` decodes."""
    parts = [packet["events"] for packet in aedat.Decoder(path) if "events" in packet]
    return np.concatenate(parts) if parts else np.zeros(0, EVENT)


def refusal(path: Path, content: bytes) -> str:
    with pytest.raises(RecordingError) as refused:
        decode(write(path, content))
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: ") and "\n" not in line
    return line.removeprefix(f"{path}: ")


@compressions
@pytest.mark.parametrize("where", [DV, DV_PROCESSING])
@pytest.mark.parametrize("with_size", [True, False])
def test_every_compression_decodes_to_what_was_written(tmp_path: Path, compression: int, where: str, with_size: bool):
    events = some_events(5000)
    content = file_of(events, compression, path=where, with_size=with_size, table=True)
    opened = open_recording(write(tmp_path / "a.aedat4", content))
    assert (opened.height, opened.width, opened.header) == (34, 34, ("stream 0: events 34x34 pixels (rows x columns)",))
    assert_equal(decode(opened), events)
    assert opened.notes == {}
    assert_equal(decode(pickle.loads(pickle.dumps(opened))), events)


@given(
    sizes=st.lists(st.integers(0, 300), max_size=8),
    compression=st.integers(0, 4),
    with_size=st.booleans(),
    seed=st.integers(0, 99),
    late=st.integers(-1_700_000_000_000_000, 2**62),  # aedat reads times as unsigned
)
def test_any_packets_equal_the_independent_reader(
    tmp_path: Path, sizes: list[int], compression: int, with_size: bool, seed: int, late: int
):
    events = some_events(sum(sizes), seed=seed)
    events["t"] += late
    ends = np.cumsum(sizes).tolist()
    packets = [event_packet(events[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    content = aedat4([compressed(packet, compression, with_size=with_size) for packet in packets], compression)
    path = write(tmp_path / "a.aedat4", content)
    assert_equal(decode(path), events)
    if sizes:
        assert_equal(decode(path), twin(path))


@compressions
@pytest.mark.parametrize("most", [aedat4_codecs.MOST_BYTES, 1 << 12])
@pytest.mark.parametrize("block", [28, 1000, 1 << 20])
def test_events_do_not_depend_on_blocks_nor_on_the_size_of_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int, block: int, most: int
):
    monkeypatch.setattr(recording, "BLOCK_BYTES", block)
    monkeypatch.setattr(aedat4_codecs, "MOST_BYTES", most)
    events = some_events(3000)
    for each in (7, 700):
        for with_size in (True, False):
            content = file_of(events, compression, each=each, with_size=with_size)
            assert_equal(decode(write(tmp_path / "a.aedat4", content)), events)


@compressions
def test_threads_keep_the_order_and_raise_the_error_at_its_packet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int
):
    events = some_events(60_000)
    packets = [compressed(event_packet(events[at : at + 200]), compression) for at in range(0, len(events), 200)]
    monkeypatch.setattr(aedat4_module, "_MOST_PACKETS", 3)
    monkeypatch.setattr(aedat4_module, "decoding_threads", lambda: 3)
    path = write(tmp_path / "a.aedat4", aedat4(packets, compression))
    assert_equal(decode(path), events)
    # Two packets are damaged: the first of them is named, and all events before it arrive.
    for k in (150, 250):
        packets[k] = compressed(event_packet(events[:200], b"FRME"), compression)
    path = write(tmp_path / "b.aedat4", aedat4(packets, compression))
    opened = open_recording(path)
    at = opened.start + sum(8 + len(packet) for packet in packets[:150])
    seen = 0

    def count_all() -> None:
        nonlocal seen
        for chunk in opened.chunks():
            np.testing.assert_array_equal(chunk.t, events["t"][seen : seen + len(chunk)])
            seen += len(chunk)

    with pytest.raises(RecordingError, match=rf"\(it is not a packet of events\) at byte {at}\."):
        count_all()
    assert seen == 150 * 200
    salvaged = dataclasses.replace(open_recording(path), salvage=True)
    assert_equal(decode(salvaged), events[: 150 * 200])
    assert salvaged.notes == {"recordings_salvaged": 1, "bytes_lost_to_damage": opened.size - at}


@pytest.mark.parametrize("damage", [None, 3], ids=["whole", "damaged"])
def test_lz4_gives_the_same_with_and_without_its_library(tmp_path: Path, monkeypatch, damage: int | None):
    """Packets that do not fit into the buffer, and those that are damaged, are left to the package."""
    content = bytearray(file_of(some_events(3000), LZ4, each=250))
    if damage is not None:
        frames = [found.start() for found in re.finditer(rb"\x04\x22\x4d\x18", content)]
        content[frames[damage]] ^= 255
    path = write(tmp_path / "a.aedat4", bytes(content))

    def outcome() -> tuple[list[int], str]:
        chunks, message = [], ""
        try:
            for chunk in open_recording(path).chunks():
                chunks.append(chunk)
        except RecordingError as error:
            message = str(error)
        events = Events.concatenate(chunks, 1, 1)
        return [*events.t, *events.x, *events.y, *events.p], message

    assert aedat4_lz4._load() is not None
    found = outcome()
    monkeypatch.setattr(aedat4_packets, "_MOST_BATCH_BYTES", 10_000)
    monkeypatch.setattr(aedat4_packets, "_buffers", threading.local())
    assert outcome() == found
    monkeypatch.setattr(aedat4_lz4, "_load", lambda: None)
    assert outcome() == found
    assert ("cannot be decoded" in found[1]) == (damage is not None)


def test_a_consumer_that_stops_early_leaves_no_thread_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import threading

    monkeypatch.setattr(aedat4_module, "_MOST_PACKETS", 3)
    monkeypatch.setattr(aedat4_module, "decoding_threads", lambda: 3)
    chunks = open_recording(write(tmp_path / "a.aedat4", file_of(some_events(60_000), LZ4, each=200))).chunks()
    before = threading.active_count()
    next(chunks)
    assert threading.active_count() > before
    chunks.close()
    assert threading.active_count() == before


def test_other_streams_are_skipped_and_counted(tmp_path: Path):
    events = some_events(300)
    streams = ((3, "TRIG"), (1, "EVTS"), (2, "IMUS"), (5, "EVTS"))
    packets = [(2, b"?"), (1, event_packet(events)), (5, event_packet(events)), (3, b""), (1, event_packet(events[:0]))]
    opened = open_recording(write(tmp_path / "a.aedat4", aedat4(packets, streams=streams)))
    assert_equal(decode(opened), events)
    assert opened.notes == {"packets_of_other_streams_skipped": 3}
    assert opened.header[1:3] == ("stream 2: imus", "stream 3: triggers")


def test_a_packet_without_its_only_field_has_no_events(tmp_path: Path):
    empty = struct.pack("<I4s2Hi", 12, b"EVTS", 4, 4, 4)
    path = write(tmp_path / "a.aedat4", aedat4([struct.pack("<I", len(empty)) + empty]))
    assert len(decode(path)) == 0


GOOD = event_packet(some_events(20))
START = len(aedat4([]))
AFTER = START + 8 + len(GOOD)
OUTSIDE = some_events(20)
OUTSIDE["x"][7], OUTSIDE["y"][7] = 40, -2


def header(compression: int = NONE, text: str = "", table: int = -1) -> bytes:
    return file_header(text or header_text(34, 34), compression, table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (aedat4([GOOD]) + b"abc", f"expected a packet, found the last 3 bytes at byte {AFTER}. The file is truncated"),
        (aedat4([GOOD, GOOD])[:-1], f"one that claims {len(GOOD)} bytes, more than are left at byte {AFTER}."),
        (aedat4([GOOD, (9, GOOD)]), f"a packet of one of the streams 0, found one of stream 9 at byte {AFTER}."),
        (aedat4([GOOD, b""]), f"one that cannot be decoded (it is too short) at byte {AFTER}."),
        (aedat4([GOOD, GOOD[:-1]]), f"one that cannot be decoded (it points outside itself) at byte {AFTER}."),
        (
            aedat4([GOOD, event_packet(OUTSIDE)]),
            "expected a pixel within 34x34 (rows x columns), found row -2, column 40 in event 7 of the packet at byte "
            f"{AFTER}.",
        ),
        (
            aedat4([GOOD, event_packet(some_events(9))[:28] + b"\xff" * 148]),
            f"found one that cannot be decoded (it points outside itself) at byte {AFTER}.",
        ),
        (aedat4([GOOD], table=True)[: AFTER - 9], "more than are left at byte"),
        (
            header(table=AFTER + 100) + struct.pack("<iI", 0, len(GOOD)) + GOOD,
            f"at byte {AFTER + 100}, found the end of",
        ),
        (aedat4([b"not a frame of LZ4"], LZ4), "ERROR_frameType_unknown) at byte"),
        (aedat4([compressed(GOOD, LZ4)[:-9]], LZ4), "one that cannot be decoded (it is cut off) at byte"),
        (aedat4([compressed(GOOD, ZSTD)[:-9]], ZSTD), "one that cannot be decoded (decompression error: did not"),
        (aedat4([compressed(GOOD, ZSTD, with_size=False)[:-9]], ZSTD), "one that cannot be decoded (it "),
        (
            header(7),
            "expected one of the compressions 0 (none), 1 (LZ4), 2 (LZ4 high), 3 (Zstd), 4 (Zstd high), found 7 in",
        ),
        (header(text="<dv><node name='outInfo'/></dv>"), "expected a stream of events, found no streams."),
        (header(text="<dv><node"), "found one that cannot be decoded (unclosed token: line 1, column 4) at byte 14."),
        (header(text="<!DOCTYPE a []><dv/>"), "(its text declares a document type) at byte 14."),
        (header(text=header_text(0, 0)), "expected a sensor of 1 to 32768 rows and columns, found 0x0 in the header."),
        (header(text=header_text(34, 34, streams=((2, "IMUS"),))), "expected a stream of events, found imus."),
        (b"#!AER-DAT4.0\r\n", "header of an AEDAT 4 file, found one of 0 bytes at byte 14."),
        (b"#!AER-DAT4.0\r\n" + struct.pack("<I", 40) + bytes(40), "(its identifier is missing) at byte 14."),
    ],
)
def test_faults_say_where_and_what(tmp_path: Path, content: bytes, message: str):
    assert message in refusal(tmp_path / "a.aedat4", content)


@pytest.mark.parametrize(("x", "y"), [(34, 0), (0, 34)])
def test_the_first_column_and_row_beyond_the_sensor_are_refused(tmp_path: Path, x: int, y: int):
    events = some_events(20)
    events["x"][7], events["y"][7] = x, y
    refused = refusal(tmp_path / "a.aedat4", aedat4([GOOD, event_packet(events)]))
    assert f"found row {y}, column {x} in event 7 of the packet" in refused


def test_the_last_event_that_a_packet_claims_lies_in_it(tmp_path: Path):
    """Three quarters of a tenth event follow nine, as many bytes as an event less those of the number of events."""
    content = event_packet(some_events(9))[4:] + bytes(12)
    content = content[:24] + struct.pack("<I", 10) + content[28:]
    packet = struct.pack("<I", len(content)) + content
    assert "it points outside itself" in refusal(tmp_path / "a.aedat4", aedat4([GOOD, packet]))


def lz4_that_claims(size: int) -> bytes:
    """A valid LZ4 frame, except that its header claims to contain `size` bytes."""
    frame = lz4.frame.compress(GOOD, store_size=True)
    descriptor = frame[4:6] + struct.pack("<Q", size)
    # The header ends with a byte of its hash, which has to fit.
    for check in range(256):
        changed = frame[:4] + descriptor + bytes([check]) + frame[15:]
        try:
            lz4.frame.get_frame_info(changed)
        except RuntimeError:
            continue
        return changed
    raise AssertionError


def zstd_that_claims(size: int) -> bytes:
    """A Zstandard frame of one raw block, whose header claims to contain `size` bytes."""
    block = struct.pack("<I", len(GOOD) << 3 | 1)[:3] + GOOD
    return struct.pack("<IBQ", 0xFD2FB528, 0b1110_0000, size) + block


@pytest.mark.parametrize("claimed", [1 << 24, 1 << 33, 1 << 60])
def test_nothing_is_allocated_because_a_packet_claims_it(tmp_path: Path, claimed: int):
    claims = event_packet(some_events(20))
    claims = struct.pack("<I", min(claimed, 0xFFFFFFFF)) + claims[4:28] + struct.pack("<I", 0xFFFFFFF0) + claims[32:]
    contents = [
        aedat4([compressed(GOOD, LZ4), lz4_that_claims(claimed)], LZ4),
        aedat4([compressed(GOOD, ZSTD), zstd_that_claims(claimed)], ZSTD),
        aedat4([GOOD, claims]),
        aedat4([GOOD]) + struct.pack("<iI", 0, min(claimed, 0xFFFFFFFF)),
    ]
    for content in contents:
        refusal(tmp_path / "a.aedat4", content)
        tracemalloc.start()
        try:
            refusal(tmp_path / "a.aedat4", content)
            assert tracemalloc.get_traced_memory()[1] < 24 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.slow
@compressions
@pytest.mark.parametrize("each", [10_000, 2_000_000])
def test_memory_stays_bounded(tmp_path: Path, compression: int, each: int):
    """Also if a packet decompresses to a thousand times its size."""
    events = np.zeros(2_000_000, EVENT)
    events["t"] = 5
    path = write(tmp_path / "a.aedat4", file_of(events, compression, each=each, with_size=each == 10_000))
    decode(write(tmp_path / "warm.aedat4", aedat4([GOOD])))
    tracemalloc.start()
    try:
        assert sum(len(chunk) for chunk in open_recording(path).chunks()) == len(events)
        assert tracemalloc.get_traced_memory()[1] < 26 << 20 < events.nbytes
    finally:
        tracemalloc.stop()


def _bases(real: Path | None) -> list[bytes]:
    events = some_events(400)
    bases = [file_of(events, k, each=150, table=k % 2 == 0, with_size=k != 4) for k in range(5)]
    if real is not None:
        bases.append((real / "readers" / "sample-320x240.aedat4").read_bytes()[:30_000])
        bases.append((real / "readers" / "hand-wave-128x128.aedat4").read_bytes()[:12_000])
    return bases


def test_mutated_aedat4_is_decoded_or_refused_and_never_crashes(
    tmp_path: Path, share_of: Callable[[int], int], request: pytest.FixtureRequest
):
    """Mutations of the file, and of what is in a packet before it is compressed."""
    try:
        bases = _bases(request.getfixturevalue("real_data"))
    except pytest.skip.Exception:
        bases = _bases(None)
    rng = np.random.default_rng(11)
    outcomes = {"decoded": 0, "refused": 0}
    start, count = time.perf_counter(), share_of(10_000)
    path = tmp_path / "a.aedat4"
    for k in range(count):
        if k % 2:
            content = bytearray(bases[k // 2 % len(bases)])
            for _ in range(rng.integers(1, 3)):
                if content:
                    content = rng.choice(MUTATORS)(rng, content)
            path.write_bytes(content)
        else:
            packet = rng.choice(MUTATORS[:-1])(rng, bytearray(event_packet(some_events(6))))
            path.write_bytes(aedat4([compressed(bytes(packet), k % 5), compressed(GOOD, k % 5)], k % 5))
        try:
            opened = open_recording(path)
            for chunk in opened.chunks():
                assert len(chunk.t) == len(chunk.x) == len(chunk.y) == len(chunk.p) > 0
                assert chunk.x.max() < opened.width and chunk.y.max() < opened.height and chunk.p.max() <= 1
            outcomes["decoded"] += 1
        except RecordingError as error:
            (line,) = error.errors
            assert line.startswith(f"{path}: ") and "\n" not in line and "found" in line, line
            outcomes["refused"] += 1
    assert min(outcomes.values()) > count // 20, outcomes
    assert time.perf_counter() - start < 10 + 0.05 * count


@given(st.binary(max_size=400), st.integers(0, 4))
def test_any_bytes_as_packets_are_refused_or_decoded(tmp_path: Path, content: bytes, compression: int):
    for packets in ([content], [compressed(content, compression)], [compressed(GOOD[:8] + content, compression)]):
        path = write(tmp_path / "a.aedat4", aedat4(packets, compression))
        with contextlib.suppress(RecordingError):
            decode(path)


@pytest.mark.slow
def test_zstd_frames_of_other_writers_are_read(tmp_path: Path):
    """Written as a stream, as by a compressor that does not know the size: the frame refers back 8 MB at most."""
    events = some_events(400_000)
    compressor = zstandard.ZstdCompressor(level=19).compressobj()
    packet = compressor.compress(event_packet(events)) + compressor.flush()
    assert_equal(decode(write(tmp_path / "a.aedat4", aedat4([packet], ZSTD))), events)
