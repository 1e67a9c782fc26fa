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

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.aedat.aedat4_codecs import DamagedPacket
from preprocess.formats.aedat.aedat4_header import event_stream, read_aedat4_header
from preprocess.formats.aedat.aedat4_packets import (
    PACKET_HEADER,
    OutsideSensor,
    Packets,
    decode_batch,
    decode_large_packet,
    decoding_threads,
    map_ahead,
)
from preprocess.formats.recording import Recording, Size, damaged, file_size, outside_sensor, reading

Read = Callable[[int], NDArray[Any]]

# Maximum number of packets that a thread decodes at a time: about 60,000 to 300,000 events.
_MOST_PACKETS = 1 << 12


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
        # Packets that are not compressed are copied at the speed of memory, which threads only share.
        threads = decoding_threads() if self.compression else 1
        with contextlib.ExitStack() as opened:
            # A reader reuses its buffer, so each block that is still being decoded needs a reader of its own.
            readers = [opened.enter_context(reading(self)) for _ in range(threads + (threads > 1))]
            for batch in map_ahead(decode, self._batches(readers, damage), threads):
                while True:
                    if len(batch.events):
                        yield batch.events
                    if batch.left is None:
                        break
                    if batch.large:
                        yield from self._decode_large(batch.left.header(0))
                        if len(batch.left) == 1:
                            break
                    batch = decode(batch.left.since(int(batch.large)))
                if batch.fault is not None:
                    raise self._fault(*batch.fault)
        if damage:
            raise damage[0]

    def _batches(self, readers: Sequence[Read], damage: list[RecordingError]) -> Iterator[Packets]:
        """Yield the packets of the event stream, those of a block at a time, with the readers in turn.

        Damage ends them. It is added to a list instead of raised, because earlier packets may still be decoded.
        """
        from preprocess.formats.aedat.aedat4_kernels import find_packets

        end = self.table if self.start <= self.table <= self.size else self.size
        streams, position, skipped, turns = np.array(self.streams), self.start, 0, itertools.cycle(readers)
        while position < end:
            read, found = next(turns), 0
            while position < end and not found:
                data = read(position)[: end - position]
                starts, ends = np.empty((2, _MOST_PACKETS), np.int64)
                found, after, others = find_packets(data, end - position, streams, starts, ends)
                skipped += others
                self.note("packets_of_other_streams_skipped", skipped)
                if found:
                    yield Packets(position, data, starts[:found], ends[:found])
                elif not others:
                    try:
                        after = self._packet_end(data.data, position, end)
                    except RecordingError as error:
                        damage.append(error)
                        return
                    found, first = 1, np.array([PACKET_HEADER.size])
                    yield Packets(position, data, first, np.array([after]))
                position += after
        if end < self.table:
            expected = f"the table of packets at byte {self.table}"
            damage.append(self._damaged(expected, "the end of the file", end))

    def _packet_end(self, content: memoryview, position: int, end: int) -> int:
        """Return where the packet ends whose first bytes are `content`, counted from its header."""
        left = end - position - PACKET_HEADER.size
        if left < 0:
            raise self._damaged("a packet", f"the last {end - position} bytes", position)
        stream, size = PACKET_HEADER.unpack_from(content)
        # Checked before anything is allocated.
        if size > left:
            raise self._damaged("a packet", f"one that claims {size} bytes, more than are left", position)
        if stream not in self.streams:
            known = ", ".join(map(str, sorted(self.streams)))
            raise self._damaged(f"a packet of one of the streams {known}", f"one of stream {stream}", position)
        return PACKET_HEADER.size + size

    def _decode_large(self, position: int) -> Iterator[Events]:
        """Decode the packet at `position` in pieces."""
        try:
            with reading(self) as read:
                parts = self._parts(position, read)
                yield from decode_large_packet(parts, self.compression, self.height, self.width)
        except (DamagedPacket, OutsideSensor) as error:
            raise self._fault(position, error) from None

    def _parts(self, position: int, read: Read) -> Iterator[bytes]:
        """Yield the payload of the packet at `position` in blocks."""
        _, size = PACKET_HEADER.unpack(read(position)[: PACKET_HEADER.size].tobytes())
        at = position + PACKET_HEADER.size
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
