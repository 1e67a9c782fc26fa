"""A raw recording: a file opened by its format, which streams its events in chunks of bounded memory."""

from __future__ import annotations

import contextlib
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events

# Bytes that are read and decoded at a time; they and the decoded columns fit into the second-level cache of a CPU.
BLOCK_BYTES = 1 << 20

# Bytes by which a file is recognised; Prophesee's headers name the encoding within them.
HEAD_BYTES = 4096

Size = tuple[int, int]
"""Rows and columns of a sensor."""

OUTSIDE = "expected a pixel within"
"""Beginning (after the path) of the error for an event outside the sensor."""


@dataclass(frozen=True)
class Recording(ABC):
    """A raw file of one sensor; opening it reads the header, and `chunks` reads the events.

    Attributes:
        path: The file.
        height: Sensor rows.
        width: Sensor columns.
        start: Byte at which the data begins.
        size: Size of the file in bytes.
        header: Text lines of the header, without line ends.
        orientation: Orientation of the image, if the format does not define it; else None.
        notes: Counts of irregular events, complete when all chunks were read; only counts above 0.
        salvage: Whether a damaged file is read up to the damage instead of raising an error.
        sensor: Name of the sensor, if the header says it or the format is always that of one; else empty.
        size_is_derived: Whether the size is that of the smallest sensor with all events, because nothing states it.
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
    sensor: str = ""
    size_is_derived: bool = False

    NAME: ClassVar[str]
    """The format in file names and fingerprints, such as ``aedat31``."""
    TITLE: ClassVar[str]
    """The readable name of the format, such as ``AEDAT 3.1``."""
    SUFFIX: ClassVar[str]
    """The suffix of such files."""
    OTHER_SUFFIXES: ClassVar[tuple[str, ...]] = ()
    """Further suffixes of such files."""
    MAGIC: ClassVar[bytes]
    """The signature at the beginning of such files; empty without one."""
    VERSION: ClassVar[int]
    """Increased when the same file is decoded to other events, so that older caches are rebuilt."""
    STORES_SIZE: ClassVar[Literal["always", "sometimes", "never"]] = "always"
    """Whether such files store the size of their sensor."""
    DECODES_FILES: ClassVar[bool] = False
    """Whether many small files can be decoded in one call, by `decode_files`."""
    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """The fields of `ReadOptions` that such files may need."""

    @property
    def format(self) -> str:
        """The readable name of the format."""
        return self.TITLE

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a file that begins with these bytes, at most HEAD_BYTES, has this format; only if MAGIC is first."""
        return bool(cls.MAGIC) and head.startswith(cls.MAGIC)

    @classmethod
    def suffixes(cls) -> tuple[str, ...]:
        """All suffixes of such files."""
        return cls.SUFFIX, *cls.OTHER_SUFFIXES

    @classmethod
    def may_be_recording(cls, path: Path) -> bool:
        """Whether a file with this suffix, among the recordings of a folder, is not obviously something else."""
        return True

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
        """All events up to the first byte that violates the format; there it raises a RecordingError."""

    @classmethod
    def decode_files(
        cls, data: NDArray[np.uint8], ends: NDArray[np.int64], height: int, width: int
    ) -> tuple[Events, NDArray[np.int64]]:
        """Decode several small files in one call; only if `DECODES_FILES`.

        Args:
            data: The contents of the files, one after another, uint8 (B,); the file names fit the format.
            ends: The end of each file, int64 (F,).
            height: Sensor rows.
            width: Sensor columns.

        Returns:
            The events of all files, one file after another, and their number in each, int64 (F,). It is -1 for a file
            with anything that `decode` raises or notes, or with times 2^31 µs apart: its events are left out, and it is
            to be decoded by itself.
        """
        raise NotImplementedError

    def chunks(self) -> Iterator[Events]:
        """All events in recording order, about a hundred thousand at a time; may be called again.

        With `salvage` they end at the first damage without an error, and the loss is noted: ``recordings_salvaged`` and
        ``bytes_lost_to_damage``.

        Raises:
            RecordingError: At the first byte that violates the format.
        """
        try:
            yield from self.decode()
        except RecordingError as error:
            if not self.salvage or error.at is None:
                raise
            self.note("recordings_salvaged", 1)
            self.note("bytes_lost_to_damage", self.size - error.at)

    def note(self, name: str, count: int) -> None:
        """Set a note if the count is not 0."""
        if count:
            self.notes[name] = count


def file_size(path: Path) -> int:
    """Size of a file in bytes; RecordingError if it cannot be read or is empty."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise RecordingError(f"{path}: expected a recording, found a folder. Give one of its files.")
    if not stat.S_ISREG(found.st_mode):
        raise RecordingError(f"{path}: expected a recording, found a special file. Copy it to a disk first.")
    if found.st_size == 0:
        raise RecordingError(f"{path}: expected a recording, found an empty file (0 bytes). Copy it again.")
    return found.st_size


def first_bytes(path: Path, count: int = HEAD_BYTES) -> bytes:
    """The first bytes of a file, fewer if it is shorter; RecordingError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> RecordingError:
    """Return the error for a file that the operating system cannot read."""
    return RecordingError(f"{path}: cannot be read ({error.strerror or error}). Check the path and its permissions.")


@contextlib.contextmanager
def reading(recording: Recording, multiple: int = 1) -> Iterator[Callable[[int], NDArray[Any]]]:
    """Open the file and yield ``read(position)``, which returns at most a block of bytes from that position on.

    The bytes, uint8, are in a buffer that the next call overwrites: one that stays in the cache of the CPU is filled
    much faster than a new one. They are read, not memory-mapped: a file that shrinks meanwhile causes an error message
    instead of a bus error.

    Args:
        recording: The recording to read.
        multiple: Bytes per event; all blocks but the last one are a multiple of it.

    Raises:
        RecordingError: If the file cannot be read, or is shorter than it was when it was opened.
    """
    block = max(1, BLOCK_BYTES // multiple) * multiple
    buffer = np.empty(min(block, recording.size - recording.start), np.uint8)
    try:
        file = recording.path.open("rb", buffering=0)
    except OSError as error:
        raise unreadable(recording.path, error) from None

    def read(position: int) -> NDArray[Any]:
        wanted = buffer[: recording.size - position]
        filled = 0
        try:
            file.seek(position)
            while filled < len(wanted):
                got = file.readinto(wanted.data[filled:])
                if not got:
                    raise RecordingError(
                        f"{recording.path}: expected {recording.size} bytes as when it was opened, found "
                        f"{position + filled}. The file changed while it was read; run the same command again."
                    )
                filled += got
        except OSError as error:
            raise unreadable(recording.path, error) from None
        return wanted

    with file:
        yield read


def damaged(message: str, position: int) -> RecordingError:
    """Return the error for a file whose events up to the byte `position` are valid."""
    error = RecordingError(message)
    error.at = position
    return error


def outside_sensor(recording: Recording, position: int, x: int, y: int, where: str = "") -> RecordingError:
    """Return the error for an event outside the sensor, at the byte `position` unless `where` is given."""
    return damaged(
        f"{recording.path}: {OUTSIDE} {recording.height}x{recording.width} (rows x columns), found row "
        f"{y}, column {x} in {where or f'the event at byte {position}'}. The file is damaged or comes from another "
        "sensor; copy it again or leave it out.",
        position,
    )


def first_outside(x: NDArray[Any], y: NDArray[Any], height: int, width: int) -> int:
    """Return the index of the first event outside the sensor, or -1; x and y may have any integer type."""
    if len(x) == 0 or (x.min() >= 0 and y.min() >= 0 and x.max() < width and y.max() < height):
        return -1
    return int(np.argmax((x < 0) | (y < 0) | (x >= width) | (y >= height)))


def ends_within_event(recording: Recording, event_bytes: int) -> RecordingError | None:
    """Return the error for a file whose last event is cut off, or None."""
    beyond = (recording.size - recording.start) % event_bytes
    if beyond == 0:
        return None
    whole = recording.size - beyond
    return damaged(
        f"{recording.path}: expected events of {event_bytes} bytes, found {beyond} bytes left at byte {whole}. "
        "The file is truncated; copy it again.",
        whole,
    )
