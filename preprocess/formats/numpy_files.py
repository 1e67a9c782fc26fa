"""Events in NumPy files (``.npy`` and ``.npz``), with columns identified by name or order.

An ``.npz`` contains the columns as four arrays, or one array of all columns; an ``.npy`` contains a structured array,
or an array of shape (N, 4) in either memory order. SpikingJelly's ``events_np`` and tonic's DVS128-Gesture are such
files.
Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.array_columns import (
    COLUMNS,
    LARGEST_TIME_US,
    NO_OPTIONS,
    TABLE_NAMES,
    ArrayOptions,
    Header,
    Plan,
    match_names,
    no_events,
    plan_columns,
    plan_table,
    read_header,
    to_us,
)
from preprocess.formats.recording import (
    Recording,
    Size,
    damaged,
    file_size,
    first_outside,
    outside_sensor,
    reading,
    unreadable,
)

_EVENTS_A_CHUNK = 1 << 17
_SKIP_BYTES = 1 << 20
_LARGEST_SIDE = 1 << 15

_NO_PLAN = Plan((), 0, True)

# Exceptions of zipfile and zlib for damaged archives.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError)


@dataclass(frozen=True)
class ArrayRecording(Recording):
    """Base class of the array formats, which do not store the sensor size: it is given or derived from the events."""

    VERSION: ClassVar[int] = 1
    STORES_SIZE = "never"

    options: ArrayOptions = NO_OPTIONS
    plan: Plan = _NO_PLAN

    @classmethod
    @abstractmethod
    def open(cls, path: Path, size: Size | None = None, options: ArrayOptions = NO_OPTIONS) -> ArrayRecording:
        """Read the headers."""

    @classmethod
    def _planned(cls, path: Path, size: Size | None, options: ArrayOptions, plan: Plan) -> ArrayRecording:
        """Return the recording, with the given size or that of the smallest sensor that contains all events.

        Raises:
            RecordingError: If the order of the columns is not known.
        """
        first = plan.stretches[0]
        start = 0 if first.member else first.start
        opened = cls(path, 1, 1, start, file_size(path), options=options, plan=plan)
        if not plan.ordered:
            raise opened._unordered()
        height, width = size or opened._smallest_sensor()
        return dataclasses.replace(opened, height=height, width=width)

    def _unordered(self) -> RecordingError:
        first = next(self._blocks(), None)
        row = "" if first is None else f"; the first event is {', '.join(str(first[0][c][0]) for c in COLUMNS)}"
        return RecordingError(
            f"{self.path}: expected columns whose names say which is t, x, y and p, found four columns without such "
            f"names{row}. Give their order, such as --columns {COLUMNS}."
        )

    def _smallest_sensor(self) -> Size:
        height = width = 1
        seen = 0
        for columns, _ in self._blocks():
            x, y = self._whole(columns["x"], "x", seen), self._whole(columns["y"], "y", seen)
            width, height = max(width, int(x.max()) + 1), max(height, int(y.max()) + 1)
            seen += len(x)
        return min(height, _LARGEST_SIDE), min(width, _LARGEST_SIDE)

    @abstractmethod
    def _blocks(self) -> Iterator[tuple[Mapping[str, NDArray[Any]], int]]:
        """The columns by their letters, in blocks of at least one event, each with its byte position."""

    @abstractmethod
    def _position(self, block: int, event: int) -> int:
        """The byte position of an event of a block; 0 if the file is compressed."""

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first outside the sensor."""
        seen = 0
        for columns, block in self._blocks():
            x, y = self._whole(columns["x"], "x", seen), self._whole(columns["y"], "y", seen)
            t, p = self._times(columns["t"], seen), self._polarities(columns["p"], seen)
            outside = first_outside(x, y, self.height, self.width)
            good = len(t) if outside < 0 else outside
            if good:
                yield Events(
                    t[:good], x[:good].astype(np.uint16), y[:good].astype(np.uint16), p[:good], self.height, self.width
                )
            if outside >= 0:
                at = self._position(block, outside)
                where = f"event {seen + outside}"
                if self.options.columns is not None:
                    where += f", read by --columns {self.options.columns}"
                raise outside_sensor(self, at, x=int(x[outside]), y=int(y[outside]), where=where)
            seen += len(t)

    def _times(self, values: NDArray[Any], seen: int) -> NDArray[np.int64]:
        if self.options.time_unit is None:
            return self._whole(values, "t", seen)
        times, odd = to_us(values, self.options.time_unit)
        if odd.any():
            raise self._unfit(f"times in {self.options.time_unit}", "t", values, odd, seen)
        return times

    def _polarities(self, values: NDArray[Any], seen: int) -> NDArray[np.uint8]:
        """The polarities as 0 (OFF) and 1 (ON), from 0 and 1 or from -1 and 1."""
        odd = (values != 0) & (values != 1) & (values.astype(np.float64) != -1)
        if odd.any():
            raise self._unfit("polarities 0 and 1 (or -1 and 1)", "p", values, odd, seen)
        return np.asarray(values == 1, np.uint8)

    def _whole(self, values: NDArray[Any], name: str, seen: int) -> NDArray[np.int64]:
        """The values as int64; RecordingError if one is not a whole number."""
        if values.dtype.kind == "f":
            odd = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) >= LARGEST_TIME_US)
        elif values.dtype.kind == "u":
            odd = values > np.uint64(LARGEST_TIME_US)
        else:
            odd = np.zeros(len(values), bool)
        if odd.any():
            raise self._unfit("whole numbers (times in µs)", name, values, odd, seen)
        return values.astype(np.int64)

    def _unfit(
        self, expected: str, name: str, values: NDArray[Any], odd: NDArray[np.bool_], seen: int
    ) -> RecordingError:
        k = int(np.argmax(odd))
        hint = "The columns may have another order: give it with --columns, or save them with names."
        if name == "t":
            hint = "Give the unit of the times with --time-unit s, ms, us or ns, or correct the file."
        found = f"{name} = {values[k]} in event {seen + k}"
        return RecordingError(f"{self.path}: expected {expected}, found {found}. {hint}")


@dataclass(frozen=True)
class NpyRecording(ArrayRecording):
    """``.npy`` of shape (N,) with fields for t, x, y and p, or of shape (N, 4) with the column order of the options."""

    NAME: ClassVar[str] = "npy"
    TITLE: ClassVar[str] = "NumPy .npy"
    SUFFIX: ClassVar[str] = ".npy"
    MAGIC: ClassVar[bytes] = b"\x93NUMPY"

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ArrayOptions = NO_OPTIONS) -> ArrayRecording:
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

    def _blocks(self) -> Iterator[tuple[Mapping[str, NDArray[Any]], int]]:
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

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ArrayOptions = NO_OPTIONS) -> ArrayRecording:
        """As for other .npy files; the format is known, so options are not needed."""
        return super().open(path, size, ArrayOptions("xypt", "ms"))

    def _times(self, values: NDArray[Any], seen: int) -> NDArray[np.int64]:
        # tonic multiplies in the type of the array and truncates fractions of a µs.
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
    def open(cls, path: Path, size: Size | None = None, options: ArrayOptions = NO_OPTIONS) -> ArrayRecording:
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

    def _blocks(self) -> Iterator[tuple[Mapping[str, NDArray[Any]], int]]:
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

    def _position(self, block: int, event: int) -> int:
        return 0


def _plan_archive(path: Path, archive: zipfile.ZipFile, options: ArrayOptions) -> Plan:
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
