"""Numba kernels that find the events in a packet of AEDAT 4 and convert them to columns; they release the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.aedat.aedat4_packets import PACKET_HEADER
from preprocess.jit import compile_kernel

# What is wrong with a packet, instead of the byte of its first event.
TOO_SHORT, NO_EVENTS, BEYOND_PACKET = -1, -2, -3

EVENT_BYTES = 16

PACKET_HEADER_BYTES = PACKET_HEADER.size

# "EVTS" as a little-endian number.
_IDENTIFIER = np.uint32(0x53545645)


@compile_kernel
def locate_events(data: Any, total: int) -> tuple[int, int]:
    """Find the events in an EventPacket, a FlatBuffer whose only field is a vector of structs.

    Args:
        data: The packet, or its first bytes, uint8 (B,).
        total: Number of bytes of the packet, B or more.

    Returns:
        The byte of the first event and the number of events, or what is wrong and 0.
    """
    return _locate(data, total)


@compile_kernel
def convert_events(data: Any, t: Any, x: Any, y: Any, p: Any) -> tuple[int, int]:
    """Convert events, structs of t i64, x i16, y i16, polarity bool and three bytes of padding.

    Args:
        data: The events, uint8 (16 * N,).
        t: int64 (N,).
        x: uint16 (N,); negative coordinates become 32768 or more.
        y: uint16 (N,).
        p: uint8 (N,).

    Returns:
        The largest x and the largest y.
    """
    return _convert(data.view(np.uint64), t, x, y, p)


@compile_kernel
def decode_packet(data: Any, at: int, t: Any, x: Any, y: Any, p: Any) -> tuple[int, int, int]:
    """Find the events of a whole packet and convert them.

    Args:
        data: The packet, uint8 (B,).
        at: Where its first event goes.
        t: int64 (N,), N >= at + B // 16.
        x: uint16 (N,).
        y: uint16 (N,).
        p: uint8 (N,).

    Returns:
        The number of events, or what is wrong with the packet; the largest x and the largest y.
    """
    first, n = _locate(data, len(data))
    if first < 0:
        return first, 0, 0
    end = at + n
    right, bottom = _convert(data[first : first + 16 * n].view(np.uint64), t[at:end], x[at:end], y[at:end], p[at:end])
    return n, right, bottom


@compile_kernel
def decode_packets(
    data: Any, starts: Any, ends: Any, height: int, width: int, t: Any, x: Any, y: Any, p: Any
) -> tuple[int, int]:
    """As `decode_packet`, for several packets, up to the first that is not valid.

    Args:
        data: Bytes that contain the packets, uint8 (B,).
        starts: The first byte of each packet, int64 (K,).
        ends: The byte after each packet, int64 (K,).
        height: Sensor rows.
        width: Sensor columns.
        t: int64 (N,), N >= the bytes of all packets // 16.
        x: uint16 (N,).
        y: uint16 (N,).
        p: uint8 (N,).

    Returns:
        Number of packets that are valid and have no event outside the sensor, and number of their events.
    """
    used = 0
    for k in range(len(ends)):
        packet = data[starts[k] : ends[k]]
        first, n = _locate(packet, len(packet))
        if first < 0:
            return k, used
        end = used + n
        words = packet[first : first + 16 * n].view(np.uint64)
        right, bottom = _convert(words, t[used:end], x[used:end], y[used:end], p[used:end])
        if right >= width or bottom >= height:
            return k, used
        used = end
    return len(ends), used


@compile_kernel
def find_packets(data: Any, left: int, streams: Any, starts: Any, ends: Any) -> tuple[int, int, int]:
    """Find packets of the event stream that follow one another, up to the first that is not whole or not valid.

    Args:
        data: Bytes of the file from the header of a packet on, uint8 (B,).
        left: Number of bytes up to the end of all packets, B or more.
        streams: The numbers of all streams; that of the events is the first, int64 (S,).
        starts: Where the first byte of each payload goes, int64 (K,).
        ends: Where the byte after each payload goes, int64 (K,).

    Returns:
        The number of packets; the byte after the last packet that was found or skipped; the number of packets skipped,
        which are of other streams and may reach beyond B.
    """
    found = skipped = at = 0
    while found < len(starts) and at + PACKET_HEADER_BYTES <= len(data):
        stream = np.int64(np.int32(_word(data, at)))
        start = at + PACKET_HEADER_BYTES
        end = start + np.int64(_word(data, at + 4))
        if end > left:
            break
        if stream == streams[0]:
            if end > len(data):
                break
            starts[found], ends[found] = start, end
            found += 1
        elif np.any(streams == stream):
            skipped += 1
        else:
            break
        at = int(end)
    return found, at, skipped


@njit(nogil=True, error_model="numpy")
def _locate(data: Any, total: int) -> Any:
    if len(data) < 12 or total < 12:
        return TOO_SHORT, 0
    size = np.int64(_word(data, 0)) + 4
    if size > total:
        return BEYOND_PACKET, 0
    end = min(size, np.int64(len(data)))
    root = np.int64(_word(data, 4)) + 4
    if _word(data, 8) != _IDENTIFIER:
        return NO_EVENTS, 0
    if root + 4 > end:
        return BEYOND_PACKET, 0
    # A table begins with the signed distance back to the offsets of its fields: two sizes, then one offset a field.
    fields = root - np.int64(np.int32(_word(data, root)))
    if fields < 0 or fields + 4 > end:
        return BEYOND_PACKET, 0
    fields_size = np.int64(data[fields]) | np.int64(data[fields + 1]) << 8
    if fields_size < 6:
        return end, 0
    if fields + 6 > end:
        return BEYOND_PACKET, 0
    offset = np.int64(data[fields + 4]) | np.int64(data[fields + 5]) << 8
    if offset == 0:
        return end, 0
    at = root + offset
    if at + 4 > end:
        return BEYOND_PACKET, 0
    at += np.int64(_word(data, at))
    if at + 4 > end:
        return BEYOND_PACKET, 0
    n = np.int64(_word(data, at))
    if n > (size - at - 4) // 16:
        return BEYOND_PACKET, 0
    return at + 4, n


@njit(nogil=True, inline="always")
def _word(data: Any, at: Any) -> Any:
    low = np.uint32(data[at]) | np.uint32(data[at + 1]) << np.uint32(8)
    high = np.uint32(data[at + 2]) << np.uint32(16) | np.uint32(data[at + 3]) << np.uint32(24)
    return np.uint32(low | high)


@njit(nogil=True, error_model="numpy")
def _convert(words: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    right = np.uint16(0)
    bottom = np.uint16(0)
    for k in range(len(t)):
        word = words[2 * k + 1]
        column = np.uint16(word & np.uint64(0xFFFF))
        row = np.uint16((word >> np.uint64(16)) & np.uint64(0xFFFF))
        t[k] = np.int64(words[2 * k])
        x[k] = column
        y[k] = row
        p[k] = np.uint8(((word >> np.uint64(32)) & np.uint64(0xFF)) != np.uint64(0))
        right = max(right, column)
        bottom = max(bottom, row)
    return np.int64(right), np.int64(bottom)
