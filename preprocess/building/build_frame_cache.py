"""Build frame caches from an event store: several binnings in one pass over its events."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_addresses, bin_samples
from preprocess.building.cache_lock import building
from preprocess.building.worker_pool import DEFAULT_WORKERS, Workers
from preprocess.errors import CacheError
from preprocess.store.cache_file_names import events_path, frames_path
from preprocess.store.chunk_compression import Packed
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_cache import chunk_shape, create_frames, open_frames, pack_samples, write_frames
from preprocess.store.frame_lengths import Steps, measure_steps, refuse_empty
from preprocess.store.image_store import ImageStore, find_images
from preprocess.store.imported_frames import DataFile, check_input, open_imported
from preprocess.store.sealed_cache_file import NewFile, writing
from preprocess.store.user_frame_caches import can_build, own_frames_folder, own_frames_path
from preprocess.terminal.progress import Progress

_OWN_HINT = (
    "Set SPIKELOOM_CACHE_FRAMES to a folder with write permission, or bin events during training (train, tune and "
    "compare): --input.source events"
)
# Samples are binned together up to these sizes, in which arrays fit into the second-level cache of a CPU.
_EVENTS_AT_ONCE, _BYTES_AT_ONCE = 1 << 18, 1 << 20
MOST_LOST = 0.5
"""Share of the events in no frame above which a warning is printed."""


def ensure_frames(cache: Path, name: str, binning: Binning, *, progress: Progress | None = None) -> Path:
    """Return the path of ``CACHE/<name>/frames/<key>.h5``, and build it from the event store if missing or stale.

    If the cache is read-only, the frame cache is in the user's own folder instead (see `own_frames`).

    Raises:
        CacheError: If there is no event store, it is damaged, or the frame cache cannot be written.
    """
    return ensure_every_frames(cache, name, [binning], progress=progress)[0]


def ensure_every_frames(
    cache: Path,
    name: str,
    binnings: Sequence[Binning],
    *,
    workers: int = DEFAULT_WORKERS,
    progress: Progress | None = None,
) -> list[Path]:
    """As `ensure_frames`, for several binnings; each sample is read once for all missing frame caches.

    Samples are binned in parallel by `workers` threads.
    """
    progress = progress or Progress()
    for binning in binnings:
        binning.check()
    cache = cache.expanduser().absolute()
    images = find_images(cache, name)
    if images is not None:
        # An image store serves every T.
        return [images for _ in binnings]
    imported = open_imported(cache, name)
    if imported is not None:
        for binning in binnings:
            check_input(imported, name, binning)
        return [imported.path for _ in binnings]
    store = open_events(events_path(cache, name))
    for binning in binnings:
        check_input(store, name, binning)
    folder = cache / name
    wanted = _paths(cache, name, binnings, store)
    # The lock is only needed for building: up-to-date caches are used without it.
    if any(_find_stale(path, binning, store) for path, binning in wanted.items()):
        own = not can_build(folder)
        if own:
            wanted = _paths(cache, name, binnings, store, own=True)
            folder = own_frames_folder() / store.fingerprint
        if any(_find_stale(path, binning, store) for path, binning in wanted.items()):
            if own:
                progress.note(f"{cache / name}: no write permission, so frames go to {folder}")
            with building(folder, progress, *([_OWN_HINT] if own else [])):
                # The event store may have been rebuilt while this process waited for the lock.
                if not store.is_current():
                    store = open_events(events_path(cache, name))
                try:
                    wanted = _paths(cache, name, binnings, store, own=own)
                    _build_stale(wanted, store, workers, progress)
                finally:
                    store.close()
    by_key = {path.name: path for path in wanted}
    return [by_key[frames_path(cache, name, binning, store.height, store.width).name] for binning in binnings]


def find_frames(cache: Path, name: str, binning: Binning, store: DataFile) -> Path | None:
    """Return the up-to-date frame cache of a data set, in the cache or the user's own folder; None if missing.

    Args:
        cache: The folder of all caches.
        name: The name of the data set.
        binning: Its binning.
        store: What `open_dataset` returns: the event store, imported frames, or images.
    """
    if isinstance(store, ImageStore):
        return store.path
    if not isinstance(store, EventStore):
        return store.path if store.binning.plain() == binning.plain() else None
    (path,) = _paths(cache, name, [binning], store, own=True)
    return None if _find_stale(path, binning, store) else path


def _paths(
    cache: Path, name: str, binnings: Sequence[Binning], store: EventStore, *, own: bool = False
) -> dict[Path, Binning]:
    """Paths of the frame caches; with `own`, in the user's folder unless the cache has an up-to-date one."""
    paths: dict[Path, Binning] = {}
    for binning in binnings:
        path = frames_path(cache, name, binning, store.height, store.width)
        if own and _find_stale(path, binning, store):
            path = own_frames_path(path, store.fingerprint)
        paths[path] = binning
    return paths


def _find_stale(path: Path, binning: Binning, store: EventStore) -> str | None:
    """Return why a frame cache is out of date, or None if it is up to date."""
    if not path.exists():
        return "missing"
    try:
        frames = open_frames(path)
    except CacheError as error:
        return str(error).removeprefix(f"{path}: ").split(". ")[0]
    if frames.binning.plain() != binning.plain():
        return f"expected {binning}, found {frames.binning}"
    if frames.fingerprint != store.fingerprint:
        return f"built from another event store (fingerprint {frames.fingerprint}, now {store.fingerprint})"
    refuse_empty(frames.dropped, binning, frames.samples)
    return None


def _build_stale(wanted: dict[Path, Binning], store: EventStore, threads: int, progress: Progress) -> None:
    """Build the frame caches that are still out of date; the caller holds the lock."""
    dtypes: dict[Path, Any] = {}
    for path, binning in wanted.items():
        stale = _find_stale(path, binning, store)
        if stale:
            dtypes[path] = np.uint8
            if stale != "missing":
                progress.note(f"{path}: {stale}; rebuilding it")
    steps = dict(zip(dtypes, measure_steps(store, [wanted[path] for path in dtypes], progress), strict=True))
    for path, measured in steps.items():
        measured.refuse_empty(wanted[path], store.samples)
        lost, total = int(measured.dropped.sum()), int(store.samples.offset[-1])
        if lost > MOST_LOST * total:
            progress.note(f"Warning: {path.stem}: {lost:,} of {total:,} events ({lost / total:.0%}) are in no frame")
    # Counts above 255 are rare. A cache that has one is rebuilt, once, with the type that its largest count needs.
    while dtypes:
        dtypes = _build_pass(wanted, dtypes, steps, store, threads, progress)


def _build_pass(
    wanted: dict[Path, Binning],
    dtypes: dict[Path, Any],
    steps: dict[Path, Steps],
    store: EventStore,
    threads: int,
    progress: Progress,
) -> dict[Path, Any]:
    """Bin all samples once; returns the caches that need a wider count type, with that type."""
    wider: dict[Path, Any] = {}
    needs_times = any(wanted[path].needs_times for path in dtypes)
    names = ", ".join(path.stem for path in dtypes)
    task = progress.task(f"{store.path.parent.name}: {names}", len(store), "samples")
    chunks = {path: chunk_shape(store, wanted[path], steps[path], dtype) for path, dtype in dtypes.items()}

    def bin_group(samples: range) -> list[tuple[Path, Any, list[list[Packed]]]]:
        """Each cache's path, the type that its counts need, and the chunks of each sample, if that type fits."""
        address = store.addresses_of(samples)
        t = store.times_of(samples) if needs_times else None
        counts = store.samples.events[samples.start : samples.stop]
        made: list[tuple[Path, Any, list[list[Packed]]]] = []
        for path, dtype in dtypes.items():
            shape = steps[path].longest, dtype
            frames = bin_samples(address, t, counts, wanted[path], store.height, store.width, shape)
            if frames is None:
                made.append((path, _type_needed(address, t, counts, wanted[path], store), []))
            else:
                # A cache that will be rebuilt only needs to know the type.
                made.append((path, dtype, [] if path in wider else pack_samples(frames, chunks[path])))
        return made

    with task as advance, contextlib.ExitStack() as files:
        pool = files.enter_context(Workers(min(threads, len(store)), "threads"))
        frame_bytes = sum(int(np.prod(chunk[2:])) * steps[path].longest for path, chunk in chunks.items())
        groups = store.groups(_EVENTS_AT_ONCE, max(1, _BYTES_AT_ONCE // frame_bytes))
        # The first samples are binned while the tables are written.
        results = pool.map(bin_group, groups, ahead=4 * threads)
        written = {path: files.enter_context(_writing_unless(path, wider)) for path in dtypes}
        of_store = {} if store.window_us is None else {"window_us": store.window_us}
        datasets = {
            path: create_frames(written[path], store, wanted[path], steps[path], dtype, **of_store)
            for path, dtype in dtypes.items()
        }
        for group, made in zip(groups, results, strict=True):
            for path, dtype, packed in made:
                if np.dtype(dtype).itemsize > np.dtype(dtypes[path]).itemsize:
                    wider[path] = np.promote_types(dtype, wider.get(path, dtype))
                elif path not in wider:
                    for i, chunks_of_sample in zip(group, packed, strict=True):
                        write_frames(datasets[path], i, chunks_of_sample)
                    written[path].check()
            advance(len(group))
    return wider


def _type_needed(
    address: NDArray[Any], t: NDArray[np.int64] | None, counts: NDArray[np.int64], binning: Binning, store: EventStore
) -> Any:
    """The smallest type that fits the counts of several samples."""
    ends = np.cumsum(counts)
    needed: Any = np.uint8
    for start, end in zip(ends - counts, ends, strict=True):
        times = None if t is None else t[start:end]
        frames = bin_addresses(address[start:end], times, binning, store.height, store.width)
        needed = np.promote_types(needed, frames.dtype)
    return needed


@contextlib.contextmanager
def _writing_unless(path: Path, refused: dict[Path, Any]) -> Iterator[NewFile]:
    """As `writing`, but discard the file if its path was added to `refused` meanwhile."""
    # A frame cache is built again if it is missing.
    with contextlib.suppress(_Dropped), writing(path, durable_name=False) as file:
        yield file
        if path in refused:
            raise _Dropped


class _Dropped(Exception):
    """Raised to leave `writing` without a file."""
