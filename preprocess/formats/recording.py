"""A raw recording: a file opened by its format, which streams its events in chunks of bounded memory."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events

# What is read and decoded at once: it stays in the processor's second cache, and so do the columns made of it.
BLOCK_BYTES = 1 << 20

# By how much of its beginning a file is recognised; Prophesee's headers tell the encoding within.
HEAD_BYTES = 4096

Size = tuple[int, int]
"""Rows and columns of a sensor."""

OUTSIDE = "expected a pixel within"
"""How the error of an event beyond the sensor's edge begins, behind the path."""


@dataclass(frozen=True)
class Recording(ABC):
    """One raw file of one sensor; opening it reads its header, `chunks` its events.

    Attributes:
        path: The file.
        height: Sensor rows.
        width: Sensor columns.
        start: Byte at which the data begins.
        size: Bytes of the file.
        header: Its lines of text, without line ends.
        orientation: Which way up, where the format leaves that open; None elsewhere.
        notes: Counts of what is odd about the events, known when all chunks were taken; nothing odd, no entry.
        salvage: Whether a damaged file gives the events before the damage instead of an error.
    """

    path: Path
    height: int
    width: int
    start: int
    size: int
    header: tuple[str, ...] = ()
    orientation: str | None = None
    notes: dict[str, int] = field(default_factory=dict)
    salvage: bool = False

    NAME: ClassVar[str]
    """The format in file names and fingerprints, such as ``aedat31``."""
    TITLE: ClassVar[str]
    """The format for people, such as ``AEDAT 3.1``."""
    SUFFIX: ClassVar[str]
    """How such a file's name ends."""
    MAGIC: ClassVar[bytes]
    """How such a file's content begins; empty where nothing marks it."""
    VERSION: ClassVar[int]
    """Counted up when the same file gives other events, so that caches of the old ones are made again."""
    STORES_SIZE: ClassVar[Literal["always", "sometimes", "never"]] = "always"
    """Whether such files store the size of their sensor."""

    @property
    def format(self) -> str:
        """The format for people."""
        return self.TITLE

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a file that begins with these bytes, at most HEAD_BYTES of it, is of this format."""
        return bool(cls.MAGIC) and head.startswith(cls.MAGIC)

    @classmethod
    @abstractmethod
    def open(cls, path: Path, size: Size | None = None) -> Recording:
        """Read the header.

        Args:
            path: The file.
            size: Rows and columns of the sensor, used only if the file does not store them.

        Raises:
            RecordingError: If the file cannot be read, or comes from another sensor.
        """

    @abstractmethod
    def decode(self) -> Iterator[Events]:
        """All events up to the first byte that does not fit the format; there it raises a RecordingError."""

    def chunks(self) -> Iterator[Events]:
        """All events in recording order, about a hundred thousand at a time; may be called again.

        With `salvage` they end quietly at the first damage, and what is lost is noted: ``recordings_salvaged`` and
        ``bytes_lost_to_damage``.

        Raises:
            RecordingError: At the first byte that does not fit the format.
        """
        try:
            yield from self.decode()
        except RecordingError as error:
            if not self.salvage or error.at is None:
                raise
            self.note("recordings_salvaged", 1)
            self.note("bytes_lost_to_damage", self.size - error.at)

    def note(self, name: str, count: int) -> None:
        """Set a note, or leave it out where there is nothing to tell."""
        if count:
            self.notes[name] = count


def file_size(path: Path) -> int:
    """Bytes of a file; RecordingError if there is none to read, or it is empty."""
    try:
        if path.is_dir():
            raise RecordingError(f"{path}: expected a recording, found a folder. Name one of its files.")
        if path.exists() and not path.is_file():
            raise RecordingError(f"{path}: expected a recording, found no regular file. Copy it to a disk first.")
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from None
    if size == 0:
        raise RecordingError(f"{path}: expected a recording, found an empty file (0 bytes). Copy it again.")
    return size


def unreadable(path: Path, error: OSError) -> RecordingError:
    """The fault of a file that the system does not give."""
    return RecordingError(f"{path}: cannot be read ({error.strerror or error}). Check the path and its permissions.")


@contextlib.contextmanager
def reading(recording: Recording, multiple: int = 1) -> Iterator[Callable[[int], NDArray[Any]]]:
    """Open the file and give ``read(position)``: the bytes from there on, at most a block.

    The bytes, uint8, lie in one buffer that the next call fills again. They are read, not mapped: at block size that
    is as fast, and a file that shrinks meanwhile ends in a fault instead of a bus error.

    Args:
        recording: What to read.
        multiple: Bytes of an event; a block that is not the last one is a multiple of it.

    Raises:
        RecordingError: If the file cannot be read, or ends before the size it had when it was opened.
    """
    block = max(1, BLOCK_BYTES // multiple) * multiple
    buffer = np.empty(min(block, recording.size - recording.start), np.uint8)
    try:
        file = recording.path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(recording.path, error) from None

    def read(position: int) -> NDArray[Any]:
        wanted = buffer[: min(len(buffer), recording.size - position)]
        filled = 0
        try:
            file.seek(position)
            while filled < len(wanted):
                got = file.readinto(wanted.data[filled:])
                if not got:
                    raise RecordingError(
                        f"{recording.path}: expected {recording.size} bytes as when it was opened, found "
                        f"{position + filled}. It changed while it was read; run the same command again."
                    )
                filled += got
        except OSError as error:
            raise unreadable(recording.path, error) from None
        return wanted

    with file:
        yield read


def damaged(message: str, position: int) -> RecordingError:
    """The fault of a file whose events up to the byte `position` are good."""
    error = RecordingError(message)
    error.at = position
    return error


def outside_sensor(recording: Recording, position: int, x: int, y: int, where: str = "") -> RecordingError:
    """The fault of an event beyond the sensor's edge; `where` it is, if not at the byte `position`."""
    return damaged(
        f"{recording.path}: {OUTSIDE} {recording.height}x{recording.width} (rows x columns), found row "
        f"{y}, column {x} in {where or f'the event at byte {position}'}. The file is damaged or comes from another "
        "sensor; copy it again or leave it out.",
        position,
    )


def first_outside(x: NDArray[Any], y: NDArray[Any], height: int, width: int) -> int:
    """The first of the events that is beyond the sensor's edge, or -1; x and y may be of any integer type."""
    if len(x) == 0 or (x.min() >= 0 and y.min() >= 0 and x.max() < width and y.max() < height):
        return -1
    return int(np.argmax((x < 0) | (y < 0) | (x >= width) | (y >= height)))


def ends_within_event(recording: Recording, event_bytes: int) -> RecordingError | None:
    """The fault of a file whose last event is cut off, or None."""
    beyond = (recording.size - recording.start) % event_bytes
    if beyond == 0:
        return None
    whole = recording.size - beyond
    return damaged(
        f"{recording.path}: expected events of {event_bytes} bytes, found {beyond} bytes left at byte {whole}. "
        "The file is truncated; copy it again.",
        whole,
    )
