"""A raw recording: a file opened by its format, which streams its events in chunks of bounded memory."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events

# What is read and decoded at once: it stays in the processor's second cache, and so do the columns made of it.
BLOCK_BYTES = 1 << 20


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
    """

    path: Path
    height: int
    width: int
    start: int
    size: int
    header: tuple[str, ...] = ()
    orientation: str | None = None
    notes: dict[str, int] = field(default_factory=dict)

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

    @property
    def format(self) -> str:
        """The format for people."""
        return self.TITLE

    @classmethod
    @abstractmethod
    def open(cls, path: Path) -> Recording:
        """Read the header.

        Raises:
            RecordingError: If the file cannot be read, is truncated, or comes from another sensor.
        """

    @abstractmethod
    def chunks(self) -> Iterator[Events]:
        """All events in recording order, about a hundred thousand at a time; may be called again.

        Raises:
            RecordingError: At the first byte that does not fit the format.
        """

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
    block = BLOCK_BYTES // multiple * multiple
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


def outside_sensor(recording: Recording, position: int, x: int, y: int) -> RecordingError:
    """The fault of an event beyond the sensor's edge."""
    return RecordingError(
        f"{recording.path}: expected a pixel within {recording.height}x{recording.width} (rows x columns), found row "
        f"{y}, column {x} in the event at byte {position}. The file is damaged or comes from another sensor; copy it "
        "again or leave it out."
    )
