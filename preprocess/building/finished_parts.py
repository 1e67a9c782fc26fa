"""Finished parts: their tables and events are read back to be merged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.building import source_fingerprint
from preprocess.building.segments import SegmentReader
from preprocess.errors import CacheError
from preprocess.hdf5_outside_data import refuse_outside_data
from preprocess.store.hdf5_columns import read_column
from preprocess.store.sample_table import SampleTable


class Part:
    """The tables of a finished part, for merging; CacheError if its file is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _deleted_if_damaged(path), h5py.File(path, "r") as file:
            refuse_outside_data(path, file, CacheError)
            self.samples = SampleTable.read(file["samples"])
            self.backwards: NDArray[np.int64] = read_column(file, "backwards")
            self.sources = source_fingerprint.read_sources(file["sources"])
            self.notes: dict[str, int] = json.loads(read_column(file, "notes")[0])

    def jumps(self) -> NDArray[np.int64]:
        """Indices of the events with jumps, sample by sample, and what to add to their differences, int64 (J, 2)."""
        with _deleted_if_damaged(self.path), h5py.File(self.path, "r") as file:
            return SegmentReader(file).jumps()

    @property
    def events(self) -> int:
        """Total number of events."""
        return int(self.samples.offset[-1])


def read_part(path: Path, l: int, r: int) -> Iterator[tuple[NDArray[Any], NDArray[np.uint32]]]:
    """Yield addresses and time differences of a part's events [l, r), ordered by sample, in blocks.

    Raises:
        CacheError: If the part is damaged.
    """
    # Without HDF5's own copy of each chunk.
    with _deleted_if_damaged(path), h5py.File(path, "r", rdcc_nbytes=0) as file:
        yield from SegmentReader(file).read(l, r)


@contextlib.contextmanager
def _deleted_if_damaged(path: Path) -> Iterator[None]:
    # Parts are not synced to disk, so one may be damaged after a power failure.
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            # An error of the system, not of HDF5, such as too many open files: the part may be intact.
            raise CacheError(f"{path}: cannot be read ({error}). Run the same command again.") from None
        with contextlib.suppress(OSError):
            path.unlink()
        again = "It was deleted. Run the same command again."
        raise CacheError(f"{path}: expected a readable part, found damage ({error}). {again}") from None
