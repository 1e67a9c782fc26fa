"""Write chunks of Prophesee's ECF, and HDF5 files of them as Metavision writes them, from the codec's description."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

Packing = Literal["runs", "columns", "all"]
EVENT = np.dtype({"names": ["x", "y", "p", "t"], "formats": ["u2", "u2", "i2", "i8"]}, align=True)


def encode(rows: np.ndarray, packing: Packing = "runs") -> bytes:
    """A chunk of events; what is packed in fixed numbers of bits is chosen."""
    t, x, y, p = (rows[name].tolist() for name in "txyp")
    parts = [struct.pack("<Iq", len(rows) << 2 | (packing == "all") << 1 | (packing == "columns"), t[0])]
    last = t[0]
    for time, group in itertools.groupby(t):
        # An earlier time is lost: the codec writes that of the event before.
        step, length = max(0, time - last), len(list(group))
        last = max(last, time)
        if step >= 15:
            while step:
                parts.append(bytes([0xF0 | step & 15]))
                step >>= 4
        parts.append(bytes([step << 4 | length]) if length < 15 else struct.pack("<BH", step << 4 | 15, length))
    if packing == "all":
        codes = [b << 12 | a << 1 | c for a, b, c in zip(x, y, p, strict=True)]
        for a, b, c, d in _fours(codes):
            parts.append(struct.pack("<3I", a << 8 | b & 255, b >> 8 << 16 | c & 0xFFFF, c >> 16 << 24 | d))
        return b"".join(parts)
    for row, group in itertools.groupby(y):
        length = len(list(group))
        parts.append(struct.pack("<H", row << 5 | length) if length < 31 else struct.pack("<HH", row << 5 | 31, length))
    if packing == "columns":
        for a, b, c, d in _fours([a << 1 | c for a, c in zip(x, p, strict=True)]):
            parts.append(struct.pack("<3H", a << 4 | b & 15, b >> 4 << 8 | c & 255, c >> 8 << 12 | d))
        return b"".join(parts)
    k = 0
    while k < len(x):
        first, mask = x[k], 0
        k += 1
        for j in range(5):
            if k < len(x) and x[k] == first + j + 1:
                mask |= 1 << (4 - j)
                k += 1
        parts.append(struct.pack("<H", first << 5 | mask))
    for sign, group in itertools.groupby(p):
        length = len(list(group))
        parts.append(bytes([sign << 7 | length]) if length < 127 else struct.pack("<BH", sign << 7 | 127, length))
    return b"".join(parts)


def _fours(codes: list[int]) -> list[tuple[int, ...]]:
    padded = codes + [0] * (-len(codes) % 4)
    return [tuple(padded[k : k + 4]) for k in range(0, len(padded), 4)]


def create(file: h5py.File, events: int, chunk: int, filters: tuple[int, ...] = (0x8ECF,)) -> h5py.Dataset:
    """An empty data set of events whose filters are optional, so that the file is written without them."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((chunk,))
    for number in filters:
        settings.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (0, 0, 0, 0, 5, 1, 1))
    space, kind = h5py.h5s.create_simple((events,)), h5py.h5t.py_create(EVENT)
    h5py.h5d.create(file.require_group("CD").id, b"events", kind, space, dcpl=settings)
    return file["CD/events"]


def write(path: Path, rows: np.ndarray, chunk: int) -> Path:
    """A file as Metavision writes it, one way of packing after the other; the last chunk is filled with zeros."""
    with h5py.File(path, "w") as file:
        dataset = create(file, len(rows), chunk)
        for first, packing in zip(range(0, len(rows), chunk), itertools.cycle(("runs", "columns", "all"))):
            part = np.zeros(chunk, EVENT)
            part[: len(rows) - first] = rows[first : first + chunk]
            dataset.id.write_direct_chunk((first,), encode(part, packing))
        file.attrs["geometry"] = "1280x720"
    return path
