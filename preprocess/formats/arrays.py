"""Events as NumPy saves them: ``.npz`` of the columns t, x, y and p, and ``.npy`` of rows or of named fields.

SpikingJelly's ``events_np`` are such ``.npz``; tonic's DVS128-Gesture are ``.npy`` of x, y, p and t in ms.
Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
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

_COLUMNS = "txyp"
_EVENTS_A_CHUNK = 1 << 17
_LONGEST_HEADER = 1 << 14
_LARGEST_SIDE = 1 << 15
_MOST_BYTES_A_ROW = 1 << 12

# What zipfile and zlib raise at damaged archives.
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError)


@dataclass(frozen=True)
class ArrayRecording(Recording):
    """What the array formats share: no header tells the sensor's size, so it is asked for, or found in the events."""

    VERSION: ClassVar[int] = 1
    TELLS_SIZE: ClassVar[bool] = False
    US_PER_TICK: ClassVar[int | None] = None
    """µs of a time step, where times may have fractions; None demands whole µs."""

    def _found_or(self, size: Size | None) -> Size:
        """The size asked for, or the smallest sensor that holds every event."""
        if size is not None:
            return size
        height = width = 1
        for columns, _ in self._blocks():
            if len(columns["t"]):
                for name in "xy":
                    self._whole(columns[name], name, 0)
                width, height = max(width, int(columns["x"].max()) + 1), max(height, int(columns["y"].max()) + 1)
        return min(height, _LARGEST_SIDE), min(width, _LARGEST_SIDE)

    @abstractmethod
    def _blocks(self) -> Iterator[tuple[Mapping[str, NDArray[Any]], int]]:
        """The columns by their letters, block by block, each with the byte at which it lies."""

    @abstractmethod
    def _position(self, block: int, event: int) -> int:
        """The byte of an event of a block; 0 where the bytes are compressed."""

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first that no sensor of this size says."""
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
                raise outside_sensor(self, at, x=int(x[outside]), y=int(y[outside]), where=where)
            seen += len(t)

    def _times(self, values: NDArray[Any], seen: int) -> NDArray[np.int64]:
        if self.US_PER_TICK is None:
            return self._whole(values, "t", seen)
        scaled = values * values.dtype.type(self.US_PER_TICK)
        if not np.all(np.isfinite(scaled)) or (len(scaled) and np.abs(scaled).max() >= 1 << 62):
            raise self._unfit("times in ms", "t", values, ~np.isfinite(scaled) | (np.abs(scaled) >= 1 << 62), seen)
        return scaled.astype(np.int64)

    def _polarities(self, values: NDArray[Any], seen: int) -> NDArray[np.uint8]:
        """0 and 1, or -1 and 1, as they are; -1 is OFF."""
        odd = (values != 0) & (values != 1) & (values.astype(np.float64) != -1)
        if odd.any():
            raise self._unfit("polarities 0 and 1 (or -1 and 1)", "p", values, odd, seen)
        return np.asarray(values == 1, np.uint8)

    def _whole(self, values: NDArray[Any], name: str, seen: int) -> NDArray[np.int64]:
        """The values as int64; RecordingError where one is none."""
        if values.dtype.kind == "f":
            odd = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) >= 1 << 62)
        elif values.dtype.kind == "u":
            odd = values > np.uint64(1 << 62)
        else:
            odd = np.zeros(len(values), bool)
        if odd.any():
            raise self._unfit("whole numbers (times in µs)", name, values, odd, seen)
        return values.astype(np.int64)

    def _unfit(
        self, expected: str, name: str, values: NDArray[Any], odd: NDArray[np.bool_], seen: int
    ) -> RecordingError:
        k = int(np.argmax(odd))
        return RecordingError(
            f"{self.path}: expected {expected}, found {name} = {values[k]} in event {seen + k}. Its columns may lie in "
            "another order; save it with the names t, x, y and p by numpy's savez."
        )


@dataclass(frozen=True)
class NpyRecording(ArrayRecording):
    """``.npy`` of shape (N,) with the fields t, x, y and p, or of shape (N, 4) in this order, t in µs."""

    NAME: ClassVar[str] = "npy"
    TITLE: ClassVar[str] = "NumPy .npy"
    SUFFIX: ClassVar[str] = ".npy"
    MAGIC: ClassVar[bytes] = b"\x93NUMPY"
    ORDER: ClassVar[str] = _COLUMNS
    """Which column of (N, 4) is what."""

    dtype: np.dtype[Any] | None = None
    count: int = 0

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> NpyRecording:
        """Read the header.

        Raises:
            RecordingError: If the file cannot be read, or is no array of events.
        """
        end = file_size(path)
        try:
            with path.open("rb") as file:
                shape, dtype = _array_header(file)
                start = file.tell()
        except OSError as error:
            raise unreadable(path, error) from None
        except ValueError as error:
            raise _no_array(path, str(error)) from None
        rows = dtype.names is None and len(shape) == 2 and shape[1] == len(_COLUMNS) and dtype.kind in "iufb"
        fields = dtype.names is not None and len(shape) == 1 and all(_is_number(dtype, name) for name in _COLUMNS)
        if not rows and not fields:
            raise _no_array(path, f"{dtype} of shape {shape}")
        opened = cls(path, 1, 1, start, end, dtype=dtype, count=shape[0])
        height, width = opened._found_or(size)
        return cls(path, height, width, start, end, dtype=dtype, count=shape[0])

    @property
    def _row_bytes(self) -> int:
        assert self.dtype is not None
        return self.dtype.itemsize * (1 if self.dtype.names else len(_COLUMNS))

    def _blocks(self) -> Iterator[tuple[Mapping[str, NDArray[Any]], int]]:
        assert self.dtype is not None
        left = self.count
        position = self.start
        with reading(self, self._row_bytes) as read:
            while left and self.size - position >= self._row_bytes:
                data = read(position)
                n = min(left, len(data) // self._row_bytes)
                rows = data[: n * self._row_bytes].view(self.dtype)
                if self.dtype.names is None:
                    table = rows.reshape(n, len(_COLUMNS))
                    yield {name: table[:, k] for k, name in enumerate(self.ORDER)}, position
                else:
                    yield {name: rows[name] for name in _COLUMNS}, position
                left -= n
                position += n * self._row_bytes
        if left:
            message = f"expected {self.count} events of {self._row_bytes} bytes, found {self.count - left}"
            raise damaged(f"{self.path}: {message}. The file is truncated; copy it again.", position)

    def _position(self, block: int, event: int) -> int:
        return block + event * self._row_bytes


@dataclass(frozen=True)
class TonicNpyRecording(NpyRecording):
    """tonic's DVS128-Gesture: (N, 4) of x, y, p and t in ms, which become µs as tonic makes them."""

    NAME: ClassVar[str] = "npy-tonic"
    TITLE: ClassVar[str] = "NumPy .npy as tonic ships it"
    ORDER: ClassVar[str] = "xypt"
    US_PER_TICK: ClassVar[int | None] = 1000


@dataclass(frozen=True)
class NpzRecording(ArrayRecording):
    """``.npz`` with the arrays t (µs), x, y and p; compressed ones are inflated block by block."""

    NAME: ClassVar[str] = "npz"
    TITLE: ClassVar[str] = "NumPy .npz"
    SUFFIX: ClassVar[str] = ".npz"
    MAGIC: ClassVar[bytes] = b"PK\x03\x04"

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> NpzRecording:
        """Look at the arrays' headers.

        Raises:
            RecordingError: If the file cannot be read, is truncated, or does not hold the four columns.
        """
        end = file_size(path)
        opened = cls(path, 1, 1, 0, end)
        with opened._members():
            pass
        height, width = opened._found_or(size)
        return cls(path, height, width, 0, end)

    @contextlib.contextmanager
    def _members(self) -> Iterator[tuple[dict[str, tuple[IO[bytes], np.dtype[Any]]], int]]:
        """The four columns, opened where their numbers begin, and how many events they hold."""
        with contextlib.ExitStack() as opened:
            try:
                archive = opened.enter_context(zipfile.ZipFile(self.path))
                names = set(archive.namelist())
                missing = [name for name in _COLUMNS if f"{name}.npy" not in names]
                if missing:
                    found = ", ".join(sorted(name.removesuffix(".npy") for name in names)[:8]) or "none"
                    raise _no_array(self.path, f"the arrays {found}")
                members, counts = {}, set()
                for name in _COLUMNS:
                    file = opened.enter_context(archive.open(f"{name}.npy"))
                    shape, dtype = _array_header(file)
                    if len(shape) != 1 or dtype.kind not in "iufb":
                        raise _no_array(self.path, f"{name} of {dtype} and shape {shape}")
                    members[name] = (file, dtype)
                    counts.add(shape[0])
            except _ZIP_FAULTS as error:
                raise self._unreadable(error) from None
            if len(counts) > 1:
                raise _no_array(self.path, f"columns of {' and '.join(str(n) for n in sorted(counts))} events")
            yield members, counts.pop()

    def _blocks(self) -> Iterator[tuple[Mapping[str, NDArray[Any]], int]]:
        with self._members() as (members, count):
            for start in range(0, count, _EVENTS_A_CHUNK):
                n = min(_EVENTS_A_CHUNK, count - start)
                block = {}
                for name, (file, dtype) in members.items():
                    try:
                        content = file.read(n * dtype.itemsize)
                    except _ZIP_FAULTS as error:
                        raise self._unreadable(error) from None
                    if len(content) < n * dtype.itemsize:
                        found = start + len(content) // dtype.itemsize
                        raise _no_array(self.path, f"{name} that ends after {found} of {count} events")
                    block[name] = np.frombuffer(content, dtype)
                yield block, start
            self._check_ends(members)

    def _check_ends(self, members: Mapping[str, tuple[IO[bytes], np.dtype[Any]]]) -> None:
        """Reading on at the end lets zipfile compare the checksums."""
        for name, (file, _) in members.items():
            try:
                more = file.read(1)
            except _ZIP_FAULTS as error:
                raise self._unreadable(error) from None
            if more:
                raise _no_array(self.path, f"more bytes than {name} has numbers")

    def _position(self, block: int, event: int) -> int:
        return 0

    def _unreadable(self, error: BaseException) -> RecordingError:
        if isinstance(error, OSError) and error.errno is not None:
            return unreadable(self.path, error)
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        return _no_array(self.path, f"a damaged archive ({reason})")


def _array_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array that follows; ValueError where there is none, or its numbers lie by columns."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, by_columns, dtype = read(file, max_header_size=_LONGEST_HEADER)
    except (OSError, ValueError):
        raise
    except Exception as error:  # NumPy reads the header as Python, which fails in many ways
        raise ValueError(f"a header that does not parse ({type(error).__name__})") from None
    if dtype.hasobject or not 0 < dtype.itemsize <= _MOST_BYTES_A_ROW:
        raise ValueError(f"an array of {dtype}")
    if by_columns and len(shape) > 1:
        raise ValueError("an array that lies by columns (save it with numpy.ascontiguousarray)")
    if any(n < 0 or n > 1 << 48 for n in shape):
        raise ValueError(f"an array of shape {shape}")
    return shape, dtype


def _is_number(dtype: np.dtype[Any], name: str) -> bool:
    return bool(dtype.names) and name in (dtype.names or ()) and dtype[name].kind in "iufb" and dtype[name].shape == ()


def _no_array(path: Path, found: str) -> RecordingError:
    return RecordingError(
        f"{path}: expected events with the columns t, x, y and p, found {' '.join(found.split())}. Save it "
        "with these names by numpy's savez, or copy it again."
    )


def holds_events(path: Path) -> bool:
    """Whether an .npz names the four columns; False where it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{name}.npy" for name in _COLUMNS} <= set(archive.namelist())
    except _ZIP_FAULTS:
        return False
