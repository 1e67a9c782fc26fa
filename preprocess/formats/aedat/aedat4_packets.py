"""Decode batches of AEDAT 4 packets to events: in threads if they are small, in pieces if they are large."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events
from preprocess.formats.aedat.aedat4_codecs import DamagedPacket, open_codec
from preprocess.formats.aedat.aedat4_header import COMPRESSIONS
from preprocess.formats.aedat.aedat4_lz4 import decompress_packets
from preprocess.formats.recording import first_outside

# Content of the packets of a batch, after which the others of the batch are left to the next one.
_MOST_BATCH_BYTES = 1 << 22

# The events of a large packet begin within its first bytes.
_MOST_BEFORE_EVENTS = 1 << 16

# More threads do not help, because one thread reads the file and takes the events.
_MOST_THREADS = 4

PACKET_HEADER = struct.Struct("<iI")
"""The stream of a packet, and the bytes of its payload."""

# The content of the packets that a thread decodes.
_buffers = threading.local()

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets of the event stream that follow one another in a file.

    Attributes:
        position: The byte of the file at which `data` begins.
        data: A block of the file, uint8 (B,).
        starts: The first byte in `data` of each payload, int64 (K,).
        ends: The byte after each payload, int64 (K,); beyond B only if a large packet is by itself.
    """

    position: int
    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def is_large(self) -> bool:
        """Whether there is one packet, which is larger than a block."""
        return len(self) == 1 and int(self.ends[0]) > len(self.data)

    def header(self, k: int) -> int:
        """The byte of the file at which a packet begins."""
        return self.position + int(self.starts[k]) - PACKET_HEADER.size

    def payload(self, k: int) -> memoryview:
        """The payload of a packet that is not large."""
        return self.data[self.starts[k] : self.ends[k]].data

    def since(self, k: int) -> Packets:
        """The packets from number `k` on."""
        return Packets(self.position, self.data, self.starts[k:], self.ends[k:])


class OutsideSensor(Exception):
    """An event outside the sensor: its number in the packet, its column and its row."""

    def __init__(self, number: int, x: int, y: int) -> None:
        super().__init__(number, x, y)
        self.number, self.x, self.y = number, x, y


@dataclass
class Batch:
    """What became of packets.

    Attributes:
        events: The events.
        left: Packets that were not decoded.
        large: Whether the first of them is to be decoded in pieces, because it or the content of those before is large.
        fault: The position of the packet that cannot be decoded or has an event outside the sensor, and the error.
    """

    events: Events
    left: Packets | None = None
    large: bool = False
    fault: tuple[int, DamagedPacket | OutsideSensor] | None = None


def decode_batch(packets: Packets, compression: int, height: int, width: int) -> Batch:
    """Decode packets up to the first that is damaged, large, or has an event outside the sensor."""
    if not packets.is_large:
        decode = _decode_zstd if COMPRESSIONS[compression].startswith("Zstd") else _decode_together
        done, events = decode(packets, compression, height, width)
        if done:
            return Batch(events, packets.since(done) if done < len(packets) else None)
    return _decode_one_by_one(packets, compression, height, width)


def _decode_together(packets: Packets, compression: int, height: int, width: int) -> tuple[int, Events]:
    """Decode the first packets that are neither damaged nor large, as many as fit; returns how many, and their events.

    Those of LZ4 are decompressed into one buffer.
    """
    from preprocess.formats.aedat.aedat4_kernels import EVENT_BYTES, decode_packets

    content, starts, ends = packets.data, packets.starts, packets.ends
    if compression:
        if not hasattr(_buffers, "content"):
            _buffers.content = np.empty(_MOST_BATCH_BYTES, np.uint8)
        content = _buffers.content
        sizes = np.array(decompress_packets(packets.data, starts, ends, content), np.int64)
        ends = np.cumsum(sizes)
        starts = ends - sizes
    # Packets of other streams may lie between those of a block.
    t, x, y, p = _new_columns(int(ends[-1] - starts[0]) // EVENT_BYTES if len(ends) else 0)
    done, n = decode_packets(content, starts, ends, height, width, t, x, y, p)
    return done, Events(t[:n], x[:n], y[:n], p[:n], height, width)


def _decode_zstd(packets: Packets, compression: int, height: int, width: int) -> tuple[int, Events]:
    """As `_decode_together`, for frames that say how large their content is.

    Each content is converted at once, while it is in the cache of the CPU.
    """
    from preprocess.formats.aedat.aedat4_kernels import EVENT_BYTES, decode_packet

    codec, size, whole = open_codec(compression), 0, list[memoryview]()
    for k in range(len(packets)):
        payload = packets.payload(k)
        claimed = codec.claimed_size(payload)
        if not 0 <= claimed <= _MOST_BATCH_BYTES - size:
            break
        size += claimed
        whole.append(payload)
    t, x, y, p = _new_columns(size // EVENT_BYTES)
    done = used = 0
    for payload in whole:
        try:
            content = codec.whole(payload)
        except DamagedPacket:
            break
        if content is None:
            break
        n, right, bottom = decode_packet(np.frombuffer(content, np.uint8), used, t, x, y, p)
        if n < 0 or right >= width or bottom >= height:
            break
        used += n
        done += 1
    return done, Events(t[:used], x[:used], y[:used], p[:used], height, width)


def _decode_one_by_one(packets: Packets, compression: int, height: int, width: int) -> Batch:
    from preprocess.formats.aedat.aedat4_kernels import EVENT_BYTES, decode_packet

    codec, contents, size = open_codec(compression), list[bytes | memoryview](), 0
    batch = Batch(Events.empty(height, width))
    for k in range(len(packets)):
        try:
            content = None if packets.is_large or size > _MOST_BATCH_BYTES else codec.whole(packets.payload(k))
        except DamagedPacket as error:
            batch.fault = packets.header(k), error
            break
        if content is None:
            batch.left, batch.large = packets.since(k), True
            break
        contents.append(content)
        size += len(content)
    t, x, y, p = _new_columns(size // EVENT_BYTES)
    used = 0
    for k, content in enumerate(contents):
        n, right, bottom = decode_packet(np.frombuffer(content, np.uint8), used, t, x, y, p)
        if n < 0:
            batch.left, batch.fault = None, (packets.header(k), DamagedPacket(_explain(n)))
            break
        if right >= width or bottom >= height:
            outside = first_outside(x[used : used + n], y[used : used + n], height, width)
            used += outside
            batch.left, batch.fault = None, (packets.header(k), _outside(outside, x[used], y[used]))
            break
        used += n
    batch.events = Events(t[:used], x[:used], y[:used], p[:used], height, width)
    return batch


def decode_large_packet(parts: Iterable[bytes], compression: int, height: int, width: int) -> Iterator[Events]:
    """Decode a packet of any size in chunks.

    Args:
        parts: The packet in parts.
        compression: Index in `aedat4_header.COMPRESSIONS`.
        height: Sensor rows.
        width: Sensor columns.

    Raises:
        DamagedPacket: If the packet cannot be decoded.
        OutsideSensor: At the first event outside the sensor.
    """
    from preprocess.formats.aedat.aedat4_kernels import EVENT_BYTES, NO_EVENTS, convert_events, locate_events

    content, left, done = b"", -1, 0
    for piece in open_codec(compression).pieces(parts):
        content += piece
        if left < 0:
            total = 4 + int.from_bytes(content[:4], "little")
            first, count = locate_events(np.frombuffer(content, np.uint8), max(total, len(content)))
            if first < 0 and first != NO_EVENTS and len(content) < min(_MOST_BEFORE_EVENTS, total):
                continue
            if first < 0:
                raise DamagedPacket(_explain(first))
            content, left = content[first:], count
        n = min(left, len(content) // EVENT_BYTES)
        if n:
            t, x, y, p = _new_columns(n)
            right, bottom = convert_events(np.frombuffer(content[: n * EVENT_BYTES], np.uint8), t, x, y, p)
            if right >= width or bottom >= height:
                outside = first_outside(x, y, height, width)
                if outside:
                    yield Events(t[:outside], x[:outside], y[:outside], p[:outside], height, width)
                raise _outside(done + outside, x[outside], y[outside])
            yield Events(t, x, y, p, height, width)
            content, left, done = content[n * EVENT_BYTES :], left - n, done + n
        if left == 0:
            return
    raise DamagedPacket(f"it ends {left} events too early" if left > 0 else "it is cut off")


def _outside(number: int, x: np.uint16, y: np.uint16) -> OutsideSensor:
    return OutsideSensor(number, int(x.view(np.int16)), int(y.view(np.int16)))


def _explain(wrong: int) -> str:
    """What is wrong with a packet, from the number that `decode_packet` returned."""
    from preprocess.formats.aedat.aedat4_kernels import NO_EVENTS, TOO_SHORT

    if wrong == TOO_SHORT:
        return "it is too short"
    return "it is not a packet of events" if wrong == NO_EVENTS else "it points outside itself"


def decoding_threads() -> int:
    """Number of threads that decode packets: OMP_NUM_THREADS if set, else the process's CPUs; 1 in worker processes."""
    if multiprocessing.parent_process() is not None:
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(limit) if limit.isdigit() and int(limit) > 0 else len(os.sched_getaffinity(0))
    return min(threads, _MOST_THREADS)


def map_ahead(work: Callable[[Item], Result], items: Iterator[Item], threads: int) -> Iterator[Result]:
    """Yield ``work(item)`` for each item in order, computed ahead in threads, of which the caller's is one.

    At most ``threads + 1`` results are computed or pending but not yet yielded. A single item starts no thread.
    """
    first = list(itertools.islice(items, 2 if threads > 1 else 0))
    if len(first) < 2:
        yield from map(work, itertools.chain(first, items))
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        waiting = deque((item, pool.submit(work, item)) for item in first)
        # Results of items that this thread took back from the pool while it waited for an earlier one.
        own: dict[Future[Result], Result] = {}
        try:
            while waiting:
                more = itertools.islice(items, threads + 1 - len(waiting))
                waiting.extend((item, pool.submit(work, item)) for item in more)
                _, future = waiting[0]
                if not future.done():
                    back = next(((item, future) for item, future in waiting if future.cancel()), None)
                    if back is not None:
                        own[back[1]] = work(back[0])
                waiting.popleft()
                yield own.pop(future) if future in own else future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _new_columns(n: int) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]:
    return np.empty(n, np.int64), np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.uint8)
