"""Recordings that are columns of numbers (arrays, tables, text): checked and converted to events, block by block."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import LARGEST_SIDE, Events
from preprocess.formats.column_names import LARGEST_TIME_US, to_us
from preprocess.formats.read_options import COLUMNS, NO_OPTIONS, ReadOptions, TimeUnit
from preprocess.formats.recording import Recording, Size, first_outside, outside_sensor

# Numbers of damaged files are refused where they are not whole; warnings of NumPy would only say the same.
_QUIETLY = np.errstate(invalid="ignore", over="ignore")

Columns = Mapping[str, NDArray[Any]]
"""The columns of a block of events by their letters, each (N,)."""


@dataclass(frozen=True)
class ColumnRecording(Recording):
    """Base class of the formats whose events are columns of numbers; few of them store the size of the sensor.

    Attributes:
        options: The options with which the file is read.
        unit: Unit of the times that the file or its format states; None if neither does.
    """

    VERSION: ClassVar[int] = 1
    STORES_SIZE: ClassVar[Literal["always", "sometimes", "never"]] = "never"
    OPTIONS: ClassVar[tuple[str, ...]] = ("columns", "time_unit")

    options: ReadOptions = NO_OPTIONS
    unit: TimeUnit | None = None

    @classmethod
    @abstractmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> ColumnRecording:
        """Read the header."""

    @property
    def time_unit(self) -> TimeUnit | None:
        """The unit in which times are read; None requires integer µs."""
        return self.options.time_unit or self.unit

    def _sized(self, size: Size | None, ordered: bool) -> Self:
        """Return the recording with the given size, or with that of the smallest sensor that contains all events.

        Raises:
            RecordingError: If the order of the columns is not known.
        """
        if not ordered:
            raise self._unordered()
        height, width = size or self._smallest_sensor()
        return dataclasses.replace(self, height=height, width=width, size_is_derived=size is None)

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
        return min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)

    @abstractmethod
    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        """The columns by their letters, in blocks of at least one event, each with its byte position."""

    def _position(self, block: int, event: int) -> int:
        """The byte position of an event of a block; 0 if the events do not follow one another in the file."""
        return 0

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first outside the sensor."""
        seen = 0
        for columns, block in self._blocks():
            x, y = self._pixels(columns["x"], "x", seen), self._pixels(columns["y"], "y", seen)
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
        if self.time_unit is None:
            return self._whole(values, "t", seen)
        times, odd = to_us(values, self.time_unit)
        if odd.any():
            raise self._unfit(f"times in {self.time_unit}", "t", values, odd, seen)
        return times

    def _pixels(self, values: NDArray[Any], name: str, seen: int) -> NDArray[Any]:
        """Columns or rows as integers of any type."""
        return values if values.dtype.kind in "iu" and values.dtype.itemsize <= 4 else self._whole(values, name, seen)

    @_QUIETLY
    def _polarities(self, values: NDArray[Any], seen: int) -> NDArray[np.uint8]:
        """The polarities as 0 (OFF) and 1 (ON), from 0 and 1 or from -1 and 1."""
        if values.dtype.kind in "iu" and int(values.min()) >= 0 and int(values.max()) <= 1:
            return values.astype(np.uint8)
        odd = (values != 0) & (values != 1) & (values.astype(np.float64) != -1)
        if odd.any():
            raise self._unfit("polarities 0 and 1 (or -1 and 1)", "p", values, odd, seen)
        return np.asarray(values == 1, np.uint8)

    @_QUIETLY
    def _whole(self, values: NDArray[Any], name: str, seen: int) -> NDArray[np.int64]:
        """The values as int64; RecordingError if one is not a whole number."""
        if values.dtype.kind == "f":
            odd = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) >= LARGEST_TIME_US)
        elif values.dtype.kind == "u":
            odd = values > np.uint64(LARGEST_TIME_US)
        elif values.dtype.itemsize > 4 and (values.min() < -LARGEST_TIME_US or values.max() > LARGEST_TIME_US):
            odd = (values < -LARGEST_TIME_US) | (values > LARGEST_TIME_US)
            raise self._unfit("numbers of at most 62 bits", name, values, odd, seen)
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
