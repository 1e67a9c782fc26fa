"""Compress many chunks in one compiled loop without the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.c_function import call_c
from preprocess.jit import compile_kernel
from preprocess.store.fletcher32 import fletcher32


@compile_kernel
def pack_chunks(
    compress: int, values: Any, itemsize: int, compressor: int, level: int, shuffle: int, packed: Any, ends: Any
) -> int:
    """Compress chunks, each followed by its checksum, one after another.

    Args:
        compress: Address of ``blosc_compress_ctx(level, shuffle, type size, bytes, source, destination, room,
            compressor, block, threads)``.
        values: The bytes of each chunk, uint8 (C, S).
        itemsize: Bytes of a value.
        compressor: Address of the compressor's name, which ends with a zero byte.
        level: Level of compression.
        shuffle: 0 none, 1 bytes, 2 bits.
        packed: Output, uint8, with room for S + 16 + 4 bytes of each chunk.
        ends: Output, the end of each chunk in `packed`, int64 (C,).

    Returns:
        0, or the code of Blosc for the chunk that could not be compressed (-1 for code 0).
    """
    size = values.shape[1]
    end = 0
    for k in range(len(values)):
        source, target = values[k], packed[end : end + size + 16]
        done = call_c(compress, (
            np.int32(level), np.int32(shuffle), np.intp(itemsize), np.intp(size), np.intp(source.ctypes.data),
            np.intp(target.ctypes.data), np.intp(size + 16), np.intp(compressor), np.intp(size), np.int32(1),
        ))  # fmt: skip
        if done <= 0:
            return done if done else -1
        checksum = fletcher32(target[:done])
        end += done
        for i in range(4):
            packed[end + i] = np.uint8(checksum >> np.uint64(8 * i))
        end += 4
        ends[k] = end
    return 0
