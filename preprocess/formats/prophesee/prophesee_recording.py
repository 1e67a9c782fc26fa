"""Prophesee's recordings: lines that start with ``%``, then words of EVT 2.0, 2.1, 3.0 or ``.dat``.

They are decoded here because expelliarmus does not terminate on some damaged files and never reports the position of
the damage. The events equal those of expelliarmus, except for times of EVT 3.0, where it treats every step back of the
lower 12 bits as a wrap and drifts ahead of the sensor's clock.

The clock has 34 bits in EVT 2.0 and 2.1 (4.8 hours), 24 bits in EVT 3.0 (16.8 s) and 32 bits in ``.dat`` (71.6
minutes). In all but the last its upper bits are sent in separate words, even while there are no events. A file that
begins in the middle of a stream has events before the first of them: as in Metavision's reader (OpenEB, evt2_decoder.h
and evt3_decoder.h) these are left out. Edges of external triggers are left out and counted.
Source: https://docs.prophesee.ai/stable/data/encoding_formats/index.html and .../data/file_formats/dat.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
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

# Rows and columns of the sensors by the name of their plugin, for headers without a geometry.
_SENSORS: tuple[tuple[str, Size], ...] = (
    (r"gen4|imx636|evk[34]", (720, 1280)),
    (r"genx320", (320, 320)),
    (r"gen3", (480, 640)),
)

_EVENTS_A_CHUNK = 1 << 17


@dataclass(frozen=True)
class PropheseeRecording(Recording):
    """Base class of the four encodings; the sensor size is in the header, or follows from the sensor it names."""

    MAGIC: ClassVar[bytes] = b"%"
    VERSION: ClassVar[int] = 2
    STORES_SIZE = "sometimes"
    ENCODING: ClassVar[str]
    """Name of the encoding, as returned by `_encoding`."""
    EVENT_BYTES: ClassVar[int]
    USUAL_SIZE: ClassVar[Size | None] = None
    """Size of the most common sensor of such files."""
    WORD: ClassVar[type[np.unsignedinteger[Any]]]
    KERNEL: ClassVar[str]
    """Module and name of the decoding kernel, which is loaded and compiled at its first use."""

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether the lines with ``%`` name this encoding."""
        return head.startswith(cls.MAGIC) and _encoding(head) == cls.ENCODING

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> Self:
        """Read the header.

        Raises:
            RecordingError: If the file cannot be read, or neither its header nor `size` gives the sensor's size.
        """
        end = file_size(path)
        # With the space, as Metavision reads it: if no line ends the header, the first event may begin with 0x25.
        header, start = read_header(path, b"% end", end_required=False, mark=b"% ")
        found = _size_in_header(header) or _size_of_sensor(header) or size or cls.USUAL_SIZE
        if found is None:
            stated = next((line for line in header if re.match(r"(?i)% (geometry|width|height)\b", line)), "none")
            raise RecordingError(
                f"{path}: expected the sensor's geometry in the header (% geometry 1280x720), found {stated[:80]}. "
                "Give it with --sensor-size ROWS COLUMNS."
            )
        return cls(path, *found, cls._skip(path, start, end), end, header)

    @classmethod
    def _skip(cls, path: Path, start: int, end: int) -> int:
        """The first byte of the events after a header that ends at `start`."""
        return start

    def _words(self, data: NDArray[np.uint8]) -> NDArray[Any]:
        """The words of a block of bytes."""
        return data.view(self.WORD)

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first invalid word or event outside the sensor."""
        from preprocess.formats.clock_wraps import new_clock, note_clock
        from preprocess.formats.prophesee.decoder_state import GOOD, LEFT_OUT, OUTSIDE_SENSOR, TRIGGERS, new_state

        module, _, name = self.KERNEL.rpartition(".")
        kernel = getattr(import_module(module), name)
        clock, state = new_clock(), new_state()
        bytes_a_word = np.dtype(self.WORD).itemsize
        position = self.start
        with reading(self, self.EVENT_BYTES) as read:
            while self.size - position >= self.EVENT_BYTES:
                data = read(position)
                words = self._words(data[: len(data) // self.EVENT_BYTES * self.EVENT_BYTES])
                taken = 0
                while taken < len(words):
                    t, p = np.empty(_EVENTS_A_CHUNK, np.int64), np.empty(_EVENTS_A_CHUNK, np.uint8)
                    x, y = np.empty(_EVENTS_A_CHUNK, np.uint16), np.empty(_EVENTS_A_CHUNK, np.uint16)
                    ended, consumed, n = kernel(words[taken:], self.height, self.width, clock, state, t, x, y, p)
                    taken += consumed
                    note_clock(self, clock)
                    self.note("events_left_out_before_the_clock", int(state[LEFT_OUT]))
                    self.note("external_triggers_left_out", int(state[TRIGGERS]))
                    if n:
                        yield Events(t[:n], x[:n], y[:n], p[:n], self.height, self.width)
                    if ended == OUTSIDE_SENSOR:
                        raise outside_sensor(self, position + taken * bytes_a_word, x=int(x[n]), y=int(y[n]))
                    if ended != GOOD:
                        raise self._unknown(words[taken:], position + taken * bytes_a_word)
                position += taken * bytes_a_word
        message = ends_within_event(self, self.EVENT_BYTES)
        if message:
            raise message

    def _unknown(self, words: Any, position: int) -> RecordingError:
        found = " ".join(f"0x{int(word):0{2 * word.itemsize}X}" for word in words[: self.EVENT_BYTES // words.itemsize])
        return damaged(
            f"{self.path}: expected a word of {self.TITLE}, found {found} at byte {position}. The file is damaged; "
            "copy it again.",
            position,
        )


def _encoding(head: bytes) -> str:
    """Return the encoding in the header: ``2.0``, ``3.0`` or another version, or ``dat`` if there is none."""
    found = re.search(rb"^% evt (\d\.\d)|^% format EVT(\d+)", head, re.MULTILINE)
    if not found:
        return "dat"
    if found.group(1):
        return found.group(1).decode()
    digits = found.group(2).decode()
    return f"{digits[0]}.{digits[1:] or '0'}"


def _size_in_header(header: tuple[str, ...]) -> Size | None:
    for line in header:
        found = re.match(r"% geometry\s+(?P<w>\d+)x(?P<h>\d+)", line)
        found = found or re.match(r"% format EVT\d+;(?=.*height=(?P<h>\d+))(?=.*width=(?P<w>\d+))", line)
        if found:
            return _plausible(found["h"], found["w"])
    rows, columns = find_in_header(header, r"(?i)% height\s+(\d+)"), find_in_header(header, r"(?i)% width\s+(\d+)")
    return _plausible(rows[0], columns[0]) if rows and columns else None


def _plausible(height: str, width: str) -> Size | None:
    size = int(height[:6]), int(width[:6])
    return size if min(size) > 0 and max(size) <= 1 << 14 else None


def _size_of_sensor(header: tuple[str, ...]) -> Size | None:
    names = find_in_header(header, r"(?i)% (?:plugin|sensor)_name (.*)")
    found = (size for pattern, size in _SENSORS if any(re.search(pattern, name.lower()) for name in names))
    return next(found, None)
