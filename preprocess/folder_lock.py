"""The lock of a folder: of a cache while it is built, of a run or a search while it is written."""

from __future__ import annotations

import os
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

    lock = FileLock(folder / LOCK, fallback_to_soft=soft)
    patience = 0.0
    while True:
        try:
            _make_folder(folder)
            lock.acquire(timeout=patience)
            return lock
        except Timeout:
            if on_wait is None:
                raise
            on_wait()
            patience = -1.0
        except FileNotFoundError:
            # Whoever had the lock has removed the folder, between our making it and locking it.
            continue
        except NotImplementedError as error:
            raise OSError(str(error)) from None


def _make_folder(folder: Path) -> None:
    """Create a folder that another process may remove at any moment."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except FileExistsError:
            # It was there and is gone now; anything else in its place stays an error.
            if os.path.lexists(folder) and not folder.is_dir():
                raise


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
