"""A cache file (event store, frame cache, image store): written atomically, self-describing, sealed, opened lazily."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any, ClassVar

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter with HDF5)

from preprocess.errors import CacheError, CacheMismatchError
from preprocess.files import sync, whole_file
from preprocess.hdf5_heap import check_heap
from preprocess.hdf5_outside_data import refuse_outside_data
from preprocess.json_types import misfit
from preprocess.nearest_name import nearest_name
from preprocess.store.sample_table import SampleTable

READ_WITH = "h5py with hdf5plugin: import hdf5plugin before the file is opened"
"""A root attribute of every cache, because h5py alone does not have the filter (Blosc) of its data."""

# Since 1.10 HDF5 keeps checksums of its own structures; 1.14 still reads these files.
_HDF5_VERSIONS = ("v110", "v114")

_MOST_JOINED_BYTES = 1 << 17
# Coordinates have 16 bits.
_LARGEST_SIDE = 1 << 16

UNREADABLE = (
    OSError, KeyError, ValueError, TypeError, RuntimeError, UnicodeError, AttributeError, IndexError, OverflowError,
    MemoryError,
)  # fmt: skip
"""What h5py and NumPy raise for damaged files, and for those that have other objects where a cache has data."""


@contextlib.contextmanager
def writing(path: Path, *, durable_name: bool = True) -> Iterator[NewFile]:
    """An HDF5 file that gets its name only when it is complete and on the disk.

    It is written as ``.<name>.tmp`` in the same folder, which is removed after an error or a signal and
    overwritten by the next builder; the caller has the lock of the folder.

    Args:
        path: The final name.
        durable_name: Whether the name is on the disk, too, so that a power failure cannot take it away. Without it, the
            file is complete or missing.

    Raises:
        CacheError: If the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary, new_file(temporary) as file:
            yield file
        if durable_name:
            sync(path.parent)
    except OSError as error:
        hint = "Check the free space and the folder's permissions, then run the same command again."
        raise CacheError(f"{path}: cannot be written ({_reason(error)}). {hint}") from error


class NewFile(h5py.File):
    """An HDF5 file to fill; `check` reports whether writing has failed."""

    def __init__(self, path: Path, disk: _Disk) -> None:
        super().__init__(path, "w", driver="fileobj", fileobj=disk, libver=_HDF5_VERSIONS)
        self._disk = disk

    def check(self) -> None:
        """Raise the OSError of an earlier write, if one failed."""
        if self._disk.error is not None:
            raise self._disk.error


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[NewFile]:
    """An HDF5 file to fill; OSError if writing fails, at the latest at the end of the block."""
    with path.open("w+b", buffering=0) as raw:
        disk = _Disk(raw)
        try:
            with NewFile(path, disk) as file:
                yield file
            disk.flush()
        except (OSError, RuntimeError) as error:
            # The error of HDF5 only has the place in its code, that of the disk has the reason.
            raise (disk.error or error) from None
        if disk.error is not None:
            raise disk.error


class _Disk:
    """A file for HDF5's driver; it keeps its first error and discards all later writes.

    HDF5 cannot close a file that it cannot write: it fails again, prints to stderr, and keeps the file open. Small
    writes that follow one another, such as those of the chunks of small samples, are joined.
    """

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw
        self._position = 0
        self._first, self._joined = 0, bytearray()
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position for the next call."""
        if whence == os.SEEK_SET:
            self._position = offset
        else:
            self.flush()
            self._raw.seek(self._position)
            self._position = self._raw.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def write(self, data: memoryview) -> int:
        """All of the data."""
        if self._position != self._first + len(self._joined) or len(self._joined) + len(data) > _MOST_JOINED_BYTES:
            self.flush()
            self._first = self._position
        self._position += len(data)
        if len(data) > _MOST_JOINED_BYTES:
            self._write(self._first, data)
            self._first = self._position
        elif self.error is None:
            self._joined += data
        else:
            self._first = self._position
        return len(data)

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer; returns the number of bytes read."""
        self.flush()
        self._raw.seek(self._position)
        read = self._raw.readinto(buffer) or 0
        self._position += read
        return read

    def flush(self) -> None:
        """Write what was joined."""
        joined, self._joined = self._joined, bytearray()
        if joined:
            self._write(self._first, memoryview(joined))

    def truncate(self, size: int) -> int:
        """Cut or lengthen the file."""
        self.flush()
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size

    def _write(self, at: int, data: memoryview) -> None:
        try:
            self._raw.seek(at)
            written = 0 if self.error is None else len(data)
            while written < len(data):
                written += self._raw.write(data[written:])
        except OSError as error:
            self.error = error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def seal(file: h5py.File, table: SampleTable, attributes: Mapping[str, Any]) -> None:
    """Write the sample table, the root attributes, and the seal over both; before anything else (see `heap`)."""
    for name, value in attributes.items():
        file.attrs[name] = value
    file.attrs["table_sha256"] = table.sha256(_plain(attributes))
    table.write(file.create_group("samples"))


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes as Python values, the same before writing and after reading."""
    plain = {}
    for name, value in attributes.items():
        if isinstance(value, tuple | list):
            plain[name] = [str(item) for item in value]
        elif hasattr(value, "tolist"):
            plain[name] = value.tolist()
        else:
            plain[name] = value
    return plain


class CacheFile:
    """An HDF5 cache that describes itself.

    The constructor reads and checks the description; the file is opened at the first read in each process, so that an
    object may be pickled (as its path and fingerprint), forked and shared by threads.
    """

    FORMAT: ClassVar[str]
    VERSION: ClassVar[int]
    KIND: ClassVar[str]

    def __init__(self, path: Path | str) -> None:
        """Read and check the description.

        Raises:
            CacheError: If the file is missing, damaged or of another format.
            CacheMismatchError: If another version of the format wrote it.
        """
        self.path = Path(path).expanduser().absolute()
        self._handles: dict[int, tuple[h5py.File, Any]] = {}
        try:
            is_there = self.path.is_file()
        except OSError as error:
            # For example a parent folder without permissions.
            raise CacheError(
                f"{self.path}: expected {self.KIND}, found one that cannot be read ({error.strerror}). Check the "
                "permissions of the folders above it, or give another --cache."
            ) from None
        if not is_there:
            raise CacheError(f"{self.path}: expected {self.KIND}, found no such file. {self._meant()}{self._next()}")
        self._state = self._stat()
        try:
            check_heap(self.path)
            with h5py.File(self.path, "r") as file:
                refuse_outside_data(self.path, file, CacheError)
                self._check_format(file.attrs)
                self.attributes = _plain(dict(file.attrs))
                self.samples = SampleTable.read(file["samples"])
                self._read_description(file)
        except UNREADABLE as error:
            raise CacheError(
                f"{self.path}: expected {self.KIND}, found one that cannot be read ({_reason(error)}). {self._next()}"
            ) from None
        self._check_seal()

    dataset: str
    classes: tuple[str, ...]
    height: int
    width: int
    fingerprint: str
    window_us: int | None

    def _read_description(self, file: h5py.File) -> None:
        """Read the description from the open file; subclasses extend it."""
        self.dataset, self.fingerprint = self._attribute("dataset", str), self._attribute("fingerprint", str)
        self.classes = tuple(self._attribute("classes", list[str]))
        self.height, self.width = self._attribute("height", int), self._attribute("width", int)
        if not (0 < self.height <= _LARGEST_SIDE and 0 < self.width <= _LARGEST_SIDE):
            raise ValueError(f"a sensor of {self.height}x{self.width} pixels")
        self.window_us = self._attribute("window_us", int) if "window_us" in self.attributes else None

    def _attribute(self, name: str, kind: Any) -> Any:
        """An attribute; ValueError if it is missing or does not have the type, as `preprocess.json_types` checks it."""
        if (message := misfit(self.attributes.get(name), kind, name)) is not None:
            raise ValueError(message)
        return self.attributes[name]

    def _check_format(self, attributes: Mapping[str, Any]) -> None:
        found = attributes.get("format")
        if found != self.FORMAT:
            raise CacheError(f"{self.path}: expected format {self.FORMAT}, found {found}. Give {self.KIND}.")
        version = attributes.get("version")
        if version != self.VERSION:
            raise CacheMismatchError(
                f"{self.path}: expected {self.FORMAT} version {self.VERSION}, found {version}. {self._next()}"
            )

    def _check_seal(self) -> None:
        attributes = {name: value for name, value in self.attributes.items() if name != "table_sha256"}
        sealed = self.samples.sha256(attributes)
        message = self.samples.message(len(self.classes))
        if sealed != self.attributes.get("table_sha256"):
            message = "the sample table or an attribute does not match its seal (table_sha256)"
        if message:
            raise CacheError(f"{self.path}: damaged: {message}. {self._next()}")

    def _next(self) -> str:
        """The next step for a file that is missing or unusable."""
        # By name, because data sets are built on stores; only errors need it.
        datasets = import_module("preprocess.datasets.registry")
        attributes = getattr(self, "attributes", {})
        emulate, preprocess = datasets.cache_command(self.path.parent.name, attributes.get("dataset"))
        preprocess += " --sort" if attributes.get("sorted") else ""
        source, cache = attributes.get("source", "DIR"), self.path.parent.parent
        first = f"{emulate} --out DIR, then " if emulate and source == "DIR" else ""
        return f"Make it: {first}{preprocess} --source {source} --cache {cache}"

    def _meant(self) -> str:
        """The data set of this cache that a name probably means, if it is not the name of a data set itself."""
        name, cache = self.path.parent.name, self.path.parent.parent
        known = "--name" not in import_module("preprocess.datasets.registry").cache_command(name)[1]
        near = None if known else nearest_name(name, _names(cache))
        return f"Did you mean '{near}'? " if near else ""

    def _stat(self) -> tuple[int, int, int] | None:
        with contextlib.suppress(OSError):
            found = self.path.stat()
            return found.st_ino, found.st_size, found.st_mtime_ns
        return None

    def is_current(self) -> bool:
        """Whether the file at this path is still the one that was opened."""
        return self._state is not None and self._stat() == self._state

    def __len__(self) -> int:
        return len(self.samples)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self.path, self.fingerprint)

    def _handle(self) -> Any:
        """This process's open file, opened at the first call."""
        # Keyed by process: a forked child opens its own. Without a lock, because a lock held by another thread
        # while forking stays locked in the child; if two threads open at once, the first one wins.
        handle = self._handles.get(os.getpid())
        if handle is None:
            try:
                file = h5py.File(self.path, "r")
                handle = self._handles.setdefault(os.getpid(), (file, self._readers(file)))
            except (OSError, KeyError, ValueError, RuntimeError) as error:
                raise CacheError(f"{self.path}: cannot be opened ({_reason(error)}). {self._next()}") from None
        return handle[1]

    def _readers(self, file: h5py.File) -> Any:
        """The readers of the open file."""
        raise NotImplementedError

    def close(self) -> None:
        """Close this process's file; the next read opens it again."""
        handle = self._handles.pop(os.getpid(), None)
        if handle is not None:
            handle[0].close()

    def _damaged(self, i: int, error: Exception) -> CacheError:
        name = self.samples.name[i]
        return CacheError(f"{self.path}: sample {i} ('{name}') is damaged ({_reason(error)}). {self._repair()}")

    def _repair(self) -> str:
        return f"Delete the file. {self._next()}"


def _names(cache: Path) -> list[str]:
    """The names of the data sets in a cache."""
    try:
        return sorted(path.parent.name for file in ("events.h5", "images.h5") for path in cache.glob(f"*/{file}"))
    except OSError:
        return []


def _reopen(kind: type[Any], path: Path, fingerprint: str) -> Any:
    """Unpickle a cache; CacheMismatchError if the file was rebuilt from other recordings meanwhile."""
    cache = kind(path)
    if cache.fingerprint != fingerprint:
        raise CacheMismatchError(
            f"{path}: expected fingerprint {fingerprint}, found {cache.fingerprint}. The file was rebuilt "
            "meanwhile; run the same command again."
        )
    return cache
