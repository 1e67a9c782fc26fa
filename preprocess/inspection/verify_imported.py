"""Verify imported frames: their checksums, and the files that they were imported from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from preprocess.errors import CacheError
from preprocess.frame_import.import_frames import fingerprint_of, frames_crc32
from preprocess.inspection.verify_result import Verified, few, stored_sources, verify_recordings
from preprocess.store.frame_cache import FrameCache, open_frames
from preprocess.terminal.progress import Progress


def verify_imported(path: Path, progress: Progress) -> Iterator[Verified]:
    """The results for imported frames, and for the files that they were imported from.

    Args:
        path: The frame cache.
        progress: Where to report progress.
    """
    start = time.perf_counter()
    size = path.stat().st_size
    try:
        frames = open_frames(path)
        sources = stored_sources(frames)
    except CacheError as error:
        yield Verified(path, 0, 0, size, 0.0, error.errors)
        return
    try:
        remedy = frames.remedy
        errors: list[str] = []
        if fingerprint_of(frames.attributes["axes"], frames.classes, frames.samples, sources) != frames.fingerprint:
            errors.append(f"{path}: its sources do not match its fingerprint. {remedy}")
        with progress.task(f"{path.parent.parent.name}: {path.stem}", len(frames), "samples") as advance:
            for i in range(len(frames)):
                message = _error_of(frames, i)
                if message:
                    errors.append(message if str(path) in message else f"{path}: {message}. {remedy}")
                advance(1)
        events, seconds = int(frames.samples.offset[-1]), time.perf_counter() - start
        note = "intact; imported, binning not known"
        yield Verified(path, len(frames), events, size, seconds, few(path, errors), note)
        yield verify_recordings(frames, path.parent.parent.name, progress)
    finally:
        frames.close()


def _error_of(frames: FrameCache, i: int) -> str:
    """The error of a sample, or ""."""
    try:
        found = frames.read(i)
    except CacheError as error:
        return str(error)
    length = int(frames.lengths[i])
    if found[length:].any() or frames_crc32(found[:length]) != int(frames.samples.crc32[i]):
        return f"sample {i} ('{frames.samples.name[i]}') does not match its checksum"
    total = np.count_nonzero(found) if found.dtype.kind == "f" else found.sum(dtype=np.uint64)
    if int(total) != int(frames.samples.events[i]):
        return f"sample {i} ('{frames.samples.name[i]}') contains {total:,} of {frames.samples.events[i]:,} events"
    return ""
