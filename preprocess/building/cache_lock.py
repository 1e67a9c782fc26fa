"""The lock of a cache folder: one process builds and others wait; the lock of a dead process is released at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from preprocess.errors import CacheError
from preprocess.folder_lock import LOCK, lock_folder
from preprocess.terminal.progress import Progress


@contextlib.contextmanager
def building(folder: Path, progress: Progress, hint: str = "Choose another --cache.") -> Iterator[None]:
    """Hold the lock of a cache folder, ``folder/.lock``, while the block runs; wait if another process holds it.

    The other process may have built the cache meanwhile, so callers check again once they hold the lock.

    Args:
        folder: The folder; created if it is missing.
        progress: Where to report a wait.
        hint: The next step for the user if the folder cannot be written.

    Raises:
        CacheError: If the folder cannot be created or its file system does not support locks.
    """
    try:
        # A soft lock, which is only a file, would remain after its process is killed.
        lock = lock_folder(
            folder,
            soft=False,
            on_wait=lambda: progress.note(f"{folder}: waiting for another process that is building here"),
        )
    except OSError as error:
        raise CacheError(
            f"{folder}: expected a folder that can be written and locked, found: {error}. {hint}"
        ) from None
    try:
        yield
    except BaseException:
        _remove_if_empty(folder)
        raise
    finally:
        lock.release()


def _remove_if_empty(folder: Path) -> None:
    """Leave nothing of a build that failed before it wrote anything; others that wait for the lock make a new one."""
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
