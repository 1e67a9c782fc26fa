"""The lock of a folder: of a cache while it is built, of a run or a search while it is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"


def lock_folder(folder: Path, *, soft: bool, on_wait: Callable[[], object] | None = None) -> BaseFileLock:
    """Create a folder and acquire its lock, which is also released when the process ends.

    Args:
        folder: The folder; the lock is its file ``.lock``.
        soft: Whether a lock file is enough if the file system has no locks; it remains after a process is killed.
        on_wait: Called before waiting for another process that has the lock; None does not wait.

    Returns:
        The lock, which the caller releases.

    Raises:
        TimeoutError: If another process has the lock and `on_wait` is None.
        OSError: If the folder cannot be created or locked.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, fallback_to_soft=soft)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is None:
            raise
        on_wait()
        _acquire_at_last(lock, folder)
    except NotImplementedError as error:
        raise OSError(str(error)) from None
    return lock


def _acquire_at_last(lock: BaseFileLock, folder: Path) -> None:
    """Wait for a lock; whoever had it may have removed the folder."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            lock.acquire()
            return


def is_locked(folder: Path) -> bool:
    """Whether a process has the folder's lock."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        # A read-only folder.
        return False
