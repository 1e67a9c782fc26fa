"""Changes of HDF5 files through the library, whose checksums are then right: data sets, attributes and links.

Files are opened here before anything else has read them; only the heap is checked first.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from preprocess.hdf5_heap import check_heap

_ODD_NUMBERS = (0, 1, -1, 2, 7, 255, 65_536, 2**31 - 1, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
_ODD_TEXTS = (
    "",
    "x",
    "spikeloom-frames",
    "number",
    "duration",
    "\ud7ff",
    "x" * 3000,
    "a\nb",
    "../x",
    "{}",
    "[]",
    "nan",
)
_DTYPES = ("u1", "u2", "u4", "u8", "i1", "i4", "i8", "f2", "f4", "f8", "?", "S3", "S0", ">i8", "c8")


def edited(content: bytes | bytearray, change: Callable[[h5py.File], None]) -> bytearray:
    """The content of an HDF5 file after a change; the content itself if the change is not possible."""
    buffer = io.BytesIO(bytes(content))
    try:
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(content)
            copy.flush()
            # HDF5 would read some damaged heaps forever.
            check_heap(Path(copy.name), len(content))
        with h5py.File(buffer, "r+") as file:
            change(file)
    except Exception:  # whatever h5py raises for a change that does not fit
        return bytearray(content)
    return bytearray(buffer.getvalue())


def edit_hdf5(rng: np.random.Generator, content: bytearray) -> bytearray:
    """One random change of a data set, an attribute or a link."""
    return edited(content, lambda file: change_anything(rng, file))


def change_anything(rng: np.random.Generator, file: h5py.File) -> None:
    """One random change of an open file."""
    _choose(rng, (change_values, change_values, change_values, replace_dataset, change_attribute, change_link))(
        rng, file
    )


def names_of(file: h5py.File, kind: type = object) -> list[str]:
    """The names of all data sets or groups, sorted."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return sorted(found)


def change_values(rng: np.random.Generator, file: h5py.File) -> None:
    """Change a few values of a data set."""
    dataset = file[_choose(rng, names_of(file, h5py.Dataset))]
    values = dataset[()]
    if not isinstance(values, np.ndarray) or values.size == 0:
        dataset[()] = _number(rng)
        return
    flat = values.reshape(-1)
    for _ in range(int(rng.integers(1, 4))):
        k = int(rng.integers(flat.size))
        if flat.dtype.kind in "iu":
            # Numbers that do not fit wrap, as those of a damaged file would.
            flat[k] = np.array(_number(rng) & 0xFFFF_FFFF_FFFF_FFFF, np.uint64).astype(flat.dtype)
        elif flat.dtype.kind == "f":
            flat[k] = _choose(rng, (np.nan, np.inf, -np.inf, -1.0, 0.5, 1e300 if flat.itemsize > 4 else 1e30))
        elif flat.dtype.kind in "SO":
            flat[k] = _choose(rng, (b"", b"\xff\xfe", b"x", b"../x", "ä".encode()))
        elif flat.dtype.names:
            field = _choose(rng, flat.dtype.names)
            flat[field][k] = rng.integers(-5, 300)
        else:
            flat[k] = flat[k - 1]
    dataset[...] = values


def replace_dataset(rng: np.random.Generator, file: h5py.File) -> None:
    """Replace a data set with one of another shape, type or storage."""
    name = _choose(rng, names_of(file, h5py.Dataset))
    values = np.asarray(file[name][()])
    del file[name]
    action = rng.integers(10)
    if action == 0:
        file.create_dataset(name, shape=(2**40,), dtype="u1", chunks=(1024,))
    elif action == 1:
        file[name] = h5py.Empty("f4")
    elif action == 2:
        file[name] = "text"
    elif action == 3:
        file.create_group(name)
    elif action == 4:
        file.create_dataset(name, (1,), h5py.vlen_dtype(np.uint8))[0] = np.arange(4)
    elif action == 5:
        file[name] = values.reshape(-1)[: int(rng.integers(values.size + 1))]
    elif action == 6:
        file[name] = np.concatenate([values, values]) if values.ndim else values
    elif action == 7:
        file[name] = values[..., None] if rng.integers(2) else values.reshape(-1)
    elif action == 8:
        file.create_dataset(name, values.shape, values.dtype, fillvalue=1 if values.dtype.kind in "iuf" else None)
    else:
        file[name] = values.astype(_choose(rng, _DTYPES))


def change_attribute(rng: np.random.Generator, file: h5py.File) -> None:
    """Set, remove or add an attribute of the file or of one of its objects."""
    item = file[_choose(rng, ["/", "/", *names_of(file)])]
    known = sorted(item.attrs)
    name = _choose(rng, known) if known else "x"
    action = rng.integers(6)
    if action == 0 and known:
        del item.attrs[name]
    elif action == 1:
        item.attrs[name] = _choose(rng, _ODD_TEXTS)
    elif action == 2:
        item.attrs[name] = _number(rng)
    elif action == 3:
        item.attrs[name] = _choose(
            rng, (0.5, np.nan, np.inf, True, h5py.Empty("i4"), np.zeros((2, 2)), [b"\xff", b"b"])
        )
    elif action == 4:
        item.attrs[name] = np.array([_choose(rng, _ODD_TEXTS) for _ in range(3)], h5py.string_dtype())
    else:
        item.attrs[_choose(rng, ("x", "sorted", "repeated", "geometry", "steps_sha256"))] = _number(rng)


def change_link(rng: np.random.Generator, file: h5py.File) -> None:
    """Delete, rename or redirect a link."""
    name = _choose(rng, names_of(file))
    other = _choose(rng, ["/", *names_of(file)])
    action = rng.integers(5)
    if action == 0:
        del file[name]
    elif action == 1:
        file.move(name, _choose(rng, (f"{name}2", "x", name.upper())))
    elif action == 2:
        del file[name]
        file[name] = h5py.SoftLink(_choose(rng, (other, name, "/nowhere")))
    elif action == 3:
        del file[name]
        file[name] = h5py.ExternalLink("other.h5", "/x")
    else:
        item = file[other]
        del file[name]
        file[name] = item


def _number(rng: np.random.Generator) -> int:
    return int(_ODD_NUMBERS[rng.integers(len(_ODD_NUMBERS))]) if rng.integers(2) else int(rng.integers(-300, 300))


def _choose(rng: np.random.Generator, values: Any) -> Any:
    return values[rng.integers(len(values))]
