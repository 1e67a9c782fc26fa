"""Caches with impossible values behind right seals are refused in one line, and no loop leaves its arrays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from cache_seals import seal_again
from tiny_layout import random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.errors import CacheError
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames

Change = Callable[[h5py.File], None]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache whose first sample has a pause of an hour."""
    folder = tmp_path_factory.mktemp("forged")
    samples = [random_events(seed, 60) for seed in range(4)]
    samples[0].t[30:] += 3_600_000_000
    build_event_store(tiny_layout(folder / "source", samples), folder / "cache")
    return folder / "cache"


def forged(path: Path, folder: Path, change: Change) -> Path:
    """A copy with a change behind right seals."""
    copy = Path(shutil.copy(path, folder / path.name))
    with h5py.File(copy, "r+") as file:
        change(file)
        seal_again(file)
    return copy


def replaced(name: str, values: Callable[[np.ndarray], object], **options: object) -> Change:
    """Replace a data set with other values, which are not compressed."""

    def change(file: h5py.File) -> None:
        new = values(file[name][()])
        del file[name]
        file.create_dataset(name, data=new, **options)

    return change


def attribute(name: str, value: object) -> Change:
    return lambda file: file.attrs.__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # The loop that sums differences reads both columns side by side.
        (replaced("events/jump_us", lambda values: values[:0]), "jump_us"),
        (replaced("events/jump_at", lambda values: values[:, None]), "jump_at"),
        (replaced("events/time_delta", lambda values: values.astype(np.uint64), chunks=(16,)), "time_delta has type"),
        (replaced("events/address", lambda values: values), "has chunks of shape None"),
        (replaced("events/address", lambda values: values.astype(np.int16), chunks=(16,)), "type int16"),
        (replaced("samples/split", lambda values: values + 7), "expected splits 0, 1 or 255"),
        (replaced("samples/label", lambda values: values * 0.5), "/samples/label has type float64"),
        (attribute("height", 0), "a sensor of 0x10 pixels"),
        (attribute("width", "10"), "width: expected a whole number, found '10'"),
        (attribute("classes", 3), "classes: expected a list"),
        (attribute("notes", "[1]"), "notes: expected an object"),
        (attribute("source", np.int64(1)), "source: expected text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_impossible_event_store_is_refused(cache: Path, tmp_path: Path, change: Change, message: str):
    path = forged(cache / "tiny" / "events.h5", tmp_path, change)
    with pytest.raises(CacheError) as refused:
        open_events(path)
    (line,) = refused.value.errors
    assert message in line and line.startswith(f"{path}: ")


def test_events_outside_the_sensor_are_refused_when_they_are_read(cache: Path, tmp_path: Path):
    change = replaced("events/address", lambda values: values * 0 + 160, chunks=(16,))
    store = open_events(forged(cache / "tiny" / "events.h5", tmp_path, change))
    for read in (store.read, store.check_sample):
        with pytest.raises(CacheError, match=r"sample 2 .*an address is outside the sensor"):
            read(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("length", lambda values: values * 0), "expected 1 to 65536 frames"),
        (replaced("length", lambda values: values[:1]), "length has shape (1,)"),
        (replaced("frames", lambda values: values), "has chunks of shape None"),
        (replaced("frames", lambda values: values, chunks=(2, 1, 2, 8, 10)), "has chunks of shape (2, 1, 2, 8, 10)"),
        (attribute("duration_us", -5), "binning.duration_us: expected at least 1"),
        (attribute("split_by", "none"), "split_by: expected"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_impossible_frame_cache_is_refused(cache: Path, tmp_path: Path, change: Change, message: str):
    frames = ensure_frames(cache, "tiny", Binning(split_by="duration", duration_us=1_000_000_000))
    path = forged(frames, tmp_path, change)
    with pytest.raises(CacheError) as refused:
        open_frames(path)
    assert message in str(refused.value) and len(refused.value.errors) == 1
