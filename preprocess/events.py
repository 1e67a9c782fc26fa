"""Events: the output of an event camera, as four columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError

LARGEST_SIDE = 1 << 15
"""The most rows or columns of a sensor that a file may state or imply; larger ones are taken for damage."""

_TYPES: dict[str, Any] = {"t": np.int64, "x": np.uint16, "y": np.uint16, "p": np.uint8}


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events in recording order, never sorted, and the size of their sensor.

    Attributes:
        t: Timestamps in µs, int64, shape (N,); not always monotonic.
        x: Column 0 .. width - 1, uint16, shape (N,).
        y: Row 0 .. height - 1, uint16, shape (N,).
        p: Polarity, uint8, shape (N,); 0 is OFF (darker), 1 is ON (brighter).
        height: Sensor rows.
        width: Sensor columns.
    """

    t: NDArray[np.int64]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.uint8]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, which: Any) -> Events:
        """The events selected by a slice, a boolean mask or an index array; the sensor is the same."""
        return Events(self.t[which], self.x[which], self.y[which], self.p[which], self.height, self.width)

    def address(self) -> NDArray[Any]:
        """Linear addresses ``(p*H + y)*W + x`` in the smallest unsigned type that fits ``2*H*W - 1``."""
        dtype = np.min_scalar_type(2 * self.height * self.width - 1)
        row = self.p.astype(np.int64) * self.height + self.y
        return (row * self.width + self.x).astype(dtype)

    def checked(self) -> Events:
        """The same events with the types of `Events`, for columns of any integers, also lists.

        Raises:
            RecordingError: If the columns are not integers of one length, or an event is outside the sensor.
        """
        columns = {name: np.asarray(getattr(self, name)) for name in _TYPES}
        if len({column.shape for column in columns.values()}) > 1 or columns["t"].ndim != 1:
            shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
            raise RecordingError(
                f"events: expected the columns t, x, y, p of one length, found {shapes}. Correct them."
            )
        for name, column in columns.items() if len(columns["t"]) else ():
            if column.dtype.kind not in "iub":
                raise RecordingError(f"events: expected integers in {name}, found {column.dtype}. Convert it, t to us.")
        for name, limit in (("x", self.width), ("y", self.height), ("p", 2)):
            column = columns[name]
            if len(column) and not (column.min() >= 0 and column.max() < limit):
                found = f"{column.min()} to {column.max()}"
                raise RecordingError(f"events: expected {name} within 0 to {limit - 1}, found {found}. Correct it.")
        typed = {name: columns[name].astype(dtype, copy=False) for name, dtype in _TYPES.items()}
        return Events(**typed, height=self.height, width=self.width)

    @staticmethod
    def from_address(address: NDArray[Any], t: NDArray[np.int64], height: int, width: int) -> Events:
        """The inverse of `address`."""
        row, x = np.divmod(address.astype(np.int64), width)
        p, y = np.divmod(row, height)
        return Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), height, width)

    @staticmethod
    def empty(height: int, width: int) -> Events:
        """No events."""
        return Events(
            np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.uint16), np.empty(0, np.uint8), height, width
        )

    @staticmethod
    def concatenate(parts: Iterable[Events], height: int, width: int) -> Events:
        """Concatenate events; the sensor size is an argument because there may be no part."""
        parts = list(parts)
        if not parts:
            return Events.empty(height, width)
        t, x, y, p = (np.concatenate([getattr(part, column) for part in parts]) for column in "txyp")
        return Events(t, x, y, p, height, width)
