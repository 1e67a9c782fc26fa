"""Bytes of a MATLAB file, stored or compressed with zlib, of which no more are read than their element has.

Compressed bytes are decompressed as far as they are read: what an element claims to contain is never allocated, nor
decompressed, before it is there.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO, Protocol

# Bytes that are decompressed at a time, and that are decompressed at least: the head of a variable.
_PART = 1 << 18
_HEAD = 512


class DamagedMatFile(Exception):
    """A MATLAB file is damaged; the text says how."""


class Stream(Protocol):
    """Bytes that are read in their order."""

    def read(self, count: int) -> bytes | bytearray:
        """Return the next bytes, fewer than `count` only at the end."""

    def skip(self, count: int) -> None:
        """Leave out the next bytes."""


class Stored:
    """The bytes of a file from its position on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read = file.read

    def skip(self, count: int) -> None:
        """Leave out the next bytes."""
        self._file.seek(count, 1)


class Inflated:
    """What the next bytes of a file contain, compressed with zlib.

    Args:
        file: The file, which nothing else reads meanwhile.
        size: Number of compressed bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size
        self._zlib = zlib.decompressobj()
        self._compressed = self._ready = b""

    def read(self, count: int) -> bytes | bytearray:
        """Return the next bytes, fewer than `count` only at the end."""
        part, self._ready = self._ready[:count], self._ready[count:]
        if len(part) == count:
            return part
        data = bytearray(part)
        while (wanted := count - len(data)) > 0 and (part := self._next(min(max(wanted, _HEAD), _PART))):
            data += part[:wanted]
            self._ready = part[wanted:]
        return data

    def skip(self, count: int) -> None:
        """Leave out the next bytes."""
        while count > 0 and (part := self.read(min(count, _PART))):
            count -= len(part)

    def check_end(self) -> None:
        """Check that all bytes were read and have zlib's checksum.

        Raises:
            DamagedMatFile: If there are more, or fewer than were compressed.
        """
        if self.read(1):
            raise DamagedMatFile("more compressed bytes than its variable has")
        if not self._zlib.eof:
            raise DamagedMatFile("compressed bytes without an end")

    def _next(self, most: int) -> bytes:
        part = b""
        while not part and not self._zlib.eof:
            if not self._compressed:
                self._compressed = self._file.read(min(self._left, _PART))
                self._left -= len(self._compressed)
            try:
                part = self._zlib.decompress(self._compressed, most)
            except zlib.error as error:
                raise DamagedMatFile(f"compressed bytes: {error}") from None
            if not part and not self._compressed:
                break
            self._compressed = self._zlib.unconsumed_tail
        return part


class BoundedBytes:
    """The bytes of an element.

    Attributes:
        left: Number of bytes of the element that were not read yet.
    """

    def __init__(self, stream: Stream, left: int) -> None:
        self._stream, self.left = stream, left

    def take(self, count: int) -> bytes | bytearray:
        """Return the next bytes.

        Raises:
            DamagedMatFile: If there are fewer.
        """
        self._spend(count)
        data = self._stream.read(count)
        if len(data) < count:
            raise DamagedMatFile(f"{len(data):,} instead of {count:,} bytes at the end")
        return data

    def skip(self, count: int) -> None:
        """Leave out the next bytes; DamagedMatFile if there are fewer."""
        self._spend(count)
        self._stream.skip(count)

    def inside(self, count: int) -> BoundedBytes:
        """The next bytes as those of an element within this one, to be read before what follows it."""
        self._spend(count)
        return BoundedBytes(self._stream, count)

    def _spend(self, count: int) -> None:
        if count > self.left:
            raise DamagedMatFile(f"an element of {count:,} bytes where {self.left:,} are left")
        self.left -= count
