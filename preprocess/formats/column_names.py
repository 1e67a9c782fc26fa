"""Match the columns of arrays with t, x, y and p by their usual names, and convert times to µs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.formats.read_options import COLUMNS, ReadOptions, TimeUnit

# µs per unit, as a fraction, so that integers are converted without rounding if possible.
_US_PER_UNIT: dict[str, tuple[int, int]] = {"s": (1_000_000, 1), "ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}

_NAMES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "pol", "polarity", "polarities"),
}
# Names in an archive of the single array with all columns.
TABLE_NAMES = ("events", "event")

_LONGEST_HEADER = 1 << 14
_MOST_BYTES_A_ROW = 1 << 12
LARGEST_TIME_US = 1 << 62


@dataclass(frozen=True)
class Stretch:
    """A range of bytes that contains some columns of the events, event after event.

    Attributes:
        member: Name of the member of an archive; empty if the file is not an archive.
        start: The first byte.
        dtype: Type of a number, or of an event with fields.
        width: Numbers per event.
        columns: Letter -> field name, or position among the numbers of an event.
    """

    member: str
    start: int
    dtype: np.dtype[Any]
    width: int
    columns: Mapping[str, str | int]

    @property
    def event_bytes(self) -> int:
        """Bytes of an event in this run."""
        return self.dtype.itemsize * self.width

    def split(self, data: bytes | NDArray[np.uint8], events: int) -> dict[str, NDArray[Any]]:
        """The columns of that many events, by their letters, as views of the bytes."""
        values = np.frombuffer(data, self.dtype, events * self.width)
        if self.dtype.names is not None:
            return {letter: values[str(field)] for letter, field in self.columns.items()}
        rows = values.reshape(events, self.width)
        return {letter: rows[:, int(k)] for letter, k in self.columns.items()}


@dataclass(frozen=True)
class Plan:
    """The positions of the events in a file.

    Attributes:
        stretches: Byte ranges that together contain each column once.
        count: Number of events.
        ordered: Whether the columns are identified by names or by the user.
    """

    stretches: tuple[Stretch, ...]
    count: int
    ordered: bool


@dataclass(frozen=True)
class Header:
    """The header of a .npy file.

    Attributes:
        shape: Shape of the array.
        by_columns: Whether the first axis varies fastest (Fortran order).
        dtype: Type of an element.
        end: Length of the header in bytes.
    """

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]
    end: int

    @property
    def is_column(self) -> bool:
        """Whether the array has one number per event; includes MATLAB's (N, 1) and (1, N)."""
        return self.dtype.kind in "iufb" and 1 <= len(self.shape) <= 2 and math.prod(self.shape) == max(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


def match_names(names: Sequence[str]) -> dict[str, str] | None:
    """Letter -> name, case-insensitive; the letter itself before longer names; None if a column is missing.

    Two names for one column, such as ``time`` and ``timestamp``, are ambiguous and count as missing.
    """
    found = {}
    for letter, known in _NAMES.items():
        fitting = [letter] if letter in names else [name for name in names if name.lower() in known]
        if len(fitting) != 1:
            return None
        found[letter] = fitting[0]
    return found


def read_header(file: Any) -> Header:
    """Read the header of an open .npy file; ValueError if there is none, or the array is not numeric."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"an array of format version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            # A damaged header may look like old Python, of which Python and NumPy warn.
            warnings.simplefilter("ignore")
            shape, by_columns, dtype = read(file, max_header_size=_LONGEST_HEADER)
    except (OSError, ValueError):
        raise
    except Exception as error:  # NumPy reads the header as Python, which fails in many ways
        raise ValueError(f"a header that cannot be parsed ({type(error).__name__})") from None
    if dtype.hasobject:
        raise ValueError("pickled Python objects, which are never loaded because they could run code")
    if not 0 < dtype.itemsize <= _MOST_BYTES_A_ROW:
        raise ValueError(f"an array of {dtype}")
    if any(n < 0 or n > 1 << 48 for n in shape):
        raise ValueError(f"an array of shape {shape}")
    return Header(shape, by_columns and len(shape) > 1, dtype, file.tell())


def plan_table(path: Path, header: Header, options: ReadOptions, member: str = "") -> Plan:
    """Find the columns in one array of all events.

    Raises:
        RecordingError: If it is not an array of events.
    """
    dtype, shape = header.dtype, header.shape
    order = options.columns or COLUMNS
    if dtype.names is not None:
        numbers = [name for name in dtype.names if dtype[name].kind in "iufb" and dtype[name].shape == ()]
        columns = match_names(numbers)
        ordered = columns is not None or options.columns is not None
        if columns is None and len(numbers) == len(dtype.names) == len(COLUMNS):
            columns = dict(zip(order, numbers, strict=True))
        if columns is None or len(shape) != 1:
            raise no_events(path, str(header))
        return Plan((Stretch(member, header.end, dtype, 1, columns),), shape[0], ordered)
    by_columns = header.by_columns
    if len(shape) == 2 and shape[0] == len(COLUMNS) != shape[1]:
        # Four rows of N numbers are the transpose of four columns.
        shape, by_columns = (shape[1], shape[0]), not by_columns
    if len(shape) != 2 or shape[1] != len(COLUMNS) or dtype.kind not in "iufb":
        raise no_events(path, str(header))
    stretches: list[Stretch] = []
    if by_columns:
        length = shape[0] * dtype.itemsize
        stretches += [Stretch(member, header.end + k * length, dtype, 1, {c: 0}) for k, c in enumerate(order)]
    else:
        stretches += [Stretch(member, header.end, dtype, len(COLUMNS), {c: k for k, c in enumerate(order)})]
    return Plan(tuple(stretches), shape[0], options.columns is not None)


def plan_columns(path: Path, headers: Mapping[str, tuple[str, Header]], ordered: bool) -> Plan:
    """Find the columns in four arrays, given as letter -> member and header.

    Raises:
        RecordingError: If they are not columns of equal length.
    """
    for letter, (_, header) in headers.items():
        if not header.is_column:
            raise no_events(path, f"{letter} of {header.dtype} and shape {header.shape}")
    counts = sorted({math.prod(header.shape) for _, header in headers.values()})
    if len(counts) > 1:
        raise no_events(path, f"columns of {' and '.join(map(str, counts))} events")
    stretches = (Stretch(name, header.end, header.dtype, 1, {c: 0}) for c, (name, header) in headers.items())
    return Plan(tuple(stretches), counts[0], ordered)


@np.errstate(invalid="ignore", over="ignore")
def to_us(values: NDArray[Any], unit: TimeUnit) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Convert times to integer µs, rounded to the nearest; also returns a mask of those not finite or too large."""
    times, over = _US_PER_UNIT[unit]
    if values.dtype.kind in "iub":
        limit = LARGEST_TIME_US // times
        odd = values > limit if values.dtype.kind == "u" else (values > limit) | (values < -limit)
        whole = values.astype(np.int64)
        return (whole if times == over else (whole * times + over // 2) // over), odd
    wide = values.astype(np.float64) * times / over
    odd = ~(np.abs(wide) < LARGEST_TIME_US)
    return np.floor(np.where(odd, 0, wide) + 0.5).astype(np.int64), odd


def no_events(path: Path, found: str) -> RecordingError:
    """Return the error for a file whose arrays are not events."""
    return RecordingError(
        f"{path}: expected events with the columns t, x, y and p, found {' '.join(found.split())}. Save it "
        "with these names using NumPy's savez, or copy it again."
    )
