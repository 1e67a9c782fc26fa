"""Merge the parts, in source order, into the event store."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.building import source_fingerprint
from preprocess.building.finished_parts import Part, read_part
from preprocess.building.worker_pool import Workers
from preprocess.errors import CacheError, RecordingError
from preprocess.store import chunk_compression as chunks
from preprocess.store import event_store
from preprocess.store.event_store import CHUNK_EVENTS
from preprocess.store.hdf5_columns import write_column
from preprocess.store.sample_table import SampleTable
from preprocess.store.sealed_cache_file import READ_WITH, NewFile, seal, writing
from preprocess.terminal.progress import Advance, Progress

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout

# Workers compress a million events at a time: enough to be worth the transfer, and dozens of them fit in memory.
_CHUNKS_AT_ONCE = 32


def merge_parts(layout: Layout, opened: list[Part], path: Path, workers: Workers, progress: Progress) -> None:
    """Write the event store.

    Args:
        layout: The recordings and their samples.
        opened: The parts, in source order.
        path: The file to write.
        workers: The processes that compress.
        progress: Where to report progress.

    Raises:
        CacheError: If a part is damaged (it is then deleted), or the store cannot be written.
        RecordingError: If no window has enough events.
    """
    table = _merged_table(layout, [part.samples for part in opened])
    total = int(table.offset[-1])
    dtype = np.min_scalar_type(2 * layout.height * layout.width - 1)
    ranges = _cut_ranges(opened, total)
    pack = functools.partial(_pack_range, dtype, (min(CHUNK_EVENTS, total),))
    # Workers compress while the tables are written.
    with contextlib.closing(workers.map(pack, ranges, ahead=4 * workers.count)) as packed:
        _write_store(layout, opened, table, path, zip(ranges, packed, strict=True), progress)


def _write_store(
    layout: Layout,
    opened: list[Part],
    table: SampleTable,
    path: Path,
    packed: Iterable[_PackedRange],
    progress: Progress,
) -> None:
    sources = [source for part in opened for source in part.sources]
    notes: dict[str, int] = {}
    for part in opened:
        for note, count in part.notes.items():
            notes[note] = notes.get(note, 0) + count
    backwards = np.concatenate([part.backwards for part in opened])
    layout_digest = source_fingerprint.digest_layout(layout, event_store.VERSION)
    attributes: dict[str, Any] = {
        "format": event_store.FORMAT,
        "version": event_store.VERSION,
        "dataset": layout.dataset,
        "height": layout.height,
        "width": layout.width,
        "classes": list(layout.classes),
        "fingerprint": source_fingerprint.fingerprint(layout_digest, sources, notes),
        "layout_digest": layout_digest,
        "source": _source_folder(layout),
        "notes": json.dumps(notes, sort_keys=True),
        "sorted": layout.sort,
        "backwards_sha256": event_store.seal_backwards(backwards),
        "read_with": READ_WITH,
    }
    if layout.windows is not None:
        attributes["window_us"] = layout.windows.window_us
    with progress.task(f"{layout.name}: merging", len(table), "samples") as advance, writing(path) as file:
        seal(file, table, attributes)
        write_column(file["samples"], "backwards", backwards)
        _write_events(file, opened, table, layout, packed, advance)
        source_fingerprint.write_sources(file.create_group("sources"), sources)


def _merged_table(layout: Layout, tables: list[SampleTable]) -> SampleTable:
    table = SampleTable.concatenate(tables)
    if layout.windows is None:
        return table
    if len(table) == 0:
        w = layout.windows
        raise RecordingError(
            f"{layout.folder}: expected windows of {w.window_us} µs with {w.min_events} or more events, found none in "
            f"the recordings ({len(layout.recordings)}). Give a smaller --window-us or --min-events."
        )
    return table.renumbered()


def _source_folder(layout: Layout) -> str:
    first = layout.recordings[0]
    return str(first.path.absolute().parents[len(Path(first.relative).parts) - 1])


@dataclass(frozen=True)
class _Range:
    """Events [first, last) of the store, complete chunks except at the end of the store."""

    first: int
    last: int
    pieces: tuple[tuple[Path, int, int], ...]
    """Where these events are: the file of a part, and the first and last + 1 event in it."""


# A range, its chunks of addresses, and its chunks of time differences.
_PackedRange = tuple[_Range, tuple[list[chunks.Packed], list[chunks.Packed]]]


def _write_events(
    file: NewFile,
    parts: list[Part],
    table: SampleTable,
    layout: Layout,
    packed: Iterable[_PackedRange],
    advance: Advance,
) -> None:
    events = file.create_group("events")
    total = int(table.offset[-1])
    dtype = np.min_scalar_type(2 * layout.height * layout.width - 1)
    address = chunks.create(events, "address", (total,), dtype, (CHUNK_EVENTS,), chunks.ADDRESSES)
    delta = chunks.create(events, "time_delta", (total,), np.uint32, (CHUNK_EVENTS,), chunks.TIMES)
    done = 0
    for cut, (addresses, deltas) in packed:
        for dataset, columns in ((address, addresses), (delta, deltas)):
            for k, chunk in enumerate(columns):
                chunks.write(dataset, (cut.first + k * CHUNK_EVENTS,), chunk)
        file.check()
        # Progress counts the samples that are completely written.
        samples = int(np.searchsorted(table.offset, cut.last, "right")) - 1
        advance(samples - done)
        done = samples
    _write_jumps(events, parts)


def _cut_ranges(parts: list[Part], total: int) -> list[_Range]:
    """Divide the events of the store into consecutive ranges."""
    starts = np.cumsum([0] + [part.events for part in parts])
    ranges = []
    for first in range(0, total, _CHUNKS_AT_ONCE * CHUNK_EVENTS):
        last = min(first + _CHUNKS_AT_ONCE * CHUNK_EVENTS, total)
        touched = range(int(np.searchsorted(starts, first, "right")) - 1, int(np.searchsorted(starts, last, "left")))
        pieces = []
        for k in touched:
            start, end = int(starts[k]), int(starts[k + 1])
            if end > start:
                pieces.append((parts[k].path, max(first - start, 0), min(last, end) - start))
        ranges.append(_Range(first, last, tuple(pieces)))
    return ranges


def _pack_range(dtype: Any, chunk: tuple[int], cut: _Range) -> tuple[list[chunks.Packed], list[chunks.Packed]]:
    """Compress a range; returns its chunks of addresses and of time differences. Runs in a worker process."""
    address, delta = np.empty(cut.last - cut.first, dtype), np.empty(cut.last - cut.first, np.uint32)
    filled = 0
    for path, l, r in cut.pieces:
        for addresses, deltas in read_part(path, l, r):
            address[filled : filled + len(addresses)] = addresses
            delta[filled : filled + len(deltas)] = deltas
            filled += len(addresses)
    if filled != cut.last - cut.first:
        paths = ", ".join(str(path) for path, _, _ in cut.pieces)
        raise CacheError(
            f"{paths}: expected {cut.last - cut.first} events, found {filled}. Delete the folder and run again."
        )
    return _pack_column(address, chunks.ADDRESSES, chunk), _pack_column(delta, chunks.TIMES, chunk)


def _pack_column(column: NDArray[Any], codec: chunks.Codec, chunk: tuple[int]) -> list[chunks.Packed]:
    whole = len(column) // chunk[0]
    packed = chunks.pack_many(column[: whole * chunk[0]].reshape(whole, chunk[0]), codec, chunk) if whole else []
    rest = column[whole * chunk[0] :]
    return [*packed, chunks.pack(rest, codec, chunk)] if len(rest) else packed


def _write_jumps(events: h5py.Group, parts: list[Part]) -> None:
    found = [np.empty((0, 2), np.int64)]
    start = 0
    for part in parts:
        found.append(part.jumps() + np.array([start, 0]))
        start += part.events
    jumps = np.concatenate(found)
    for name, values in (("jump_at", jumps[:, 0]), ("jump_us", jumps[:, 1])):
        write_column(events, name, values)
