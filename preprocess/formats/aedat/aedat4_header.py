r"""The header of an AEDAT 4 file: how packets are compressed, which streams there are, and where the packets end.

    #!AER-DAT4.0\r\n
    FlatBuffer IOHE, after its size u32: compression i32, position of the table of packets i64, XML text

The text describes every stream in a node of its own below ``outInfo``: its type (``typeIdentifier``, of which ``EVTS``
is events) and the size of its sensor. DV writes the nodes below ``/mainloop/Recorder``, dv-processing 2.0 does not.
Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import RecordingError
from preprocess.formats.recording import unreadable

COMPRESSIONS = ("none", "LZ4", "LZ4 high", "Zstd", "Zstd high")
"""The names of the compressions by their numbers."""

_START = len(b"#!AER-DAT4.0\r\n")
_LONGEST = 1 << 21
_MOST_PIXELS = 1 << 15

# Names of the types of streams, by their identifiers.
_TYPES = {"EVTS": "events", "FRME": "frame", "IMUS": "imus", "TRIG": "triggers"}


@dataclass(frozen=True)
class Stream:
    """A stream of packets; its type is ``events`` if it has events, and its sides are 0 if it has no sensor size."""

    number: int
    type: str
    width: int = 0
    height: int = 0

    def __str__(self) -> str:
        size = f" {self.height}x{self.width} pixels (rows x columns)" if self.width else ""
        return f"stream {self.number}: {self.type}{size}"


@dataclass(frozen=True)
class Aedat4Header:
    """What the header says.

    Attributes:
        compression: Index in COMPRESSIONS.
        streams: All streams in the order of their numbers.
        start: Byte at which the packets begin.
        table: Byte at which the table of packets begins; -1 if the writer was interrupted before it wrote the table.
    """

    compression: int
    streams: tuple[Stream, ...]
    start: int
    table: int


def read_aedat4_header(path: Path, size: int) -> Aedat4Header:
    """Read the header of a file of `size` bytes.

    Raises:
        RecordingError: If the header is longer than the file, or damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(_START)
            (length,) = struct.unpack("<I", file.read(4).ljust(4, b"\0"))
            if not 4 <= length <= min(_LONGEST, size - _START - 4):
                raise _damaged(path, f"one of {length} bytes")
            content = file.read(length)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        compression, table, text = _fields(content)
        streams = _streams(text)
    except (ValueError, struct.error, ET.ParseError) as error:
        raise _damaged(path, f"one that cannot be decoded ({error})") from None
    if not 0 <= compression < len(COMPRESSIONS):
        known = ", ".join(f"{k} ({name})" for k, name in enumerate(COMPRESSIONS))
        raise RecordingError(
            f"{path}: expected one of the compressions {known}, found {compression} in the header at byte {_START}. "
            "The file is damaged or newer than this program; copy it again, or write it with another compression."
        )
    return Aedat4Header(compression, streams, _START + 4 + length, table)


def event_stream(path: Path, streams: tuple[Stream, ...]) -> Stream:
    """Return the event stream of the lowest number, as tonic does.

    Raises:
        RecordingError: If there is none, or its sensor has no valid size.
    """
    stream = next((stream for stream in streams if stream.type == "events"), None)
    if stream is None:
        found = ", ".join(sorted(stream.type for stream in streams)) or "no streams"
        raise RecordingError(f"{path}: expected a stream of events, found {found}. Leave the file out.")
    if not (0 < stream.height <= _MOST_PIXELS and 0 < stream.width <= _MOST_PIXELS):
        raise RecordingError(
            f"{path}: expected a sensor of 1 to {_MOST_PIXELS} rows and columns, found {stream.height}x{stream.width} "
            "in the header. The file is damaged; copy it again."
        )
    return stream


def _fields(content: bytes) -> tuple[int, int, str]:
    """Return the compression, the position of the table of packets and the text of the header's FlatBuffer."""
    if content[4:8] != b"IOHE":
        raise ValueError("its identifier is missing")
    (root,) = _unpack("<I", content, 0)
    (back,) = _unpack("<i", content, root)
    fields = root - back
    (size,) = _unpack("<H", content, fields)
    offsets = [_unpack("<H", content, fields + at)[0] if at + 2 <= size else 0 for at in (4, 6, 8)]
    (compression,) = _unpack("<i", content, root + offsets[0]) if offsets[0] else (0,)
    (table,) = _unpack("<q", content, root + offsets[1]) if offsets[1] else (-1,)
    if not offsets[2]:
        raise ValueError("its text is missing")
    at = root + offsets[2]
    at += _unpack("<I", content, at)[0]
    (length,) = _unpack("<I", content, at)
    if length > len(content) - at - 4:
        raise ValueError(f"its text has {length} bytes, more than the header")
    return compression, table, content[at + 4 : at + 4 + length].decode("utf-8")


def _unpack(format: str, content: bytes, at: int) -> tuple[int, ...]:
    # struct counts negative positions from the end.
    if at < 0:
        raise ValueError("it points outside itself")
    return struct.unpack_from(format, content, at)


def _streams(text: str) -> tuple[Stream, ...]:
    if "<!" in text:
        raise ValueError("its text declares a document type")
    nodes = ET.fromstring(text).findall("./node[@name='outInfo']/node")
    return tuple(sorted((_stream(node) for node in nodes), key=lambda stream: stream.number))


def _stream(node: ET.Element) -> Stream:
    kind = _attribute(node, "typeIdentifier") or "of unknown type"
    info = node.find("./node[@name='info']")
    width, height = (0 if info is None else int(_attribute(info, f"size{axis}") or 0) for axis in "XY")
    return Stream(int(node.get("name", "")), _TYPES.get(kind, kind), width, height)


def _attribute(node: ET.Element, key: str) -> str | None:
    found = node.find(f"./attr[@key='{key}']")
    return None if found is None else found.text


def _damaged(path: Path, found: str) -> RecordingError:
    hint = "The file is truncated or damaged; copy it again."
    return RecordingError(f"{path}: expected the header of an AEDAT 4 file, found {found} at byte {_START}. {hint}")
