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

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.recording import Recording, file_size, outside_sensor, reading

_EVENT_BYTES = 5


@dataclass(frozen=True)
class AtisRecording(Recording):
    """Events of N-MNIST's 34x34 part of the sensor."""

    NAME: ClassVar[str] = "atis"
    TITLE: ClassVar[str] = "ATIS .bin"
    SUFFIX: ClassVar[str] = ".bin"
    MAGIC: ClassVar[bytes] = b""
    VERSION: ClassVar[int] = 1

    @classmethod
    def open(cls, path: Path) -> AtisRecording:
        """Look at the size, the only thing to see without the events.

        Raises:
            RecordingError: If the file cannot be read or ends within an event.
        """
        size = file_size(path)
        beyond = size % _EVENT_BYTES
        if beyond:
            raise RecordingError(
                f"{path}: expected events of {_EVENT_BYTES} bytes, found {beyond} bytes left at byte {size - beyond}. "
                "The file is truncated; copy it again."
            )
        return cls(path, 34, 34, 0, size)

    def chunks(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first outside of the sensor."""
        from preprocess.formats.kernels import decode_atis

        position = self.start
        with reading(self, _EVENT_BYTES) as read:
            while position < self.size:
                data = read(position)
                n = len(data) // _EVENT_BYTES
                t, p = np.empty(n, np.int64), np.empty(n, np.uint8)
                x, y = np.empty(n, np.uint16), np.empty(n, np.uint16)
                outside = decode_atis(data, self.height, self.width, t, x, y, p)
                if outside >= 0:
                    raise outside_sensor(
                        self, position + _EVENT_BYTES * outside, x=int(x[outside]), y=int(y[outside])
                    )
                position += len(data)
                yield Events(t, x, y, p, self.height, self.width)
