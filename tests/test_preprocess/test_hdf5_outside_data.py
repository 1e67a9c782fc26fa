"""Recordings and caches that refer to other files are refused, and the other file is never read."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from messages import refuses
from tiny_layout import random_events, tiny_layout

from preprocess import hdf5_outside_data
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.building.finished_parts import Part
from preprocess.errors import CacheError, RecordingError
from preprocess.formats import ReadOptions, open_recording
from preprocess.frame_import.frame_file import READERS
from preprocess.hdf5_outside_data import refuse_outside_data
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames

OTHER = "other.h5"
COLUMNS = {"t": np.arange(9), "x": np.arange(9), "y": np.arange(9), "p": np.arange(9) % 2}


def link(group: h5py.Group, name: str, other: Path) -> None:
    group[name] = h5py.ExternalLink(str(other), f"/{name}")


def virtual(group: h5py.Group, name: str, other: Path) -> None:
    layout = h5py.VirtualLayout((9,), np.int64)
    layout[:] = h5py.VirtualSource(str(other), name, (9,))
    group.create_virtual_dataset(name, layout)


def external(group: h5py.Group, name: str, other: Path) -> None:
    group.create_dataset(name, (9,), np.int64, external=[(str(other), 0, 72)])


WAYS = {"a link": link, "a virtual data set": virtual, "external storage": external}


@pytest.fixture
def other(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / OTHER, "w") as file:
        for name, values in COLUMNS.items():
            file[name] = values
    return tmp_path / OTHER


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_recording_that_takes_a_column_from_another_file_is_refused(
    tmp_path: Path, other: Path, way: str, column: str
):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        events = file.create_group("events")
        for name, values in COLUMNS.items():
            if name != column:
                events[name] = values
        WAYS[way](events, column, other)
    with refuses(RecordingError, where="a.h5", expected="contains all of its data", found=f"events/{column}"):
        list(open_recording(tmp_path / "a.h5").decode())


def test_links_within_a_file_are_followed_and_a_reference_beside_the_events_is_refused(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in COLUMNS.items():
            file[f"stored/{name}"] = values
        file["stored/again"] = file["/"]
        file["events"] = h5py.SoftLink("/stored")
        file["nothing"] = h5py.SoftLink("/not/there")
    opened = open_recording(tmp_path / "a.h5", options=ReadOptions(hdf5_path="events"))
    assert np.concatenate([block.t for block in opened.decode()]).tolist() == list(range(9))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["stored/more/notes"] = h5py.ExternalLink("/etc/hostname", "/")
    with refuses(RecordingError, found="the link stored/more/notes to another file"):
        open_recording(tmp_path / "a.h5", options=ReadOptions(hdf5_path="events"))


def test_an_external_link_behind_a_soft_one_is_refused(tmp_path: Path, other: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["elsewhere"] = h5py.ExternalLink(str(other), "/")
        file["events"] = h5py.SoftLink("/elsewhere")
    with refuses(RecordingError, found="the link elsewhere to another file"):
        open_recording(tmp_path / "a.h5")


def test_a_virtual_data_set_of_the_file_itself_is_no_reference(tmp_path: Path):
    layout = h5py.VirtualLayout((9,), np.int64)
    layout[:] = h5py.VirtualSource(".", "first", (9,))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["first"] = np.arange(9)
        file.create_virtual_dataset("again", layout)
        refuse_outside_data(tmp_path / "a.h5", file, RecordingError)


def test_the_other_file_is_never_opened(tmp_path: Path, other: Path):
    """A named pipe without a writer would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["events"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/")
    with refuses(RecordingError, found="the link events to another file"):
        open_recording(tmp_path / "a.h5")


def test_deep_and_large_files_are_checked_in_seconds(tmp_path: Path):
    start = time.perf_counter()
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        group = file["/"]
        for _ in range(3_000):
            group = group.create_group("g")
        for k in range(3_000):
            file.create_dataset(f"d/{k}", data=0)
        group["out"] = h5py.ExternalLink("x.h5", "/")
    with h5py.File(tmp_path / "a.h5", "r") as file, refuses(RecordingError, found="/g/out to another file"):
        refuse_outside_data(tmp_path / "a.h5", file, RecordingError)
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize("way", WAYS)
def test_frames_of_others_that_are_elsewhere_are_refused(tmp_path: Path, other: Path, way: str):
    with h5py.File(tmp_path / "0.hdf5", "w") as file:
        file.create_group("data")["0"] = np.zeros((2, 2, 4, 4))
        WAYS[way](file.create_group("target"), "0" if way != "a link" else "t", other)
    with refuses(RecordingError, where="0.hdf5", found="target/"):
        READERS[".hdf5"](tmp_path / "0.hdf5")


def test_a_file_of_more_objects_than_are_checked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hdf5_outside_data, "MOST_OBJECTS", 3)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/b/c"] = 0
        refuse_outside_data(tmp_path / "a.h5", file, RecordingError)
        file["a/b/d"] = 0
        with refuses(RecordingError, where="a.h5", expected="at most 3 objects", remedy="Split the file"):
            refuse_outside_data(tmp_path / "a.h5", file, RecordingError)


def test_a_finished_part_that_refers_to_another_file_is_refused(tmp_path: Path, other: Path):
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["samples"] = h5py.ExternalLink(str(other), "/t")
    with refuses(CacheError, where="part.h5", found="the link samples to another file"):
        Part(tmp_path / "part.h5")


@pytest.fixture
def caches(tmp_path: Path) -> list[tuple[Path, Callable[..., object]]]:
    layout = tiny_layout(tmp_path / "src", [random_events(seed, 30) for seed in range(3)])
    events = build_event_store(layout, tmp_path / "cache")
    frames = ensure_frames(tmp_path / "cache", layout.name, Binning(4))
    return [
        (events, lambda: open_events(events)),
        (frames, lambda: open_frames(frames)),
    ]


def test_a_cache_with_a_filter_that_is_not_listed_is_refused(
    caches: list[tuple[Path, Callable[..., object]]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hdf5_outside_data, "FILTERS", {})
    for path, reopen in caches:
        with refuses(CacheError, where=path.name, found="compressed with Blosc (filter 32001)"):
            reopen()


def test_a_cache_that_refers_to_another_file_is_refused(caches: list[tuple[Path, Callable[..., object]]], other: Path):
    for path, reopen in caches:
        whole = shutil.copy(path, path.with_suffix(".whole"))
        with h5py.File(path, "a") as file:
            file["more"] = h5py.ExternalLink(str(other), "/t")
        with refuses(CacheError, where=path.name, found="the link more to another file"):
            reopen()
        shutil.copy(whole, path)
        reopen()
