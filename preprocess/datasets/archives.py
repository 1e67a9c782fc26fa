"""Unpack archives of recordings atomically into a folder next to the archive.

Only files and folders with relative names are unpacked; absolute names, ``..``, links and devices are refused. No file
may be larger than the archive declares, and the disk must have space for it.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, cast

from preprocess.errors import LayoutError
from preprocess.files import ARCHIVE_ERRORS

_ENDS = (".tar.gz", ".tgz", ".tar", ".zip")
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 20
# The largest data set here has 120,000 files.
MOST_MEMBERS = 2_000_000

Notify = Callable[[str], None]


def unpack_known(places: Iterable[Path], archives: Mapping[str, str], notify: Notify) -> None:
    """Unpack the archives with these names that are in the folders and not yet unpacked.

    Args:
        places: The folders; missing ones are ignored.
        archives: Name of the folder that each archive is unpacked to, by its file name.
        notify: Called with messages about the progress.

    Raises:
        LayoutError: If an archive is damaged or contains anything that is refused.
    """
    waiting = list(places)
    for place in waiting:
        for name, becomes in archives.items():
            if (place / name).is_file() and not (place / becomes).exists():
                # tonic's CIFAR10-DVS is an archive of archives.
                waiting.append(unpack_archive(place / name, becomes, notify))


def unpack_archive(archive: Path, name: str | None, notify: Notify) -> Path:
    """Unpack an archive into a folder next to it, and return the folder; an existing folder is used as it is.

    Args:
        archive: A .tar.gz, .tgz, .tar or .zip.
        name: Name of the folder; the archive's name without its suffix if None.
        notify: Called with messages about the progress.

    Raises:
        LayoutError: If the file is not an archive, is damaged or contains anything that is refused, or if the disk is
            full.
    """
    end = next((end for end in _ENDS if archive.name.lower().endswith(end)), None)
    if end is None:
        known = ", ".join(_ENDS)
        raise LayoutError(f"{archive}: expected a folder or an archive ({known}), found a file. Give the folder.")
    name = name or archive.name[: -len(end)]
    folder = archive.with_name(name)
    if folder.exists():
        return folder
    notify(f"{archive}: unpacking into {folder}")
    temporary = archive.with_name(f".{name}.{os.getpid()}.tmp")
    _remove_leftovers(archive.parent, name)
    try:
        temporary.mkdir()
        (_unpack_zip if end == ".zip" else _unpack_tar)(archive, temporary)
        # Most archives contain a single folder with the name of the archive.
        inner = temporary / name
        alone = inner.is_dir() and sum(1 for path in temporary.iterdir() if not path.name.startswith(("_", "."))) == 1
        with contextlib.suppress(FileExistsError):
            (inner if alone else temporary).rename(folder)
    except ARCHIVE_ERRORS as error:
        raise _refused(archive, "an intact archive", f"a damaged one ({error or type(error).__name__})") from None
    except gzip.BadGzipFile as error:
        raise _refused(archive, "an intact archive", f"a damaged one ({error})") from None
    except (FileExistsError, NotADirectoryError) as error:
        twice = Path(error.filename or archive).name[:100]
        raise _refused(archive, "another name for each file and folder", f"'{twice}' twice") from None
    except OSError as error:
        where = error.filename or archive
        hint = "Free space on the disk, or unpack it elsewhere and give that folder."
        raise LayoutError(f"{where}: cannot be unpacked ({error.strerror or error}). {hint}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _remove_leftovers(folder: Path, name: str) -> None:
    """Remove the unfinished folders of killed processes."""
    for path in folder.glob(f".{glob.escape(name)}.*.tmp"):
        process = path.suffixes[-2].removeprefix(".")
        if process.isdigit() and not _runs(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # The process of another user.
    return True


def _unpack_tar(archive: Path, folder: Path) -> None:
    # Read as a stream, once from beginning to end. tarfile's compressed streams do not verify gzip's checksum.
    with archive.open("rb") as file, _inflated(file) as content, tarfile.open(fileobj=content, mode="r|") as tar:
        for number, member in enumerate(tar):
            _refuse_too_many(archive, number + 1)
            target = _target(archive, folder, member.name, is_folder=member.isdir())
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                inside = tar.extractfile(member)
                assert inside is not None
                _write(archive, target, inside, member.size)
            else:
                kind = "a link" if member.islnk() or member.issym() else "a device or another special file"
                raise _refused(archive, "files and folders only", f"{kind}, '{member.name[:100]}'")
        for _ in _blocks(content):
            pass


def _inflated(file: BufferedReader) -> IO[bytes]:
    compressed = file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if compressed else file


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        _refuse_too_many(archive, len(zipped.infolist()))
        for member in zipped.infolist():
            is_folder = member.filename.endswith("/")
            target = _target(archive, folder, member.filename, is_folder=is_folder)
            # The upper half is a Unix mode, whose upper four bits distinguish links and devices from files.
            kind = member.external_attr >> 28
            if kind not in (0, 0x4, 0x8):
                raise _refused(archive, "files and folders only", f"a link or device, '{member.filename[:100]}'")
            if is_folder:
                target.mkdir(parents=True, exist_ok=True)
            else:
                with zipped.open(member) as content:
                    _write(archive, target, content, member.file_size)


def _refuse_too_many(archive: Path, members: int) -> None:
    if members > MOST_MEMBERS:
        hint = "Nothing was unpacked. If you trust it, unpack it yourself and give the folder."
        raise _refused(archive, f"at most {MOST_MEMBERS:,} files and folders", "more", hint)


def _target(archive: Path, folder: Path, name: str, *, is_folder: bool) -> Path:
    """Return the path of a member in the folder; LayoutError if it would be outside the folder."""
    path = PurePosixPath(name)
    # Archives of `.` list the folder itself.
    outside = path.is_absolute() or ".." in path.parts or not (path.parts or is_folder)
    if outside or "\\" in name or "\0" in name or ":" in name:
        raise _refused(archive, "names within its own folder", f"'{name[:100]}'")
    return folder / path


def _write(archive: Path, target: Path, content: IO[bytes], size: int) -> None:
    """Write a member, and check that it has the size that the archive declares."""
    if size > shutil.disk_usage(archive.parent).free:
        raise _refused(archive, "files that fit on the disk", f"one of {size:,} bytes, '{target.name[:100]}'")
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    # Exclusive mode, so that no member replaces another.
    with target.open("xb") as file:
        for block in _blocks(content):
            written += len(block)
            if written > size:
                break
            file.write(block)
    if written != size:
        raise _refused(archive, f"{size:,} bytes in '{target.name[:100]}'", f"{'more' if written > size else written}")


def _blocks(content: IO[bytes]) -> Iterator[bytes]:
    while block := content.read(_BLOCK_BYTES):
        yield block


def _refused(
    archive: Path, expected: str, found: str, hint: str = "Nothing was unpacked; download it again."
) -> LayoutError:
    return LayoutError(f"{archive}: expected {expected}, found {' '.join(found.split())}. {hint}")
