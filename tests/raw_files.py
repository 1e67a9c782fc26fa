"""Raw files as bytes, written plainly with struct: what the readers are tested on."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.events import Events
from preprocess.formats import NO_OPTIONS, ReadOptions, open_recording


def decode(path: Path, *, options: ReadOptions = NO_OPTIONS, size: tuple[int, int] | None = None) -> Events:
    """All events of a file, by the reader of its format."""
    opened = open_recording(path, options=options, size=size)
    return Events.concatenate(opened.chunks(), opened.height, opened.width)


AEDAT31_HEADER = ("#!AER-DAT3.1", "#Format: RAW", "#Source 1: DVS128", "#Start-Time: 2016-01-01 00:00:00 (TZ+0000)")
AEDAT2_HEADER = ("#!AER-DAT2.0", "# This is a raw AE data file - do not edit", "# Timestamps tick is 1 us")


@dataclass(frozen=True)
class Packet:
    """A packet of AEDAT 3.1; what is None fits the payload."""

    payload: bytes
    kind: int = 1
    size: int = 8
    overflow: int = 0
    capacity: int | None = None
    number: int | None = None

    def to_bytes(self) -> bytes:
        slots = len(self.payload) // self.size if self.size else 0
        capacity = slots if self.capacity is None else self.capacity
        number = capacity if self.number is None else self.number
        head = struct.pack("<HHIIIIII", self.kind, 1, self.size, 4, self.overflow, capacity, number, number)
        return head + self.payload


def polarity_payload(events: Sequence[tuple[int, int, int, int]], valid: int = 1) -> bytes:
    """Polarity events of (t, x, y, p); t has up to 32 bits."""
    return b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | valid, t) for t, x, y, p in events)


def text_header(lines: Sequence[str], line_end: str = "\r\n") -> bytes:
    return "".join(line + line_end for line in lines).encode()


def aedat31(packets: Sequence[Packet], header: Sequence[str] = AEDAT31_HEADER, line_end: str = "\r\n") -> bytes:
    return text_header((*header, "#!END-HEADER"), line_end) + b"".join(packet.to_bytes() for packet in packets)


def aedat2(words: Sequence[tuple[int, int]], header: Sequence[str] = AEDAT2_HEADER, line_end: str = "\r\n") -> bytes:
    """Events of (address, timestamp), as they lie in the file."""
    return text_header(header, line_end) + b"".join(struct.pack(">II", *word) for word in words)


def atis(events: Sequence[tuple[int, int, int, int]]) -> bytes:
    """Events of (t, x, y, p); t has 23 bits."""
    return b"".join(struct.pack(">BBBH", x, y, p << 7 | t >> 16, t & 0xFFFF) for t, x, y, p in events)


def columns(events: Events) -> dict[str, list[int]]:
    return {name: getattr(events, name).tolist() for name in "txyp"}
