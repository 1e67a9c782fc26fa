"""ATIS ``.bin``: 5-byte big-endian events and nothing else; what N-MNIST is recorded in.

An event is x 8 bits, y 8 bits, p 1 bit (1 is ON), t 23 bits in µs.
Source: Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from preprocess.events import Events
from preprocess.formats.recording import Recording, Size, ends_within_event, file_size, outside_sensor, reading

_EVENT_BYTES = 5


@dataclass(frozen=True)
class AtisRecording(Recording):
    """Events of N-MNIST's 34x34 part of the sensor, unless another size is asked for."""

    NAME: ClassVar[str] = "atis"
    TITLE: ClassVar[str] = "ATIS .bin"
    SUFFIX: ClassVar[str] = ".bin"
    MAGIC: ClassVar[bytes] = b""
    VERSION: ClassVar[int] = 1
    TELLS_SIZE: ClassVar[bool] = False

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> AtisRecording:
        """Look at the file's length, the only thing to see without the events; RecordingError if there is none."""
        height, width = size or (34, 34)
        return cls(path, height, width, 0, file_size(path))

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first outside of the sensor, or cut off."""
        from preprocess.formats.kernels import decode_atis

        position = self.start
        with reading(self, _EVENT_BYTES) as read:
            while self.size - position >= _EVENT_BYTES:
                data = read(position)
                n = len(data) // _EVENT_BYTES
                data = data[: n * _EVENT_BYTES]
                t, p = np.empty(n, np.int64), np.empty(n, np.uint8)
                x, y = np.empty(n, np.uint16), np.empty(n, np.uint16)
                outside = decode_atis(data, self.height, self.width, t, x, y, p)
                good = n if outside < 0 else outside
                if good:
                    yield Events(t[:good], x[:good], y[:good], p[:good], self.height, self.width)
                if outside >= 0:
                    at = position + _EVENT_BYTES * outside
                    raise outside_sensor(self, at, x=int(x[outside]), y=int(y[outside]))
                position += len(data)
        fault = ends_within_event(self, _EVENT_BYTES)
        if fault:
            raise fault
