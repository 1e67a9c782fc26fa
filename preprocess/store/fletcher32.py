"""HDF5's checksum of a chunk, as a Numba kernel that releases the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.jit import compile_kernel


@compile_kernel
def fletcher32(data: Any) -> Any:
    """Return HDF5's Fletcher-32 checksum of uint8 (N,): the sum of big-endian 16-bit words, and the sum of these sums.

    The words are summed as little-endian numbers, which needs no shifts: swapping bytes is a multiplication by 256
    modulo 65535, which is done once, at the end. The sum of sums of a block is a weighted sum, which vectorises.
    """
    modulus = np.uint64(65535)
    words = data[: len(data) // 2 * 2].view(np.uint16)
    low = np.uint64(0)
    high = np.uint64(0)
    seen = np.uint32(0)
    k = 0
    while k < len(words):
        # 256 words fit into two 32-bit sums: 65535 * 256 * 255 / 2 < 2^32.
        block = words[k : k + 256]
        plain = np.uint32(0)
        weighted = np.uint32(0)
        for i in range(np.uint32(len(block))):
            word = np.uint32(block[i])
            plain = np.uint32(plain + word)
            weighted = np.uint32(weighted + np.uint32(word * np.uint32(i)))
        size = np.uint64(len(block))
        high = (high + low * size + np.uint64(plain) * size - np.uint64(weighted)) % modulus
        low = (low + np.uint64(plain)) % modulus
        seen |= plain
        k += 256
    if len(data) % 2:
        last = data[len(data) - 1]
        low = (low + np.uint64(last)) % modulus
        high = (high + low) % modulus
        seen |= np.uint32(last)
    low = (low * np.uint64(256)) % modulus
    high = (high * np.uint64(256)) % modulus
    # HDF5 adds carries back instead of dividing, so its sums are 0 only if all words are 0.
    if seen and low == 0:
        low = modulus
    if seen and high == 0:
        high = modulus
    return (high << np.uint64(16)) | low
