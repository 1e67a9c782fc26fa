"""Decode many small ``.npy`` files of structured arrays together: bounds are checked for all events at once."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats.column_names import plan_table, read_header
from preprocess.formats.read_options import NO_OPTIONS

_LONGEST_HEADER = 1 << 14
_LONGEST_US = 1 << 31


def decode_small_arrays(
    data: NDArray[np.uint8], ends: NDArray[np.int64], height: int, width: int
) -> tuple[Events, NDArray[np.int64]]:
    """Decode files as `Recording.decode_files` says; all but arrays with fields of integers are left to `decode`."""
    counts = np.full(len(ends), -1, np.int64)
    parts: list[dict[str, NDArray[Any]]] = []
    taken: list[int] = []
    for k, (start, end) in enumerate(itertools.pairwise([0, *ends.tolist()])):
        columns = _columns(data[start:end])
        if columns is not None:
            parts.append(columns)
            taken.append(k)
    if not parts:
        none = np.empty(0, np.uint16)
        return Events(none.astype(np.int64), none, none, none.astype(np.uint8), height, width), counts
    t, x, y, p = (np.concatenate([part[letter] for part in parts]) for letter in "txyp")
    lengths = np.array([len(part["t"]) for part in parts], np.int64)
    starts = np.cumsum(lengths) - lengths
    odd = (x < 0) | (x >= width) | (y < 0) | (y >= height) | (p < -1) | (p > 1)
    spans = np.maximum.reduceat(t, starts).astype(np.float64) - np.minimum.reduceat(t, starts)
    regular = (
        ~np.logical_or.reduceat(odd, starts)
        & (spans < _LONGEST_US)
        & (np.abs(np.minimum.reduceat(t, starts)) < 1 << 61)
    )
    counts[np.array(taken)[regular]] = lengths[regular]
    if not regular.all():
        kept = np.repeat(regular, lengths)
        t, x, y, p = t[kept], x[kept], y[kept], p[kept]
    columns_of_all = t.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), (p == 1).astype(np.uint8)
    return Events(*columns_of_all, height, width), counts


def _columns(content: NDArray[np.uint8]) -> dict[str, NDArray[Any]] | None:
    """The columns of a file with at least one event, if it is regular."""
    try:
        header = read_header(io.BytesIO(content[:_LONGEST_HEADER].tobytes()))
        (stretch,) = plan_table(Path(), header, NO_OPTIONS).stretches
    except (ValueError, OSError, RecordingError):
        return None
    fields = header.dtype.fields
    if fields is None or any(fields[str(name)][0].kind not in "iu" for name in stretch.columns.values()):
        return None
    count = header.shape[0]
    if count == 0 or len(content) != header.end + count * header.dtype.itemsize or header.dtype.isnative is False:
        return None
    kinds = {letter: fields[str(name)][0] for letter, name in stretch.columns.items()}
    if kinds["t"] == np.uint64 or any(kinds[letter].itemsize > 4 for letter in "xyp"):
        return None
    return stretch.split(content[header.end :], count)
