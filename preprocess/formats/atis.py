"""ATIS ``.bin``: 5-byte big-endian events without a header; the format of N-MNIST and N-Caltech101.

An event is x 8 bits, y 8 bits, p 1 bit (1 is ON), t 23 bits in µs, so the clock wraps after 8.388608 s. Longer
recordings wrap it, or mark an overflow: x = 0, y = 240 (an ATIS has the rows 0 to 239) is not an event and adds
2^13 µs to all later times, whatever the size of the sensor. The original tools treat any x in row 240 as a mark; here
it is an event if the sensor has that row, and an error otherwise.
Source: Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, 2015, and
read_dataset in https://github.com/gorchard/event-Python/blob/master/eventvision.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events
from preprocess.formats.recording import Recording, Size, ends_within_event, file_size, outside_sensor, reading

_EVENT_BYTES = 5


@dataclass(frozen=True)
class AtisRecording(Recording):
    """Events of N-MNIST's 34x34 part of the sensor, unless another size is given."""

    NAME: ClassVar[str] = "atis"
    TITLE: ClassVar[str] = "ATIS .bin"
    SUFFIX: ClassVar[str] = ".bin"
    MAGIC: ClassVar[bytes] = b""
    VERSION: ClassVar[int] = 2
    STORES_SIZE = "never"
    DECODES_FILES: ClassVar[bool] = True

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> AtisRecording:
        """Check the length of the file, which has no header; RecordingError if it cannot be read or is empty."""
        height, width = size or (34, 34)
        return cls(path, height, width, 0, file_size(path))

    @classmethod
    def decode_files(
        cls, data: NDArray[np.uint8], ends: NDArray[np.int64], height: int, width: int
    ) -> tuple[Events, NDArray[np.int64]]:
        """The events of several files in memory, and their number in each, or -1."""
        from preprocess.formats.atis_kernels import decode_atis_files
        from preprocess.formats.clock_wraps import new_clock

        most = len(data) // _EVENT_BYTES
        t, p = np.empty(most, np.int64), np.empty(most, np.uint8)
        x, y = np.empty((2, most), np.uint16)
        counts = np.empty(len(ends), np.int64)
        n = decode_atis_files(data, ends, height, width, new_clock(), t, x, y, p, counts)
        return Events(t, x, y, p, height, width)[:n], counts

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first outside the sensor or cut off."""
        from preprocess.formats.atis_kernels import decode_atis
        from preprocess.formats.clock_wraps import new_clock, note_clock

        clock, marks = new_clock(), np.zeros(1, np.int64)
        position = self.start
        with reading(self, _EVENT_BYTES) as read:
            while self.size - position >= _EVENT_BYTES:
                data = read(position)
                n = len(data) // _EVENT_BYTES
                data = data[: n * _EVENT_BYTES]
                t, p = np.empty(n, np.int64), np.empty(n, np.uint8)
                x, y = np.empty(n, np.uint16), np.empty(n, np.uint16)
                taken, good = decode_atis(data, self.height, self.width, clock, marks, t, x, y, p)
                note_clock(self, clock)
                self.note("overflow_marks", int(marks[0]))
                if good:
                    yield Events(t[:good], x[:good], y[:good], p[:good], self.height, self.width)
                if taken < n:
                    column, row = data[_EVENT_BYTES * taken :][:2].tolist()
                    raise outside_sensor(self, position + _EVENT_BYTES * taken, x=column, y=row)
                position += len(data)
        message = ends_within_event(self, _EVENT_BYTES)
        if message:
            raise message
