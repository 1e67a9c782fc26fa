"""AEDAT 2.0: text lines, then 8-byte big-endian events; the format of jAER, CIFAR10-DVS and v2e.

An event is an address u32 and a timestamp u32 in µs, which wraps after 2^32 µs, 71.6 minutes. What an address means
depends on the sensor, which the header line ``# AEChip`` names in jAER's files; v2e writes no such line.

    DVS128  bit 0: 1 is OFF, bits 1-7: xr, bits 8-14: yr, bit 15: special, counts like the others, as in SpikingJelly
    DAVIS   bit 31: a sample of a frame or of the IMU, bit 10: an external event (all left out and counted);
            bit 11: 1 is ON, bits 12-21: xr, bits 22-30: yr
    DVS640  bit 0: 1 is ON, bits 1-10: xr, bits 11-20: yr (jAER's class, and v2e's files of 640x480)

The images of a DAVIS and a DVS640 are upright, as jAER shows them and as v2e was given them: x = W - 1 - xr,
y = H - 1 - yr. SpikingJelly does not unwrap the clock.
Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html, and the class
``AEDat2Output`` of https://github.com/SensorsINI/v2e
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.aedat.sensor_sizes import Sensor, known_sensor
from preprocess.formats.header import find_in_header, read_header
from preprocess.formats.recording import (
    Recording,
    Size,
    damaged,
    ends_within_event,
    file_size,
    outside_sensor,
    reading,
)

_EVENT_BYTES = 8

# Position of x and y in an address, and 127 if the coordinate is counted from the other edge.
_TURNS: dict[str, tuple[int, int, int, int]] = {
    "spikingjelly": (8, 127, 1, 127),  # x = 127 - yr, y = 127 - xr
    "clif": (1, 127, 8, 0),  # x = 127 - xr, y = yr: the same image turned by 90 degrees
}

# Of other sensors: position and mask of x, of y, position of the polarity, bits of what is no event of a pixel.
_DAVIS = (12, 0x3FF, 22, 0x1FF, 11, 1 << 31 | 1 << 10)
_DVS640 = (1, 0x3FF, 11, 0x3FF, 0, 0)

_DVS128 = Sensor("DVS128", (128, 128))

# The sensor of a file that names none, by the size that is given for it.
_BY_SIZE = {
    sensor.size: sensor
    for sensor in (Sensor("DAVIS240", (180, 240)), Sensor("DAVIS346", (260, 346)), Sensor("DVS640", (480, 640)))
}
_SIZES = ", ".join(f"{rows} {columns}" for rows, columns in _BY_SIZE)


@dataclass(frozen=True)
class Aedat2Recording(Recording):
    """The events of a sensor; those of a DVS128 in SpikingJelly's orientation unless `orientation` is ``clif``."""

    NAME: ClassVar[str] = "aedat2"
    TITLE: ClassVar[str] = "AEDAT 2.0"
    SUFFIX: ClassVar[str] = ".aedat"
    MAGIC: ClassVar[bytes] = b"#!AER-DAT2.0"
    VERSION: ClassVar[int] = 2
    STORES_SIZE: ClassVar[Literal["always", "sometimes", "never"]] = "sometimes"

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> Aedat2Recording:
        """Read the header; a file that names no sensor is one of a DVS128, unless `size` is that of another.

        Raises:
            RecordingError: If the file cannot be read or comes from an unknown sensor.
        """
        end = file_size(path)
        header, start = read_header(path, b"#End Of ASCII Header", end_required=False)
        chips = [chip.rsplit(".", 1)[-1] for chip in find_in_header(header, r"#\s*AEChip:(.*)")]
        sensor = known_sensor(chips[0]) if chips else _BY_SIZE.get(size or _DVS128.size, _DVS128)
        if sensor is None:
            raise RecordingError(
                f"{path}: expected a recording of a DVS128, DAVIS or DVS640, found AEChip {chips[0]!r} in the header. "
                "Its addresses have another meaning; leave the file out."
            )
        turned = "spikingjelly" if sensor == _DVS128 else None
        return cls(path, *sensor.size, start, end, header, turned, sensor=sensor.name)

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first of another sensor, or that is cut off."""
        if self.sensor == "DVS128":
            decode_block = self._decoder_of_dvs128()
        else:
            decode_block = self._decoder_of(*(_DVS640 if self.sensor == "DVS640" else _DAVIS))
        position = self.start
        with reading(self, _EVENT_BYTES) as read:
            while self.size - position >= _EVENT_BYTES:
                data = read(position)
                data = data[: len(data) // _EVENT_BYTES * _EVENT_BYTES]
                words = data.view(np.uint32)
                events, wrong = decode_block(words)
                if len(events):
                    yield events
                if wrong >= 0:
                    raise self._foreign(int(words[2 * wrong].byteswap()), position + _EVENT_BYTES * wrong)
                position += len(data)
        message = ends_within_event(self, _EVENT_BYTES)
        if message:
            raise message

    def _decoder_of_dvs128(self) -> Callable[[NDArray[np.uint32]], tuple[Events, int]]:
        """A function that decodes blocks in turn, and returns the number of the first event that is invalid, or -1."""
        from preprocess.formats.aedat.aedat2_kernels import decode_dvs128
        from preprocess.formats.clock_wraps import new_clock, note_clock

        turn = _TURNS[self.orientation or "spikingjelly"]
        clock, special = new_clock(), np.zeros(1, np.int64)

        def decode_block(words: NDArray[np.uint32]) -> tuple[Events, int]:
            t, x, y, p = _new_columns(len(words) // 2)
            foreign = decode_dvs128(words, *turn, clock, special, t, x, y, p)
            note_clock(self, clock)
            self.note("events_marked_special", int(special[0]))
            return Events(t, x, y, p, self.height, self.width)[: len(t) if foreign < 0 else foreign], foreign

        return decode_block

    def _decoder_of(self, *layout: int) -> Callable[[NDArray[np.uint32]], tuple[Events, int]]:
        """As `_decoder_of_dvs128`, for a layout of other addresses."""
        from preprocess.formats.aedat.aedat2_kernels import decode_addresses
        from preprocess.formats.clock_wraps import new_clock, note_clock

        clock, left_out = new_clock(), np.zeros(3, np.int64)

        def decode_block(words: NDArray[np.uint32]) -> tuple[Events, int]:
            t, x, y, p = _new_columns(len(words) // 2)
            n, outside = decode_addresses(words, *layout, self.height, self.width, clock, left_out, t, x, y, p)
            note_clock(self, clock)
            for kind, count in zip(("frame_samples", "imu_samples", "external_events"), left_out, strict=True):
                self.note(f"{kind}_left_out", int(count))
            return Events(t[:n], x[:n], y[:n], p[:n], self.height, self.width), outside

        return decode_block

    def _foreign(self, word: int, position: int) -> RecordingError:
        if self.sensor == "DVS128":
            return damaged(
                f"{self.path}: expected DVS128 addresses of 16 bits, found 0x{word:08X} in the event at byte "
                f"{position}. It is damaged or comes from another sensor; leave the file out or, if the sensor is a "
                f"DAVIS or DVS640, give its size: --sensor-size {_SIZES.replace(', ', ' or ')}.",
                position,
            )
        x_shift, x_mask, y_shift, y_mask, *_ = _DVS640 if self.sensor == "DVS640" else _DAVIS
        return outside_sensor(self, position, x=word >> x_shift & x_mask, y=word >> y_shift & y_mask)


def _new_columns(n: int) -> tuple[Any, Any, Any, Any]:
    return np.empty(n, np.int64), np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.uint8)
