"""The lock of a folder: of a cache while it is built, of a run or a search while it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"
_ATTEMPTS = 100


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
    patience, vanished = 0.0, 0
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=patience)
            return lock
        except Timeout:
            if on_wait is None:
                raise
            on_wait()
            patience = -1.0
        except (FileExistsError, FileNotFoundError):
            # Whoever had the lock may remove the folder while we make it and before we lock it. What is still so after
            # many attempts has another cause, such as a file or a broken link in the path.
            vanished += 1
            if vanished == _ATTEMPTS:
                raise
        except NotImplementedError as error:
            raise OSError(str(error)) from None


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
