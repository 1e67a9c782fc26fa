"""Small recordings: files that are read, hashed and decoded many at a time.

What takes time with many small files is not decoding, but everything that is done once per file: opening it several
times, and dozens of calls in Python. Here each file is opened once, and a compiled loop decodes a megabyte of files.
Only what is regular is decoded like this; any other recording is left to the decoder of single recordings, which says
what is wrong with it, or notes it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.building.source_fingerprint import Source
from preprocess.events import Events
from preprocess.formats.recording import BLOCK_BYTES, HEAD_BYTES, Recording
from preprocess.formats.registry import FORMATS, find_format

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout, SourceRecording


@dataclass(frozen=True)
class SmallRecordings:
    """Consecutive recordings that were decoded together; each is one sample.

    Attributes:
        recordings: The recordings.
        sources: Their state when they were read.
        events: The events of all, one recording after another, within the sensor and without jumps in time.
        counts: Number of events of each, at least one, int64 (R,).
    """

    recordings: Sequence[SourceRecording]
    sources: Sequence[Source]
    events: Events
    counts: NDArray[np.int64]


def decode_small(layout: Layout, recordings: Sequence[SourceRecording]) -> Iterator[SmallRecordings | SourceRecording]:
    """Yield all recordings in order: decoded together, or those that are to be decoded one by one."""
    # What a user says of the files is for the decoder of single recordings.
    if len(recordings) == 1 or layout.windows is not None or layout.options.given:
        yield from recordings
        return
    batch = _Batch(layout)
    suffixes = {suffix for kind in FORMATS.values() if kind.DECODES_FILES for suffix in kind.suffixes()}
    for recording in recordings:
        may_be = recording.path.suffix.lower() in suffixes and _is_one_sample(recording)
        if not (may_be and batch.take(recording)):
            yield from batch.finish()
            yield recording
        elif batch.is_full:
            yield from batch.finish()
    yield from batch.finish()


def _is_one_sample(recording: SourceRecording) -> bool:
    """Whether all events of a recording are one sample."""
    if len(recording.samples) != 1:
        return False
    (sample,) = recording.samples
    return sample.start_us is None and sample.end_us is None and sample.numbers is None


@dataclass
class _Batch:
    """Files in memory."""

    layout: Layout
    kind: type[Recording] | None = None
    recordings: list[SourceRecording] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Twice the size, so that a file is never read again because it does not fit.
        self._data = np.empty(2 * BLOCK_BYTES, np.uint8)

    @property
    def is_full(self) -> bool:
        return bool(self.ends) and self.ends[-1] >= BLOCK_BYTES

    def take(self, recording: SourceRecording) -> bool:
        """Read and hash a file; False if it cannot be decoded together with those before."""
        start = self.ends[-1] if self.ends else 0
        read = _read(os.fspath(recording.path), self._data[start : start + BLOCK_BYTES])
        if read is None:
            return False
        size, mtime_ns = read
        content = self._data[start : start + size].data
        kind = find_format(recording.path, bytes(content[:HEAD_BYTES]), self.layout.format)
        expected = (self.layout.format or kind.NAME) if kind else None
        if kind is None or not kind.DECODES_FILES or expected != kind.NAME or self.kind not in (None, kind):
            return False
        self.kind = kind
        self.recordings.append(recording)
        self.sources.append(Source(recording.relative, size, mtime_ns, hashlib.sha256(content).hexdigest()))
        self.ends.append(start + size)
        return True

    def finish(self) -> Iterator[SmallRecordings | SourceRecording]:
        """Decode the files that were taken."""
        if self.kind is None:
            return
        ends = np.array(self.ends, np.int64)
        height, width = self.layout.height, self.layout.width
        yield from _regular_runs(self, *self.kind.decode_files(self._data[: ends[-1]], ends, height, width))
        self.kind = None
        self.recordings, self.sources, self.ends = [], [], []


def _read(path: str, room: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Read a file; returns its size and mtime in ns, or None if it cannot be read, does not fit, or changed meanwhile.

    Nothing is read if the size does not fit.
    """
    try:
        # A pipe would block without the flag, which does not affect files.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        before = os.fstat(file)
        if not stat.S_ISREG(before.st_mode) or not 0 < before.st_size <= len(room):
            return None
        read = os.readv(file, [room[: before.st_size].data])
        after = os.fstat(file)
    except OSError:
        return None
    finally:
        os.close(file)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return (before.st_size, before.st_mtime_ns) if same and read == before.st_size else None


def _regular_runs(
    batch: _Batch, events: Events, counts: NDArray[np.int64]
) -> Iterator[SmallRecordings | SourceRecording]:
    """Yield consecutive regular recordings together, and others by themselves."""
    starts = np.cumsum(np.maximum(counts, 0)) - np.maximum(counts, 0)
    regular = counts > 0
    if batch.layout.sort:
        from preprocess.building.segment_kernels import mark_unordered

        mark_unordered(events.t, starts, counts, regular)
    borders = [0, *(np.flatnonzero(np.diff(regular)) + 1).tolist(), len(counts)]
    for first, last in itertools.pairwise(borders):
        recordings = batch.recordings[first:last]
        if regular[first]:
            start, end = int(starts[first]), int(starts[last - 1] + counts[last - 1])
            yield SmallRecordings(recordings, batch.sources[first:last], events[start:end], counts[first:last])
        else:
            yield from recordings
