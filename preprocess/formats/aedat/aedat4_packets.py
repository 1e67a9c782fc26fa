"""Decode batches of AEDAT 4 packets to events: in threads if they are small, in pieces if they are large."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from preprocess.events import Events
from preprocess.formats.aedat.aedat4_codecs import DamagedPacket, open_codec
from preprocess.formats.recording import first_outside

# Events of a chunk, unless a packet has more.
_CHUNK_EVENTS = 1 << 17

# Content of the packets of a batch, after which the others of the batch are left to the next one.
_MOST_BATCH_BYTES = 1 << 22

# The events of a large packet begin within its first bytes.
_MOST_BEFORE_EVENTS = 1 << 16

# More threads do not help, because one thread reads the file and takes the events.
_MOST_THREADS = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


class Packet(NamedTuple):
    """A packet of the event stream: the byte at which its header begins, and its payload; None if it is large."""

    position: int
    payload: bytes | None


class OutsideSensor(Exception):
    """An event outside the sensor: its number in the packet, its column and its row."""

    def __init__(self, number: int, x: int, y: int) -> None:
        super().__init__(number, x, y)
        self.number, self.x, self.y = number, x, y


@dataclass
class Batch:
    """What became of a batch of packets.

    Attributes:
        chunks: The events.
        left: Packets that were not decoded, because the first one or their content is large.
        fault: The position of the packet that cannot be decoded or has an event outside the sensor, and the error.
    """

    chunks: list[Events] = field(default_factory=list)
    left: list[Packet] = field(default_factory=list)
    fault: tuple[int, DamagedPacket | OutsideSensor] | None = None


def decode_batch(packets: list[Packet], compression: int, height: int, width: int) -> Batch:
    """Decode packets up to the first that is damaged, large, or has an event outside the sensor."""
    from preprocess.formats.aedat.aedat4_kernels import EVENT_BYTES, decode_packet

    batch, codec = Batch(), open_codec(compression)
    columns, used, decoded = _new_columns(0), 0, 0

    def finish_chunk() -> None:
        if used:
            t, x, y, p = columns
            batch.chunks.append(Events(t[:used], x[:used], y[:used], p[:used], height, width))

    for number, (position, payload) in enumerate(packets):
        try:
            content = None if payload is None or decoded > _MOST_BATCH_BYTES else codec.whole(payload)
            if content is None:
                batch.left = packets[number:]
                break
            decoded += len(content)
            most = len(content) // EVENT_BYTES
            if used + most > len(columns[0]):
                finish_chunk()
                columns, used = _new_columns(max(most, _CHUNK_EVENTS)), 0
            t, x, y, p = (column[used:] for column in columns)
            n, right, bottom = decode_packet(np.frombuffer(content, np.uint8), t, x, y, p)
            if n < 0:
                raise DamagedPacket(_explain(n))
            if right >= width or bottom >= height:
                outside = first_outside(x[:n], y[:n], height, width)
                used += outside
                raise _outside(outside, x[outside], y[outside])
            used += n
        except (DamagedPacket, OutsideSensor) as error:
            batch.fault = position, error
            break
    finish_chunk()
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
    """Yield ``work(item)`` for each item in order, computed ahead in threads.

    At most ``threads + 1`` results are computed or pending but not yet yielded. A single item starts no thread.
    """
    first = list(itertools.islice(items, 2 if threads > 1 else 0))
    if len(first) < 2:
        yield from map(work, itertools.chain(first, items))
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(work, item) for item in first)
        try:
            while waiting:
                waiting.extend(pool.submit(work, item) for item in itertools.islice(items, threads + 1 - len(waiting)))
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _new_columns(n: int) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]:
    return np.empty(n, np.int64), np.empty(n, np.uint16), np.empty(n, np.uint16), np.empty(n, np.uint8)
