"""Make the seals and checksums of a changed cache right again, as somebody could who forges one."""

from __future__ import annotations

import contextlib
import hashlib

import h5py
import numpy as np

from preprocess.store.event_store import events_crc32, seal_backwards
from preprocess.store.sample_table import SampleTable
from preprocess.store.sealed_cache_file import _plain
from preprocess.store.time_kernels import sum_differences


def seal_again(file: h5py.File) -> None:
    """Compute every seal of a cache that is open for writing; one that the change made impossible stays as it is."""
    for seal in (_seal_events, _seal_backwards, _seal_steps, _seal_table):
        with contextlib.suppress(Exception):
            seal(file)


def _seal_events(file: h5py.File) -> None:
    """The checksums of all samples."""
    table, events = file["samples"], file["events"]
    offset, start = table["offset"][()], table["start_us"][()]
    t = np.empty(offset[-1], np.int64)
    address = events["address"][()]
    assert np.all(np.diff(offset) > 0) and offset[0] == 0 and len(address) == len(events["time_delta"]) == offset[-1]
    sum_differences(events["time_delta"][()], offset, start, events["jump_at"][()], events["jump_us"][()], t)
    ends = list(zip(offset[:-1].tolist(), offset[1:].tolist(), strict=True))
    table["crc32"][...] = [events_crc32(address[l:r], t[l:r]) for l, r in ends]


def _seal_backwards(file: h5py.File) -> None:
    file.attrs["backwards_sha256"] = seal_backwards(file["samples/backwards"][()])


def _seal_steps(file: h5py.File) -> None:
    table = file["samples"]
    zeros = np.zeros(len(table["label"]), np.int64)
    lengths = file["length"][()] if "length" in file else zeros + int(file.attrs["timesteps"])
    dropped, repeated = (table[name][()] if name in table else zeros for name in ("dropped", "repeated"))
    for name, columns in (("steps_sha256", (lengths, dropped)), ("coverage_sha256", (dropped, repeated))):
        if name in file.attrs:
            file.attrs[name] = hashlib.sha256(np.stack(columns).astype("<i8").tobytes()).hexdigest()


def _seal_table(file: h5py.File) -> None:
    attributes = {name: value for name, value in _plain(dict(file.attrs)).items() if name != "table_sha256"}
    file.attrs["table_sha256"] = SampleTable.read(file["samples"]).sha256(attributes)
