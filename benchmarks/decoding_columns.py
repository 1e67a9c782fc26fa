"""Files of arrays, text, HDF5, MATLAB and others for the benchmark of decoding, with the packages that read them.

The packages run in the process of the benchmark. Each returns the columns of all events, t in µs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from benchmarks.event_bags import DEFINITION, message, write_bag
from preprocess.events import Events

Columns = dict[str, Any]
Written = tuple[str, str, Path, dict[str, Callable[[Path], Columns]], dict[str, Any]]
"""Title, name of the format for the peers, file, readers, and what `open_recording` needs to know."""

_UNITS = 700


def write_columns(folder: Path, events: Events, small: Events) -> Iterator[Written]:
    """Write the files one at a time.

    Args:
        folder: Where they are written.
        events: Events of a large sensor.
        small: Events of a sensor of at most 180x240, at times below 2^23 µs.
    """
    sensor = {"size": (events.height, events.width)}
    path = folder / "a.bin"
    word = small.p.astype(np.uint64) << 23 | small.t.astype(np.uint64)
    rows = [small.x, small.y, word >> 16, word >> 8 & 255, word & 255]
    np.stack(rows, axis=1).astype(np.uint8).tofile(path)
    readers = {"SpikingJelly": _spikingjelly_atis, "tonic": _tonic_atis}
    yield "ATIS .bin", "", path, readers, {"size": (small.height, small.width)}
    path = folder / "a.es"
    _write_event_stream(path, events)
    yield "Event Stream", "es", path, {}, {}
    rows = _rows(events)
    path = folder / "a.npy"
    np.save(path, rows)
    yield "NumPy .npy, fields", "", path, {"NumPy": _npy}, sensor
    np.savez(folder / "a.npz", **{name: rows[name] for name in "txyp"})
    yield "NumPy .npz, as SpikingJelly's", "", folder / "a.npz", {"NumPy": _npz}, sensor
    tenth = events[: max(1, len(events) // 10)]
    path = folder / "a.csv"
    table = np.stack([getattr(tenth, name).astype(np.int64) for name in "txyp"], axis=1)
    np.savetxt(path, table, fmt="%d", delimiter=",", header="t,x,y,p", comments="")
    yield "text", "", path, {"pandas": _pandas, "NumPy's loadtxt": _loadtxt}, sensor
    path = folder / "a.h5"
    with h5py.File(path, "w") as file:
        for name, values in zip("txyp", (rows[c] for c in "txyp"), strict=True):
            file.create_dataset(
                f"events/{name}", data=values, chunks=(min(1 << 16, len(rows)),), **hdf5plugin.Blosc(cname="zstd")
            )
        file["t_offset"] = np.int64(0)
    yield "HDF5 of DSEC, Blosc", "", path, {"h5py": _h5py}, sensor
    path = folder / "a.mat"
    import scipy.io

    scipy.io.savemat(path, {"ts": rows["t"], "x": rows["x"], "y": rows["y"], "pol": rows["p"]}, do_compression=True)
    yield "MATLAB 5, compressed", "", path, {"SciPy": _scipy}, sensor
    path = folder / "shd_train.h5"
    _write_spike_trains(path, events)
    readers = {"h5py": _spikes_h5py}
    yield "HDF5 of spike trains, as SHD", "", path, readers, {"format": "spike-trains"}
    hundredth = events[: max(1, len(events) // 100)]
    path = folder / "a.bag"
    _write_bag(path, hundredth)
    yield "ROS 1 bag", "", path, {"rosbags": _rosbags}, {}


def _rows(events: Events) -> Any:
    rows = np.empty(len(events), [("t", "<u4"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
    for name in "txyp":
        rows[name] = getattr(events, name)
    return rows


def _write_event_stream(path: Path, events: Events) -> None:
    """Bytes of 127 µs where events are farther apart, then five bytes for each."""
    steps = np.diff(events.t, prepend=0)
    over = steps // 127
    at = np.arange(len(events)) * 5 + np.cumsum(over)
    data = np.full(int(at[-1]) + 5, 255, np.uint8)
    row = events.height - 1 - events.y.astype(np.int64)
    columns = (steps % 127 << 1 | events.p, events.x & 255, events.x >> 8, row & 255, row >> 8)
    for k, values in enumerate(columns):
        data[at + k] = values
    header = b"Event Stream" + bytes([2, 0, 0, 1]) + struct.pack("<HH", events.width, events.height)
    path.write_bytes(header + data.tobytes())


def _write_spike_trains(path: Path, events: Events) -> None:
    """Samples of 8,000 spikes."""
    cuts = range(8000, len(events), 8000)
    times, units = (np.split(column, cuts) for column in (events.t / 1e6, events.x % _UNITS))
    with h5py.File(path, "w") as file:
        for name, parts, kind in (("times", times, np.float32), ("units", units, np.uint16)):
            dataset = file.create_dataset(f"spikes/{name}", (len(parts),), h5py.vlen_dtype(kind))
            for k, part in enumerate(parts):
                dataset[k] = part.astype(kind)
        file["labels"] = np.zeros(len(times), np.uint16)


def _write_bag(path: Path, events: Events) -> None:
    """Messages of a thousand events."""
    cuts = range(1000, len(events), 1000)
    parts = zip(*(np.split(column, cuts) for column in (events.t, events.x, events.y, events.p)), strict=True)
    write_bag(path, [("/dvs/events", message(*part, events.height, events.width)) for part in parts])


def _spikingjelly_atis(path: Path) -> Columns:
    from spikingjelly.datasets.utils import load_ATIS_bin

    return dict(load_ATIS_bin(path))


def _tonic_atis(path: Path) -> Columns:
    from tonic.io import read_mnist_file

    kind = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    events = read_mnist_file(str(path), kind)
    return {name: events[name] for name in "txyp"}


def _npy(path: Path) -> Columns:
    rows = np.load(path)
    # Columns of the types that we return, as of all readers here.
    return _typed({name: rows[name] for name in "txyp"})


def _npz(path: Path) -> Columns:
    with np.load(path) as arrays:
        return _typed({name: arrays[name] for name in "txyp"})


def _typed(columns: Columns) -> Columns:
    kinds = {"t": np.int64, "x": np.uint16, "y": np.uint16, "p": np.uint8}
    return {name: np.ascontiguousarray(columns[name], kind) for name, kind in kinds.items()}


def _pandas(path: Path) -> Columns:
    import pandas as pd

    table = pd.read_csv(path, engine="c")
    return {name: table[name].to_numpy() for name in "txyp"}


def _loadtxt(path: Path) -> Columns:
    table = np.loadtxt(path, np.int64, delimiter=",", skiprows=1)
    return {name: table[:, k] for k, name in enumerate("txyp")}


def _h5py(path: Path) -> Columns:
    with h5py.File(path) as file:
        return _typed({name: file[f"events/{name}"][:] for name in "txyp"})


def _scipy(path: Path) -> Columns:
    import scipy.io

    found = scipy.io.loadmat(path)
    return _typed({c: found[name].reshape(-1) for c, name in {"t": "ts", "x": "x", "y": "y", "p": "pol"}.items()})


def _spikes_h5py(path: Path) -> Columns:
    """Every sample by itself, as SpikingJelly and tonic read SHD, with times as we place them."""
    from preprocess.formats.hdf5.spike_trains import PERIOD_US

    t, x = [], []
    with h5py.File(path) as file:
        for k in range(len(file["labels"])):
            times = file["spikes/times"][k].astype(np.float64)
            t.append(np.floor(times * 1e6 + 0.5).astype(np.int64) + k * PERIOD_US)
            x.append(file["spikes/units"][k])
    joined = np.concatenate(x)
    return {"t": np.concatenate(t), "x": joined, "y": np.zeros_like(joined), "p": np.ones_like(joined)}


def _rosbags(path: Path) -> Columns:
    """Messages as objects, by their definition."""
    from rosbags.rosbag1 import Reader
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg(DEFINITION, "dvs_msgs/msg/EventArray"))
    with Reader(path) as reader:
        read = (types.deserialize_ros1(content, c.msgtype) for c, _, content in reader.messages())
        rows = [(e.ts.sec * 1_000_000 + e.ts.nanosec // 1000, e.x, e.y, e.polarity) for m in read for e in m.events]
    return {name: np.array(column) for name, column in zip("txyp", zip(*rows, strict=True), strict=True)}
