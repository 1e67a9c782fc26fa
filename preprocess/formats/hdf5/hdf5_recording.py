"""Events in HDF5 (``.h5``, ``.hdf5``): DSEC, MVSEC, Metavision, and any other file with columns of events.

Blocks of events are read along the chunks of the data sets, so that memory is bounded by them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.formats.column_recording import ColumnRecording, Columns
from preprocess.formats.hdf5.compression_filters import check_filters
from preprocess.formats.hdf5.ecf_chunks import is_ecf, read_ecf
from preprocess.formats.hdf5.find_columns import Hdf5Columns, find_columns
from preprocess.formats.read_options import NO_OPTIONS, ReadOptions
from preprocess.formats.recording import Size, damaged, file_size
from preprocess.hdf5_heap import check_heap
from preprocess.hdf5_outside_data import refuse_outside_data

_EVENTS_A_CHUNK = 1 << 17
_MOST_EVENTS_A_CHUNK = 1 << 22

# Exceptions of h5py for damaged files.
DAMAGED = (OSError, ValueError, KeyError, RuntimeError, TypeError, OverflowError, MemoryError, IndexError)

_NOTHING = Hdf5Columns("", "", {}, 0)

_Block = NDArray[Any] | dict[str, NDArray[Any]]
"""Events of a data set: an array, or columns by the names of its fields."""


@dataclass(frozen=True)
class Hdf5Recording(ColumnRecording):
    """Columns of an HDF5 file; `found` is where they are."""

    NAME: ClassVar[str] = "hdf5"
    TITLE: ClassVar[str] = "HDF5"
    SUFFIX: ClassVar[str] = ".h5"
    OTHER_SUFFIXES: ClassVar[tuple[str, ...]] = (".hdf5",)
    MAGIC: ClassVar[bytes] = b"\x89HDF\r\n\x1a\n"
    STORES_SIZE = "sometimes"
    OPTIONS: ClassVar[tuple[str, ...]] = ("columns", "time_unit", "hdf5_path")

    found: Hdf5Columns = _NOTHING

    @property
    def format(self) -> str:
        """The readable name of the format, with that of the layout."""
        return f"{self.TITLE} ({self.found.title})"

    @classmethod
    def open(cls, path: Path, size: Size | None = None, options: ReadOptions = NO_OPTIONS) -> Hdf5Recording:
        """Find the events.

        Raises:
            RecordingError: If the file cannot be read, contains no events or several recordings, or is compressed
                with a filter that is not installed.
        """
        end = file_size(path)
        with open_hdf5(path) as file:
            found = find_columns(path, file, options)
            check_filters(path, [file[name] for name in {name for name, _ in found.columns.values()}])
        opened = cls(path, 1, 1, 0, end, (), options=options, unit=found.unit, found=found)
        stated = size or found.size if found.is_usual_size else found.size or size
        return opened._sized(stated, found.ordered)

    def _blocks(self) -> Iterator[tuple[Columns, int]]:
        for name, count in self.found.notes.items():
            self.note(name, count)
        with open_hdf5(self.path) as file:
            datasets = {name: file[name] for name, _ in self.found.columns.values()}
            if any(max(dataset.shape) < self.found.count for dataset in datasets.values()):
                raise RecordingError(
                    f"{self.path}: expected {self.found.count} events as when it was opened, found fewer. The file "
                    "changed while it was read; run the same command again."
                )
            step = _events_a_block(datasets.values())
            of_ecf = {name for name, dataset in datasets.items() if is_ecf(dataset)}
            for start in range(0, self.found.count, step):
                end = min(self.found.count, start + step)
                blocks = {name: self._read(d, start, end, name in of_ecf) for name, d in datasets.items()}
                yield {c: _column(blocks[name], part) for c, (name, part) in self.found.columns.items()}, 0

    def _read(self, dataset: h5py.Dataset, start: int, end: int, of_ecf: bool) -> _Block:
        try:
            if of_ecf:
                return read_ecf(dataset, start, end)
            # MATLAB's vectors have two axes; those of its tables are exchanged.
            is_across = dataset.ndim == 2 and dataset.shape[1] == self.found.count != dataset.shape[0]
            block: NDArray[Any] = dataset[:, start:end].T if is_across else dataset[start:end]
        except DAMAGED as error:
            at = _byte_of(dataset, start)
            raise damaged(
                f"{self.path}: expected the events {start} to {end} of {dataset.name.strip('/')}, found a damaged "
                f"block at byte {at} ({reason(error)}). Copy the file again.",
                at,
            ) from None
        return block

    def _times(self, values: NDArray[Any], seen: int) -> NDArray[np.int64]:
        return super()._times(values, seen) + self.found.offset_us


def _column(block: _Block, part: str | int | None) -> NDArray[Any]:
    if isinstance(part, str):
        return block[part]
    assert isinstance(block, np.ndarray)
    return block.reshape(-1) if part is None else block[:, part]


def _events_a_block(datasets: Any) -> int:
    """Number of events to read at a time: whole chunks, if they are not too large."""
    longest = max((max(dataset.chunks) for dataset in datasets if dataset.chunks), default=1)
    whole = -(-_EVENTS_A_CHUNK // longest) * longest
    return min(whole, _MOST_EVENTS_A_CHUNK)


def _byte_of(dataset: h5py.Dataset, start: int) -> int:
    """The byte of the chunk with an event; 0 if it cannot be found."""
    try:
        if dataset.chunks is None:
            return int(dataset.id.get_offset() or 0)
        place = (0, start) if dataset.ndim == 2 and dataset.shape[0] < dataset.shape[1] else (start, 0)[: dataset.ndim]
        info = dataset.id.get_chunk_info_by_coord(place)
        return int(info.byte_offset or 0)
    except DAMAGED:
        return 0


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        RecordingError: If it refers to other files, cannot be read, or is damaged, also while the context lasts.
    """
    try:
        check_heap(path)
        with h5py.File(path, "r") as file:
            refuse_outside_data(path, file, RecordingError)
            yield file
    except DAMAGED as error:
        raise RecordingError(
            f"{path}: expected an HDF5 file, found a damaged one ({reason(error)}). Copy it again."
        ) from None


def reason(error: BaseException) -> str:
    """The text of an error of h5py, in one line."""
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
