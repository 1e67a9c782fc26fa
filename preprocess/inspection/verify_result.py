"""The result of verifying a file, and comparing a cache with the files that it was made from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from preprocess.building.source_fingerprint import Source, hash_file, read_sources
from preprocess.errors import CacheError, more_errors
from preprocess.store.sealed_cache_file import UNREADABLE, CacheFile
from preprocess.terminal.progress import Progress

# A damaged disk can damage thousands of samples, of which a few lines are enough.
_MOST_ERRORS = 5


@dataclass(frozen=True)
class Verified:
    """The result of verifying one file, or the recordings of one event store.

    Attributes:
        path: The file, or the folder of the recordings.
        samples: Number of samples, or of recordings.
        events: Number of events, or sum of the counts of frames.
        size: Size in bytes.
        seconds: Duration of the verification.
        errors: The errors found, one line each: at most five, and a line with the number of others.
        note: What could not be verified, such as missing recordings; "" otherwise.
        out_of_order: For an event store: number of samples with events earlier than their predecessor, and of such
            events.
        dropped: For a frame cache: number of events that are in no frame.
        repeated: For a frame cache: number of events that are in several frames.
    """

    path: Path
    samples: int
    events: int
    size: int
    seconds: float
    errors: tuple[str, ...] = field(default=())
    note: str = ""
    out_of_order: tuple[int, int] = (0, 0)
    dropped: int = 0
    repeated: int = 0


def verify_recordings(store: CacheFile, name: str, progress: Progress) -> Verified:
    """Compare the recordings, or imported files, with the sources of a cache, as far as they still exist."""
    start = time.perf_counter()
    sources = stored_sources(store)
    folder = Path(store.attributes["source"])
    present = [source for source in sources if (folder / source.relative).is_file()]
    if not present:
        return Verified(folder, 0, 0, 0, 0.0, note="not verified: the recordings are missing")
    errors: list[str] = []
    with progress.task(f"{name}: recordings", len(present), "files") as advance:
        for source in present:
            path = folder / source.relative
            if path.stat().st_size != source.size or hash_file(path) != source.sha256:
                errors.append(f"{path}: differs from the recording that {store.path} was built from. Preprocess again.")
            advance(1)
    gone = len(sources) - len(present)
    note = f"not verified: {gone} of {len(sources)} recordings are missing" if gone else ""
    size = sum(source.size for source in present)
    return Verified(folder, len(present), 0, size, time.perf_counter() - start, few(folder, errors), note)


def stored_sources(store: CacheFile) -> list[Source]:
    """The recordings that a store was built from; raises a `CacheError` if the list cannot be read."""
    try:
        with h5py.File(store.path, "r") as file:
            return read_sources(file["sources"])
    except UNREADABLE as error:
        remedy = "Delete the file and preprocess again."
        raise CacheError(f"{store.path}: its sources cannot be read ({error}). {remedy}") from None


def few(path: Path, errors: list[str]) -> tuple[str, ...]:
    """The first errors, and a line with the number of the others."""
    more = len(errors) - _MOST_ERRORS
    if more <= 0:
        return tuple(errors)
    return (*errors[:_MOST_ERRORS], f"{path}: {more_errors(more)}. The remedy is the same.")
