"""Decode the recordings of a part, and cut them into samples.

The events of a part are stored as segments of samples in the order of decoding, because label intervals may overlap and
samples are not kept in memory; merging joins the segments of each sample.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.building import source_fingerprint
from preprocess.building.empty_samples import refuse_empty
from preprocess.building.event_order import sort_chunks
from preprocess.building.part_plans import PartPlan
from preprocess.building.segments import SegmentWriter
from preprocess.building.small_recordings import SmallRecordings, decode_small
from preprocess.building.source_fingerprint import Source
from preprocess.building.windows import WindowCutter
from preprocess.errors import CacheError, RecordingError
from preprocess.events import Events
from preprocess.files import whole_file
from preprocess.store import event_store
from preprocess.store.hdf5_columns import write_column
from preprocess.store.sample_table import SampleTable
from preprocess.store.sealed_cache_file import NewFile, new_file

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout, Sample, SourceRecording
    from preprocess.formats import Recording

# Smaller files are hashed sooner than a thread starts.
_LARGE_BYTES = 1 << 20

_EVERY_TIME = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)


def build_part(layout: Layout, folder: Path, alone: bool, plan: PartPlan) -> tuple[str, ...]:
    """Decode the recordings of a part into its file; returns the errors of damaged recordings.

    Runs in a worker process. The file gets its final name when it is complete; if there are errors, no file is written.

    Args:
        layout: The data set; its recordings are not used.
        folder: The folder of the parts.
        alone: Whether no other part is to be built, so that a second thread has a processor for itself.
        plan: The part.
    """
    temporary = folder / f".{plan.id}.{os.getpid()}.tmp"
    try:
        with whole_file(plan.path(folder), temporary=temporary, durable=False):
            with new_file(temporary) as file:
                errors = _decode_into(file, layout, plan.recordings, alone)
            if errors:
                raise RecordingError(*errors)
        return ()
    except RecordingError as error:
        return tuple(error.errors)
    except OSError as error:
        hint = "Check the free space, then run the same command again."
        raise CacheError(f"{temporary}: cannot be written ({error}). {hint}") from None


def _decode_into(file: NewFile, layout: Layout, recordings: Sequence[SourceRecording], alone: bool) -> list[str]:
    writer = _PartWriter(file, layout)
    sources: list[Source] = []
    errors: list[str] = []
    for recording in decode_small(layout, recordings):
        if isinstance(recording, SmallRecordings):
            writer.take_small(recording)
            sources += recording.sources
            continue
        try:
            before = source_fingerprint.stat_source(recording)
            in_thread = alone and before[0] >= _LARGE_BYTES
            with source_fingerprint.hashing(recording.path, together=in_thread) as content_hash:
                writer.decode(recording)
                content = content_hash()
            if source_fingerprint.stat_source(recording) != before:
                raise RecordingError(f"{recording.path}: changed while it was being read. Run the same command again.")
            sources.append(Source(recording.relative, *before, content))
        except RecordingError as error:
            errors += error.errors
    if not errors:
        writer.finish(sources)
    return errors


@dataclass
class _PendingSample:
    """A sample whose events are still being decoded."""

    sample: Sample
    count: int = 0
    start_us: int = 0
    previous_us: int | None = None
    bounds: list[int] = field(default_factory=list)
    backwards: int = 0
    address_crc: int = 0
    time_crc: int = 0
    dropped: bool = False

    def interval(self) -> tuple[int, int]:
        """The interval [start, end) whose events belong to the sample."""
        start, end = self.sample.start_us, self.sample.end_us
        return (_EVERY_TIME[0] if start is None else start), (_EVERY_TIME[1] if end is None else end)


class _Outside:
    """Counter of the events of a recording that are in the interval of no sample."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.events = 0
        self.by_number = any(sample.numbers for sample in samples)
        starts: list[int] = []
        ends: list[int] = []
        for start, end in sorted(sample.numbers or _PendingSample(sample).interval() for sample in samples):
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        self._starts, self._ends = np.array(starts, np.int64), np.array(ends, np.int64)
        self._bounded = (starts, ends) != ([_EVERY_TIME[0]], [_EVERY_TIME[1]])

    def count(self, t: NDArray[np.int64]) -> None:
        """Count events, given their times, or numbers if the samples are ranges of numbers, int64 (N,)."""
        from preprocess.building.segment_kernels import count_outside

        if self._bounded:
            self.events += int(count_outside(t, self._starts, self._ends))


class _PartWriter:
    """Decodes recordings into the file of a part."""

    def __init__(self, file: NewFile, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self._segments = SegmentWriter(file, np.min_scalar_type(2 * layout.height * layout.width - 1))
        self._samples: list[_PendingSample] = []
        self._times = np.empty(0, np.int64)
        self._notes: dict[str, int] = {}

    def decode(self, recording: SourceRecording) -> None:
        """Decode one recording, chunk by chunk, and store the events of each of its samples."""
        first = len(self._samples)
        windows = self._layout.windows
        cutters = [WindowCutter(windows, sample) for sample in recording.samples] if windows else []
        if not windows:
            self._samples += [_PendingSample(sample) for sample in recording.samples]
        opened = self._layout.open(recording)
        if (opened.height, opened.width) != (self._layout.height, self._layout.width):
            raise RecordingError(
                f"{recording.path}: expected a sensor of {self._layout.height}x{self._layout.width} pixels (rows x "
                f"columns), found {opened.height}x{opened.width}. Leave the file out, or crop or scale its events."
            )
        intervals = np.array([sample.interval() for sample in self._samples[first:]], np.int64).reshape(-1, 2)
        outside, seen = _Outside(recording.samples), 0
        for chunk in self._in_order(opened) if self._layout.sort else opened.chunks():
            if len(chunk):
                outside.count(np.arange(seen, seen + len(chunk)) if outside.by_number else chunk.t)
                low, high = int(chunk.t.min()), int(chunk.t.max())
                # A file of spike trains has thousands of samples, of which a chunk covers a few.
                within = first + np.flatnonzero((intervals[:, 0] <= high) & (intervals[:, 1] > low))
                # A chunk may cover hundreds of windows: each searches only its own slice.
                is_cut = windows is not None or len(within) > 1
                ordered = is_cut and bool(np.all(chunk.t[1:] >= chunk.t[:-1]))
                for number in self._windows_of(chunk, cutters) if windows else within.tolist():
                    sample = self._samples[number]
                    start, end = sample.interval()
                    if high >= start and low < end:
                        piece = _piece(chunk, start, end) if ordered else chunk
                        if sample.sample.numbers is not None:
                            first_number, end_number = sample.sample.numbers
                            piece = chunk[max(first_number - seen, 0) : max(end_number - seen, 0)]
                        self._take(number, sample, piece, start, end, recording)
                seen += len(chunk)
        for note, count in opened.notes.items():
            self._note(note, count)
        self._note("events_in_no_sample", outside.events)
        pending = self._samples[first:]
        if windows:
            self._drop_windows(cutters)
        elif "recordings_salvaged" in opened.notes and any(g.count for g in pending):
            self._drop_lost(pending)
        else:
            refuse_empty(recording, [g.sample for g in pending if g.count == 0], opened.notes)

    def _in_order(self, opened: Recording) -> Iterator[Events]:
        """All events of a recording, sorted by time in memory."""
        chunks, moved = sort_chunks(opened.chunks())
        self._note("events_put_in_order", moved)
        return iter(chunks)

    def _note(self, note: str, count: int) -> None:
        if count:
            self._notes[note] = self._notes.get(note, 0) + count

    def _windows_of(self, chunk: Events, cutters: Sequence[WindowCutter]) -> Iterator[int]:
        """Numbers of the samples that have events in a chunk; adds a sample for each new window."""
        for cutter in cutters:
            for k in cutter.touched(chunk.t):
                if k not in cutter.numbers:
                    cutter.numbers[k] = len(self._samples)
                    self._samples.append(_PendingSample(cutter.sample(k)))
                yield cutter.numbers[k]

    def _drop_windows(self, cutters: Sequence[WindowCutter]) -> None:
        """Drop the windows that their cutter does not keep, and note why."""
        kept = 0
        for cutter in cutters:
            for k, number in cutter.numbers.items():
                sample = self._samples[number]
                sample.dropped = not cutter.keeps(k, sample.count)
                kept += not sample.dropped
                self._note("windows_of_too_few_events", cutter.is_complete(k) and sample.dropped)
                self._note("windows_cut_short", not cutter.is_complete(k))
            taken = [k for k, number in cutter.numbers.items() if not self._samples[number].dropped]
            self._note("events_in_no_window", cutter.events_outside(taken))
        self._note("recordings_without_a_window", kept == 0)

    def _drop_lost(self, pending: Sequence[_PendingSample]) -> None:
        """Drop the samples that have no events because their recording is damaged."""
        for sample in pending:
            sample.dropped = sample.count == 0
            self._note("samples_lost_to_damage", sample.dropped)

    def _take(
        self, number: int, sample: _PendingSample, chunk: Events, start: int, end: int, recording: SourceRecording
    ) -> None:
        from preprocess.building.segment_kernels import select_events

        address, delta = self._segments.room(len(chunk))
        if len(self._times) < len(chunk):
            self._times = np.empty(len(chunk), np.int64)
        height, width = self._layout.height, self._layout.width
        found = np.empty(4, np.int64)
        fresh, previous = sample.previous_us is None, sample.previous_us or 0
        n = select_events(
            chunk.t, chunk.x, chunk.y, chunk.p, start, end, height, width,
            fresh, previous, address, self._times, delta, found,
        )  # fmt: skip
        if n < 0:
            raise RecordingError(
                f"{recording.path}: expected events within {height}x{width} pixels (rows x columns), found others. "
                "Leave the file out."
            )
        if n == 0:
            return
        t = self._times[:n]
        low, high, jumps, backwards = found.tolist()
        at = lacking = np.empty(0, np.int64)
        if jumps:
            _, at, lacking = event_store.time_deltas(t, sample.previous_us)
        self._segments.add(number, n, at, lacking)
        if fresh:
            sample.start_us = int(t[0])
        sample.previous_us = int(t[-1])
        sample.bounds = [min([*sample.bounds[:1], low]), max([*sample.bounds[1:], high])]
        sample.address_crc = zlib.crc32(address[:n].data, sample.address_crc)
        sample.time_crc = zlib.crc32(t.data, sample.time_crc)
        sample.count += n
        sample.backwards += backwards

    def take_small(self, small: SmallRecordings) -> None:
        """Store the events of recordings that were decoded together."""
        from preprocess.building.segment_kernels import select_recordings

        events, counts = small.events, small.counts
        address, delta = self._segments.room(len(events))
        found, checksums = np.empty((len(counts), 3), np.int64), np.empty(len(counts), np.int64)
        select_recordings(
            events.t, events.x, events.y, events.p, counts, self._layout.height, self._layout.width,
            address, delta, found, checksums,
        )  # fmt: skip
        self._segments.add_many(len(self._samples), counts, checksums)
        crc32, addresses, times = zlib.crc32, address.data, events.t.data
        ends = np.cumsum(counts)
        rows = zip(small.recordings, (ends - counts).tolist(), ends.tolist(), found.tolist(), strict=True)
        for recording, l, r, (low, high, backwards) in rows:
            sample = _PendingSample(recording.samples[0], r - l, int(times[l]), bounds=[low, high], backwards=backwards)
            sample.address_crc, sample.time_crc = crc32(addresses[l:r]), crc32(times[l:r])
            self._samples.append(sample)

    def finish(self, sources: Sequence[Source]) -> None:
        """Write the tables of the samples that are kept, of the sources and of the notes."""
        kept = np.flatnonzero([not sample.dropped for sample in self._samples])
        self._segments.finish(kept)
        table = _table([self._samples[k] for k in kept], joined=self._layout.joined)
        table.write(self._file.create_group("samples"))
        backwards = [self._samples[k].backwards for k in kept]
        write_column(self._file, "backwards", np.array(backwards, np.int64))
        source_fingerprint.write_sources(self._file.create_group("sources"), sources)
        write_column(self._file, "notes", np.array([json.dumps(self._notes)]))


def _piece(chunk: Events, start_us: int, end_us: int) -> Events:
    """The events of an ordered chunk with start_us <= t < end_us."""
    first, last = np.searchsorted(chunk.t, (start_us, end_us))
    return chunk[first:last]


def _table(pending: Sequence[_PendingSample], *, joined: bool) -> SampleTable:
    samples = [g.sample for g in pending]
    intervals = [
        (
            g.bounds[0] if joined or g.sample.start_us is None else g.sample.start_us,
            g.bounds[1] + 1 if joined or g.sample.end_us is None else g.sample.end_us,
        )
        for g in pending
    ]
    return SampleTable.of(
        {
            "label": [s.label for s in samples],
            "split": [s.split for s in samples],
            "index": [s.index for s in samples],
            "group": [s.group for s in samples],
            "name": [s.name for s in samples],
            "start_us": [g.start_us for g in pending],
            "interval_us": np.array(intervals, np.int64).reshape(-1, 2),
            "crc32": [event_store.join_crc32(g.address_crc, g.time_crc) for g in pending],
            "offset": np.cumsum([0] + [g.count for g in pending]),
        }
    )
