"""Decompress many packets of AEDAT 4 into one buffer, with the C functions inside the packages `lz4` and `zstandard`.

The packages allocate and copy the content of every packet; their libraries write it where the events are taken from,
which stays in the cache of the processor. If a package does not export its functions, the package itself is used. Only
packets that fit are decompressed here: all others are left to `preprocess.formats.aedat.aedat4_codecs`, which says what
is wrong with them.
"""

from __future__ import annotations

import ctypes
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIZE, _ADDRESS = ctypes.c_size_t, ctypes.c_void_p
_LZ4F_VERSION = 100
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

# Windows of 2^27 bytes or less: an exponent of up to 17, with the mantissa 0 if it is 17.
_LARGEST_WINDOW = 17 << 3


def decompress_packets(compression: int, packets: Sequence[memoryview], out: NDArray[np.uint8]) -> list[int]:
    """Decompress packets one after another into `out`, up to the first that is damaged or does not fit.

    Args:
        compression: Index in `aedat4_header.COMPRESSIONS`.
        packets: The packets.
        out: The buffer, uint8.

    Returns:
        The size of the content of each decompressed packet.
    """
    library = (None, _lz4, _lz4, _zstd, _zstd)[compression]
    functions = library() if library else None
    if functions is None:
        return []
    decoder = (_Lz4 if library is _lz4 else _Zstd)(functions)
    sizes: list[int] = []
    at, end = out.ctypes.data, out.ctypes.data + len(out)
    try:
        for packet in packets:
            size = decoder.decompress(packet, at, end - at)
            if size < 0:
                break
            sizes.append(size)
            at += size
    finally:
        decoder.free()
    return sizes


class _Decoder(ABC):
    """A decompression context; not shared by threads."""

    @abstractmethod
    def decompress(self, packet: memoryview, target: int, room: int) -> int:
        """Write the content of a packet to an address; returns its size, or -1 if it is damaged or too large."""

    @abstractmethod
    def free(self) -> None:
        """Free the context."""


class _Lz4(_Decoder):
    def __init__(self, library: Any) -> None:
        self._library = library
        self._context = _ADDRESS()
        self._failed = library.LZ4F_createDecompressionContext(ctypes.byref(self._context), _LZ4F_VERSION) != 0

    def decompress(self, packet: memoryview, target: int, room: int) -> int:
        written, read = _SIZE(room), _SIZE(len(packet))
        if self._failed:
            return -1
        left = self._library.LZ4F_decompress(
            self._context, target, ctypes.byref(written), _address(packet), ctypes.byref(read), None
        )
        # 0 is the end of the frame; anything else is an error, or what is lacking.
        return written.value if left == 0 else -1

    def free(self) -> None:
        self._library.LZ4F_freeDecompressionContext(self._context)


class _Zstd(_Decoder):
    def __init__(self, library: Any) -> None:
        self._library = library
        self._context = _ADDRESS(library.ZSTD_createDCtx())

    def decompress(self, packet: memoryview, target: int, room: int) -> int:
        head = bytes(packet[:6])
        if len(head) < 6 or head[:4] != _ZSTD_MAGIC or (not head[4] & 32 and head[5] > _LARGEST_WINDOW):
            return -1
        source = _address(packet)
        # The first frame: what follows it is not content.
        size = self._library.ZSTD_findFrameCompressedSize(source, len(packet))
        if self._context.value is None or size > len(packet):
            return -1
        written: int = self._library.ZSTD_decompressDCtx(self._context, target, room, source, size)
        return written if written <= room else -1

    def free(self) -> None:
        self._library.ZSTD_freeDCtx(self._context)


def _address(packet: memoryview) -> int:
    address: int = np.frombuffer(packet, np.uint8).__array_interface__["data"][0]
    return address


@cache
def _lz4() -> Any:
    """The library with LZ4's functions for frames, or None."""
    return _load(
        "lz4.frame._frame",
        LZ4F_createDecompressionContext=(_SIZE, [_ADDRESS, ctypes.c_uint]),
        LZ4F_decompress=(_SIZE, [_ADDRESS] * 6),
        LZ4F_freeDecompressionContext=(_SIZE, [_ADDRESS]),
    )


@cache
def _zstd() -> Any:
    """The library with Zstandard's functions, or None."""
    return _load(
        "zstandard._cffi",
        ZSTD_createDCtx=(_ADDRESS, []),
        ZSTD_findFrameCompressedSize=(_SIZE, [_ADDRESS, _SIZE]),
        ZSTD_decompressDCtx=(_SIZE, [_ADDRESS, _ADDRESS, _SIZE, _ADDRESS, _SIZE]),
        ZSTD_freeDCtx=(_SIZE, [_ADDRESS]),
    )


def _load(module: str, **functions: tuple[Any, list[Any]]) -> Any:
    """Load the library of a compiled module and declare its functions; None if they cannot be called."""
    try:
        found = importlib.util.find_spec(module)
        if found is None or found.origin is None:
            return None
        library = ctypes.CDLL(found.origin)
        for name, (result, arguments) in functions.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (ImportError, AttributeError, OSError):
        return None
    return library
