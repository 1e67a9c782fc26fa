"""Readers with defects, which the harness must report; and one without, which it must not."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from preprocess.errors import RecordingError

from .target import Target

# Random changes find it in less than a second: any input that does not begin as the seed does.
_SEED = b"a valid file of 32 bytes, or so.."


def _seeds(folder: Path) -> Iterator[bytes]:
    yield _SEED


def _is_valid(path: Path) -> bool:
    return path.read_bytes().startswith(_SEED[:8])


def _read(path: Path) -> None:
    if not _is_valid(path):
        raise RecordingError(f"{path}: expected a valid file, found another one. Copy it again.")


def _raise(path: Path) -> None:
    if not _is_valid(path):
        raise ValueError("a planted defect")


def _hang(path: Path) -> None:
    while not _is_valid(path):
        pass


def _crash(path: Path) -> None:
    if not _is_valid(path):
        os.abort()


def _fill_memory(path: Path) -> None:
    if not _is_valid(path):
        len(b"x" * (200 << 20))


def _leave_a_file(path: Path) -> None:
    if not _is_valid(path):
        path.with_name("left").touch()


def _leave_a_file_outside(path: Path) -> None:
    if not _is_valid(path):
        (path.parent.parent / "outside").touch()


def _keep_files_open(path: Path) -> None:
    if not _is_valid(path):
        _OPEN.append(path.open("rb"))


def _say_nothing(path: Path) -> None:
    if not _is_valid(path):
        raise RecordingError("oops")


def _warn(path: Path) -> None:
    if not _is_valid(path):
        warnings.warn("an overflow", RuntimeWarning, stacklevel=2)


_OPEN: list[object] = []
_READERS = {
    "healthy": _read, "ValueError": _raise, "hang": _hang, "crash": _crash, "memory": _fill_memory,
    "leftover": _leave_a_file, "outside": _leave_a_file_outside, "open-files": _keep_files_open,
    "message": _say_nothing, "RuntimeWarning": _warn,
}  # fmt: skip
TARGETS = {name: Target(name, "a.bin", _seeds, read) for name, read in _READERS.items()}
