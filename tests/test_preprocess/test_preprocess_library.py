"""What `import preprocess` exports: one call from files to events, frames and caches, and formats of your own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from messages import refuses
from tiny_layout import random_events, tiny_layout

import preprocess
from preprocess import (
    Binning,
    Events,
    Layout,
    Sample,
    SourceRecording,
    bin_events,
    open_events,
    open_frames,
    preprocess_dataset,
    read_events,
    register_dataset,
    register_format,
)
from preprocess.building.build_event_store import build_event_store
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.datasets import registry as datasets
from preprocess.errors import CacheError, ConfigError, LayoutError, RecordingError
from preprocess.formats import FORMATS, SUFFIXES, registry


@pytest.fixture(autouse=True)
def _registered_by_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORMATS", "SUFFIXES"):
        container = getattr(registry, name)
        monkeypatch.setattr(registry, name, container.copy())
    monkeypatch.setattr(datasets, "_FORMS", dict(datasets._FORMS))
    monkeypatch.setattr("preprocess.datasets.folder.SUFFIXES", registry.SUFFIXES)


def read_evx(path: Path) -> Events:
    """A made-up format: two letters, the sensor's rows and columns, then rows of t, x, y, p."""
    content = path.read_bytes()
    height, width = np.frombuffer(content[2:6], "<u2")
    t, x, y, p = np.frombuffer(content[6:], "<i4").reshape(-1, 4).T
    return Events(t, x, y, p, int(height), int(width))


def read_evx_in_chunks(path: Path) -> Iterator[Events]:
    events = read_evx(path)
    for start in range(0, len(events), 100):
        yield events[start : start + 100]


def write_evx(path: Path, events: Events) -> None:
    rows = np.stack([events.t, events.x, events.y, events.p], 1).astype("<i4")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"EX" + np.array([events.height, events.width], "<u2").tobytes() + rows.tobytes())


def _columns(events: Events) -> list[list[int]]:
    return [getattr(events, name).tolist() for name in "txyp"]


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, preprocess; sys.exit(any(m in sys.modules for m in ('numpy', 'h5py', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_exported_name_is_there() -> None:
    assert all(hasattr(preprocess, name) and name in dir(preprocess) for name in preprocess.__all__)


@pytest.mark.parametrize("read", [read_evx, read_evx_in_chunks], ids=["whole", "chunks"])
def test_a_registered_format_gives_its_events(tmp_path: Path, read: object) -> None:
    events = random_events(1)
    write_evx(tmp_path / "a.evx", events)
    register_format("evx", read, suffix=".evx", magic=b"EX")  # type: ignore[arg-type]
    found = read_events(tmp_path / "a.evx")
    assert _columns(found) == _columns(events)
    assert (found.t.dtype, found.x.dtype, found.p.dtype) == (np.int64, np.uint16, np.uint8)
    assert bin_events(found, Binning(timesteps=4)).shape == (4, 2, 8, 10)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_registered_format_goes_through_preprocess(tmp_path: Path, workers: int) -> None:
    samples = [random_events(seed) for seed in range(4)]
    for k, events in enumerate(samples):
        write_evx(tmp_path / "own" / f"class{k % 2}" / f"{k}.evx", events)
    register_format("evx", read_evx_in_chunks, suffix=".evx")
    made = preprocess_dataset(
        tmp_path / "own", "folder", tmp_path / "cache", name="own", timesteps=(2, 3), workers=workers
    )
    assert (made.classes, made.samples, made.events) == (("class0", "class1"), 4, 2000)
    assert (made.height, made.width, made.train_samples) == (8, 10, 0)
    store = open_events(made.events_path)
    assert sorted(_columns(store.read(k)) for k in range(4)) == sorted(map(_columns, samples))
    assert [open_frames(path).timesteps for path in made.frames_paths] == [2, 3]


def test_a_registered_format_makes_no_other_cache_stale(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=[1, 2], x=[0, 1], y=[0, 1], p=[0, 1])
    layout = Layout("a", "folder", None, 4, 4, ("a",), (SourceRecording(tmp_path / "a.npz", "a.npz", ()),))
    before = layout.decoder
    register_format("evx", read_evx, suffix=".evx")
    assert layout.decoder == before
    register_format("own-npz", read_evx, suffix=".npz", version=3)
    assert layout.decoder == f"{before}, own-npz 3"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (lambda path: 1 / 0, "events"),
        (lambda path: iter(()), "events"),
        (lambda path: Events(*(np.zeros(2, int),) * 3, np.full(2, 3), 4, 4), "polarities"),  # type: ignore[arg-type]
        (lambda path: Events(*(np.full(2, 9),) * 3, np.zeros(2, int), 4, 4), "within"),  # type: ignore[arg-type]
        (lambda path: Events(np.zeros(3, int), *(np.zeros(2, int),) * 3, 4, 4), "length"),  # type: ignore[arg-type]
    ],
    ids=["raises", "no events", "polarity", "outside", "lengths"],
)
def test_a_reader_that_is_wrong_is_named(tmp_path: Path, wrong: object, expected: str) -> None:
    (tmp_path / "a.evx").write_bytes(b"EX")
    register_format("evx", wrong, suffix=".evx")  # type: ignore[arg-type]
    with refuses(RecordingError, where="a.evx", expected=expected):
        read_events(tmp_path / "a.evx")


def test_a_registered_suffix_is_believed_whatever_the_file_begins_with(tmp_path: Path) -> None:
    """Binary files of a format without a mark may begin as another format's do."""
    (tmp_path / "a.evx").write_bytes(b"% " + bytes(64))
    register_format("evx", lambda path: random_events(3), suffix=".evx")
    assert len(read_events(tmp_path / "a.evx")) == 500


def test_a_format_needs_a_new_name_and_a_suffix() -> None:
    with refuses(ConfigError, where="format", expected="new name", found="'aedat4', which is built in", errors=1):
        register_format("aedat4", read_evx, suffix=".evx")
    with refuses(ConfigError, where="format evx", expected="suffix", found="evx"):
        register_format("evx", read_evx, suffix="evx")
    with refuses(ConfigError, where="format evx", expected="a function", found="None"):
        register_format("evx", None, suffix=".evx")  # type: ignore[arg-type]
    assert "evx" not in FORMATS and ".evx" not in SUFFIXES


def read_own(folder: Path) -> Layout:
    """A data set of a recording for each subject, with two labelled stretches within each."""
    recordings = []
    for number, path in enumerate(sorted(folder.glob("*.npz"))):
        samples = tuple(
            Sample(label, number % 2, number, path.stem, f"{path.stem}/{label}", 50_000 * label, 50_000 * (label + 1))
            for label in range(2)
        )
        recordings.append(SourceRecording(path, path.name, samples))
    return Layout("", "", "npz", 8, 10, ("early", "late"), tuple(recordings))


def test_a_registered_data_set_goes_through_preprocess(tmp_path: Path) -> None:
    for k in range(4):
        events = random_events(k, span_us=90_000)
        np.savez(tmp_path / f"user{k}.npz", t=events.t, x=events.x, y=events.y, p=events.p)
    register_dataset("own-set", read_own)
    made = preprocess_dataset(tmp_path, "own-set", tmp_path / "cache", timesteps=2)
    assert (made.name, made.classes, made.samples) == ("own-set", ("early", "late"), 8)
    assert (made.train_samples, made.test_samples) == (4, 4)
    store = open_events(made.events_path)
    assert store.dataset == "own-set" and store.samples.group.tolist()[:3] == ["user0", "user0", "user1"]
    assert np.all(store.times(1) >= 50_000)
    again = preprocess_dataset(tmp_path, "own-set", tmp_path / "cache", timesteps=2)
    assert again == made


def test_a_data_set_needs_a_new_name_and_a_layout(tmp_path: Path) -> None:
    with refuses(ConfigError, where="data set", found="'n-mnist', which is built in"):
        register_dataset("n-mnist", read_own)
    with refuses(ConfigError, where="data set own-set", expected="a function", found="None"):
        register_dataset("own-set", None)  # type: ignore[arg-type]
    register_dataset("own-set", lambda folder: 1 / 0)  # type: ignore[arg-type, return-value]
    with refuses(LayoutError, expected="from the reader of own-set", found="ZeroDivisionError", remedy="Correct"):
        preprocess_dataset(tmp_path, "own-set", tmp_path / "cache")
    register_dataset("own-set", lambda folder: "no layout")  # type: ignore[arg-type, return-value]
    with refuses(LayoutError, expected="Layout with recordings of own-set", found="str"):
        preprocess_dataset(tmp_path, "own-set", tmp_path / "cache")
    register_dataset("own-set", read_own, fits=lambda folder: any(folder.glob("*.npz")), expected=".npz files")
    with refuses(LayoutError, expected=".npz files"):
        preprocess_dataset(tmp_path, "own-set", tmp_path / "cache")


@pytest.mark.parametrize(
    ("changes", "sample", "where", "expected", "found"),
    [
        ({}, {"label": 7}, "label of user0/0", "0 to 1", "7"),
        ({}, {"split": 9}, "split of user0/0", "255 (none)", "9"),
        ({}, {"name": "same"}, "name", "once", "'same' 2 times"),
        ({"classes": ()}, {}, "classes", "every class", "none"),
        ({"format": "nofmt"}, {}, "format", "one of", "'nofmt'"),
        ({"width": 0}, {}, "height, width", "at least 1", "8, 0"),
    ],
)
def test_a_layout_that_is_wrong_is_refused_before_anything_is_written(
    changes: dict[str, Any], sample: dict[str, Any], where: str, expected: str, found: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "user0.npz", t=[0], x=[0], y=[0], p=[0])

    def read(folder: Path) -> Layout:
        layout = replace(read_own(folder), **changes)
        only = layout.recordings[0]
        return replace(layout, recordings=(replace(only, samples=tuple(replace(s, **sample) for s in only.samples)),))

    register_dataset("own-set", read)
    with refuses(LayoutError, where=f"layout of own-set: {where}", expected=expected, found=found, remedy="Correct"):
        preprocess_dataset(tmp_path, "own-set", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()

    def read_twice(folder: Path) -> Layout:
        layout = read_own(folder)
        return replace(layout, recordings=layout.recordings * 2)

    register_dataset("own-set", read_twice)
    with refuses(LayoutError, where="relative", found="'user0.npz' 2 times"):
        preprocess_dataset(tmp_path, "own-set", tmp_path / "cache")


def test_a_name_is_that_of_a_folder_and_a_sensor_has_two_sides(tmp_path: Path) -> None:
    with refuses(ConfigError, where="name", expected="the name of a folder", found="'../xx'"):
        preprocess_dataset(tmp_path, "folder", tmp_path / "cache", name="../xx")
    with refuses(ConfigError, where="sensor_size", expected="rows and columns", found="128"):
        preprocess_dataset(tmp_path, "folder", tmp_path, name="a", sensor_size=128)  # type: ignore[arg-type]


def test_options_that_do_not_fit_are_reported_together(tmp_path: Path) -> None:
    with refuses(ConfigError, where="binning.timesteps", expected="at least 1", errors=3):
        preprocess_dataset(tmp_path, "folder", tmp_path, name="a", timesteps=0, stride_us=4, workers=0)
    with refuses(ConfigError, where="columns", expected="each of t, x, y and p once"):
        read_events(tmp_path / "a.npy", columns="txy")


def test_a_folder_stands_for_the_only_cache_in_it(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path / "src", [random_events(seed, 40, height=8, width=8) for seed in range(6)])
    store = build_event_store(layout, tmp_path / "cache")  # type: ignore[arg-type]
    first = ensure_frames(tmp_path / "cache", "tiny", Binning(timesteps=2))
    for folder in ("cache", "cache/tiny"):
        assert open_events(tmp_path / folder).path == store
        assert open_frames(str(tmp_path / folder)).path == first
    assert open_frames(tmp_path / "cache/tiny/frames").path == first
    ensure_frames(tmp_path / "cache", "tiny", Binning(timesteps=3))
    with refuses(CacheError, where="tiny", expected="a frame cache", found="2 of them", remedy="number-T3-8x8.h5"):
        open_frames(tmp_path / "cache/tiny")
    with refuses(CacheError, where="src", expected="an event store", found="without one", remedy="CACHE/<name>"):
        open_events(tmp_path / "src")
