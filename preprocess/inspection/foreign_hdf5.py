"""HDF5 files of other programs: an error that lists their contents and explains how to convert their events."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import h5py

from preprocess.errors import CacheError
from preprocess.formats.array_columns import match_names
from preprocess.store.event_store import FORMAT as EVENTS_FORMAT
from preprocess.store.frame_cache import FORMAT as FRAMES_FORMAT
from preprocess.store.hdf5_heap import check_heap

_MOST_NAMES = 8
_MOST_GROUPS = 100


def refuse_foreign(path: Path) -> None:
    """Refuse an HDF5 file that is not a cache of spikeloom.

    Files that cannot be read are accepted here: opening them as a cache raises the right error.

    Raises:
        CacheError: If it is another HDF5 file; the message lists its datasets and how to convert events.
    """
    try:
        check_heap(path)
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") in (EVENTS_FORMAT, FRAMES_FORMAT):
                return
            found, hint = _datasets(file), _conversion(path, file)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError):
        return
    raise CacheError(
        f"{path}: expected an event store or a frame cache of spikeloom, found an HDF5 file with {found}. HDF5 "
        f"recordings are not supported; {hint}"
    )


def _datasets(file: h5py.File) -> str:
    """List the first datasets, at most one group deep, with types and shapes; of deeper groups only their names."""
    names = list(islice(_titles(file), _MOST_NAMES + 1))
    more = " and more" if len(names) > _MOST_NAMES else ""
    return ("the datasets " + ", ".join(names[:_MOST_NAMES]) + more) if names else "no datasets"


def _titles(file: h5py.File) -> Iterator[str]:
    for name, item in file.items():
        inner = ((f"{name}/{key}", value) for key, value in item.items()) if _is_filled(item) else [(name, item)]
        for title, value in inner:
            yield f"{title} ({_title(value)})" if isinstance(value, h5py.Dataset) else f"{title}/"


def _is_filled(item: h5py.Group | h5py.Dataset) -> bool:
    return isinstance(item, h5py.Group) and len(item) > 0


def _title(dataset: h5py.Dataset) -> str:
    if dataset.dtype.names is not None:
        return f"fields {', '.join(dataset.dtype.names)} of shape {dataset.shape}"
    return f"{dataset.dtype} of shape {dataset.shape}"


def _conversion(path: Path, file: h5py.File) -> str:
    """Return the next step: code that saves the events as an array file, if their columns are found in a group."""
    then = "then run spikeloom inspect or preprocess on it, with --time-unit if its times are not in us."
    groups = ((name, item) for name, item in file.items() if isinstance(item, h5py.Group))
    # Files may have a group for each of thousands of recordings: only the first ones are opened.
    for name, group in chain([("/", file)], islice(groups, _MOST_GROUPS)):
        items = list(islice(group.items(), _MOST_GROUPS))
        columns = match_names([key for key, item in items if isinstance(item, h5py.Dataset)])
        if columns is not None:
            parts = ", ".join(f"{letter}=f['{key}'][:]" for letter, key in columns.items())
            return (
                f"convert it: import h5py, numpy; f = h5py.File('{path.name}')['{name}']; "
                f"numpy.savez('{path.stem}.npz', {parts}); {then}"
            )
        for key, item in items:
            if isinstance(item, h5py.Dataset) and item.dtype.names and match_names(item.dtype.names):
                return (
                    f"convert it: import h5py, numpy; f = h5py.File('{path.name}')['{name}']; "
                    f"numpy.save('{path.stem}.npy', f['{key}'][:]); {then}"
                )
    return "save its events as columns t, x, y and p with NumPy's savez, and give that file."
