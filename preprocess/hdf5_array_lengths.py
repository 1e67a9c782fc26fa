"""Check how long the arrays of variable length in an HDF5 data set claim to be, before HDF5 reads them.

HDF5 reserves and clears as much memory as an element claims before it looks for the element's object in the heap, up
to 34 GB. An element is its length u32, the address of its heap collection u64 and the index of its object u32.
Source: HDF5 File Format Specification, section III.E
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from preprocess.errors import RecordingError

_ELEMENT = np.dtype([("length", "<u4"), ("collection", "<u8"), ("index", "<u4")])


def check_array_lengths(path: Path, data: h5py.Dataset, heap: Mapping[int, Mapping[int, int]]) -> None:
    """Check that each array is as long as its object in the heap.

    Args:
        path: The file.
        data: A data set of arrays of variable length.
        heap: Bytes of each object by collection and index, as `preprocess.hdf5_heap.check_heap` returns them.

    Raises:
        ValueError: If one is not.
        RecordingError: If the data set is stored in a way in which HDF5 gives no access to the lengths.
    """
    kind = h5py.check_vlen_dtype(data.dtype)
    # Text is stored as bytes.
    item_bytes = 1 if kind in (str, bytes) else kind.itemsize
    before = data.file.userblock_size
    elements = _elements(path, data)
    for length, collection, index in elements[elements["length"] > 0].tolist():
        size = heap.get(before + collection, {}).get(index)
        if size != length * item_bytes:
            has = "is missing" if size is None else f"has {size}"
            raise ValueError(f"an array of {length * item_bytes} bytes in {data.name}, whose object {has}")


def _elements(path: Path, data: h5py.Dataset) -> NDArray[Any]:
    """The elements as they are stored, without the arrays that they refer to."""
    layout = data.id.get_create_plist().get_layout()
    if data.file.id.get_create_plist().get_sizes() != (8, 8) or layout not in (h5d.CONTIGUOUS, h5d.CHUNKED):
        raise RecordingError(
            f"{path}: expected {data.name} outside of the header of its data set, with addresses of 8 bytes, found "
            "another layout. Rewrite the file: h5repack -l CONTI IN OUT."
        )
    return _contiguous(path, data) if layout == h5d.CONTIGUOUS else _chunked(data)


def _contiguous(path: Path, data: h5py.Dataset) -> NDArray[Any]:
    # Unlike addresses in the file, it counts what precedes the HDF5 data.
    start = data.id.get_offset()
    if start is None:
        return np.empty(0, _ELEMENT)  # Never written.
    count = math.prod(data.shape)
    # Compared before memory is reserved.
    if start + count * _ELEMENT.itemsize > path.stat().st_size:
        raise ValueError(f"{data.name} beyond the end of the file")
    return np.fromfile(path, _ELEMENT, count, offset=start)


def _chunked(data: h5py.Dataset) -> NDArray[Any]:
    """HDF5 decompresses the chunks, which are copied to a data set of plain elements in memory."""
    stored, plain = data.id.get_create_plist(), h5p.create(h5p.DATASET_CREATE)
    plain.set_chunk(data.chunks)
    for k in range(stored.get_nfilters()):
        number, flags, values, _ = stored.get_filter(k)
        plain.set_filter(number, flags, values)
    chunks: list[Any] = []
    data.id.chunk_iter(chunks.append)
    with h5py.File(data.name, "w", driver="core", backing_store=False) as memory:
        space = h5s.create_simple(data.shape, data.id.get_space().get_simple_extent_dims(True))
        copy = h5py.Dataset(h5d.create(memory.id, b"elements", h5t.py_create(_ELEMENT), space, plain))
        for chunk in chunks:
            mask, content = data.id.read_direct_chunk(chunk.chunk_offset)
            copy.id.write_direct_chunk(chunk.chunk_offset, content, mask)
        elements: NDArray[Any] = copy[()]
    return elements.reshape(-1)
