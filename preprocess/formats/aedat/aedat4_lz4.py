"""Decompress many LZ4 packets of AEDAT 4 into one buffer, with the C functions inside the package `lz4`.

The package allocates and copies the content of every packet; its library writes it where the events are taken from. If
the package does not export its functions, it is used itself. Only packets that fit are decompressed here: all others
are left to `preprocess.formats.aedat.aedat4_codecs`, which says what is wrong with them. Zstandard gains nothing like
this, because decompression itself takes nine tenths of the time.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of lz4frame.h: LZ4F_VERSION.
_VERSION = 100

_SIZE, _ADDRESS = ctypes.c_size_t, ctypes.c_void_p
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "LZ4F_createDecompressionContext": (_SIZE, [_ADDRESS, ctypes.c_uint]),
    "LZ4F_decompress": (_SIZE, [_ADDRESS] * 6),
    "LZ4F_freeDecompressionContext": (_SIZE, [_ADDRESS]),
}


def decompress_packets(
    data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], out: NDArray[np.uint8]
) -> list[int]:
    """Decompress packets one after another into `out`, up to the first that is damaged or does not fit.

    Args:
        data: Bytes that contain the packets, uint8 (B,).
        starts: The first byte of each packet, int64 (K,).
        ends: The byte after each packet, int64 (K,).
        out: The buffer, uint8.

    Returns:
        The size of the content of each decompressed packet.
    """
    library, sizes = _load(), list[int]()
    context = _ADDRESS()
    if library is None or library.LZ4F_createDecompressionContext(ctypes.byref(context), _VERSION):
        return sizes
    source, at, end = data.ctypes.data, out.ctypes.data, out.ctypes.data + len(out)
    written, read = _SIZE(), _SIZE()
    sizes_at = ctypes.byref(written), ctypes.byref(read)
    try:
        for first, after in zip(starts.tolist(), ends.tolist(), strict=True):
            written.value, read.value = end - at, after - first
            if library.LZ4F_decompress(context, at, sizes_at[0], source + first, sizes_at[1], None):
                # An error, or what the frame lacks; 0 is its end.
                break
            sizes.append(written.value)
            at += written.value
    finally:
        library.LZ4F_freeDecompressionContext(context)
    return sizes


@cache
def _load() -> Any:
    """The library with LZ4's functions for frames, or None."""
    try:
        module = importlib.util.find_spec("lz4.frame._frame")
        if module is None or module.origin is None:
            return None
        library = ctypes.CDLL(module.origin)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, AttributeError, OSError):
        return None
    return library
