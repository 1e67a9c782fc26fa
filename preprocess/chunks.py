"""Chunks of an HDF5 dataset: Blosc-Zstd, bitshuffle and Fletcher-32, read and written past HDF5's filter pipeline.

The files are plain HDF5: any h5py with hdf5plugin reads them. Going past the pipeline is for speed. It takes one Blosc
block for a whole chunk (the filter cuts blocks of 32 KiB, which on count frames read 1.7 times slower and take 5 %
more room), writes straight into the caller's array, and decompresses outside HDF5's global lock and the GIL. Where
the plugin's library does not offer its functions, the pipeline does the same work.
"""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from preprocess.errors import CacheError

LEVEL = 1  # Measured on real event columns and frames: levels 2 and 3 take longer and save less than 2 %.
_BITSHUFFLE = 2
_CHECKSUM_BYTES = 4


def create(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any, chunks: tuple[int, ...]) -> h5py.Dataset:
    """A dataset with the filters of every cache; no chunk may be larger than the dataset."""
    chunks = tuple(min(c, s) for c, s in zip(chunks, shape, strict=True))
    filters = hdf5plugin.Blosc(cname="zstd", clevel=LEVEL, shuffle=_BITSHUFFLE)
    return group.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True, **filters)


@dataclass(frozen=True, eq=False)
class Chunk:
    """A chunk on its way into a dataset.

    Attributes:
        dataset: Where it goes.
        start: Where it begins.
        values: What it holds; cut short only where the dataset ends.
        packed: The same as it lies in the file; None leaves packing to HDF5.
    """

    dataset: h5py.Dataset
    start: tuple[int, ...]
    values: NDArray[Any]
    packed: bytes | None = None

    def pack(self) -> Chunk:
        """The chunk, compressed and with its checksum; threads may do so at once."""
        blosc = _blosc()
        if blosc is None or self.values.shape != self.dataset.chunks:
            # Chunks at the end of a dataset are stored at full size: the pipeline fills them up.
            return self
        from preprocess.kernels import fletcher32

        values = np.ascontiguousarray(self.values)
        packed = np.empty(values.nbytes + 16 + _CHECKSUM_BYTES, np.uint8)
        size = blosc.blosc_compress_ctx(
            LEVEL, _BITSHUFFLE, values.itemsize, values.nbytes, values.ctypes.data,
            packed.ctypes.data, values.nbytes + 16, b"zstd", values.nbytes, 1,
        )  # fmt: skip
        if size <= 0:
            name = f"{self.dataset.file.filename}: Blosc could not compress a chunk of {self.dataset.name}"
            raise CacheError(f"{name} (code {size}). Run the same command again.")
        checksum = fletcher32(packed[:size])
        packed[size : size + _CHECKSUM_BYTES] = np.frombuffer(int(checksum).to_bytes(4, "little"), np.uint8)
        return dataclasses.replace(self, packed=packed[: size + _CHECKSUM_BYTES].tobytes())

    def write(self) -> None:
        """Put it into its dataset."""
        if self.packed is not None:
            self.dataset.id.write_direct_chunk(self.start, self.packed)
        else:
            ends = zip(self.start, self.values.shape, strict=True)
            self.dataset[tuple(slice(s, s + n) for s, n in ends)] = self.values


class ChunkReader:
    """Reads the chunks of one dataset; any number of threads may share it.

    Its errors are ValueError and OSError: who asks knows the sample, and says so.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.chunks: tuple[int, ...] = dataset.chunks
        self.dtype: np.dtype[Any] = dataset.dtype
        self._chunk_bytes = int(np.prod(self.chunks)) * self.dtype.itemsize
        self._direct = _blosc() is not None and _filters(dataset) == ["blosc", "fletcher32"]

    def read(self, start: tuple[int, ...], out: NDArray[Any]) -> None:
        """Fill `out`, contiguous and of the chunk's shape and type, with the chunk that begins at `start`."""
        if self._direct:
            mask, packed = self.dataset.id.read_direct_chunk(start)
            if mask == 0:
                self._unpack(packed, out)
                return
        # Also where a chunk was never written or skipped a filter: HDF5 knows what that means.
        full = tuple(slice(s, min(s + n, e)) for s, n, e in zip(start, self.chunks, self.shape, strict=True))
        part = tuple(slice(0, s.stop - s.start) for s in full)
        self.dataset.read_direct(out, full, part)

    def _unpack(self, packed: bytes, out: NDArray[Any]) -> None:
        from preprocess.kernels import fletcher32

        data = np.frombuffer(packed, np.uint8)
        size = len(data) - _CHECKSUM_BYTES
        if size < 16 or fletcher32(data[:size]) != int.from_bytes(packed[-_CHECKSUM_BYTES:], "little"):
            raise ValueError("a chunk's checksum does not fit its bytes")
        if out.nbytes != self._chunk_bytes or not out.flags.c_contiguous or not out.flags.writeable:
            raise ValueError(f"expected a contiguous buffer of {self._chunk_bytes} bytes, found {out.nbytes}")
        if int.from_bytes(packed[4:8], "little") != out.nbytes:
            raise ValueError("a chunk's header does not fit its dataset")
        blosc = _blosc()
        assert blosc is not None
        done = blosc.blosc_decompress_ctx(packed, out.ctypes.data, out.nbytes, 1)
        if done != out.nbytes:
            raise ValueError(f"a chunk does not decompress (Blosc code {done})")

    def read_range(self, l: int, r: int) -> NDArray[Any]:
        """Elements [l, r) of a one-dimensional dataset, as a new array."""
        length = self.chunks[0]
        first = l // length
        # Whole chunks go straight into place: the buffer begins and ends at chunk borders, the answer is a view of it.
        last = max(first + 1, -(-r // length))
        buffer = np.empty((last - first) * length, self.dtype)
        for k in range(first, last if r > l else first):
            self.read((k * length,), buffer[(k - first) * length : (k - first + 1) * length])
        return buffer[l - first * length : r - first * length]


class ColumnCutter:
    """Cuts what is appended to a one-dimensional dataset of known length into its chunks."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self._buffer = np.empty(dataset.chunks[0], dataset.dtype)
        self._filled = 0
        self._cut = 0

    def append(self, values: NDArray[Any]) -> Iterator[Chunk]:
        """The chunks that are full now."""
        done = 0
        while done < len(values):
            take = min(len(values) - done, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + take] = values[done : done + take]
            self._filled += take
            done += take
            if self._filled == len(self._buffer):
                yield from self.rest()

    def rest(self) -> Iterator[Chunk]:
        """The chunk that is there, if any; only the end of the dataset may be a part of one."""
        if self._filled:
            yield Chunk(self.dataset, (self._cut,), self._buffer[: self._filled])
            self._cut += self._filled
            self._filled = 0
            # The chunk keeps the old one.
            self._buffer = np.empty_like(self._buffer)


def chunk_starts(dataset: h5py.Dataset) -> Iterator[tuple[int, ...]]:
    """Where each chunk of a dataset begins."""
    steps = (range(0, size, step) for size, step in zip(dataset.shape, dataset.chunks, strict=True))
    return itertools.product(*steps)


def _filters(dataset: h5py.Dataset) -> list[str]:
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(k)[3].decode() for k in range(plist.get_nfilters())]


@cache
def _blosc() -> Any:
    """The Blosc library inside hdf5plugin, or None where its functions cannot be called."""
    try:
        library = ctypes.CDLL(hdf5plugin.get_config().registered_filters["blosc"])
        compress, decompress = library.blosc_compress_ctx, library.blosc_decompress_ctx
    except (AttributeError, KeyError, OSError, TypeError):
        return None
    size, address, number = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
    compress.argtypes = [number, number, size, size, address, address, size, ctypes.c_char_p, size, number]
    decompress.argtypes = [ctypes.c_char_p, address, size, number]
    compress.restype = decompress.restype = number
    return library
