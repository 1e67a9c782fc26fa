"""Decompress many chunks in one compiled loop without the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.c_function import call_c
from preprocess.jit import compile_kernel
from preprocess.store.fletcher32 import fletcher32


@compile_kernel
def unpack_chunks(decompress: int, packed: Any, ends: Any, out: Any, size: int) -> int:
    """Check and decompress consecutive chunks.

    Args:
        decompress: Address of ``blosc_decompress_ctx(source, destination, size, threads)``.
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
        pointers = np.intp(data.ctypes.data), np.intp(target.ctypes.data)
        if call_c(decompress, (*pointers, np.intp(size), np.int32(1))) != size:
            return k
    return len(ends)
