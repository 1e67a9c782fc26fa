"""Count the files in the folder of a data set that are not read, so that none is skipped silently."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from preprocess.datasets.layout import Layout
from preprocess.emulator.output_folder import ABOUT


@dataclass(frozen=True)
class Unread:
    """Files of one kind that are not read.

    Attributes:
        kind: Suffix of the files, such as ``.txt``; "" without one.
        deeper: Whether they are in a deeper folder than any recording that is read.
        files: Number of files.
        example: One of the files, relative to the data set's folder.
    """

    kind: str
    deeper: bool
    files: int
    example: str

    def __str__(self) -> str:
        kind = self.kind or "without a suffix"
        return f"{self.files:,} {kind}{' in deeper folders' if self.deeper else ''} ({self.example})"


def find_unread(layout: Layout, cache: Path | None = None) -> list[Unread]:
    """Find the files below the folder of a data set that its layout does not read, the most frequent kind first.

    Hidden files, and archives that were unpacked into the folder, are not counted.

    Args:
        layout: The recordings and tables that are read.
        cache: The folder of all caches, which is skipped if it is among the recordings.
    """
    read = {recording.relative for recording in layout.recordings} | {*layout.tables, ABOUT}
    deepest = max(recording.relative.count("/") for recording in layout.recordings)
    found: dict[tuple[str, bool], list[str]] = {}
    for relative in _files_below(layout.folder, cache):
        if relative not in read and not _is_unpacked(layout, relative):
            kind = PurePosixPath(relative).suffix.lower(), relative.count("/") > deepest
            found.setdefault(kind, []).append(relative)
    counted = [Unread(kind, deeper, len(names), min(names)) for (kind, deeper), names in found.items()]
    return sorted(counted, key=lambda unread: (-unread.files, unread.kind))


def _files_below(folder: Path, left_out: Path | None) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        above = Path(where).relative_to(folder).as_posix()
        folders[:] = [name for name in folders if not name.startswith(".") and Path(where, name) != left_out]
        yield from (name if above == "." else f"{above}/{name}" for name in files if not name.startswith("."))


def _is_unpacked(layout: Layout, relative: str) -> bool:
    """Whether the file is an archive of the data set that was unpacked next to it."""
    from preprocess.datasets.registry import ARCHIVES

    unpacked = ARCHIVES.get(layout.dataset, {}).get(PurePosixPath(relative).name)
    return unpacked is not None and (layout.folder / relative).with_name(unpacked).is_dir()
