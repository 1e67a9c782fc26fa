"""Write raw files as cameras do: AEDAT 3.1 (DVS128-Gesture) and AEDAT 2.0 (CIFAR10-DVS).

The formats are described in `preprocess.formats.aedat.aedat31` and `preprocess.formats.aedat.aedat2`, which read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events
from preprocess.files import whole_file

# Rows and columns of a DVS128.
DVS128_SIZE = 128

_PACKET_EVENTS = 4096

_PACKET_HEADER = np.dtype(
    [
        ("type", "<u2"), ("source", "<u2"), ("size", "<u4"), ("ts_offset", "<u4"), ("ts_overflow", "<u4"),
        ("capacity", "<u4"), ("number", "<u4"), ("valid", "<u4"),
    ]
)  # fmt: skip
_AEDAT31_EVENT = np.dtype([("data", "<u4"), ("time", "<u4")])
_AEDAT2_EVENT = np.dtype([("address", ">u4"), ("time", ">u4")])
_POLARITY = 1


def write_aedat31(path: Path, chunks: Iterable[Events], comments: Sequence[str] = ()) -> int:
    """Write a recording of a DVS128 as AEDAT 3.1.

    Args:
        path: The file, written atomically.
        chunks: The events in recording order, 128x128 pixels, 0 <= t < 2^62 µs.
        comments: Lines for the header.

    Returns:
        Number of events written.
    """
    header = [
        "#!AER-DAT3.1", "#Format: RAW", "#Source 1: DVS128", "#Start-Time: 2000-01-01 00:00:00 (TZ+0000)",
        *(f"# {comment}" for comment in comments), "#!END-HEADER",
    ]  # fmt: skip
    count = 0
    with whole_file(path) as temporary, temporary.open("wb") as file:
        _write_lines(file, header)
        for events in chunks:
            _check(events, 1 << 62)
            for packet in _packets(events):
                file.write(packet)
            count += len(events)
    return count


def _packets(events: Events) -> Iterator[bytes]:
    """Packets of at most _PACKET_EVENTS events whose times have the same upper bits, which are in the header."""
    overflow = events.t >> 31
    ends = np.flatnonzero(np.diff(overflow)) + 1
    for l, r in zip((0, *ends), (*ends, len(events)), strict=True):
        for start in range(l, r, _PACKET_EVENTS):
            part = events[start : min(start + _PACKET_EVENTS, r)]
            n = len(part)
            header = np.zeros(1, _PACKET_HEADER)
            # ts_offset is the position of the time within an event.
            header[0] = (_POLARITY, 1, _AEDAT31_EVENT.itemsize, 4, overflow[start], n, n, n)
            payload = np.empty(n, _AEDAT31_EVENT)
            x, y, p = (column.astype(np.uint32) for column in (part.x, part.y, part.p))
            payload["data"] = 1 | p << 1 | y << 2 | x << 17
            payload["time"] = part.t & 0x7FFFFFFF
            yield header.tobytes() + payload.tobytes()


def write_aedat2(path: Path, chunks: Iterable[Events], comments: Sequence[str] = ()) -> int:
    """Write a recording of a DVS128 as AEDAT 2.0, with the header of jAER.

    Args:
        path: The file, written atomically.
        chunks: The events in recording order, 128x128 pixels, 0 <= t < 2^32 µs, in the orientation in which
            SpikingJelly reads them: x = 127 - yr, y = 127 - xr.
        comments: Lines for the header.

    Returns:
        Number of events written.
    """
    header = [
        "#!AER-DAT2.0", "# This is a raw AE data file - do not edit",
        "# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event",
        "# Timestamps tick is 1 us", "# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128",
        *(f"# {comment}" for comment in comments),
    ]  # fmt: skip
    count = 0
    with whole_file(path) as temporary, temporary.open("wb") as file:
        _write_lines(file, header)
        for events in chunks:
            _check(events, 1 << 32)
            payload = np.empty(len(events), _AEDAT2_EVENT)
            payload["address"] = _dvs128_address(events)
            payload["time"] = events.t
            file.write(payload.tobytes())
            count += len(events)
    return count


def _dvs128_address(events: Events) -> NDArray[np.integer]:
    """Addresses of a DVS128: yr in bits 8-14, xr in bits 1-7, bit 0 set for OFF."""
    xr, yr = DVS128_SIZE - 1 - events.y, DVS128_SIZE - 1 - events.x
    return yr << 8 | xr << 1 | (1 - events.p)


def _check(events: Events, end_us: int) -> None:
    if (events.height, events.width) != (DVS128_SIZE, DVS128_SIZE):
        raise ValueError(f"expected events of a DVS128 (128x128), found {events.height}x{events.width} pixels")
    if len(events) and not (events.t.min() >= 0 and events.t.max() < end_us):
        raise ValueError(f"expected times from 0 to {end_us - 1} µs, found {events.t.min()} to {events.t.max()}")


def _write_lines(file: BinaryIO, lines: Sequence[str]) -> None:
    file.write("".join(f"{line}\r\n" for line in lines).encode("ascii"))
