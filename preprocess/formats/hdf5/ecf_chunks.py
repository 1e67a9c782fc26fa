"""Read events of Metavision's HDF5 that are compressed with Prophesee's ECF, without its HDF5 plugin."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.hdf5_filters import ECF, filters_of

_FIELDS = {"x", "y", "p", "t"}
_MOST_EVENTS_A_CHUNK = 65_535


def is_ecf(dataset: h5py.Dataset) -> bool:
    """Whether the chunks of a data set are events compressed with ECF and nothing else."""
    filters = [number for number, _ in filters_of(dataset.id.get_create_plist())]
    names = set(dataset.dtype.names or ())
    return filters == [ECF] and names == _FIELDS and dataset.ndim == 1 and dataset.chunks[0] <= _MOST_EVENTS_A_CHUNK


def read_ecf(dataset: h5py.Dataset, start: int, end: int) -> dict[str, NDArray[Any]]:
    """Read the events [start, end); `start` is the first event of a chunk.

    Returns:
        The columns by the names of the fields, each (end - start,).

    Raises:
        ValueError: If a chunk is damaged.
        OSError: If a chunk cannot be read.
    """
    from preprocess.formats.hdf5.ecf_kernels import PADDING, decode_ecf

    size = dataset.chunks[0]
    rounded = -(-(end - start) // size) * size
    t, p = np.zeros(rounded, np.int64), np.zeros(rounded, np.uint8)
    x, y = np.zeros(rounded, np.uint16), np.zeros(rounded, np.uint16)
    columns: dict[str, NDArray[Any]] = {"t": t, "x": x, "y": y, "p": p}
    for first in range(0, rounded, size):
        if dataset.id.get_chunk_info_by_coord((start + first,)).byte_offset is None:
            continue  # Never written: zeros.
        skipped, content = dataset.id.read_direct_chunk((start + first,))
        if skipped:
            rows = np.frombuffer(content, dataset.dtype)
            for name, column in columns.items():
                column[first : first + size] = rows[name]
            continue
        data = np.frombuffer(content + bytes(PADDING), np.uint8)
        part = slice(first, first + size)
        found, wanted = decode_ecf(data, t[part], x[part], y[part], p[part]), min(size, end - start - first)
        if found < wanted:
            of = "none that can be decoded" if found < 0 else str(found)
            raise ValueError(f"{of} of {wanted} events in a chunk of ECF")
    return {name: column[: end - start] for name, column in columns.items()}
