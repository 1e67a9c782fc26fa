"""AEDAT 3.1 and 3.0: text lines, then packets of little-endian events; the format of cAER and of DVS128-Gesture.

A packet is a header of 28 bytes and a payload of capacity x size bytes:

    type u16 @0, source u16 @2, size u32 @4, ts offset u32 @8, ts overflow u32 @12,
    capacity u32 @16, number u32 @20, valid u32 @24

Type 1 is polarity: data u32 (bit 0 valid, bit 1 polarity, y = d >> 2 & 0x7FFF, x = d >> 17) and timestamp u32, with
t = timestamp | overflow << 31 in µs. All other types (special events, frames, IMU samples, ...) are skipped. In
AEDAT 3.0 the header has no last line, and rows are counted from the bottom.
Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html, and aedat-3.0.html
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.aedat.sensor_sizes import Sensor, known_sensor
from preprocess.formats.header import find_in_header, read_header
from preprocess.formats.recording import Recording, Size, damaged, file_size, outside_sensor, reading, unreadable

INVALID_LEFT_OUT = "events_marked_invalid_left_out"
"""The note of events whose validity bit is not set."""

INVALID_KEPT = "events_marked_invalid"
"""Earlier versions kept these events, and counted them in this note."""

_EVENT_BYTES = 8
_PACKET_HEADER_BYTES = 28


# Versions by their first lines.
_VERSIONS = {"#!AER-DAT3.1": "AEDAT 3.1", "#!AER-DAT3.0": "AEDAT 3.0"}


@dataclass(frozen=True)
class Aedat31Recording(Recording):
    """The events of a sensor; events marked invalid are left out and counted, while SpikingJelly keeps them."""

    NAME: ClassVar[str] = "aedat31"
    TITLE: ClassVar[str] = "AEDAT 3.1"
    SUFFIX: ClassVar[str] = ".aedat"
    MAGIC: ClassVar[bytes] = b"#!AER-DAT3."
    VERSION: ClassVar[int] = 1
    STORES_SIZE: ClassVar[Literal["always", "sometimes", "never"]] = "sometimes"

    @property
    def format(self) -> str:
        """``AEDAT 3.1`` or ``AEDAT 3.0``."""
        return _VERSIONS[self.header[0]]

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> Aedat31Recording:
        """Read the header; a file without a source is assumed to come from a DVS128, unless `size` is given.

        Raises:
            RecordingError: If the file cannot be read, its header does not end or is of another version, or the size
                of the sensor is unknown.
        """
        end = file_size(path)
        with_end = not _first_line(path).startswith(b"#!AER-DAT3.0")
        header, start = read_header(path, b"#!END-HEADER", end_required=with_end)
        # A first line with control characters is data, so that there is no header.
        first = header[0] if header else _first_line(path).decode("utf-8", "replace")
        if first not in _VERSIONS:
            raise RecordingError(
                f"{path}: expected AEDAT 3.1 or 3.0, found the first line '{first}'. Convert it, or leave it out."
            )
        encodings = find_in_header(header, r"#Format:(.*)")
        if encodings and encodings[0].upper() != "RAW":
            raise RecordingError(
                f"{path}: expected packets that are not compressed (#Format: RAW), found #Format: {encodings[0]} "
                "in the header. Record or convert it as RAW."
            )
        sensor = _source_of(path, find_in_header(header, r"#Source \d+:(.*)"), size)
        return cls(path, *sensor.size, start, end, header, sensor=sensor.name)

    def decode(self) -> Iterator[Events]:
        """All polarity events in recording order; RecordingError at the first packet or event that is invalid."""
        from preprocess.formats.aedat.aedat31_kernels import GOOD, decode_aedat31

        packet, notes = np.zeros(3, np.int64), np.zeros(3, np.int64)
        position = self.start
        with reading(self) as read:
            while position < self.size:
                data = read(position)
                slots = len(data) // _EVENT_BYTES
                t, p = np.empty(slots, np.int64), np.empty(slots, np.uint8)
                x, y = np.empty(slots, np.uint16), np.empty(slots, np.uint16)
                ended, consumed, events = decode_aedat31(
                    data, self.size - position, self.height, self.width, packet, notes, t, x, y, p
                )
                self.note(INVALID_LEFT_OUT, int(notes[0]))
                self.note("events_beyond_the_number_of_their_packet", int(notes[1]))
                self.note("events_of_other_kinds_skipped", int(notes[2]))
                if events:
                    rows = y[:events] if self.format == "AEDAT 3.1" else np.uint16(self.height - 1) - y[:events]
                    yield Events(t[:events], x[:events], rows, p[:events], self.height, self.width)
                if ended != GOOD or consumed == 0:
                    raise self._error(ended, data[consumed:], position + consumed)
                position += consumed

    def _error(self, ended: int, data: NDArray[Any], position: int) -> RecordingError:
        """Return the error for the bytes at `position`, which begin with `data`."""
        from preprocess.formats.aedat.aedat31_kernels import BEYOND_FILE, OUTSIDE_SENSOR, WRONG_SIZE

        if ended == OUTSIDE_SENSOR:
            (word,) = struct.unpack_from("<I", data.data)
            row = word >> 2 & 0x7FFF
            return outside_sensor(
                self, position, x=word >> 17, y=row if self.format == "AEDAT 3.1" else self.height - 1 - row
            )
        left = self.size - position
        if left < _PACKET_HEADER_BYTES:
            return self._damaged(position, f"a packet header of {_PACKET_HEADER_BYTES} bytes", f"the last {left} bytes")
        kind, _, size, _, _, capacity, number, _ = struct.unpack_from("<HHIIIIII", data.data)
        if ended == BEYOND_FILE:
            payload = left - _PACKET_HEADER_BYTES
            expected = f"a packet that ends within the file ({payload} bytes after its header)"
            return self._damaged(position, expected, f"one of {capacity} x {size} bytes (type {kind})")
        if ended == WRONG_SIZE:
            return self._damaged(position, f"polarity events of {_EVENT_BYTES} bytes", f"{size} bytes in the packet")
        return self._damaged(position, f"at most {capacity} events (its capacity)", f"{number} in the packet")

    def _damaged(self, position: int, expected: str, found: str) -> RecordingError:
        hint = "The file is truncated or damaged; copy it again."
        return damaged(f"{self.path}: expected {expected}, found {found} at byte {position}. {hint}", position)


def _source_of(path: Path, sources: list[str], size: Size | None) -> Sensor:
    """Return the sensor of the events, from the sources in the header or from its size.

    Raises:
        RecordingError: If the size is unknown, or the sources have several.
    """
    if not sources:
        return Sensor("", size) if size else Sensor("DVS128", (128, 128))
    sensors = {source: _sensor_of(source, size) for source in sources}
    for source, sensor in sensors.items():
        if sensor is None:
            raise RecordingError(
                f"{path}: expected the size of the sensor {source!r}, which is not known here, found none. Give it: "
                "--sensor-size ROWS COLUMNS."
            )
    found = set(sensors.values())
    if len(found) > 1:
        raise RecordingError(
            f"{path}: expected one source of events in the header, found {', '.join(sensors)}. Convert it to "
            "a file for each source."
        )
    (sensor,) = found
    assert sensor is not None
    return sensor


def _sensor_of(source: str, size: Size | None) -> Sensor | None:
    """Return the sensor of a source; that of a converted file has its size in the source."""
    width, height = (re.search(rf"dvsSize{axis}=(\d{{1,5}})", source) for axis in "XY")
    if width and height:
        size = min(1 << 15, int(height[1])), min(1 << 15, int(width[1]))
        return Sensor("", size) if min(size) > 0 else None
    return known_sensor(source) or (Sensor(source, size) if size else None)


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(32)
    except OSError as error:
        raise unreadable(path, error) from None
