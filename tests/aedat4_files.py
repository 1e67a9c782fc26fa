"""AEDAT 4 files as bytes, written plainly with struct: FlatBuffers by hand, compressed or not."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import lz4.frame
import numpy as np
import zstandard
from numpy.typing import NDArray

NONE, LZ4, LZ4_HIGH, ZSTD, ZSTD_HIGH = range(5)
NAMES = ("NONE", "LZ4", "LZ4_HIGH", "ZSTD", "ZSTD_HIGH")

EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("pad", "u1", 3)])

# Where DV puts the nodes of its streams, and where dv-processing 2.0 does.
DV, DV_PROCESSING = "/mainloop/Recorder/outInfo", "/outInfo"


def some_events(n: int, width: int = 34, height: int = 34, seed: int = 0) -> NDArray[np.void]:
    """Events of all pixels and polarities, with small steps in time."""
    rng = np.random.default_rng(seed)
    events = np.zeros(n, EVENT)
    events["t"] = 1_700_000_000_000_000 + np.cumsum(rng.integers(0, 4, n))
    events["x"], events["y"] = rng.integers(0, width, n), rng.integers(0, height, n)
    events["on"] = rng.integers(0, 2, n)
    return events


def event_packet(events: NDArray[np.void], identifier: bytes = b"EVTS") -> bytes:
    """An EventPacket with its size before it: the root, the identifier, the table and the vector of the events."""
    content = struct.pack("<I4s3H2x", 16, identifier, 6, 8, 4) + struct.pack("<iI", 8, 4)
    content += struct.pack("<I", len(events)) + events.tobytes()
    return struct.pack("<I", len(content)) + content


def compressed(payload: bytes, compression: int, *, with_size: bool = True) -> bytes:
    """A payload as DV compresses it: blocks of 64 kB in LZ4 frames, or a Zstandard frame."""
    if compression in (LZ4, LZ4_HIGH):
        level = 9 if compression == LZ4_HIGH else 0
        size = lz4.frame.BLOCKSIZE_MAX64KB
        return lz4.frame.compress(payload, compression_level=level, block_size=size, store_size=False)
    if compression in (ZSTD, ZSTD_HIGH):
        level = 12 if compression == ZSTD_HIGH else 3
        return zstandard.ZstdCompressor(level=level, write_content_size=with_size).compress(payload)
    return payload


def header_text(
    width: int,
    height: int,
    compression: int = NONE,
    path: str = DV,
    streams: Sequence[tuple[int, str]] = ((0, "EVTS"),),
) -> str:
    """The XML text of streams; those of events have a sensor."""
    nodes = ""
    for number, identifier in streams:
        size = f'<attr key="sizeX" type="int">{width}</attr><attr key="sizeY" type="int">{height}</attr>'
        nodes += (
            f'<node name="{number}" path="{path}/{number}/"><attr key="compression" type="string">'
            f'{NAMES[compression]}</attr><attr key="typeIdentifier" type="string">{identifier}</attr>'
            f'<node name="info" path="{path}/{number}/info/">{size if identifier == "EVTS" else ""}</node></node>'
        )
    return f'<dv version="2.0"><node name="outInfo" path="{path}/">{nodes}</node></dv>'


def file_header(text: str, compression: int = NONE, table: int = -1) -> bytes:
    """The signature and the header: its size, root, identifier, table of three fields, fields, text."""
    encoded = text.encode()
    padded = encoded + bytes(-len(encoded) % 4 or 4)
    content = struct.pack("<I4s5H2x", 20, b"IOHE", 10, 20, 4, 8, 16)
    content += struct.pack("<iiqI", 12, compression, table, 4) + struct.pack("<I", len(encoded)) + padded
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(content)) + content


def aedat4(
    packets: Sequence[bytes | tuple[int, bytes]],
    compression: int = NONE,
    *,
    size: tuple[int, int] = (34, 34),
    path: str = DV,
    streams: Sequence[tuple[int, str]] = ((0, "EVTS"),),
    table: bool = False,
) -> bytes:
    """A file of compressed payloads, each of stream 0 or of the stream given with it; `size` is rows and columns."""
    body = b""
    for packet in packets:
        stream, payload = (0, packet) if isinstance(packet, bytes) else packet
        body += struct.pack("<iI", stream, len(payload)) + payload
    text = header_text(size[1], size[0], compression, path, streams)
    start = len(file_header(text, compression))
    if not table:
        return file_header(text, compression) + body
    # Readers that use the table are not tested with it: it only has to be there.
    return file_header(text, compression, start + len(body)) + body + struct.pack("<I", 4) + bytes(8)


def file_of(
    events: NDArray[np.void], compression: int = NONE, *, each: int = 1000, with_size: bool = True, **options
) -> bytes:
    """A file of events, `each` of them in a packet."""
    packets = [
        compressed(event_packet(events[at : at + each]), compression, with_size=with_size)
        for at in range(0, len(events), each)
    ]
    return aedat4(packets, compression, **options)
