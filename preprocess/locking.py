"""One builder a cache folder: others wait, and the lock of a process that dies is free at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from preprocess.errors import CacheError
from preprocess.progress import Progress


@contextlib.contextmanager
def building(folder: Path, progress: Progress, hint: str = "Choose another --cache.") -> Iterator[None]:
    """Hold the lock of a cache folder, ``folder/.lock``; waits for whoever holds it.

    What the waiting was for may be done by then: callers look again once they hold the lock.

    Args:
        folder: Made if it is missing.
        progress: Is told of a wait.
        hint: What the user does about a folder that cannot be written.

    Raises:
        CacheError: If the folder cannot be made or its file system has no locks.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A soft lock, made of a file alone, would outlive a killed builder.
        lock = FileLock(folder / ".lock", fallback_to_soft=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note(f"{folder}: another process builds here; waiting for it")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise CacheError(
            f"{folder}: expected a folder that can be written and locked, found: {error}. {hint}"
        ) from None
    try:
        yield
    finally:
        lock.release()
