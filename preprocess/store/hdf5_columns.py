"""Columns of a table in HDF5: each a dataset with a checksum, written and read with HDF5's low-level functions.

h5py's `create_dataset` and indexing take twice the time, which dominates the opening of small caches.
"""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

# HDF5 reads complete chunks and keeps them in memory while it checks them.
_CHUNK_ROWS = 1 << 16


def read_integers(group: h5py.Group, name: str, rows: int) -> NDArray[np.int64]:
    """A column of whole numbers, int64 (rows,); raises as `read_column`, also for another shape or type."""
    values = read_column(group, name)
    if values.dtype.kind not in "iu" or values.shape != (rows,):
        raise ValueError(f"{name} has shape {values.shape} and type {values.dtype}, expected {rows} integers")
    return values.astype(np.int64)


def write_column(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    """Write values of any shape, numbers, bytes or text, as the dataset of that name."""
    if values.dtype.kind == "U":
        encoded = np.char.encode(values, "utf-8")
        values = encoded.astype(h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize)))
    values = np.ascontiguousarray(values)
    plan = h5p.create(h5p.DATASET_CREATE)
    # Equal values give equal bytes.
    plan.set_obj_track_times(False)
    if len(values):
        # HDF5 has no empty chunks.
        plan.set_chunk((min(len(values), _CHUNK_ROWS), *values.shape[1:]))
        plan.set_fletcher32()
    dtype = h5t.py_create(values.dtype, logical=True)
    dataset = h5d.create(group.id, name.encode(), dtype, h5s.create_simple(values.shape), plan)
    dataset.write(h5s.ALL, h5s.ALL, values)


def read_column(group: h5py.Group, name: str) -> NDArray[Any]:
    """The inverse of `write_column`; text comes as UTF-8 bytes.

    Raises:
        KeyError: If there is no such dataset.
        OSError: If it cannot be read, or a checksum does not match.
        ValueError: If the file contains fewer values than the column claims to have.
    """
    dataset = h5d.open(group.id, name.encode())
    claimed, stored = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.get_storage_size()
    if claimed > stored:
        # HDF5 would fill up what was never written. Columns are not compressed.
        raise ValueError(f"{name} claims {claimed:,} bytes, and the file has {stored:,} of them")
    values = np.empty(dataset.shape, dataset.dtype)
    if values.size:
        dataset.read(h5s.ALL, h5s.ALL, values)
    return values
