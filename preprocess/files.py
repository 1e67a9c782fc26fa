"""Atomic writing of files, and reading and writing of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from preprocess.errors import RunError


@contextlib.contextmanager
def whole_file(path: Path, *, temporary: Path | None = None, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary file that is renamed to `path` when the block ends; it is removed after an error or a signal.

    Args:
        path: The final name.
        temporary: A path in the same folder; ``.<name>.tmp`` if not given, which is only safe for a single writer.
        durable: Whether the content is synced to disk before the file is renamed.

    Raises:
        OSError: If the disk is full or the folder cannot be written.
    """
    temporary = temporary or path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync(path: Path) -> None:
    """Sync a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: call `write` with a temporary file, which is then synced to disk and renamed to `path`.

    Raises:
        RunError: If the disk is full or the folder cannot be written.
    """
    try:
        with whole_file(path) as temporary:
            write(temporary)
    except OSError as error:
        hint = "Check the free space and the folder's permissions, then resume."
        raise RunError(f"{path}: cannot be written ({error.strerror or error}). {hint}") from None


def copy_whole(source: Path, path: Path) -> None:
    """Copy a file atomically; RunError if reading or writing fails."""
    write_whole(path, lambda temporary: shutil.copyfile(source, temporary))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically."""
    write_whole(path, lambda temporary: temporary.write_text(json.dumps(value, indent=2) + "\n"))


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a JSON-lines file atomically."""
    write_whole(path, lambda temporary: temporary.write_text("".join(json.dumps(row) + "\n" for row in rows)))


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None if there is no such file, RunError if it is damaged."""
    try:
        value = json.loads(_read(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(path, error) from None
    if not isinstance(value, dict):
        raise _damaged(path, f"it contains a {type(value).__name__}")
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a JSON-lines file; none if there is no such file, RunError if a row is damaged."""
    try:
        rows = [json.loads(line) for line in _read(path).splitlines()]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise _damaged(path, error) from None
    if not all(isinstance(row, dict) and "epoch" in row for row in rows):
        raise _damaged(path, "a line is not the row of an epoch")
    return rows


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from None


def _damaged(path: Path, reason: object) -> RunError:
    return RunError(f"{path}: cannot be read ({reason}). Delete the run folder and train again.")


def make_folder(folder: Path) -> None:
    """Create an output folder; RunError if there is a file of that name or the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder}: expected a writable folder, found: {error.strerror}. Choose another --out."
        ) from None
