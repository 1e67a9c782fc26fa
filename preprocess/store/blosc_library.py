"""The Blosc library inside hdf5plugin, called directly instead of through HDF5."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, Literal

import hdf5plugin
import numpy as np
from numpy.typing import NDArray

# The header of Blosc, the most that it adds to incompressible data.
OVERHEAD = 16


@cache
def load() -> Any:
    """The library, or None if its functions cannot be called."""
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


def compress(
    values: NDArray[Any], out: NDArray[np.uint8], compressor: Literal["lz4", "zstd"], level: int, shuffle: int
) -> int:
    """Compress contiguous values as one block; returns bytes written, or a code <= 0."""
    size: int = load().blosc_compress_ctx(
        level, shuffle, values.itemsize, values.nbytes, values.ctypes.data,
        out.ctypes.data, values.nbytes + OVERHEAD, compressor.encode(), values.nbytes, 1,
    )  # fmt: skip
    return size


def decompress(packed: bytes, out: NDArray[Any]) -> int:
    """Decompress into a contiguous array; returns bytes written, or a code <= 0. The caller has checked the header."""
    size: int = load().blosc_decompress_ctx(packed, out.ctypes.data, out.nbytes, 1)
    return size
