"""Verify that a cache is intact and matches its recordings: read all of it, bin its events again, and compare."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from preprocess.binning.count_events import bin_addresses, measure_sample
from preprocess.building.event_order import count_backwards
from preprocess.building.source_fingerprint import fingerprint
from preprocess.datasets.layout import folders
from preprocess.errors import CacheError
from preprocess.inspection.verify_images import verify_images
from preprocess.inspection.verify_imported import verify_imported
from preprocess.inspection.verify_result import Verified, few, stored_sources, verify_recordings
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_cache import FrameCache, open_frames
from preprocess.store.image_store import find_images
from preprocess.store.imported_frames import find_imported
from preprocess.store.user_frame_caches import EFFECTIVE_IDS, own_frames_folder
from preprocess.terminal.progress import Progress

_REDECODE = "Delete the file and preprocess again."
_REMAKE = "Delete the file; preprocess, train and tune rebuild it."


def verify_cache(folder: Path, *, progress: Progress | None = None) -> list[Verified]:
    """Verify all caches in a folder.

    For an event store, the seal, the checksums and range of all events, the fingerprint, and the recordings (if they
    still exist) are checked. For a frame cache, the seal is checked, and every sample is binned again from the event
    store and compared. Frame caches in the user's own folder are included. For imported frames, the seal, the checksums
    and the files that they were imported from (if they still exist) are checked, for an image store its seal, the
    checksums and the files.

    Args:
        folder: ``CACHE/<name>``, or CACHE for all data sets in it.
        progress: Where to report progress.

    Returns:
        A result for each file, and for the recordings of each event store; errors in files are returned, not raised.

    Raises:
        CacheError: If the folder contains no event store.
    """
    progress = progress or Progress()
    folder = folder.expanduser().absolute()
    named: list[Path] = []
    closed: list[Path] = []
    if (folder / "events.h5").exists():
        found = [folder / "events.h5"]
    elif find_images(folder.parent, folder.name) or find_imported(folder.parent, folder.name):
        found, named = [], [folder]
    else:
        found, named, closed = sorted(folder.glob("*/events.h5")), folders(folder), _closed_folders(folder)
    images = [path for inner in named if (path := find_images(inner.parent, inner.name))]
    frames = [path for inner in named if (path := find_imported(inner.parent, inner.name))]
    if not found and not frames and not images:
        entered = f" in the readable folders; {closed[0]} cannot be read (check its permissions)" if closed else ""
        raise CacheError(
            f"{folder}: expected a cache (a folder with events.h5, or a folder of such folders), found none{entered}. "
            "Make one: spikeloom preprocess DATASET --source DIR --cache CACHE"
        )
    results = [result for path in found for result in _verify_data_set(path, progress)]
    results += [result for path in frames for result in verify_imported(path, progress)]
    results += [result for path in images for result in verify_images(path, progress)]
    return results + [Verified(path, 0, 0, 0, 0.0, note="not verified: permission denied") for path in closed]


def _closed_folders(folder: Path) -> list[Path]:
    """Subfolders that this user has no permission to read."""
    return [path for path in folders(folder) if not os.access(path, os.R_OK | os.X_OK, effective_ids=EFFECTIVE_IDS)]


def _verify_data_set(path: Path, progress: Progress) -> Iterator[Verified]:
    frames = sorted((path.parent / "frames").glob("*.h5"))
    try:
        store = open_events(path)
        # Frame caches of a read-only cache folder are in the user's own folder.
        frames += sorted((own_frames_folder() / store.fingerprint).glob("*.h5"))
    except CacheError as error:
        yield Verified(path, 0, 0, path.stat().st_size, 0.0, error.errors)
        for cache in frames:
            message = f"{cache}: cannot be compared, because its event store cannot be read. Repair that first."
            yield Verified(cache, 0, 0, cache.stat().st_size, 0.0, (message,))
        return
    try:
        yield _verify_events(store, progress)
        yield verify_recordings(store, store.path.parent.name, progress)
        for cache in frames:
            yield _verify_frames(cache, store, progress)
    finally:
        store.close()


def _verify_events(store: EventStore, progress: Progress) -> Verified:
    start = time.perf_counter()
    errors: list[str] = []
    layout_digest, notes = store.attributes["layout_digest"], json.loads(store.attributes["notes"])
    if fingerprint(layout_digest, stored_sources(store), notes) != store.fingerprint:
        errors.append(f"{store.path}: its sources do not match its fingerprint. Delete the file and preprocess again.")
    with progress.task(f"{store.path.parent.name}: events", len(store), "samples") as advance:
        backwards = np.zeros(len(store), np.int64)
        for i in range(len(store)):
            try:
                backwards[i] = count_backwards(store.check_sample(i))
                if store.backwards is not None and backwards[i] != store.backwards[i]:
                    message = f"expected {store.backwards[i]:,} events out of order, found {backwards[i]:,}"
                    errors.append(f"{store.path}: sample {i} ('{store.samples.name[i]}'): {message}. {_REDECODE}")
            except CacheError as error:
                errors += error.errors
            advance(1)
    events, size = int(store.samples.offset[-1]), store.path.stat().st_size
    seconds = time.perf_counter() - start
    disorder = int(np.count_nonzero(backwards)), int(backwards.sum())
    return Verified(store.path, len(store), events, size, seconds, few(store.path, errors), out_of_order=disorder)


def _verify_frames(path: Path, store: EventStore, progress: Progress) -> Verified:
    start = time.perf_counter()
    size = path.stat().st_size
    try:
        frames = open_frames(path)
    except CacheError as error:
        return Verified(path, 0, 0, size, 0.0, error.errors)
    if frames.fingerprint != store.fingerprint:
        expected = f"expected fingerprint {store.fingerprint} of its event store"
        message = f"{path}: {expected}, found {frames.fingerprint}. {_REMAKE}"
        return Verified(path, len(frames), 0, size, 0.0, (message,))
    errors: list[str] = []
    counts, coverage = 0, np.zeros(2, np.int64)
    with progress.task(f"{store.path.parent.name}: {path.stem}", len(frames), "samples") as advance:
        for i in range(len(frames)):
            try:
                counted, *outside = _compare_sample(frames, store, i)
                counts, coverage = counts + counted, coverage + outside
            except CacheError as error:
                errors += error.errors
            advance(1)
    frames.close()
    dropped, repeated = coverage.tolist()
    seconds = time.perf_counter() - start
    return Verified(path, len(frames), counts, size, seconds, few(path, errors), dropped=dropped, repeated=repeated)


def _compare_sample(frames: FrameCache, store: EventStore, i: int) -> tuple[int, int, int]:
    """Compare the frames of sample i with its events, binned again.

    Returns:
        The sum of the counts, and the numbers of events that are in no frame and in several frames.

    Raises:
        CacheError: If they differ.
    """
    found = frames.read(i)
    address, t = store.addresses(i), store.times(i) if frames.binning.needs_times else None
    expected = bin_addresses(address, t, frames.binning, store.height, store.width)
    length, dropped, repeated = measure_sample(len(address), t, frames.binning)
    known = (int(frames.lengths[i]), int(frames.dropped[i]))
    if frames.repeated is None and not frames.binning.drops:
        # Earlier versions did not count them.
        known = (known[0], dropped)
    fits = np.array_equal(found[:length], expected) and not found[length:].any() and known == (length, dropped)
    fits = fits and (frames.repeated is None or int(frames.repeated[i]) == repeated)
    counts = int(found.sum(dtype=np.int64))
    if not fits:
        message = "differs from its events binned again"
    elif repeated == 0 and counts != len(address) - dropped:
        message = f"contains {counts:,} of {len(address) - dropped:,} events"
    else:
        return counts, dropped, repeated
    raise CacheError(f"{frames.path}: sample {i} ('{store.samples.name[i]}') {message}. {_REMAKE}")
