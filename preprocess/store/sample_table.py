"""The sample table: the description of every sample of a cache."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.store.hdf5_columns import read_column, write_column

TRAIN, TEST, NO_SPLIT = 0, 1, 255

_TYPES: dict[str, Any] = {
    "label": np.int64,
    "split": np.uint8,
    "index": np.int64,
    "group": np.str_,
    "name": np.str_,
    "start_us": np.int64,
    "interval_us": np.int64,
    "crc32": np.uint32,
    "offset": np.int64,
}


@dataclass(frozen=True, eq=False)
class SampleTable:
    """Columns over N samples, in the order of the source.

    Attributes:
        label: Class number, int64 (N,).
        split: Official split, uint8 (N,): 0 train, 1 test, 255 none.
        index: Number within its class (and within its folder, if the split is given by folders), int64 (N,).
        group: Subject, source image or recording, str (N,); "" without one.
        name: Readable name, str (N,).
        start_us: Time of the first event in µs, int64 (N,).
        interval_us: Bounds [start, end) of the label in µs, int64 (N, 2); else the first time and the last + 1.
        crc32: `events_crc32` of the sample, uint32 (N,).
        offset: Sample i's events are [offset[i], offset[i + 1]), int64 (N + 1,).
    """

    label: NDArray[np.int64]
    split: NDArray[np.uint8]
    index: NDArray[np.int64]
    group: NDArray[np.str_]
    name: NDArray[np.str_]
    start_us: NDArray[np.int64]
    interval_us: NDArray[np.int64]
    crc32: NDArray[np.uint32]
    offset: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def events(self) -> NDArray[np.int64]:
        """How many events each sample has, int64 (N,)."""
        return np.diff(self.offset)

    @staticmethod
    def of(columns: Mapping[str, Any]) -> SampleTable:
        """A table of the columns, each converted to its type."""
        return SampleTable(**{name: np.asarray(columns[name], dtype) for name, dtype in _TYPES.items()})

    @staticmethod
    def concatenate(tables: list[SampleTable]) -> SampleTable:
        """All samples, in order, with continued offsets."""
        columns = {name: np.concatenate([getattr(t, name) for t in tables]) for name in _TYPES if name != "offset"}
        counts = np.concatenate([t.events for t in tables])
        return SampleTable.of(columns | {"offset": np.concatenate([[0], np.cumsum(counts)])})

    def renumbered(self) -> SampleTable:
        """The same samples with indices that count within their class and split, in order."""
        key = self.label * 256 + self.split
        order = np.argsort(key, kind="stable")
        first = np.searchsorted(key[order], key[order])
        index = np.empty(len(self), np.int64)
        index[order] = np.arange(len(self)) - first
        return dataclasses.replace(self, index=index)

    def write(self, group: h5py.Group) -> None:
        """Write every column as a dataset of its name."""
        for name, values in self._columns().items():
            write_column(group, name, values)

    @staticmethod
    def read(group: h5py.Group) -> SampleTable:
        """The inverse of `write`; KeyError, OSError or ValueError if the group has no valid table."""
        columns = {}
        for name, dtype in _TYPES.items():
            values = read_column(group, name)
            if values.dtype.kind not in ("S" if dtype is np.str_ else "iu"):
                raise ValueError(f"/samples/{name} has type {values.dtype}")
            columns[name] = np.char.decode(values, "utf-8") if dtype is np.str_ else values
        return SampleTable.of(columns)

    def sha256(self, attributes: Mapping[str, Any] | None = None) -> str:
        """The seal of the table and of the attributes that belong to it, 64 hexadecimal digits."""
        seal = hashlib.sha256()
        for name, value in sorted((attributes or {}).items()):
            seal.update(repr((name, value)).encode())
        for name, values in self._columns().items():
            if values.dtype.kind == "U":
                content = repr(values.tolist()).encode()
            else:
                content = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
            seal.update(repr((name, values.dtype.kind, values.shape, len(content))).encode())
            seal.update(content)
        return seal.hexdigest()

    def message(self, classes: int) -> str | None:
        """The inconsistency of the table, or None."""
        n = len(self)
        shapes = {name: values.shape for name, values in self._columns().items()}
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(_TYPES, (n,)) | {"interval_us": (n, 2), "offset": (n + 1,)}
        for name, shape in shapes.items():
            if shape != expected[name]:
                return f"expected /samples/{name} of shape {expected[name]}, found {shape}"
        if n == 0:
            return "expected at least one sample, found none"
        # Differences of negative numbers may overflow.
        if self.offset[0] != 0 or self.offset.min() < 0 or np.any(self.events <= 0):
            return "expected offsets that grow from 0, found others"
        if self.label.min() < 0 or self.label.max() >= classes:
            return f"expected labels 0 to {classes - 1}, found {self.label.min()} to {self.label.max()}"
        if not np.isin(self.split, (TRAIN, TEST, NO_SPLIT)).all():
            return f"expected splits {TRAIN}, {TEST} or {NO_SPLIT}, found others"
        return None

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
