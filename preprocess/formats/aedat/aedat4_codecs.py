"""Decompress the packets of AEDAT 4: LZ4 frames and Zstandard frames, never into more memory than they really fill.

The packages `lz4` and `zstandard` release the GIL. Both allocate as much as a frame claims to contain, if it claims
anything; what is decompressed at once is therefore limited here, and larger packets are decompressed in pieces.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import IO, cast

MOST_BYTES = 4 << 20
"""Content of a packet that is decompressed at once, 262,144 events; more is decompressed in pieces of this size."""

# Memory for what a Zstandard frame refers back to; zstd's own limit.
_MOST_WINDOW = 1 << 27


class DamagedPacket(Exception):
    """A packet cannot be decompressed; the text says why."""


class Codec(ABC):
    """Decompresses packets one after the other; not shared by threads."""

    @abstractmethod
    def whole(self, packet: memoryview) -> bytes | memoryview | None:
        """Return the content of a packet, or None if it is larger than MOST_BYTES.

        Raises:
            DamagedPacket: If the packet cannot be decompressed.
        """

    def claimed_size(self, packet: memoryview) -> int:
        """Return how large the content of a packet is by what it says itself; -1 if it does not."""
        return -1

    @abstractmethod
    def pieces(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the content of a packet of any size in pieces of at most MOST_BYTES.

        Args:
            parts: The packet in parts.

        Raises:
            DamagedPacket: If the packet cannot be decompressed. One that is cut off may only have fewer pieces.
        """


def open_codec(compression: int) -> Codec:
    """Return a new codec for a compression, an index in `aedat4_header.COMPRESSIONS`."""
    return (_Uncompressed, _Lz4, _Lz4, _Zstd, _Zstd)[compression]()


class _Uncompressed(Codec):
    def whole(self, packet: memoryview) -> bytes | memoryview | None:
        return packet if len(packet) <= MOST_BYTES else None

    def pieces(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        yield from parts


class _Lz4(Codec):
    def __init__(self) -> None:
        from lz4.frame import create_decompression_context, decompress_chunk, reset_decompression_context

        self._context = create_decompression_context()
        self._reset, self._decompress_chunk = reset_decompression_context, decompress_chunk

    def whole(self, packet: memoryview) -> bytes | memoryview | None:
        self._reset(self._context)
        content, used, is_end = self._decompress(packet)
        if is_end:
            return content
        if used < len(packet) or len(content) == MOST_BYTES:
            return None
        raise DamagedPacket("it is cut off")

    def pieces(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        self._reset(self._context)
        for part in parts:
            left = memoryview(part)
            while True:
                content, used, is_end = self._decompress(left)
                if content:
                    yield content
                if is_end:
                    return
                left = left[used:]
                # More may wait to be given out after the whole part was used.
                if not left and len(content) < MOST_BYTES:
                    break
        raise DamagedPacket("it is cut off")

    def _decompress(self, given: memoryview) -> tuple[bytes, int, bool]:
        """Return content, at most MOST_BYTES of it, how many bytes of the packet it took, and whether that is all."""
        try:
            return self._decompress_chunk(self._context, given, max_length=MOST_BYTES)
        except (RuntimeError, ValueError, MemoryError, OverflowError) as error:
            raise DamagedPacket(_reason(error)) from None


class _Zstd(Codec):
    def __init__(self) -> None:
        import zstandard

        self._package = zstandard
        self._errors = (zstandard.ZstdError, ValueError, MemoryError, OverflowError)
        self._frames = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)

    def claimed_size(self, packet: memoryview) -> int:
        try:
            return self._package.frame_content_size(packet)
        except self._errors:
            return -1

    def whole(self, packet: memoryview) -> bytes | memoryview | None:
        size = -1
        try:
            # -1 if the frame does not contain its size; a frame that does is allocated in full.
            size = self._package.frame_content_size(packet)
            return None if size > MOST_BYTES else self._frames.decompress(packet, max_output_size=MOST_BYTES)
        except self._errors as error:
            # The package raises the same error for a frame that is cut off and for one of more than MOST_BYTES.
            if size < 0 and "full frame" in str(error):
                return None
            raise DamagedPacket(_reason(error)) from None

    def pieces(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        try:
            with self._frames.stream_reader(cast(IO[bytes], _Source(parts))) as reader:
                while content := reader.read(MOST_BYTES):
                    yield content
        except self._errors as error:
            raise DamagedPacket(_reason(error)) from None


class _Source:
    """The parts of a packet as a file."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._part = b""

    def read(self, size: int) -> bytes:
        part = self._part or next(self._parts, b"")
        self._part = part[size:]
        return part[:size]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
