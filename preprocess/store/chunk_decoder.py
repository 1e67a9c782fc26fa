"""Decompress many chunks in one compiled loop without the GIL."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import types
from numba.core.typing import Signature
from numba.experimental import function_type  # noqa: F401  (lets kernels call functions given to them)

from preprocess.jit import compile_kernel
from preprocess.store import blosc_library as blosc
from preprocess.store.fletcher32 import fletcher32


class Decompress(types.WrapperAddressProtocol):
    """``blosc_decompress_ctx(source, destination, size, threads)`` for compiled loops."""

    def __wrapper_address__(self) -> int:
        return ctypes.cast(blosc.load().blosc_decompress_ctx, ctypes.c_void_p).value or 0

    def signature(self) -> Signature:
        return types.int32(types.intp, types.intp, types.intp, types.int32)


@compile_kernel
def unpack_chunks(decompress: Any, packed: Any, ends: Any, out: Any, size: int) -> int:
    """Check and decompress consecutive chunks.

    Args:
        decompress: `Decompress`.
        packed: The chunks as in the file, each followed by its checksum, uint8 (B,).
        ends: The end of each chunk, int64 (C,).
        out: Output, uint8 (C * size,).
        size: Bytes of an unpacked chunk.

    Returns:
        Number of valid chunks before the first invalid one.
    """
    start = 0
    for k in range(len(ends)):
        data = packed[start : ends[k]]
        start = ends[k]
        n = len(data) - 4
        if n < 16:
            return k
        checksum = np.uint64(0)
        unpacked = np.int64(0)
        for i in range(4):
            checksum |= np.uint64(data[n + i]) << np.uint64(8 * i)
            unpacked |= np.int64(data[4 + i]) << np.int64(8 * i)
        if unpacked != size or fletcher32(data[:n]) != checksum:
            return k
        target = out[k * size : (k + 1) * size]
        if decompress(np.intp(data.ctypes.data), np.intp(target.ctypes.data), np.intp(size), np.int32(1)) != size:
            return k
    return len(ends)
