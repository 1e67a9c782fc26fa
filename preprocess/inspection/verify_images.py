"""Verify an image store: its checksums, and the files that it was made from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from preprocess.building.build_image_store import fingerprint_of
from preprocess.errors import CacheError
from preprocess.inspection.verify_result import Verified, few, stored_sources, verify_recordings
from preprocess.store.image_store import ImageStore, image_crc32, open_images
from preprocess.terminal.progress import Progress


def verify_images(path: Path, progress: Progress) -> Iterator[Verified]:
    """The results for an image store, and for the files that it was made from.

    Args:
        path: The image store.
        progress: Where to report progress.
    """
    start = time.perf_counter()
    size = path.stat().st_size
    try:
        store = open_images(path)
        sources = stored_sources(store)
    except CacheError as error:
        yield Verified(path, 0, 0, size, 0.0, error.errors)
        return
    try:
        errors: list[str] = []
        if fingerprint_of(store.attributes["layout_digest"], store.samples, sources) != store.fingerprint:
            errors.append(f"{path}: its sources do not match its fingerprint. {store.remedy}")
        with progress.task(f"{path.parent.name}: {path.stem}", len(store), "images") as advance:
            for i in range(len(store)):
                message = _error_of(store, i)
                if message:
                    errors.append(message)
                advance(1)
        yield Verified(path, len(store), 0, size, time.perf_counter() - start, few(path, errors))
        yield verify_recordings(store, path.parent.name, progress)
    finally:
        store.close()


def _error_of(store: ImageStore, i: int) -> str:
    """The error of an image, or ""."""
    try:
        found = store.read(i)
    except CacheError as error:
        return str(error)
    if image_crc32(found) != int(store.samples.crc32[i]):
        return f"{store.path}: sample {i} ('{store.samples.name[i]}') does not match its checksum. {store.remedy}"
    return ""
