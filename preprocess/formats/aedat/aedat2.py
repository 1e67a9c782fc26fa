"""AEDAT 2.0 of a DVS128: text lines, then 8-byte big-endian events; the format of CIFAR10-DVS.

An event is an address u32 and a timestamp u32 in µs. A DVS128's address has 16 bits: bit 0 is b (1 is OFF),
bits 1-7 xr, bits 8-14 yr, and bit 15 marks a special event, which counts like the others, as in SpikingJelly.
The timestamp wraps after 2^32 µs, 71.6 minutes; SpikingJelly does not unwrap it.
Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.header import find_in_header, read_header
from preprocess.formats.recording import Recording, Size, damaged, ends_within_event, file_size, reading

_EVENT_BYTES = 8

# Position of x and y in an address, and 127 if the coordinate is counted from the other edge.
_TURNS: dict[str, tuple[int, int, int, int]] = {
    "spikingjelly": (8, 127, 1, 127),  # x = 127 - yr, y = 127 - xr
    "clif": (1, 127, 8, 0),  # x = 127 - xr, y = yr: the same image turned by 90 degrees
}

# The names of the DVS128 among jAER's chip classes; the second is that of its prototype.
_CHIPS = ("DVS128", "Tmpdiff128")


@dataclass(frozen=True)
class Aedat2Recording(Recording):
    """The events of a DVS128, in SpikingJelly's orientation unless `orientation` is ``clif``."""

    NAME: ClassVar[str] = "aedat2"
    TITLE: ClassVar[str] = "AEDAT 2.0"
    SUFFIX: ClassVar[str] = ".aedat"
    MAGIC: ClassVar[bytes] = b"#!AER-DAT2.0"
    VERSION: ClassVar[int] = 2

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> Aedat2Recording:
        """Read the header.

        Raises:
            RecordingError: If the file cannot be read or comes from another sensor.
        """
        end = file_size(path)
        header, start = read_header(path, b"#End Of ASCII Header", end_required=False)
        for chip in find_in_header(header, r"#\s*AEChip:(.*)"):
            if not chip.rsplit(".", 1)[-1].startswith(_CHIPS):
                raise RecordingError(
                    f"{path}: expected a recording of a DVS128 (128x128 pixels), found AEChip {chip!r} in the header. "
                    "Its addresses have another meaning; leave the file out."
                )
        return cls(path, 128, 128, start, end, header, "spikingjelly")

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first that is not from a DVS128 or is cut off."""
        from preprocess.formats.aedat.aedat2_kernels import decode_aedat2
        from preprocess.formats.clock_wraps import new_clock, note_clock

        turn = _TURNS[self.orientation or "spikingjelly"]
        clock, special = new_clock(), np.zeros(1, np.int64)
        position = self.start
        with reading(self, _EVENT_BYTES) as read:
            while self.size - position >= _EVENT_BYTES:
                data = read(position)
                n = len(data) // _EVENT_BYTES
                data = data[: n * _EVENT_BYTES]
                t, p = np.empty(n, np.int64), np.empty(n, np.uint8)
                x, y = np.empty(n, np.uint16), np.empty(n, np.uint16)
                words = data.view(np.uint32)
                foreign = decode_aedat2(words, *turn, clock, special, t, x, y, p)
                good = n if foreign < 0 else foreign
                note_clock(self, clock)
                self.note("events_marked_special", int(special[0]))
                if good:
                    yield Events(t[:good], x[:good], y[:good], p[:good], self.height, self.width)
                if foreign >= 0:
                    raise self._foreign(words[2 * foreign], position + _EVENT_BYTES * foreign)
                position += len(data)
        message = ends_within_event(self, _EVENT_BYTES)
        if message:
            raise message

    def _foreign(self, word: np.uint32, position: int) -> RecordingError:
        return damaged(
            f"{self.path}: expected DVS128 addresses of 16 bits, found 0x{int(word.byteswap()):08X} in the event at "
            f"byte {position}. It comes from another sensor (a DAVIS?) or is damaged; leave the file out.",
            position,
        )
