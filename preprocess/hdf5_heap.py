"""Check HDF5's global heap, which stores text of variable length and is the only structure without a checksum.

A flipped bit in the size of an object makes HDF5 loop forever, so the heap is checked here first. A collection is
``GCOL``, version 1, three zeros and its size, u64; then objects of index u16, references u16, four zeros, size u64 and
content, padded to eight bytes; index 0 is the free space after them.
Source: HDF5 File Format Specification, section III.E.
"""

from __future__ import annotations

from pathlib import Path

# The attributes of a cache are written first, so that their collections are in these bytes.
SEARCHED_BYTES = 1 << 16

_SIGNATURE = b"GCOL\x01\x00\x00\x00"
_HEADER_BYTES = 16


def check_heap(path: Path) -> int:
    """Check every collection that begins within the searched bytes; returns their number.

    Raises:
        ValueError: If one is damaged.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(SEARCHED_BYTES + _HEADER_BYTES)
        end = SEARCHED_BYTES + len(_SIGNATURE)
        found, at = 0, head.find(_SIGNATURE, 0, end)
        while at >= 0:
            size = int.from_bytes(head[at + 8 : at + _HEADER_BYTES], "little")
            if not _HEADER_BYTES <= size <= path.stat().st_size - at:
                raise ValueError(f"a heap of {size} bytes at byte {at}")
            file.seek(at)
            _walk(file.read(size), at)
            found, at = found + 1, head.find(_SIGNATURE, at + size, end)
    return found


def _walk(collection: bytes, at: int) -> None:
    place = _HEADER_BYTES
    while place + _HEADER_BYTES <= len(collection):
        index = int.from_bytes(collection[place : place + 2], "little")
        size = int.from_bytes(collection[place + 8 : place + _HEADER_BYTES], "little")
        # The size of free space counts its own header.
        end = place + (size if index == 0 else _HEADER_BYTES + -(-size // 8) * 8)
        if not place + _HEADER_BYTES <= end <= len(collection):
            raise ValueError(f"an object of {size} bytes in the heap at byte {at}")
        place = end
