r"""AEDAT 4: FlatBuffers in compressed packets, decoded by the package `aedat`; the format of iniVation's DV.

    #!AER-DAT4.0\r\n
    bytes of the header u32, header (a FlatBuffer: the streams, and the position of the table of packets)
    packets: stream i32, bytes of the payload i32, payload

Events are those of the first event stream, as in tonic. Timestamps are often µs since 1970, about 1.7e15.
Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.recording import (
    Recording,
    Size,
    damaged,
    file_size,
    first_outside,
    outside_sensor,
    unreadable,
)

_START = len(b"#!AER-DAT4.0\r\n")
_LONGEST_HEADER = 1 << 21
_PACKET_HEADER_BYTES = 8


@dataclass(frozen=True)
class Aedat4Recording(Recording):
    """The events of the first event stream of a file; other streams are skipped."""

    NAME: ClassVar[str] = "aedat4"
    TITLE: ClassVar[str] = "AEDAT 4"
    SUFFIX: ClassVar[str] = ".aedat4"
    MAGIC: ClassVar[bytes] = b"#!AER-DAT4.0"
    VERSION: ClassVar[int] = 1

    @classmethod
    def open(cls, path: Path, size: Size | None = None) -> Aedat4Recording:
        """Read the header.

        Raises:
            RecordingError: If the file cannot be read, its header is damaged, or it has no event stream.
        """
        end = file_size(path)
        start, _ = _packets_between(path, end)
        _, streams = _open_decoder(path)
        number = _event_stream(streams)
        if number is None:
            found = ", ".join(sorted(str(stream["type"]) for stream in streams.values())) or "no streams"
            raise RecordingError(f"{path}: expected a stream of events, found {found}. Leave the file out.")
        height, width = int(streams[number]["height"]), int(streams[number]["width"])
        if not (0 < height <= 1 << 15 and 0 < width <= 1 << 15):
            raise RecordingError(
                f"{path}: expected a sensor of 1 to 32768 rows and columns, found {height}x{width} in the header. "
                "The file is damaged; copy it again."
            )
        return cls(path, height, width, start, end, _lines_of(streams))

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first damaged packet or event outside the sensor."""
        decoder, streams = _open_decoder(self.path)
        wanted = _event_stream(streams)
        seen = skipped = 0
        for position, packet in self._packets(decoder):
            if packet["stream_id"] != wanted or "events" not in packet:
                skipped += 1
                self.note("packets_of_other_streams_skipped", skipped)
                continue
            events = packet["events"]
            x, y = np.ascontiguousarray(events["x"]), np.ascontiguousarray(events["y"])
            outside = first_outside(x, y, self.height, self.width)
            good = len(events) if outside < 0 else outside
            if good:
                t, p = events["t"][:good].astype(np.int64), events["on"][:good].astype(np.uint8)
                yield Events(t, x[:good], y[:good], p, self.height, self.width)
            if outside >= 0:
                where = f"event {seen + outside} (in the packet at byte {position})"
                raise outside_sensor(self, position, x=int(x[outside]), y=int(y[outside]), where=where)
            seen += len(events)

    def _packets(self, decoder: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """Packets with their byte positions, because the decoder does not report the position of an error."""
        position, end = _packets_between(self.path, self.size)
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise unreadable(self.path, error) from None
        with file:
            while position < end:
                file.seek(position)
                head = file.read(_PACKET_HEADER_BYTES)
                size = struct.unpack("<iI", head)[1] if len(head) == _PACKET_HEADER_BYTES else 0
                # Checked first, because the package allocates as much memory as a packet declares.
                if len(head) < _PACKET_HEADER_BYTES or size > end - position - _PACKET_HEADER_BYTES:
                    raise self._damaged(f"one that claims {size} bytes, more than are left", position)
                try:
                    packet = next(decoder)
                except StopIteration:
                    raise self._damaged("one that the decoder skips", position) from None
                except BaseException as error:
                    if not _is_error(error):
                        raise
                    raise self._damaged(f"one that cannot be decoded ({_reason(error)})", position) from None
                yield position, packet
                position += _PACKET_HEADER_BYTES + size

    def _damaged(self, found: str, position: int) -> RecordingError:
        hint = "The file is truncated or damaged; copy it again."
        return damaged(f"{self.path}: expected a packet, found {found} at byte {position}. {hint}", position)


def _packets_between(path: Path, size: int) -> tuple[int, int]:
    """Return the bytes at which packets begin and end, after checks without which the package aborts the process.

    Raises:
        RecordingError: If the header is longer than the file, or its text is damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(_START)
            (length,) = struct.unpack("<I", file.read(4).ljust(4, b"\0"))
            start = _START + 4 + length
            if not 4 <= length <= min(_LONGEST_HEADER, size - _START - 4):
                raise _no_header(path, f"one of {length} bytes")
            header = file.read(length)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        header[header.find(b"<") : header.rfind(b">") + 1].decode("utf-8")
        table = _table_position(header)
    except (UnicodeDecodeError, struct.error):
        raise _no_header(path, "one that cannot be decoded") from None
    # If the writer was interrupted, there is no table, and the packets extend to the end of the file.
    return start, table if start <= table <= size else size


def _table_position(header: bytes) -> int:
    """Return the position of the table of packets, the second field of the header's FlatBuffer; -1 without one."""
    (root,) = struct.unpack_from("<I", header)
    (back,) = struct.unpack_from("<i", header, root)
    fields, _, _, offset = struct.unpack_from("<4H", header, root - back)
    return int(struct.unpack_from("<q", header, root + offset)[0]) if fields >= 8 and offset else -1


def _no_header(path: Path, found: str) -> RecordingError:
    hint = "The file is truncated or damaged; copy it again."
    return RecordingError(f"{path}: expected the header of an AEDAT 4 file, found {found} at byte {_START}. {hint}")


def _open_decoder(path: Path) -> tuple[Any, dict[int, dict[str, Any]]]:
    import aedat

    try:
        decoder = aedat.Decoder(path)
        return decoder, decoder.id_to_stream()
    except BaseException as error:
        if not _is_error(error):
            raise
        raise _no_header(path, f"one that cannot be decoded ({_reason(error)})") from None


def _is_error(error: BaseException) -> bool:
    """Whether the package failed: it raises RuntimeError, and panics of its libraries derive from BaseException."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _event_stream(streams: dict[int, dict[str, Any]]) -> int | None:
    """The lowest number of an event stream, as in tonic."""
    return min((number for number, stream in streams.items() if stream["type"] == "events"), default=None)


def _lines_of(streams: dict[int, dict[str, Any]]) -> tuple[str, ...]:
    """The header as readable lines."""
    sized = {n: f" {s['width']}x{s['height']} (columns x rows)" if "width" in s else "" for n, s in streams.items()}
    return tuple(f"stream {number}: {streams[number]['type']}{sized[number]}" for number in sorted(streams))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
