"""Build an event store atomically: decode every recording once, merge the parts, and record the fingerprint."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
from pathlib import Path

import h5py

from preprocess.building import source_fingerprint
from preprocess.building.build_frame_cache import ensure_every_frames, ensure_frames
from preprocess.building.cache_lock import building
from preprocess.building.finished_parts import Part
from preprocess.building.merge import merge_parts
from preprocess.building.part_plans import PartPlan, missing_parts, plan_parts, remove_other_parts
from preprocess.building.recordings_to_samples import build_part
from preprocess.building.worker_pool import DEFAULT_WORKERS, Workers
from preprocess.datasets.layout import Layout, first_errors
from preprocess.errors import CacheError, CacheMismatchError, RecordingError
from preprocess.formats.aedat.aedat31 import INVALID_KEPT
from preprocess.formats.recording import OUTSIDE
from preprocess.store import event_store
from preprocess.store.cache_file_names import events_path
from preprocess.store.event_store import open_events
from preprocess.terminal.progress import Progress

__all__ = ["build_event_store", "ensure_every_frames", "ensure_frames", "find_stale"]


def build_event_store(
    layout: Layout, cache: Path, *, workers: int = DEFAULT_WORKERS, progress: Progress | None = None
) -> Path:
    """Build ``CACHE/<name>/events.h5`` from the recordings of a layout, unless it exists and is up to date.

    A build resumes from the parts that an interrupted build has decoded. If several processes build at the same time,
    one builds and the others wait.

    Args:
        layout: The recordings and their samples.
        cache: The folder of all caches.
        workers: Number of processes that decode and compress, including this one.
        progress: Where to report progress; None reports only notes.

    Raises:
        RecordingError: If recordings are damaged or samples have no events; lists all of them.
        CacheError: If the cache cannot be written.
        CacheMismatchError: If the folder contains another data set.
    """
    progress = progress or Progress()
    folder = cache.absolute() / layout.name
    path = events_path(cache.absolute(), layout.name)
    # The lock is only needed for building: an up-to-date store is used without it.
    if path.exists() and find_stale(path, layout) is None:
        return path
    with building(folder, progress):
        if path.exists():
            stale = find_stale(path, layout)
            if stale is None:
                return path
            progress.note(f"{path}: {stale}; rebuilding it")
        _build(layout, path, folder / ".parts", workers, progress)
    return path


def find_stale(path: Path, layout: Layout) -> str | None:
    """Return why an event store does not match the recordings of a layout, or None if it does.

    Raises:
        CacheMismatchError: If it is an intact store of another data set, which is never overwritten.
    """
    try:
        store = open_events(path)
        with h5py.File(path, "r") as file:
            sources = source_fingerprint.read_sources(file["sources"])
    except CacheError as error:
        return str(error).removeprefix(f"{path}: ").split(". ")[0]
    except (OSError, KeyError, ValueError) as error:
        return f"its sources cannot be read ({error})"
    if store.dataset != layout.dataset:
        raise CacheMismatchError(
            f"{path}: expected data set {layout.dataset}, found {store.dataset}. Give another --name, or delete "
            f"{path.parent}."
        )
    change = source_fingerprint.find_change(layout, sources)
    digest = source_fingerprint.digest_layout(layout, event_store.VERSION)
    if change is None and store.attributes["layout_digest"] != digest:
        change = "the options, the labels, the splits or the decoder changed"
    if change is None and INVALID_KEPT in json.loads(store.attributes["notes"]):
        change = "it contains events that their recordings mark as invalid, which are left out now"
    return change


def _build(layout: Layout, path: Path, folder: Path, workers: int, progress: Progress) -> None:
    plans = plan_parts(layout)
    if not plans:
        raise RecordingError(f"{layout.name}: expected at least one recording, found none. Check --source.")
    try:
        folder.mkdir(exist_ok=True)
        remove_other_parts(folder, plans)
    except OSError as error:
        raise CacheError(f"{folder}: cannot be written ({error}). Check its permissions.") from None
    with Workers(workers) as pool:
        _decode(layout, plans, folder, pool, progress)
        merge_parts(layout, [Part(plan.path(folder)) for plan in plans], path, pool, progress)
    shutil.rmtree(folder, ignore_errors=True)


def _decode(layout: Layout, plans: list[PartPlan], folder: Path, workers: Workers, progress: Progress) -> None:
    """Build the missing parts; RecordingError with the errors of all recordings, in source order."""
    total = sum(plan.size for plan in plans) / 1e6
    missing = missing_parts(folder, plans)
    errors: list[str] = []
    with progress.task(f"{layout.name}: decoding", total, "MB") as advance:
        if len(missing) < len(plans):
            advance(total - sum(plan.size for plan in missing) / 1e6)
        # Workers need the options of the layout, but not its thousands of samples: each plan has its own.
        build = functools.partial(build_part, dataclasses.replace(layout, recordings=()), folder, len(missing) == 1)
        # Closed immediately on Ctrl-C, so that no worker is still running when the message is printed.
        with contextlib.closing(workers.map(build, missing)) as built:
            for plan, found in zip(missing, built, strict=True):
                errors += found
                advance(plan.size / 1e6)
        _raise_all(layout, errors)


def _raise_all(layout: Layout, errors: list[str]) -> None:
    if errors:
        shown = first_errors(layout.name, errors)
        if layout.dataset == "folder" and any(f": {OUTSIDE} " in message for message in errors):
            shown.append(
                f"{layout.name}: expected events within {layout.height}x{layout.width} pixels (rows x columns), found "
                "events outside. If the sensor is larger and its files do not store the size, give it: "
                "--sensor-size ROWS COLUMNS"
            )
        raise RecordingError(*shown)
