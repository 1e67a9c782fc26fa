"""The Blosc library inside hdf5plugin, called directly instead of through HDF5."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import hdf5plugin
import numpy as np
from numpy.typing import NDArray

# The header of Blosc, the most that it adds to incompressible data.
OVERHEAD = 16

# The names of compressors as C strings, which stay at their addresses.
COMPRESSOR_NAMES = {name: np.frombuffer(name.encode() + b"\0", np.uint8) for name in ("lz4", "zstd")}


@cache
def load() -> Any:
    """The library, or None if its functions cannot be called."""
    try:
        library = ctypes.CDLL(hdf5plugin.get_config().registered_filters["blosc"])
        compress, decompress = library.blosc_compress_ctx, library.blosc_decompress_ctx
    except (AttributeError, KeyError, OSError, TypeError):
        return None
    decompress.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    compress.restype = decompress.restype = ctypes.c_int
    return library


@cache
def address(name: str) -> int:
    """The address of a function of the library, for compiled loops."""
    return ctypes.cast(getattr(load(), name), ctypes.c_void_p).value or 0


def decompress(packed: bytes, out: NDArray[Any]) -> int:
    """Decompress into a contiguous array; returns bytes written, or a code <= 0. The caller has checked the header."""
    size: int = load().blosc_decompress_ctx(packed, out.ctypes.data, out.nbytes, 1)
    return size
