"""Segments: runs of events of one sample in the order of decoding, stored until they are merged.

/address      as in the event store, but uncompressed and in the order of decoding, (E,)
/time_delta   likewise, uint32 (E,)
/segments     sample, first event, last event + 1 and checksum of each segment, int64 (S, 4)
/jumps        index of each event with a jump, and what to add to its difference in µs, int64 (J, 2)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.store.hdf5_columns import read_column, write_column
from preprocess.store.sealed_cache_file import NewFile

# A call of HDF5 takes as long for ten events as for ten thousand, so small segments are written and read together.
_EVENTS_AT_ONCE = 1 << 18
_CHUNK_EVENTS = 1 << 15

Column = NDArray[Any]


class SegmentWriter:
    """Writer of segments into an HDF5 file."""

    def __init__(self, file: NewFile, dtype: Any) -> None:
        """Create the empty columns in the file.

        Args:
            file: The file to fill.
            dtype: Type of the addresses.
        """
        self._file = file
        # Without HDF5's compression and checksums: merging adds both, and here one checksum per segment is enough.
        shape: tuple[int] = (0,)
        self._columns = [
            file.create_dataset(name, shape, kind, maxshape=(None,), chunks=(_CHUNK_EVENTS,))
            for name, kind in (("address", dtype), ("time_delta", np.uint32))
        ]
        self._buffers = [np.empty(_EVENTS_AT_ONCE, column.dtype) for column in self._columns]
        self._filled = 0
        self._written = 0
        self._segments: list[tuple[int, int, int, int]] = []
        self._jumps: list[tuple[int, int]] = []

    def room(self, events: int) -> tuple[Column, Column]:
        """Return buffers for the addresses and time differences of a segment of at most this many events.

        They are valid until the next call of `room`.
        """
        if self._filled + events > len(self._buffers[0]):
            self._write_chunks()
            if self._filled + events > len(self._buffers[0]):
                self._buffers = [np.resize(buffer, self._filled + events) for buffer in self._buffers]
        address, delta = (buffer[self._filled : self._filled + events] for buffer in self._buffers)
        return address, delta

    def add(self, sample: int, events: int, at: NDArray[np.int64], lacking: NDArray[np.int64]) -> None:
        """Append a segment: the first `events` events in the buffers of the last `room` call.

        Args:
            sample: Number of the sample in this file.
            events: Number of events, at least one.
            at: Indices of the events with jumps, int64 (j,).
            lacking: What to add to their differences in µs, int64 (j,).
        """
        l = self._written + self._filled
        address, delta = (buffer[self._filled : self._filled + events] for buffer in self._buffers)
        self._segments.append((sample, l, l + events, _checksum(address, delta)))
        self._jumps += [(l + int(k), int(us)) for k, us in zip(at, lacking, strict=True)]
        self._filled += events

    def add_many(self, first: int, counts: NDArray[np.int64], checksums: NDArray[np.int64]) -> None:
        """Append a segment of each of several consecutive samples, which fill the buffers of the last `room` call.

        Args:
            first: Number of the first sample in this file.
            counts: Number of events of each sample, at least one, int64 (S,).
            checksums: Their `checksum_segment`, int64 (S,).
        """
        ends = self._written + self._filled + np.cumsum(counts)
        samples = range(first, first + len(counts))
        self._segments += zip(samples, (ends - counts).tolist(), ends.tolist(), checksums.tolist(), strict=True)
        self._filled += int(counts.sum())

    def _write_chunks(self) -> None:
        """Write the complete chunks of the buffers, without HDF5's copy of them; keep the rest."""
        whole = self._filled // _CHUNK_EVENTS * _CHUNK_EVENTS
        for column, buffer in zip(self._columns, self._buffers, strict=True):
            column.resize((self._written + whole,))
            for k in range(0, whole, _CHUNK_EVENTS):
                column.id.write_direct_chunk((self._written + k,), buffer[k : k + _CHUNK_EVENTS])
            buffer[: self._filled - whole] = buffer[whole : self._filled].copy()
        self._file.check()
        self._written += whole
        self._filled -= whole

    def _flush(self) -> None:
        """Write everything."""
        self._write_chunks()
        if self._filled:
            for column, buffer in zip(self._columns, self._buffers, strict=True):
                column.resize((self._written + self._filled,))
                column[self._written :] = buffer[: self._filled]
            self._file.check()
            self._written += self._filled
            self._filled = 0

    def finish(self, kept: NDArray[np.int64]) -> None:
        """Write buffered events, and the segments of the samples in `kept` (ascending), renumbered from 0."""
        self._flush()
        segments = np.array(self._segments, np.int64).reshape(-1, 4)
        segments = segments[np.isin(segments[:, 0], kept)]
        segments[:, 0] = np.searchsorted(kept, segments[:, 0])
        write_column(self._file, "segments", segments)
        write_column(self._file, "jumps", np.array(self._jumps, np.int64).reshape(-1, 2))


class SegmentReader:
    """Reader of an HDF5 file of segments that presents its events ordered by sample.

    Raises:
        OSError: If the file cannot be read.
        KeyError: If a column is missing.
        ValueError: If a segment does not match its checksum.
    """

    def __init__(self, file: h5py.File) -> None:
        self._address, self._delta = file["address"], file["time_delta"]
        segments = read_column(file, "segments")
        self._segments = segments[np.argsort(segments[:, 0], kind="stable")]
        counts = self._segments[:, 2] - self._segments[:, 1]
        # Start of each segment, and end of the last one, among the events ordered by sample.
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._jumps: NDArray[np.int64] = read_column(file, "jumps")

    def jumps(self) -> NDArray[np.int64]:
        """Indices of the events with jumps, ordered by sample, and what to add to their differences, int64 (J, 2)."""
        by_place = np.argsort(self._segments[:, 1])
        found = np.searchsorted(self._segments[by_place, 1], self._jumps[:, 0], "right") - 1
        # Jumps of dropped samples are in no segment: before the first one, or after the end of one.
        jumps, k = self._jumps[found >= 0], by_place[found[found >= 0]]
        inside = jumps[:, 0] < self._segments[k, 2]
        jumps, k = jumps[inside], k[inside]
        moved = jumps + np.stack([self._starts[k] - self._segments[k, 1], np.zeros_like(k)], axis=1)
        return moved[np.argsort(moved[:, 0])]

    def read(self, l: int, r: int) -> Iterator[tuple[Column, Column]]:
        """Yield addresses and time differences of events [l, r), ordered by sample, in blocks."""
        from preprocess.building.segment_kernels import find_damaged

        first, last = np.searchsorted(self._starts, l, "right") - 1, np.searchsorted(self._starts, r, "left")
        start = int(self._starts[first])
        for run in _runs(self._segments[first:last]):
            begin, end = int(run[0, 1]), int(run[-1, 2])
            addresses, deltas = self._address[begin:end], self._delta[begin:end]
            damaged = find_damaged(addresses, deltas, run - np.array([0, begin, begin, 0]))
            if damaged >= 0:
                raise ValueError(f"events {run[damaged, 1]} to {run[damaged, 2]} do not match their checksum")
            wanted = slice(max(l - start, 0), r - start)
            yield addresses[wanted], deltas[wanted]
            start += end - begin


def _runs(segments: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Group segments that are contiguous in the file, to be read together."""
    start = 0
    for k in range(1, len(segments) + 1):
        if (
            k == len(segments)
            or segments[k, 1] != segments[k - 1, 2]
            or segments[k, 2] - segments[start, 1] > _EVENTS_AT_ONCE
        ):
            yield segments[start:k]
            start = k


def _checksum(address: Column, delta: Column) -> int:
    from preprocess.building.segment_kernels import checksum_segment

    return int(checksum_segment(address, delta))
