"""AEDAT 3.1: text lines, then packets of little-endian events; the format of DVS128-Gesture.

A packet is a header of 28 bytes and a payload of capacity x size bytes:

    type u16 @0, source u16 @2, size u32 @4, ts offset u32 @8, ts overflow u32 @12,
    capacity u32 @16, number u32 @20, valid u32 @24

Type 1 is polarity: data u32 (bit 0 valid, bit 1 polarity, y = d >> 2 & 0x7FFF, x = d >> 17) and timestamp u32, with
t = timestamp | overflow << 31 in µs. All other types are skipped.
Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.header import find_in_header, read_header
from preprocess.formats.recording import Recording, Size, damaged, file_size, outside_sensor, reading

_EVENT_BYTES = 8
_PACKET_HEADER_BYTES = 28


@dataclass(frozen=True)
class Aedat31Recording(Recording):
    """The events of a DVS128; events marked invalid are kept, as in SpikingJelly, and counted in a note."""

    NAME: ClassVar[str] = "aedat31"
    TITLE: ClassVar[str] = "AEDAT 3.1"
    SUFFIX: ClassVar[str] = ".aedat"
    MAGIC: ClassVar[bytes] = b"#!AER-DAT3.1"
    VERSION: ClassVar[int] = 1

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> Aedat31Recording:
        """Read the header; a file without a source is assumed to come from a DVS128.

        Raises:
            RecordingError: If the file cannot be read, its header does not end, or another sensor recorded it.
        """
        end = file_size(path)
        header, start = read_header(path, b"#!END-HEADER", end_required=True)
        foreign = [s for s in find_in_header(header, r"#Source \d+:(.*)") if s.split()[:1] != ["DVS128"]]
        if foreign:
            raise RecordingError(
                f"{path}: expected a DVS128 (128x128 pixels) as the source of the events, found {foreign[0]!r} in the "
                "header. Leave the file out."
            )
        return cls(path, 128, 128, start, end, header)

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
                self.note("events_marked_invalid", int(notes[0]))
                self.note("events_beyond_the_number_of_their_packet", int(notes[1]))
                self.note("events_of_other_kinds_skipped", int(notes[2]))
                if events:
                    yield Events(t[:events], x[:events], y[:events], p[:events], self.height, self.width)
                if ended != GOOD or consumed == 0:
                    raise self._error(ended, data[consumed:], position + consumed)
                position += consumed

    def _error(self, ended: int, data: NDArray[Any], position: int) -> RecordingError:
        """Return the error for the bytes at `position`, which begin with `data`."""
        from preprocess.formats.aedat.aedat31_kernels import BEYOND_FILE, OUTSIDE_SENSOR, WRONG_SIZE

        if ended == OUTSIDE_SENSOR:
            (word,) = struct.unpack_from("<I", data.data)
            return outside_sensor(self, position, x=word >> 17, y=word >> 2 & 0x7FFF)
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
