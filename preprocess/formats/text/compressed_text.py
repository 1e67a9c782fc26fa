"""Open a text file that may be compressed: plain, gzip, or a zip archive with one text."""

from __future__ import annotations

import contextlib
import gzip
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from preprocess.errors import RecordingError
from preprocess.files import ARCHIVE_ERRORS
from preprocess.formats.recording import first_bytes, unreadable

TEXT_SUFFIXES = (".txt", ".csv", ".tsv")

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_ZIP_HEADER_BYTES = 30

_DAMAGED = (*ARCHIVE_ERRORS, gzip.BadGzipFile)


@dataclass
class OpenText:
    """An open text.

    Attributes:
        path: The file.
        raw: The file on the disk.
        text: Its decompressed contents; `raw` if it is not compressed.
    """

    path: Path
    raw: IO[bytes]
    text: Any

    def read(self, size: int) -> bytes:
        """Read decompressed bytes; empty at the end.

        Raises:
            RecordingError: If the file cannot be read, or is damaged; bytes before the damage are returned first.
        """
        parts: list[bytes] = []
        wanted = size
        try:
            while wanted and (part := self.text.read1(wanted)):
                parts.append(part)
                wanted -= len(part)
        except _DAMAGED as error:
            if not parts:
                raise _damaged(self.path, error, self.raw.tell()) from None
        except OSError as error:
            raise unreadable(self.path, error) from None
        return b"".join(parts)

    def byte(self, position: int) -> int:
        """The byte of the file up to which it was read, when the text was used up to its byte `position`."""
        return position if self.raw is self.text else self.raw.tell()


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[OpenText]:
    """Open a text file, compressed or not.

    Raises:
        RecordingError: If it cannot be read, or is an archive of other contents.
    """
    try:
        raw = path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from None
    with contextlib.ExitStack() as opened:
        opened.enter_context(raw)
        try:
            head = raw.read(4)
            raw.seek(0)
            text: Any = raw
            if head.startswith(_GZIP):
                text = opened.enter_context(gzip.GzipFile(fileobj=raw))
            elif head == _ZIP:
                archive = opened.enter_context(zipfile.ZipFile(raw))
                text = opened.enter_context(archive.open(_only_text(path, archive)))
        except _DAMAGED as error:
            raise _damaged(path, error, None) from None
        except OSError as error:
            raise unreadable(path, error) from None
        yield OpenText(path, raw, text)


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed in one of the ways that are read here."""
    return first_bytes(path).startswith((_GZIP, _ZIP))


def is_zipped_text(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a zip archive whose first member, behind folders, is a text."""
    while head.startswith(_ZIP):
        name_end = _ZIP_HEADER_BYTES + int.from_bytes(head[26:28], "little")
        name = head[_ZIP_HEADER_BYTES:name_end].decode("utf-8", "replace").lower()
        if not name.endswith("/"):
            return name.endswith(TEXT_SUFFIXES)
        # Behind the extra field and the contents, which are empty but may be compressed, the next member follows.
        head = head[name_end + int.from_bytes(head[28:30], "little") + int.from_bytes(head[18:22], "little") :]
    return False


def _only_text(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
    if len(names) != 1:
        few = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
        raise RecordingError(
            f"{path}: expected an archive of one text file, found {len(names)} files: {few}. Unpack it and give one of "
            "its files."
        )
    return names[0]


def _damaged(path: Path, error: BaseException, at: int | None) -> RecordingError:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    found = RecordingError(f"{path}: expected a compressed text, found a damaged one ({reason}). Copy it again.")
    found.at = at
    return found
