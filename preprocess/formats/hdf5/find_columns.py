"""Find the events in an HDF5 file: by the layouts of known data sets and cameras, by names, or at a given path.

Sources: DSEC, https://dsec.ifi.uzh.ch/data-format (events/{x,y,t,p}, t_offset, ms_to_idx); MVSEC,
https://daniilidis-group.github.io/mvsec (davis/left/events, rows of x, y, t in s, p); Metavision,
https://docs.prophesee.ai/stable/data/file_formats/hdf5.html (CD/events, fields x, y, p, t).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from preprocess.errors import RecordingError
from preprocess.events import LARGEST_SIDE
from preprocess.formats.column_names import TABLE_NAMES, match_names
from preprocess.formats.read_options import COLUMNS, ReadOptions, TimeUnit
from preprocess.formats.recording import Size

_OWN = "spikeloom-"

# A file may have a group for each of thousands of recordings: only the first ones are opened.
_MOST_GROUPS = 100
_MOST_NAMES = 8


@dataclass(frozen=True)
class Hdf5Columns:
    """Where the events of an HDF5 file are.

    Attributes:
        title: Readable name of the layout.
        place: Path of the group or data set.
        columns: Column letter -> data set, and its field or column; None if it is one column.
        count: Number of events.
        ordered: Whether the columns are identified by names, by the layout or by the user.
        unit: Unit of the times, if the layout defines it.
        offset_us: Added to every time.
        size: Rows and columns of the sensor, if the file or the layout states them.
        is_usual_size: Whether `size` is that of the sensor that such files usually come from.
        notes: Counts of events that are not read.
    """

    title: str
    place: str
    columns: Mapping[str, tuple[str, str | int | None]]
    count: int
    ordered: bool = True
    unit: TimeUnit | None = None
    offset_us: int = 0
    size: Size | None = None
    is_usual_size: bool = False
    notes: Mapping[str, int] = field(default_factory=dict)


def find_columns(path: Path, file: h5py.File, options: ReadOptions) -> Hdf5Columns:
    """Find the events of an open file.

    Raises:
        RecordingError: If there are none, or several recordings, or the file is not a recording.
    """
    _refuse_others(path, file)
    size = _stated_size(file)
    known = _metavision(file, size, options) or _dsec(file, size, options) or _mvsec(file, options)
    if known is not None and _is_asked_for(known.place, options):
        return known
    if options.hdf5_path is not None:
        item = file.get(options.hdf5_path)
        found = None if item is None else _of_item(options.hdf5_path.strip("/"), item, options)
        if found is None:
            _refuse_unequal(path, options.hdf5_path.strip("/"), item)
            what = "nothing there" if item is None else "other contents there"
            raise _no_events(path, file, f"events at --hdf5-path {options.hdf5_path[:80]}", what)
        return _with(found, size=size)
    several = [found for name, item in _items(file) if (found := _of_item(name, item, options)) is not None]
    if len(several) > 1:
        names = [found.place or "/" for found in several]
        more = " and more" if len(names) > _MOST_NAMES else ""
        raise RecordingError(
            f"{path}: expected one recording, found {len(names)}: {', '.join(names[:_MOST_NAMES])}{more}. Choose one: "
            f"--hdf5-path {names[0]}"
        )
    if not several:
        for name, item in _items(file):
            _refuse_unequal(path, name, item)
        raise _no_events(path, file, "events", "none")
    return _with(several[0], size=size)


def _refuse_others(path: Path, file: h5py.File) -> None:
    """Refuse the caches of these packages, and data sets of spike trains."""
    own = file.attrs.get("format")
    if isinstance(own, str) and own.startswith(_OWN):
        raise RecordingError(
            f"{path}: expected a recording, found a cache of spikeloom ({own}). Give the recordings it was made from, "
            "or train from it: spikeloom train --cache FOLDER"
        )
    if "spikes/times" in file and "spikes/units" in file:
        raise RecordingError(
            f"{path}: expected a recording of a camera, found a data set of spike trains, as SHD or SSC. Read the "
            "folder that contains it: spikeloom preprocess shd --source FOLDER"
        )


def _metavision(file: h5py.File, size: Size | None, options: ReadOptions) -> Hdf5Columns | None:
    item = file.get("CD/events")
    found = _of_item("CD/events", item, options) if isinstance(item, h5py.Dataset) and item.dtype.names else None
    triggers = file.get("EXT_TRIGGER/events")
    notes = {"external_triggers_left_out": triggers.size} if isinstance(triggers, h5py.Dataset) else {}
    return found and _with(found, title="Metavision", unit="us", size=size, notes=notes)


def _dsec(file: h5py.File, size: Size | None, options: ReadOptions) -> Hdf5Columns | None:
    item = file.get("events")
    if not isinstance(item, h5py.Group) or "t_offset" not in file:
        return None
    found = _of_item("events", item, options)
    offset = np.asarray(file["t_offset"][()]).reshape(-1)
    if found is None or len(offset) != 1 or offset.dtype.kind not in "iu" or abs(int(offset[0])) >= 1 << 61:
        return None
    return _with(
        found, title="DSEC", unit="us", offset_us=int(offset[0]), size=size or (480, 640), is_usual_size=size is None
    )


def _mvsec(file: h5py.File, options: ReadOptions) -> Hdf5Columns | None:
    """The camera that is asked for; if none is, the left one, unless only the right one is there."""
    rows = {side: file.get(f"davis/{side}/events") for side in ("left", "right")}
    there = [side for side, item in rows.items() if isinstance(item, h5py.Dataset) and _is_table(item)]
    if not there:
        return None
    there.sort(key=lambda side: not _is_asked_for(f"davis/{side}/events", options))
    # Files that were converted may have another order than the published ones.
    ordered = ReadOptions(options.columns or "xytp", options.time_unit)
    found = _of_item(f"davis/{there[0]}/events", rows[there[0]], ordered)
    others = {f"events_of_the_{side}_camera_not_read": _table_length(rows[side]) for side in there[1:]}
    return found and _with(found, title="MVSEC", unit="s", size=(260, 346), is_usual_size=True, notes=others)


def _is_asked_for(place: str, options: ReadOptions) -> bool:
    """Whether the layout's unit, offset and size apply: no path is given, or that of these events or of their group."""
    return options.hdf5_path is None or options.hdf5_path.strip("/") in (place, place.rpartition("/")[0])


def _with(found: Hdf5Columns, **changes: Any) -> Hdf5Columns:
    return dataclasses.replace(found, **changes)


def _of_item(place: str, item: object, options: ReadOptions) -> Hdf5Columns | None:
    """The columns of a group (by the names of its data sets) or of a data set (fields, or four columns), if any."""
    if isinstance(item, h5py.Group):
        names = [name for name, inner in islice(item.items(), _MOST_GROUPS) if isinstance(inner, h5py.Dataset)]
        found = match_names(names)
        if found is not None:
            above = f"{place}/" if place else ""
            counts = {math.prod(item[name].shape) for name in found.values() if _is_column(item[name])}
            if len(counts) == 1 and all(_is_column(item[name]) for name in found.values()):
                columns = {letter: (above + name, None) for letter, name in found.items()}
                return Hdf5Columns("columns", place, columns, int(next(iter(counts))))
        tables = [name for name in names if name.lower() in TABLE_NAMES]
        return _of_item(f"{place}/{tables[0]}".strip("/"), item[tables[0]], options) if len(tables) == 1 else None
    if not isinstance(item, h5py.Dataset):
        return None
    if item.dtype.names is not None:
        fields = [name for name in item.dtype.names if item.dtype[name].kind in "iufb" and item.dtype[name].shape == ()]
        found = match_names(fields)
        if found is None or item.ndim != 1:
            return None
        return Hdf5Columns("fields", place, {c: (place, name) for c, name in found.items()}, int(item.shape[0]))
    if not _is_table(item):
        return None
    order = {letter: (place, k) for k, letter in enumerate(options.columns or COLUMNS)}
    return Hdf5Columns("table", place, order, _table_length(item), ordered=options.columns is not None)


def _refuse_unequal(path: Path, place: str, item: object) -> None:
    """Refuse a group with the columns of events whose lengths differ."""
    if not isinstance(item, h5py.Group):
        return
    found = match_names([name for name, inner in islice(item.items(), _MOST_GROUPS) if isinstance(inner, h5py.Dataset)])
    if found is None or not all(_is_column(item[name]) for name in found.values()):
        return
    lengths = ", ".join(f"{name}: {math.prod(item[name].shape):,}" for name in found.values())
    raise RecordingError(
        f"{path}: expected columns of equal length in {place or '/'}, found {lengths}. The file is incomplete; copy or "
        "write it again."
    )


def _is_column(item: h5py.Dataset) -> bool:
    """Whether it has one number per event; includes MATLAB's (N, 1) and (1, N)."""
    return item.dtype.kind in "iufb" and 1 <= item.ndim <= 2 and math.prod(item.shape) in (0, max(item.shape))


def _is_table(item: h5py.Dataset) -> bool:
    """Whether it has four numbers per event; includes MATLAB's (4, N)."""
    return item.ndim == 2 and len(COLUMNS) in item.shape and item.dtype.kind in "iufb"


def _table_length(item: h5py.Dataset) -> int:
    return int(item.shape[0] if item.shape[1] == len(COLUMNS) else item.shape[1])


def _items(file: h5py.File) -> Iterator[tuple[str, object]]:
    """The first groups, level by level, and the tables within them that are not part of a group of columns."""
    waiting: deque[tuple[str, h5py.Group]] = deque([("", file)])
    for _ in range(_MOST_GROUPS):
        if not waiting:
            return
        name, group = waiting.popleft()
        yield name, group
        above = f"{name}/" if name else ""
        for key, item in islice(group.items(), _MOST_GROUPS):
            if isinstance(item, h5py.Group):
                waiting.append((above + key, item))
            elif isinstance(item, h5py.Dataset) and item.dtype.names and key.lower() not in TABLE_NAMES:
                yield above + key, item


def _stated_size(file: h5py.File) -> Size | None:
    """Rows and columns in the attributes: Metavision's geometry (width x height), or E2VID's sensor_resolution."""
    geometry = re.fullmatch(r"(\d{1,6})x(\d{1,6})", str(file.attrs.get("geometry", "")))
    if geometry:
        return _plausible(int(geometry[2]), int(geometry[1]))
    resolution = np.asarray(file.attrs.get("sensor_resolution", ())).reshape(-1)
    if len(resolution) >= 2 and resolution.dtype.kind in "iu":
        return _plausible(int(resolution[0]), int(resolution[1]))
    return None


def _plausible(height: int, width: int) -> Size | None:
    return (height, width) if min(height, width) > 0 and max(height, width) <= LARGEST_SIDE else None


def _no_events(path: Path, file: h5py.File, expected: str, found: str) -> RecordingError:
    names = list(islice(_titles(file), _MOST_NAMES + 1))
    more = " and more" if len(names) > _MOST_NAMES else ""
    there = f"the file contains {', '.join(names[:_MOST_NAMES])}{more}" if names else "the file is empty"
    return RecordingError(
        f"{path}: expected {expected} (data sets or fields t, x, y and p, or a table of four columns), found {found}; "
        f"{there}. If one of them contains events, give it: --hdf5-path GROUP_OR_DATASET"
    )


def _titles(file: h5py.File) -> Iterator[str]:
    """The first data sets, at most one group deep, with types and shapes; of deeper groups only their names."""
    for name, item in file.items():
        is_filled = isinstance(item, h5py.Group) and len(item) > 0
        inner = ((f"{name}/{key}", value) for key, value in item.items()) if is_filled else [(name, item)]
        for title, value in inner:
            yield f"{title} ({_title(value)})" if isinstance(value, h5py.Dataset) else f"{title}/"


def _title(dataset: h5py.Dataset) -> str:
    if dataset.dtype.names is not None:
        return f"fields {', '.join(dataset.dtype.names)} of shape {dataset.shape}"
    return f"{dataset.dtype} of shape {dataset.shape}"
