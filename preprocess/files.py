"""Atomic writing of files, and reading and writing of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from preprocess.errors import RunError
from preprocess.json_types import misfit

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it cannot read such archives either
    LZMAError = zlib.error  # type: ignore[misc, assignment]

ARCHIVE_ERRORS = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError, NotImplementedError, RuntimeError
)  # fmt: skip
"""What zipfile, tarfile, gzip and their decompressors raise for damaged archives, besides OSError."""

_AGAIN = "Delete the run folder and train again."


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


def read_json(
    path: Path, kind: Any = dict[str, Any], *, complete: bool = True, next_step: str = _AGAIN
) -> dict[str, Any] | None:
    """Read a JSON object; None if there is no such file, RunError if it is damaged.

    Args:
        path: The file.
        kind: The type of its content, such as a TypedDict, as `preprocess.json_types.misfit` checks it.
        complete: Whether all required keys of the TypedDict must be there.
        next_step: What to do about a damaged file, as a sentence.
    """
    try:
        value = json.loads(_read(path))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error, next_step) from None
    if not isinstance(value, dict):
        raise _damaged(path, f"it contains a {type(value).__name__}", next_step)
    if (message := misfit(value, kind, complete=complete)) is not None:
        raise _damaged(path, message, next_step)
    return value


def read_lines(
    path: Path, kind: Any = dict[str, float | None], *, numbered: bool = True, next_step: str = _AGAIN
) -> list[dict[str, Any]]:
    """Read the rows of a JSON-lines file; none if there is no such file, RunError if a row is damaged.

    Args:
        path: The file.
        kind: The type of a row.
        numbered: Whether every row must have its epoch, a whole number from 1.
        next_step: What to do about a damaged file, as a sentence.
    """
    try:
        rows = [json.loads(line) for line in _read(path).splitlines()]
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error, next_step) from None
    for number, row in enumerate(rows, 1):
        epoch = row.get("epoch") if isinstance(row, dict) else None
        if numbered and (type(epoch) is not int or epoch < 1):
            raise _damaged(path, f"line {number} is not the row of an epoch", next_step)
        if (message := misfit(row, kind)) is not None:
            raise _damaged(path, f"line {number}: {message}", next_step)
    return rows


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from None


def _damaged(path: Path, reason: object, next_step: str = _AGAIN) -> RunError:
    return RunError(f"{path}: cannot be read ({reason}). {next_step}")


def make_folder(folder: Path) -> None:
    """Create an output folder; RunError if there is a file of that name or the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{folder}: expected a writable folder, found: {error.strerror}. Choose another --out."
        ) from None
