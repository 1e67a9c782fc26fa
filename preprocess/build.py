"""Building an event store: decode every recording once, merge, fingerprint; whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from preprocess import chunks, event_store, fingerprint
from preprocess.build_frames import ensure_every_frames, ensure_frames
from preprocess.cache_file import NewFile, seal, writing
from preprocess.errors import CacheError, CacheMismatchError, RecordingError
from preprocess.event_store import CHUNK_EVENTS, events_path, open_events
from preprocess.in_order import map_in_order
from preprocess.locking import building
from preprocess.parts import Part, PartPlan, build_part, plan_parts
from preprocess.progress import Advance, Progress
from preprocess.samples import SampleTable

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout

__all__ = ["build_event_store", "ensure_every_frames", "ensure_frames", "find_stale"]

_MOST_FAULTS = 20


def build_event_store(layout: Layout, cache: Path, *, workers: int = 1, progress: Progress | None = None) -> Path:
    """Make ``CACHE/<name>/events.h5`` of the layout's recordings, or find that it is there and still fits them.

    An interrupted build leaves decoded parts behind, and the next one takes them; of several builders at once one
    builds and the others wait.

    Args:
        layout: The recordings and their samples.
        cache: The folder of all caches.
        workers: Processes that decode, and threads that compress; 1 does both in this one.
        progress: Where to tell how far it is; None tells only notes.

    Raises:
        RecordingError: For every recording that is damaged and every sample without events.
        CacheError: If the cache cannot be written.
        CacheMismatchError: If the folder holds another data set.
    """
    progress = progress or Progress()
    folder = cache.absolute() / layout.name
    path = events_path(cache.absolute(), layout.name)
    # The lock is only for building: a store that fits is found without it.
    if path.exists() and find_stale(path, layout) is None:
        return path
    with building(folder, progress):
        if path.exists():
            stale = find_stale(path, layout)
            if stale is None:
                return path
            progress.note(f"{path}: {stale}; making it again")
        _build(layout, path, folder / ".parts", workers, progress)
    return path


def find_stale(path: Path, layout: Layout) -> str | None:
    """Why an event store does not fit the layout's recordings, or None if it does.

    Raises:
        CacheMismatchError: If it is a whole store of another data set: not to be replaced unasked.
    """
    try:
        store = open_events(path)
        with h5py.File(path, "r") as file:
            sources = fingerprint.read_sources(file["sources"])
    except CacheError as error:
        return str(error).removeprefix(f"{path}: ").split(". ")[0]
    except (OSError, KeyError, ValueError) as error:
        return f"its sources cannot be read ({error})"
    if store.dataset != layout.dataset:
        raise CacheMismatchError(
            f"{path}: expected data set {layout.dataset}, found {store.dataset}. Give another --name, or delete "
            f"{path.parent}."
        )
    change = fingerprint.find_change(layout, sources)
    if change is None and store.attributes["layout_digest"] != fingerprint.digest_layout(layout, event_store.VERSION):
        change = "the labels, the splits or the decoder changed"
    return change


def _build(layout: Layout, path: Path, folder: Path, workers: int, progress: Progress) -> None:
    plans = plan_parts(layout)
    if not plans:
        raise RecordingError(f"{layout.name}: expected at least one recording, found none. Check --source.")
    try:
        folder.mkdir(exist_ok=True)
        _clear_leftovers(folder, plans)
    except OSError as error:
        raise CacheError(f"{folder}: cannot be written ({error}). Check its permissions.") from None
    _decode(layout, plans, folder, workers, progress)
    _merge(layout, plans, folder, path, workers, progress)
    shutil.rmtree(folder, ignore_errors=True)


def _clear_leftovers(folder: Path, plans: Sequence[PartPlan]) -> None:
    """Remove what killed builders left half-written, and parts of other states of the files."""
    wanted = {f"{plan.id}.h5" for plan in plans}
    for found in folder.iterdir():
        if found.name not in wanted:
            found.unlink()


def _decode(layout: Layout, plans: list[PartPlan], folder: Path, workers: int, progress: Progress) -> None:
    """Make every part that is missing; RecordingError with the faults of all recordings, in source order."""
    total = sum(plan.size for plan in plans) / 1e6
    faults: dict[int, tuple[str, ...]] = {}
    with progress.task(f"{layout.name}: decoding", total, "MB") as advance:
        missing = []
        for number, plan in enumerate(plans):
            if plan.path(folder).exists():
                advance(plan.size / 1e6)
            else:
                missing.append(number)
        if workers <= 1 or len(missing) <= 1:
            for number in missing:
                faults[number] = build_part(layout, plans[number], folder)
                advance(plans[number].size / 1e6)
        else:
            apart = _decode_apart(layout, plans, missing, folder, min(workers, len(missing)))
            # Closed at once when Ctrl-C arrives, so that no worker outlives the message.
            with contextlib.closing(apart):
                for number, found in apart:
                    faults[number] = found
                    advance(plans[number].size / 1e6)
        _raise_all(layout, [fault for number in sorted(faults) for fault in faults[number]])


def _raise_all(layout: Layout, faults: list[str]) -> None:
    if faults:
        shown = faults[:_MOST_FAULTS]
        if len(faults) > len(shown):
            shown.append(f"{layout.name}: {len(faults) - len(shown)} more faults of this kind. Mend these first.")
        raise RecordingError(*shown)


def _decode_apart(
    layout: Layout, plans: list[PartPlan], missing: list[int], folder: Path, workers: int
) -> Generator[tuple[int, tuple[str, ...]], None, None]:
    """Decode in worker processes; yields the number and the faults of each part when it is done."""
    # Workers need the layout's name and ways, not its thousands of samples, which each part carries.
    slim = dataclasses.replace(layout, recordings=())
    # Spawned, not forked: a fork of a process with threads or open HDF5 files may hang.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_prepare_worker)
    try:
        waiting = iter(missing)
        running: dict[Future[tuple[str, ...]], int] = {}
        while True:
            # Few parts are handed out at a time, so that Ctrl-C waits for few.
            for number in waiting:
                running[pool.submit(build_part, slim, plans[number], folder)] = number
                if len(running) >= 2 * workers:
                    break
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    except BrokenProcessPool:
        raise CacheError(
            f"{folder}: a decoding process was killed, perhaps for want of memory. Run again with fewer --workers; "
            "what is decoded is kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    """The terminal sends Ctrl-C to every process: the builder alone decides, and its workers finish their part."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nothing else tells a worker that its builder was killed; it would wait for work for ever.
    threading.Thread(target=_leave_with_builder, daemon=True).start()


def _leave_with_builder() -> None:
    builder = multiprocessing.parent_process()
    if builder is not None:
        builder.join()
        os._exit(1)


def _merge(layout: Layout, plans: list[PartPlan], folder: Path, path: Path, workers: int, progress: Progress) -> None:
    """Write the event store from the parts, in source order."""
    opened = [Part(plan.path(folder)) for plan in plans]
    table = _merged_table(layout, [part.samples for part in opened])
    sources = [source for part in opened for source in part.sources]
    notes: dict[str, int] = {}
    for part in opened:
        for note, count in part.notes.items():
            notes[note] = notes.get(note, 0) + count
    layout_digest = fingerprint.digest_layout(layout, event_store.VERSION)
    attributes: dict[str, Any] = {
        "format": event_store.FORMAT,
        "version": event_store.VERSION,
        "dataset": layout.dataset,
        "height": layout.height,
        "width": layout.width,
        "classes": list(layout.classes),
        "fingerprint": fingerprint.fingerprint(layout_digest, sources),
        "layout_digest": layout_digest,
        "source": _source_folder(layout),
        "notes": json.dumps(notes, sort_keys=True),
    }
    with progress.task(f"{layout.name}: merging", len(table), "samples") as advance, writing(path) as file:
        _write_events(file, opened, table, layout, workers, advance)
        seal(file, table, attributes)
        fingerprint.write_sources(file.create_group("sources"), sources)


def _merged_table(layout: Layout, tables: list[SampleTable]) -> SampleTable:
    table = SampleTable.concatenate(tables)
    if layout.windows is None:
        return table
    if len(table) == 0:
        w = layout.windows
        raise RecordingError(
            f"{layout.folder}: expected windows of {w.window_us} µs with at least {w.min_events} events, found none in "
            f"{len(layout.recordings)} recordings. Give a smaller --window-us or --min-events."
        )
    return table.renumbered()


def _source_folder(layout: Layout) -> str:
    first = layout.recordings[0]
    return str(first.path.absolute().parents[len(Path(first.relative).parts) - 1])


def _write_events(
    file: NewFile, parts: list[Part], table: SampleTable, layout: Layout, threads: int, advance: Advance
) -> None:
    events = file.create_group("events")
    total = (int(table.offset[-1]),)
    dtype = np.min_scalar_type(2 * layout.height * layout.width - 1)
    address = chunks.ColumnCutter(chunks.create(events, "address", total, dtype, (CHUNK_EVENTS,)))
    delta = chunks.ColumnCutter(chunks.create(events, "time_delta", total, np.uint32, (CHUNK_EVENTS,)))
    jumps: list[np.ndarray] = []

    def cut() -> Iterator[chunks.Chunk]:
        written = 0
        for part in parts:
            for addresses, deltas, part_jumps in part.segments():
                yield from address.append(addresses)
                yield from delta.append(deltas)
                jumps.append(part_jumps + np.array([written, 0]))
                written += len(addresses)
            advance(len(part.samples))
        yield from address.rest()
        yield from delta.rest()

    for chunk in map_in_order(chunks.Chunk.pack, cut(), threads):
        chunk.write()
        file.check()
    found = np.concatenate(jumps)
    for name, values in (("jump_at", found[:, 0]), ("jump_us", found[:, 1])):
        events.create_dataset(name, data=values, **({"chunks": True, "fletcher32": True} if len(values) else {}))
