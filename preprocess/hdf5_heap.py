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
_BLOCK_BYTES = 1 << 20


def check_heap(path: Path, searched: int = SEARCHED_BYTES) -> dict[int, dict[int, int]]:
    """Check every collection that begins within the first `searched` bytes.

    Returns:
        Bytes of each object, by its index, by the position of its collection.

    Raises:
        ValueError: If one is damaged.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        end = path.stat().st_size
        found: dict[int, dict[int, int]] = {}
        position = 0
        while position < min(searched, end):
            file.seek(position)
            # A signature at the end of a block is found as a whole, and with the size behind it.
            block = file.read(min(_BLOCK_BYTES, searched - position) + _HEADER_BYTES)
            at = block.find(_SIGNATURE, 0, min(_BLOCK_BYTES, searched - position) + len(_SIGNATURE))
            if at < 0:
                position += _BLOCK_BYTES
                continue
            position += at
            size = int.from_bytes(block[at + 8 : at + _HEADER_BYTES], "little")
            if not _HEADER_BYTES <= size <= end - position:
                raise ValueError(f"a heap of {size} bytes at byte {position}")
            file.seek(position)
            found[position] = _objects(file.read(size), position)
            position += size
    return found


def _objects(collection: bytes, at: int) -> dict[int, int]:
    found: dict[int, int] = {}
    place = _HEADER_BYTES
    while place + _HEADER_BYTES <= len(collection):
        index = int.from_bytes(collection[place : place + 2], "little")
        size = int.from_bytes(collection[place + 8 : place + _HEADER_BYTES], "little")
        # The size of free space counts its own header.
        end = place + (size if index == 0 else _HEADER_BYTES + -(-size // 8) * 8)
        if not place + _HEADER_BYTES <= end <= len(collection):
            raise ValueError(f"an object of {size} bytes in the heap at byte {at}")
        if index > 0:
            found[index] = size
        place = end
    return found
