"""Events in NumPy files (``.npy`` and ``.npz``), with columns identified by name or order.

An ``.npz`` contains the columns as four arrays, or one array of all columns; an ``.npy`` contains a structured array,
or an array of shape (N, 4) in either memory order. SpikingJelly's ``events_np`` and tonic's DVS128-Gesture are such
files.
Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.files import ARCHIVE_ERRORS
from preprocess.formats.column_names import (
    LARGEST_TIME_US,
    TABLE_NAMES,
    Header,
    Plan,
    match_names,
    no_events,
    plan_columns,
    plan_table,
    read_header,
)
from preprocess.formats.column_recording import ColumnRecording, Columns
from preprocess.formats.read_options import COLUMNS, NO_OPTIONS, ReadOptions
from preprocess.formats.recording import Size, damaged, file_size, reading, unreadable
from preprocess.formats.small_arrays import decode_small_arrays
from preprocess.formats.text.compressed_text import is_zipped_text

_EVENTS_A_CHUNK = 1 << 17
_SKIP_BYTES = 1 << 20

_NO_PLAN = Plan((), 0, True)

_ZIP_ERRORS = (*ARCHIVE_ERRORS, OSError)


@dataclass(frozen=True)
class ArrayRecording(ColumnRecording):
    """Base class of the array formats; `plan` is where the columns are."""

    plan: Plan = _NO_PLAN

    @classmethod
    def _planned(cls, path: Path, size: Size | None, options: ReadOptions, plan: Plan) -> ArrayRecording:
        first = plan.stretches[0]
        start = 0 if first.member else first.start
        opened = cls(path, 1, 1, start, file_size(path), options=options, plan=plan)
        return opened._sized(size, plan.ordered)


@dataclass(frozen=True)
class NpyRecording(ArrayRecording):
    """``.npy`` of shape (N,) with fields for t, x, y and p, or of shape (N, 4) with the column order of the options."""

    NAME: ClassVar[str] = "npy"
    TITLE: ClassVar[str] = "NumPy .npy"
    SUFFIX: ClassVar[str] = ".npy"
    MAGIC: ClassVar[bytes] = b"\x93NUMPY"
    DECODES_FILES: ClassVar[bool] = True

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> ArrayRecording:
        """Read the header.

        Raises:
            RecordingError: If the file cannot be read, or is not an array of events with known columns.
        """
        try:
            with path.open("rb") as file:
                header = read_header(file)
        except OSError as error:
            raise unreadable(path, error) from None
        except ValueError as error:
            raise no_events(path, str(error)) from None
        return cls._planned(path, size, options, plan_table(path, header, options))

    @classmethod
    def decode_files(
        cls, data: NDArray[np.uint8], ends: NDArray[np.int64], height: int, width: int
    ) -> tuple[Events, NDArray[np.int64]]:
        """The events of several files of structured arrays in memory, and their number in each, or -1."""
        return decode_small_arrays(data, ends, height, width)

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        stretches, total = self.plan.stretches, self.plan.count
        done = 0
        whole = min([total, *(max(0, self.size - s.start) // s.event_bytes for s in stretches)])
        with contextlib.ExitStack() as opened:
            reads = [opened.enter_context(reading(self, stretch.event_bytes)) for stretch in stretches]
            while done < whole:
                pieces = [read(self._byte(k, done)) for k, read in enumerate(reads)]
                lengths = (len(piece) // s.event_bytes for piece, s in zip(pieces, stretches, strict=True))
                n = min([whole - done, *lengths])
                columns: dict[str, NDArray[Any]] = {}
                for stretch, piece in zip(stretches, pieces, strict=True):
                    columns |= stretch.split(piece, n)
                yield columns, self._byte(0, done)
                done += n
        # NumPy's save adds another array to a file that is open, which its load does not read either.
        end = max(self._byte(k, total) for k in range(len(stretches)))
        self.note("bytes_behind_the_array_not_read", max(0, self.size - end))
        if done < total:
            size = sum(stretch.event_bytes for stretch in stretches)
            message = f"expected {total} events of {size} bytes, found {done}"
            raise damaged(f"{self.path}: {message}. The file is truncated; copy it again.", self._byte(0, done))

    def _byte(self, stretch: int, event: int) -> int:
        found = self.plan.stretches[stretch]
        return found.start + event * found.event_bytes

    def _position(self, block: int, event: int) -> int:
        return block + event * self.plan.stretches[0].event_bytes


@dataclass(frozen=True)
class TonicNpyRecording(NpyRecording):
    """tonic's DVS128-Gesture: (N, 4) of x, y, p and t in ms, which are converted to µs as in tonic."""

    NAME: ClassVar[str] = "npy-tonic"
    TITLE: ClassVar[str] = "NumPy .npy as tonic ships it"
    DECODES_FILES: ClassVar[bool] = False

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> ArrayRecording:
        """As for other .npy files; the format is known, so options are not needed."""
        return super().open(path, size, ReadOptions("xypt", "ms"))

    def _times(self, values: NDArray[Any], seen: int) -> NDArray[np.int64]:
        # tonic multiplies in the type of the array, of which 1000 must be a value, and truncates fractions of a µs.
        if values.dtype.kind in "iu" and values.dtype.itemsize == 1:
            raise self._unfit("times in ms of at least 16 bits", "t", values, np.ones(len(values), bool), seen)
        scaled = values * values.dtype.type(1000)
        odd = ~(np.abs(scaled.astype(np.float64)) < LARGEST_TIME_US)
        if odd.any():
            raise self._unfit("times in ms", "t", values, odd, seen)
        return scaled.astype(np.int64)


@dataclass(frozen=True)
class NpzRecording(ArrayRecording):
    """``.npz`` of the arrays t, x, y and p, or of one array of all columns; decompressed block by block."""

    NAME: ClassVar[str] = "npz"
    TITLE: ClassVar[str] = "NumPy .npz"
    SUFFIX: ClassVar[str] = ".npz"
    MAGIC: ClassVar[bytes] = b"PK\x03\x04"

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether it is a zip archive, but not of a text."""
        return super().recognises(head) and not is_zipped_text(head)

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> ArrayRecording:
        """Read the headers of the arrays.

        Raises:
            RecordingError: If the file cannot be read, is truncated, or does not contain events with known columns.
        """
        file_size(path)
        try:
            with zipfile.ZipFile(path) as archive:
                plan = _plan_archive(path, archive, options)
        except _ZIP_ERRORS as error:
            raise _unreadable(path, error) from None
        return cls._planned(path, size, options, plan)

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        total = self.plan.count
        with contextlib.ExitStack() as opened:
            try:
                archive = opened.enter_context(zipfile.ZipFile(self.path))
                files = [opened.enter_context(archive.open(s.member)) for s in self.plan.stretches]
                for file, stretch in zip(files, self.plan.stretches, strict=True):
                    _skip(file, stretch.start)
            except _ZIP_ERRORS as error:
                raise _unreadable(self.path, error) from None
            for start in range(0, total, _EVENTS_A_CHUNK):
                n = min(_EVENTS_A_CHUNK, total - start)
                columns: dict[str, NDArray[Any]] = {}
                for file, stretch in zip(files, self.plan.stretches, strict=True):
                    try:
                        content = file.read(n * stretch.event_bytes)
                    except _ZIP_ERRORS as error:
                        raise _unreadable(self.path, error) from None
                    if len(content) < n * stretch.event_bytes:
                        ends = f"ends after {start + len(content) // stretch.event_bytes} of {total} events"
                        raise no_events(self.path, f"{_title(stretch.member)} that {ends}")
                    columns |= stretch.split(content, n)
                yield columns, start
            self._check_ends(files)

    def _check_ends(self, files: list[IO[bytes]]) -> None:
        """Read past the end of each array, which makes zipfile verify its checksum."""
        last = {stretch.member: file for stretch, file in zip(self.plan.stretches, files, strict=True)}
        for name, file in last.items():
            try:
                more = file.read(1)
            except _ZIP_ERRORS as error:
                raise _unreadable(self.path, error) from None
            if more:
                raise no_events(self.path, f"more bytes than {_title(name)} has numbers")


def _plan_archive(path: Path, archive: zipfile.ZipFile, options: ReadOptions) -> Plan:
    """Find the columns: in four arrays by name, in one array, or in four arrays in the given order."""
    names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    found = match_names(names)
    if found is not None:
        return plan_columns(path, {c: _header(path, archive, name) for c, name in found.items()}, True)
    tables = names if len(names) == 1 else [name for name in names if name.lower() in TABLE_NAMES]
    if len(tables) == 1:
        try:
            member, header = _header(path, archive, tables[0])
            return plan_table(path, header, options, member)
        except RecordingError:
            if tables[0].lower() in TABLE_NAMES:
                raise
    if len(names) == len(COLUMNS):
        headers = [_header(path, archive, name) for name in names]
        if all(header.is_column for _, header in headers):
            in_order = dict(zip(options.columns or COLUMNS, headers, strict=True))
            return plan_columns(path, in_order, options.columns is not None)
    raise no_events(path, f"the arrays {', '.join(sorted(names)[:8]) or 'none'}")


def _header(path: Path, archive: zipfile.ZipFile, name: str) -> tuple[str, Header]:
    member = f"{name}.npy"
    with archive.open(member) as file:
        try:
            return member, read_header(file)
        except ValueError as error:
            raise no_events(path, f"in {name} {error}") from None


def _skip(file: IO[bytes], size: int) -> None:
    """Read bytes and discard them; with a seek, the checksum could not be verified."""
    while size > 0:
        content = file.read(min(size, _SKIP_BYTES))
        if not content:
            return
        size -= len(content)


def _title(member: str) -> str:
    return member.removesuffix(".npy")


def _unreadable(path: Path, error: BaseException) -> RecordingError:
    if isinstance(error, OSError) and error.errno is not None:
        return unreadable(path, error)
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return no_events(path, f"a damaged archive ({reason})")


def holds_events(path: Path) -> bool:
    """Whether an .npz has the four columns under their letters; False if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in COLUMNS} <= set(archive.namelist())
    except _ZIP_ERRORS:
        return False
