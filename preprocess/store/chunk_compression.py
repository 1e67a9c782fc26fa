"""Chunks of an HDF5 dataset: Blosc, shuffled, with Fletcher-32, read and written without HDF5's filter pipeline.

The files are plain HDF5: any h5py with hdf5plugin reads them. Bypassing the pipeline is for speed: one Blosc block for
a complete chunk (the filter makes blocks of 32 KiB, which for count frames are read 1.7 times slower and need 5 % more
space), writing directly into the caller's array, and decompression outside HDF5's global lock and the GIL. If the
plugin's library does not export its functions, the pipeline does the same work.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from preprocess.errors import CacheError
from preprocess.store import blosc_library as blosc

LEVEL = 1  # Measured on real event columns and frames: levels 2 and 3 take longer and save less than 2 %.
_BYTES, _BITS = 1, 2
_CHECKSUM_BYTES = 4
_LARGEST_ITEM = 8


@dataclass(frozen=True)
class Codec:
    """How Blosc compresses a chunk: the compressor, and whether bytes or bits are shuffled."""

    compressor: Literal["lz4", "zstd"]
    shuffle: int


# Measured on real recordings. Addresses hardly compress: LZ4 takes a third of Zstd's time and 0.5 to 5 % more space.
# Time differences of a byte or less: shuffling bytes takes half the time of shuffling bits, and no more space.
FRAMES, ADDRESSES, TIMES = Codec("zstd", _BITS), Codec("lz4", _BITS), Codec("zstd", _BYTES)


def create(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, chunks: tuple[int, ...], codec: Codec
) -> h5py.Dataset:
    """A dataset with the filters of every cache; no chunk may be larger than the dataset."""
    chunks = tuple(min(c, s) for c, s in zip(chunks, shape, strict=True))
    filters = hdf5plugin.Blosc(cname=codec.compressor, clevel=LEVEL, shuffle=codec.shuffle)
    return group.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True, **filters)


def check_stored(dataset: Any, shape: tuple[int, ...], kinds: str, chunk: tuple[int | None, ...]) -> None:
    """Raise a ValueError for anything but a dataset that `create` could have made.

    Args:
        dataset: What a file has in its place.
        shape: The expected shape.
        kinds: NumPy's letters of the accepted kinds of types.
        chunk: The expected shape of its chunks; None for a length that may be smaller.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError("a group or a link in place of a dataset")
    if dataset.shape != shape or dataset.dtype.kind not in kinds or dataset.dtype.itemsize > _LARGEST_ITEM:
        raise ValueError(f"{dataset.name} has shape {dataset.shape} and type {dataset.dtype}")
    found = dataset.chunks or ()
    fits = (0 < n <= side and wanted in (None, n) for n, side, wanted in zip(found, shape, chunk, strict=False))
    if len(found) != len(shape) or not all(fits):
        raise ValueError(f"{dataset.name} has chunks of shape {dataset.chunks}")


# A chunk to be written: the bytes of the file, or its values, which HDF5 compresses.
Packed = bytes | NDArray[Any]


def pack(values: NDArray[Any], codec: Codec, chunk: tuple[int, ...]) -> Packed:
    """Compress a chunk and add its checksum, without the GIL and HDF5's lock.

    Args:
        values: Values of the chunk; smaller than `chunk` only at the end of the dataset.
        codec: Codec of the dataset.
        chunk: Shape of the dataset's chunks.
    """
    return pack_many(values[None], codec, chunk)[0]


def pack_many(values: NDArray[Any], codec: Codec, chunk: tuple[int, ...]) -> list[Packed]:
    """As `pack`, for C chunks of one shape, in one compiled loop; the first axis of `values` has C elements."""
    if blosc.load() is None or values.shape[1:] != chunk:
        # Chunks at the end of a dataset are stored at full size: the pipeline pads them.
        return list(values)
    from preprocess.store.chunk_encoder import pack_chunks

    plain = np.ascontiguousarray(values).reshape(len(values), -1)
    rows = plain.view(np.uint8)
    packed = np.empty(len(rows) * (rows.shape[1] + blosc.OVERHEAD + _CHECKSUM_BYTES), np.uint8)
    ends = np.empty(len(rows), np.int64)
    name = blosc.COMPRESSOR_NAMES[codec.compressor]
    compress = blosc.address("blosc_compress_ctx")
    code = pack_chunks(compress, rows, values.itemsize, name.ctypes.data, LEVEL, codec.shuffle, packed, ends)
    if code:
        raise CacheError(f"Blosc could not compress a chunk (code {code}). Run the same command again.")
    borders = [0, *ends.tolist()]
    return [packed[start:end].tobytes() for start, end in itertools.pairwise(borders)]


def write(dataset: h5py.Dataset, start: tuple[int, ...], packed: Packed) -> None:
    """Write a chunk that begins at `start` into its dataset."""
    if isinstance(packed, bytes):
        dataset.id.write_direct_chunk(start, packed)
    else:
        dataset[tuple(slice(s, s + n) for s, n in zip(start, packed.shape, strict=True))] = packed


class ChunkReader:
    """Reads the chunks of one dataset; any number of threads may share it.

    Its errors are ValueError, OSError and RuntimeError; the caller adds the sample to the message.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.chunks: tuple[int, ...] = dataset.chunks
        self.dtype: np.dtype[Any] = dataset.dtype
        self._chunk_bytes = int(np.prod(self.chunks)) * self.dtype.itemsize
        direct = blosc.load() is not None and _filters(dataset) == ["blosc", "fletcher32"]
        # Where each chunk is in the file: HDF5 looks through all chunks to find one.
        self._places: dict[tuple[int, ...], Any] = {}
        # The file descriptor of HDF5, valid while its file is open.
        self._descriptor: int | None = dataset.file.id.get_vfd_handle() if direct else None

    def read(self, start: tuple[int, ...], out: NDArray[Any]) -> None:
        """Fill `out`, contiguous and of the chunk's shape and type, with the chunk that begins at `start`."""
        if self._descriptor is not None:
            mask, packed = self.dataset.id.read_direct_chunk(start)
            if mask == 0:
                self._unpack(packed, out)
                return
        # Also for chunks that were never written or skipped a filter, which HDF5 handles.
        full = tuple(slice(s, min(s + n, e)) for s, n, e in zip(start, self.chunks, self.shape, strict=True))
        part = tuple(slice(0, s.stop - s.start) for s in full)
        self.dataset.read_direct(out, full, part)

    def read_range(self, l: int, r: int) -> NDArray[Any]:
        """Elements [l, r) of a one-dimensional dataset, as a new array."""
        length = self.chunks[0]
        first = l // length
        # Complete chunks are read in place: the buffer begins and ends at chunk borders, the result is a view of it.
        last = max(first + 1, -(-r // length))
        buffer = np.empty((last - first) * length, self.dtype)
        starts = [(k * length,) for k in range(first, last if r > l else first)]
        # Many chunks at once need no lock between them; for a single chunk this is slower.
        good = self._read_together(starts, buffer) if len(starts) > 1 else 0
        for start in starts[good:]:
            at = start[0] - first * length
            self.read(start, buffer[at : at + length])
        return buffer[l - first * length : r - first * length]

    def _read_together(self, starts: Sequence[tuple[int, ...]], out: NDArray[Any]) -> int:
        """Read consecutive chunks; returns the number of valid chunks before the first invalid one.

        HDF5 provides their positions; they are read without its lock and without the GIL.
        """
        from preprocess.store.chunk_decoder import unpack_chunks

        if self._descriptor is None:
            return 0
        if len(self._places) < len(starts):
            self._places = _places(self.dataset)
        places = [self._places[start] for start in starts if start in self._places]
        if len(places) < len(starts):
            return 0  # chunks that were never written
        largest = self._chunk_bytes + blosc.OVERHEAD + _CHECKSUM_BYTES
        if any(place.byte_offset is None or place.filter_mask or place.size > largest for place in places):
            return 0
        ends = np.cumsum([place.size for place in places])
        packed = np.empty(ends[-1], np.uint8)
        filled = 0
        for begin, end in _join_runs((place.byte_offset, place.byte_offset + place.size) for place in places):
            if os.preadv(self._descriptor, [packed[filled : filled + end - begin].data], begin) != end - begin:
                return 0
            filled += end - begin
        decompress = blosc.address("blosc_decompress_ctx")
        return int(unpack_chunks(decompress, packed, ends, out.view(np.uint8), self._chunk_bytes))

    def _unpack(self, packed: bytes, out: NDArray[Any]) -> None:
        from preprocess.store.fletcher32 import fletcher32

        data = np.frombuffer(packed, np.uint8)
        size = len(data) - _CHECKSUM_BYTES
        if size < blosc.OVERHEAD or fletcher32(data[:size]) != int.from_bytes(packed[size:], "little"):
            raise ValueError("the checksum of a chunk does not match its bytes")
        if out.nbytes != self._chunk_bytes or not out.flags.c_contiguous or not out.flags.writeable:
            raise ValueError(f"expected a contiguous buffer of {self._chunk_bytes} bytes, found {out.nbytes}")
        if int.from_bytes(packed[4:8], "little") != out.nbytes:
            raise ValueError("the header of a chunk does not match its dataset")
        done = blosc.decompress(packed, out)
        if done != out.nbytes:
            raise ValueError(f"a chunk cannot be decompressed (Blosc code {done})")


def _places(dataset: h5py.Dataset) -> dict[tuple[int, ...], Any]:
    """The position, size and filter mask of every chunk."""
    found: dict[tuple[int, ...], Any] = {}
    dataset.id.chunk_iter(lambda info: found.__setitem__(info.chunk_offset, info))
    return found


def _join_runs(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join intervals [begin, end) that begin where their predecessor ends."""
    joined: list[tuple[int, int]] = []
    for begin, end in intervals:
        if joined and joined[-1][1] == begin:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((begin, end))
    return joined


def _filters(dataset: h5py.Dataset) -> list[str]:
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(k)[3].decode() for k in range(plist.get_nfilters())]
