"""Event Stream (``.es``): events of 5 bytes or more, with the time since the event before, in µs.

After ``Event Stream``, the version (3 bytes), the kind of events (1 byte), width and height (16 bits each,
little-endian), each event is a byte with the time difference and the polarity, then x and y (16 bits each). Bytes of
ones make the difference longer. The origin is the lower left corner; here rows count from the top, as in every other
format. Of ATIS recordings, the measurements of exposure are counted and left out.
Source: https://github.com/neuromorphic-paris/event_stream, version 2
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.recording import Recording, Size, damaged, file_size, first_bytes, outside_sensor, reading

_HEADER_BYTES = 20
_EVENTS_A_CHUNK = 1 << 17
_KINDS = {0: "generic events", 1: "DVS events", 2: "ATIS events", 4: "colour events"}
DVS, ATIS = 1, 2


@dataclass(frozen=True)
class EventStreamRecording(Recording):
    """DVS or ATIS events; `kind` is the number of their kind."""

    NAME: ClassVar[str] = "es"
    TITLE: ClassVar[str] = "Event Stream .es"
    SUFFIX: ClassVar[str] = ".es"
    MAGIC: ClassVar[bytes] = b"Event Stream"
    VERSION: ClassVar[int] = 1

    kind: int = DVS

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> EventStreamRecording:
        """Read the header; RecordingError if it is cut off, or of another version or kind of events."""
        end = file_size(path)
        head = first_bytes(path, _HEADER_BYTES)

        def refused(expected: str, found: str, at: int) -> RecordingError:
            return RecordingError(
                f"{path}: expected {expected}, found {found} at byte {at}. Convert it, for example with faery, or copy "
                "it again."
            )

        if len(head) < _HEADER_BYTES and not head[15:16] == b"\0":
            raise refused(f"a header of {_HEADER_BYTES} bytes", f"the end of the file after {len(head)}", len(head))
        if head[12] != 2:
            raise refused("version 2 of Event Stream", f"version {'.'.join(map(str, head[12:15]))}", 12)
        if head[15] not in (DVS, ATIS):
            raise refused("DVS or ATIS events", _KINDS.get(head[15], f"events of kind {head[15]}"), 15)
        width, height = (int.from_bytes(head[k : k + 2], "little") for k in (16, 18))
        if not (width and height):
            raise refused("the size of a sensor", f"{height}x{width} pixels (rows x columns)", 16)
        return cls(path, height, width, _HEADER_BYTES, end, kind=head[15])

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first outside the sensor or cut off."""
        from preprocess.formats.event_stream_kernels import decode_event_stream

        state = np.zeros(2, np.int64)
        position = self.start
        with reading(self) as read:
            while position < self.size:
                data = read(position)
                t, p = np.empty(_EVENTS_A_CHUNK, np.int64), np.empty(_EVENTS_A_CHUNK, np.uint8)
                x, y = np.empty(_EVENTS_A_CHUNK, np.uint16), np.empty(_EVENTS_A_CHUNK, np.uint16)
                outside, taken, n = decode_event_stream(
                    data, self.kind == ATIS, self.height, self.width, state, t, x, y, p
                )
                self.note("exposure_measurements_skipped", int(state[1]))
                if n:
                    yield Events(t[:n], x[:n], y[:n], p[:n], self.height, self.width)
                position += taken
                if outside:
                    column, row = (int.from_bytes(data[taken + k : taken + k + 2].tobytes(), "little") for k in (1, 3))
                    raise outside_sensor(self, position, x=column, y=self.height - 1 - row)
                if not taken:
                    rest = self.size - position
                    raise damaged(
                        f"{self.path}: expected an event of 5 bytes, found the last {rest} bytes at byte {position}. "
                        "The file is truncated; copy it again.",
                        position,
                    )
