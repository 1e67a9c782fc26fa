"""Check how long the arrays of variable length in an HDF5 data set say that they are, before HDF5 reads them.

HDF5 reserves and clears as much memory as an element claims before it looks for the element's object in the heap, up
to 34 GB. An element is its length u32, the address of its heap collection u64 and the index of its object u32.
Source: HDF5 File Format Specification, section III.E and, for chunks, IV.A.2.l (filters).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5z
from numpy.typing import NDArray

_ELEMENT = np.dtype([("length", "<u4"), ("collection", "<u8"), ("index", "<u4")])
_ELEMENTS_A_BLOCK = 1 << 16


def check_array_lengths(path: Path, data: h5py.Dataset, heap: Mapping[int, Mapping[int, int]]) -> None:
    """Check that each array is as long as its object in the heap.

    Args:
        path: The file.
        data: A data set of arrays of variable length, of one dimension.
        heap: Bytes of each object by collection and index, as `preprocess.hdf5_heap.check_heap` returns them.

    Raises:
        ValueError: If one is not, or the data set is stored in a way that cannot be checked.
    """
    kind = h5py.check_vlen_dtype(data.dtype)
    # Text: of bytes.
    item_bytes = 1 if kind is None or kind in (str, bytes) else kind.itemsize
    base = data.file.userblock_size
    if data.file.id.get_create_plist().get_sizes() != (8, 8):
        raise ValueError("addresses of another size than 8 bytes")
    for elements in _blocks(path, data):
        for length, collection, index in elements[elements["length"] > 0].tolist():
            size = heap.get(base + collection, {}).get(index)
            if size != length * item_bytes:
                has = "is missing" if size is None else f"has {size}"
                raise ValueError(f"an array of {length * item_bytes} bytes in {data.name}, whose object {has}")


def _blocks(path: Path, data: h5py.Dataset) -> Iterator[NDArray[Any]]:
    stored = data.id.get_create_plist()
    layout = stored.get_layout()
    if layout == h5d.CONTIGUOUS:
        start, size = data.id.get_offset(), data.id.get_storage_size()
        with path.open("rb") as file:
            # Unlike addresses in the file, it counts what stands in front of the HDF5 data.
            file.seek(start or 0)
            while size > 0:
                block = file.read(min(size, _ELEMENTS_A_BLOCK * _ELEMENT.itemsize))
                if len(block) < _ELEMENT.itemsize:
                    raise ValueError(f"{data.name} beyond the end of the file")
                size -= len(block)
                yield _elements(block)
    elif layout == h5d.CHUNKED:
        filters = [stored.get_filter(k)[0] for k in range(stored.get_nfilters())]
        chunk_bytes = data.chunks[0] * _ELEMENT.itemsize
        chunks: list[Any] = []
        data.id.chunk_iter(chunks.append)
        for each in chunks:
            mask, chunk = data.id.read_direct_chunk(each.chunk_offset)
            used = [number for place, number in enumerate(filters) if not mask >> place & 1]
            yield _elements(_without_filters(data, chunk, used, chunk_bytes))
    else:
        raise ValueError(f"{data.name} in the header of its data set")


def _without_filters(data: h5py.Dataset, chunk: bytes, filters: list[int], chunk_bytes: int) -> bytes:
    for number in reversed(filters):
        if number == h5z.FILTER_DEFLATE:
            try:
                chunk = zlib.decompressobj().decompress(chunk, chunk_bytes)
            except zlib.error as error:
                raise ValueError(f"a damaged block of {data.name} ({error})") from None
        elif number == h5z.FILTER_SHUFFLE:
            whole = len(chunk) // _ELEMENT.itemsize * _ELEMENT.itemsize
            chunk = np.frombuffer(chunk[:whole], np.uint8).reshape(_ELEMENT.itemsize, -1).T.tobytes()
        else:
            raise ValueError(f"{data.name} compressed with another filter than gzip (filter {number})")
    return chunk


def _elements(block: bytes) -> NDArray[Any]:
    return np.frombuffer(block, _ELEMENT, len(block) // _ELEMENT.itemsize)
