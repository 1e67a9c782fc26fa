"""What the emulator writes is what cameras write: byte for byte, and as SpikingJelly, tonic and our readers read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_layout import random_events

from preprocess.emulator.aedat_writers import write_aedat2, write_aedat31
from preprocess.events import Events
from preprocess.formats import open_recording


def dvs128(t: list[int], x: list[int], y: list[int], p: list[int]) -> Events:
    return Events(
        np.array(t, np.int64), np.array(x, np.uint16), np.array(y, np.uint16), np.array(p, np.uint8), 128, 128
    )


def columns(events: Events) -> np.ndarray:
    return np.stack([events.t, events.x, events.y, events.p])


def read(path: Path) -> np.ndarray:
    recording = open_recording(path)
    return columns(Events.concatenate(recording.chunks(), 128, 128))


def test_aedat31_bytes(tmp_path: Path):
    path = tmp_path / "a.aedat"
    assert write_aedat31(path, [dvs128([5, 2**31 + 6], [3, 127], [64, 0], [1, 0])], ["emulated"]) == 2
    assert path.read_bytes() == (
        b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#Start-Time: 2000-01-01 00:00:00 (TZ+0000)\r\n"
        b"# emulated\r\n#!END-HEADER\r\n"
        # Two packets, because the upper bits of the times differ: type, source, size, ts offset, overflow, capacity,
        # number, valid; then x << 17 | y << 2 | p << 1 | valid, and the time.
        b"\1\0\1\0\x08\0\0\0\4\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0"
        b"\x03\x01\x06\x00\5\0\0\0"
        b"\1\0\1\0\x08\0\0\0\4\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0"
        b"\x01\x00\xfe\x00\6\0\0\0"
    )


def test_aedat2_bytes(tmp_path: Path):
    path = tmp_path / "a.aedat"
    assert write_aedat2(path, [dvs128([5, 2**32 - 1], [3, 127], [64, 0], [1, 0])], ["emulated"]) == 2
    assert path.read_bytes() == (
        b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
        b"# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n"
        b"# Timestamps tick is 1 us\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n# emulated\r\n"
        # yr = 127 - x in bits 8-14, xr = 127 - y in bits 1-7, bit 0 set for OFF.
        b"\0\0\x7c\x7e\0\0\0\5"
        b"\0\0\x00\xff\xff\xff\xff\xff"
    )


recordings = st.builds(
    lambda seed, count, start, chunk: (random_events(seed, count, height=128, width=128, span_us=50_000), start, chunk),
    st.integers(0, 2**32),
    st.integers(0, 300),
    st.sampled_from([0, 2**31 - 20_000, 2**32 - 60_000]),
    st.integers(1, 120),
)


def in_chunks(events: Events, chunk: int) -> Iterator[Events]:
    for start in range(0, len(events), chunk):
        yield events[start : start + chunk]


@given(recordings)
def test_readers_return_what_was_written(tmp_path: Path, made: tuple[Events, int, int]):
    from spikingjelly.datasets.cifar10_dvs import _load_origin_data
    from spikingjelly.datasets.utils import load_aedat_v3

    events, start, chunk = made
    events.t[:] += start
    for write, load in ((write_aedat31, load_aedat_v3), (write_aedat2, _load_origin_data)):
        path = tmp_path / "a.aedat"
        assert write(path, in_chunks(events, chunk)) == len(events)
        theirs = load(path)
        np.testing.assert_array_equal(np.stack([theirs[c] for c in "txyp"]).astype(np.int64), columns(events))
        np.testing.assert_array_equal(read(path), columns(events))


def test_packets_hold_at_most_4096_events(tmp_path: Path):
    events = random_events(0, 10_000, height=128, width=128)
    write_aedat31(tmp_path / "a.aedat", [events])
    np.testing.assert_array_equal(read(tmp_path / "a.aedat"), columns(events))
    data = (tmp_path / "a.aedat").read_bytes()
    position, numbers = data.index(b"#!END-HEADER\r\n") + 14, []
    while position < len(data):
        numbers.append(int.from_bytes(data[position + 20 : position + 24], "little"))
        position += 28 + 8 * numbers[-1]
    assert numbers == [4096, 4096, 1808]


def test_tonic_finds_the_words_too(tmp_path: Path):
    from tonic.io import get_aer_events_from_file, read_aedat_header_from_file

    events = random_events(1, 700, height=128, width=128)
    write_aedat2(tmp_path / "2.aedat", in_chunks(events, 100))
    write_aedat31(tmp_path / "3.aedat", in_chunks(events, 100))
    for name, version in (("2.aedat", 2.0), ("3.aedat", 3.1)):
        found, start, _ = read_aedat_header_from_file(str(tmp_path / name))
        assert found == version
        if version == 3.1:
            # tonic stops before the last line of this header, and its packets with it (tonic #302).
            start = (tmp_path / name).read_bytes().index(b"#!END-HEADER\r\n") + 14
        words = get_aer_events_from_file(str(tmp_path / name), found, start)
        np.testing.assert_array_equal(words["timeStamp"], events.t)
        address = words["address"].astype(np.int64)
        if version == 3.1:
            x, y = address >> 17, address >> 2 & 0x7FFF
        else:
            x, y = 127 - (address >> 8), 127 - (address >> 1 & 0x7F)
        np.testing.assert_array_equal((x, y), (events.x, events.y))


@pytest.mark.parametrize("write", [write_aedat31, write_aedat2])
def test_a_file_that_breaks_off_is_not_there(tmp_path: Path, write):
    def breaking() -> Iterator[Events]:
        yield random_events(0, height=128, width=128)
        raise KeyboardInterrupt

    (tmp_path / "a.aedat").write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.aedat", breaking())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.aedat", b"older")]


def test_what_does_not_fit_the_format_is_refused(tmp_path: Path):
    for write, late in ((write_aedat31, 2**62), (write_aedat2, 2**32)):
        with pytest.raises(ValueError, match="events of a DVS128"):
            write(tmp_path / "a.aedat", [random_events(0, height=64, width=128)])
        for t in (-1, late):
            with pytest.raises(ValueError, match=f"times from 0 to {late - 1} µs, found {t}"):
                write(tmp_path / "a.aedat", [dvs128([t], [0], [0], [0])])
    assert not list(tmp_path.iterdir())
