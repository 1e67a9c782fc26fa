"""AEDAT 4: FlatBuffers in compressed packets; the format of iniVation's DV and dv-processing, up to version 2.0.

    header (`preprocess.formats.aedat.aedat4_header`)
    packets: stream i32, bytes of the payload i32, payload
    table of packets

A payload of the event stream, decompressed, is a FlatBuffer ``EVTS`` after its size u32. Its only field is a vector of
structs of 16 bytes: t i64 in µs, x i16, y i16, polarity bool. Timestamps are often µs since 1970, about 1.7e15.
Events are those of the first event stream, as in tonic. The table of packets is not needed and not read.
Source: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.aedat.aedat4_codecs import DamagedPacket
from preprocess.formats.aedat.aedat4_header import event_stream, read_aedat4_header
from preprocess.formats.aedat.aedat4_packets import (
    OutsideSensor,
    Packet,
    decode_batch,
    decode_large_packet,
    decoding_threads,
    map_ahead,
)
from preprocess.formats.recording import Recording, Size, damaged, file_size, outside_sensor, reading

Read = Callable[[int], NDArray[Any]]

_PACKET_HEADER = struct.Struct("<iI")

# Bytes of packets that a thread decodes at a time: about 30,000 to 120,000 events.
_BATCH_BYTES = 1 << 19


@dataclass(frozen=True)
class Aedat4Recording(Recording):
    """The events of the first event stream of a file; other streams are skipped.

    Attributes:
        compression: Index in `aedat4_header.COMPRESSIONS`.
        streams: The numbers of all streams; that of the events is the first.
        table: Byte at which the table of packets begins; -1 without one.
    """

    compression: int = 0
    streams: tuple[int, ...] = ()
    table: int = -1

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
        header = read_aedat4_header(path, end)
        events = event_stream(path, header.streams)
        others = [stream.number for stream in header.streams if stream is not events]
        return cls(
            path,
            events.height,
            events.width,
            header.start,
            end,
            tuple(map(str, header.streams)),
            compression=header.compression,
            streams=(events.number, *others),
            table=header.table,
        )

    def decode(self) -> Iterator[Events]:
        """All events in recording order; RecordingError at the first damaged packet or event outside the sensor."""
        decode = partial(decode_batch, compression=self.compression, height=self.height, width=self.width)
        damage: list[RecordingError] = []
        with reading(self, keep=True) as read:
            # Packets that are not compressed are copied at the speed of memory, which threads only share.
            threads = decoding_threads() if self.compression else 1
            for batch in map_ahead(decode, self._batches(read, damage), threads):
                while True:
                    if len(batch.events):
                        yield batch.events
                    if not batch.left:
                        break
                    if batch.large:
                        yield from self._decode_large(batch.left[0], read)
                    batch = decode(batch.left[batch.large :])
                if batch.fault is not None:
                    raise self._fault(*batch.fault)
        if damage:
            raise damage[0]

    def _batches(self, read: Read, damage: list[RecordingError]) -> Iterator[list[Packet]]:
        """Yield the packets of the event stream in batches.

        Damage ends them. It is added to a list instead of raised, because earlier batches may still be decoded.
        """
        end = self.table if self.start <= self.table <= self.size else self.size
        position, block, first = self.start, memoryview(b""), self.start
        packets: list[Packet] = []
        collected = skipped = 0
        while position < end:
            if position + _PACKET_HEADER.size > first + len(block):
                block, first = read(position).data, position
            try:
                stream, size = self._packet_header(block[position - first :], position, end)
            except RecordingError as error:
                damage.append(error)
                break
            after = position + _PACKET_HEADER.size + size
            if stream == self.streams[0]:
                if after > first + len(block):
                    block, first = read(position).data, position
                whole = after <= first + len(block)
                payload = block[position - first + _PACKET_HEADER.size : after - first] if whole else None
                packets.append(Packet(position, payload))
                collected += size
            else:
                skipped += 1
                self.note("packets_of_other_streams_skipped", skipped)
            position = after
            if collected >= _BATCH_BYTES:
                yield packets
                packets, collected = [], 0
        if packets:
            yield packets
        if not damage and end < self.table:
            expected = f"the table of packets at byte {self.table}"
            damage.append(self._damaged(expected, "the end of the file", end))

    def _packet_header(self, content: memoryview, position: int, end: int) -> tuple[int, int]:
        """Return the stream of the packet that begins with `content`, and the bytes of its payload."""
        left = end - position - _PACKET_HEADER.size
        if left < 0:
            raise self._damaged("a packet", f"the last {end - position} bytes", position)
        stream, size = _PACKET_HEADER.unpack_from(content)
        # Checked before anything is allocated.
        if size > left:
            raise self._damaged("a packet", f"one that claims {size} bytes, more than are left", position)
        if stream not in self.streams:
            known = ", ".join(map(str, sorted(self.streams)))
            raise self._damaged(f"a packet of one of the streams {known}", f"one of stream {stream}", position)
        return stream, size

    def _decode_large(self, packet: Packet, read: Read) -> Iterator[Events]:
        position, payload = packet
        parts = self._parts(position, read) if payload is None else [bytes(payload)]
        try:
            yield from decode_large_packet(parts, self.compression, self.height, self.width)
        except (DamagedPacket, OutsideSensor) as error:
            raise self._fault(position, error) from None

    def _parts(self, position: int, read: Read) -> Iterator[bytes]:
        """Yield the payload of the packet at `position` in blocks."""
        _, size = _PACKET_HEADER.unpack(read(position)[: _PACKET_HEADER.size].tobytes())
        at = position + _PACKET_HEADER.size
        end = at + size
        while at < end:
            part = read(at)[: end - at].tobytes()
            yield part
            at += len(part)

    def _fault(self, position: int, error: DamagedPacket | OutsideSensor) -> RecordingError:
        """Return the error for the packet at `position`."""
        if isinstance(error, OutsideSensor):
            where = f"event {error.number} of the packet at byte {position}"
            return outside_sensor(self, position, x=error.x, y=error.y, where=where)
        return self._damaged("a packet", f"one that cannot be decoded ({error})", position)

    def _damaged(self, expected: str, found: str, position: int) -> RecordingError:
        hint = "The file is truncated or damaged; copy it again."
        return damaged(f"{self.path}: expected {expected}, found {found} at byte {position}. {hint}", position)
