"""One file of frames of one sample, as SpikingJelly, users of torch.save, and tonic leave it.

- ``.npz``: key ``frames``, (T, 2, H, W); the label is the folder. SpikingJelly (``save_frames_to_npz...``).
- ``.pt``: ``torch.save`` of a pair, frames and class number, as the CIFAR10-DVS files of temporal efficient training
  (TET, Deng et al., ICLR 2022), whose frames are sums of times divided by the largest.
- ``.hdf5``: datasets ``data/0`` and ``target/0``, as tonic's DiskCachedDataset.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.binning.frame_ranges import MOST_FRAMES
from preprocess.errors import RecordingError
from preprocess.events import LARGEST_SIDE
from preprocess.frame_import.torch_file import read_torch_file
from preprocess.hdf5_heap import check_heap
from preprocess.hdf5_outside_data import refuse_outside_data

AXES = "tpyx"
_MOST_BYTES = 1 << 34
# No deflated stream is smaller than its content by a larger factor.
_MOST_COMPRESSION = 1100

# Columns and rows of event cameras; frames of these sizes whose third axis is longer have columns first.
_SENSORS = {
    (240, 180): "DAVIS240",
    (304, 240): "ATIS",
    (320, 240): "EVT 320",
    (346, 260): "DAVIS346",
    (640, 480): "Gen3",
    (1280, 720): "Gen4",
}


@dataclass(frozen=True, eq=False)
class FileContent:
    """What a file contains.

    Attributes:
        frames: Any numeric type, four axes in the order of the file.
        label: The class number; None if the file has none.
    """

    frames: NDArray[Any]
    label: int | None


def read_frame_file(path: Path) -> FileContent:
    """Read a file of frames.

    Raises:
        RecordingError: If it is damaged, or contains anything but frames of numbers, in one line.
    """
    found = READERS[path.suffix.lower()](path)
    frames = found.frames
    if not isinstance(frames, np.ndarray):
        raise RecordingError(f"{path}: expected frames of numbers, found a {type(frames).__name__}. Save an array.")
    if frames.dtype.kind not in "uifb" or frames.dtype.itemsize > 8:
        raise RecordingError(f"{path}: expected frames of numbers, found type {frames.dtype}. Save them as numbers.")
    if frames.ndim != len(AXES):
        raise RecordingError(
            f"{path}: expected frames (T, 2, H, W), found an array of shape {frames.shape}. Save one sample per file."
        )
    if 0 in frames.shape:
        raise RecordingError(f"{path}: expected at least one frame and pixel, found shape {frames.shape}. Delete it.")
    return found


def find_axes(path: Path, shape: tuple[int, ...]) -> tuple[str, str]:
    """The order of the axes of frames, and a note if it is not (T, 2, H, W); "" otherwise.

    Args:
        path: The first file, for errors.
        shape: The shape of its frames.

    Raises:
        RecordingError: If the order cannot be recognised.
    """
    if shape[1] != 2:
        raise RecordingError(
            f"{path}: expected frames (T, 2, H, W), found shape {shape}. Give the order of the axes, such as --axes "
            "ptyx or pyxt: t time, p polarity, y rows, x columns."
        )
    camera = _SENSORS.get((shape[2], shape[3]))
    if camera is None:
        return AXES, ""
    note = f"{shape[2]} x {shape[3]} pixels were read as columns x rows of a {camera}; if they are rows x columns, "
    return "tpxy", note + "import again with --axes tpyx"


def arrange(path: Path, frames: NDArray[Any], axes: str) -> NDArray[Any]:
    """Frames in the order (T, 2, H, W).

    Raises:
        RecordingError: If they do not have two polarities, or have too many time steps or pixels.
    """
    arranged = frames.transpose([axes.index(axis) for axis in AXES])
    steps, polarities, height, width = arranged.shape
    if polarities != 2:
        raise RecordingError(
            f"{path}: expected two polarities, OFF and ON, found {polarities} in shape {frames.shape} with --axes "
            f"{axes}. Give another order, or save both polarities."
        )
    if steps > MOST_FRAMES or max(height, width) > LARGEST_SIDE:
        expected = f"at most {MOST_FRAMES:,} time steps and {LARGEST_SIDE:,} rows and columns"
        raise RecordingError(f"{path}: expected {expected}, found shape {frames.shape}. Give another --axes.")
    return arranged


def _read_npz(path: Path) -> FileContent:
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo("frames.npy")
            if info.file_size > _MOST_BYTES or info.file_size > _MOST_COMPRESSION * max(1024, info.compress_size):
                raise ValueError(f"an array of {info.file_size:,} bytes in {info.compress_size:,}")
            with archive.open(info) as member:
                version = np.lib.format.read_magic(member)
                read_header = np.lib.format.read_array_header_1_0
                shape, _, dtype = read_header(member) if version == (1, 0) else _refuse(f"version {version}")
                if dtype.hasobject or math.prod(shape) * dtype.itemsize > info.file_size:
                    raise ValueError(f"an array of shape {shape} and type {dtype}")
            with archive.open(info) as member:
                return FileContent(np.lib.format.read_array(member, allow_pickle=False), None)
    except KeyError:
        raise RecordingError(f"{path}: expected an array 'frames', found none. Give a folder of frames.") from None
    except Exception as error:  # zipfile, zlib and NumPy raise many for damaged files
        raise _damaged(path, error) from None


def _refuse(found: str) -> Any:
    raise ValueError(found)


def _read_pt(path: Path) -> FileContent:
    found = read_torch_file(path)
    if not isinstance(found, list) or len(found) != 2 or not isinstance(found[0], np.ndarray):
        kind = f"{len(found)} objects" if isinstance(found, list) else f"a {type(found).__name__}"
        raise RecordingError(f"{path}: expected a pair of frames and class number, found {kind}. Save such pairs.")
    return FileContent(found[0], _label(path, found[1]))


def _read_hdf5(path: Path) -> FileContent:
    import h5py

    try:
        check_heap(path)
        with h5py.File(path, "r") as file:
            refuse_outside_data(path, file, RecordingError)
            data, targets = file["data"], file["target"]
            if not isinstance(data, h5py.Group) or not isinstance(targets, h5py.Group):
                raise RecordingError(f"{path}: expected the groups data and target, found an array. Copy it again.")
            if sorted(data) != ["0"] or not isinstance(data["0"], h5py.Dataset):
                raise RecordingError(f"{path}: expected one array data/0, found {', '.join(sorted(data))}.")
            values, label = data["0"], targets["0"][()] if "0" in targets else None
            if values.dtype.names is not None:
                names = ", ".join(values.dtype.names)
                raise RecordingError(
                    f"{path}: expected frames in data/0, found events with the fields {names}. Cache frames "
                    "(tonic.transforms.ToFrame), or preprocess the recordings themselves."
                )
            if values.size * values.dtype.itemsize > _MOST_BYTES:
                raise ValueError(f"an array of shape {values.shape}")
            return FileContent(values[()], None if label is None else _label(path, label))
    except RecordingError:
        raise
    except Exception as error:  # h5py raises many for damaged files
        raise _damaged(path, error) from None


def _label(path: Path, found: Any) -> int:
    """A class number, which may be in an array of one element."""
    values = np.asarray(found)
    if values.size == 1 and values.dtype.kind in "uif":
        number = float(values.reshape(()))
        if number.is_integer() and 0 <= number < 1 << 20:
            return int(number)
    shape = f"{values.dtype} of shape {values.shape}" if values.size != 1 else repr(values.reshape(()).item())[:40]
    raise RecordingError(f"{path}: expected one class number from 0, found {shape}. Correct the file.")


def _damaged(path: Path, error: Exception) -> RecordingError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return RecordingError(f"{path}: expected frames, found a file that cannot be read ({reason}). Copy it again.")


READERS: dict[str, Callable[[Path], FileContent]] = {
    ".npz": _read_npz,
    ".pt": _read_pt,
    ".hdf5": _read_hdf5,
}
"""The reader of each suffix."""
