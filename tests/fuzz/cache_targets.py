"""Targets for caches: event stores, frame caches, image stores, and imported frames.

Besides damage, which the seals and checksums of a cache find, the changes of `reseal` are those of a forger: the values
are others and every seal and checksum is right again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from cache_seals import seal_again
from image_files import write_cifar10
from tiny_layout import random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.building.build_image_store import preprocess_images
from preprocess.errors import SpikeloomError
from preprocess.frame_import.import_frames import import_frames
from preprocess.inspection.inspect_file import inspect_file
from preprocess.inspection.verify import verify_cache
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_cache import FrameCache, open_frames
from preprocess.store.frame_source import EventFrames
from preprocess.store.image_store import ImageStore, open_images
from preprocess.store.sealed_cache_file import CacheFile

from .hdf5_mutators import change_anything, edited
from .target import Target

_NAME = "tiny"
_BINNINGS = (
    Binning(timesteps=3),
    Binning(timesteps=2, split_by="fixed_window", duration_us=30_000, downsample=2),
    Binning(split_by="duration", duration_us=900_000_000),
    Binning(split_by="time_window", duration_us=900_000_000, overlap=300_000_000),
    Binning(timesteps=3, split_by="time"),
)


def cache_targets() -> Iterator[Target]:
    """A target for each kind of cache."""
    yield Target("event-store", f"{_NAME}/events.h5", _event_stores, _read_events, mutators=(reseal, reseal))
    path = f"{_NAME}/frames/number-T3-8x10.h5"
    yield Target("frame-cache", path, partial(_frame_caches, _BINNINGS[:2]), _read_frames, mutators=(reseal, reseal))
    yield Target(
        "frame-cache-varying", path, partial(_frame_caches, _BINNINGS[2:4]), _read_frames, mutators=(reseal, reseal)
    )
    yield Target("image-store", f"{_NAME}/images.h5", _image_stores, _read_images, mutators=(reseal, reseal))
    yield Target(
        "imported-cache", f"{_NAME}/frames/imported-T3-4x5.h5", _imported, _read_frames, mutators=(reseal, reseal)
    )


def _build(folder: Path) -> Path:
    """A cache of five small samples, one with events out of order and one with a pause of an hour."""
    events = [random_events(seed, 60, ordered=seed != 1) for seed in range(5)]
    pause = np.where(np.arange(60) >= 30, 3_600_000_000, 0)
    events[2] = dataclasses.replace(events[2], t=events[2].t + pause)
    build_event_store(tiny_layout(folder / "source", events, name=_NAME), folder / "cache")
    return folder / "cache"


def _event_stores(folder: Path) -> Iterator[bytes]:
    yield (_build(folder) / _NAME / "events.h5").read_bytes()


def _frame_caches(binnings: Sequence[Binning], folder: Path) -> Iterator[bytes]:
    for binning in binnings:
        yield ensure_frames(_build(folder / binning.rule_title), _NAME, binning).read_bytes()


def _image_stores(folder: Path) -> Iterator[bytes]:
    source = write_cifar10(folder, train=10, test=5)
    yield preprocess_images(source, "cifar10", folder / "cache", workers=1).path.read_bytes()


def _imported(folder: Path) -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for name, scale in (("whole", 1), ("fractions", 0.5)):
        for k in range(4):
            (folder / name / f"class{k % 2}").mkdir(parents=True, exist_ok=True)
            frames = rng.integers(0, 5, (3 - k % 2 * (name == "whole"), 2, 4, 5)) * scale
            np.savez(folder / name / f"class{k % 2}" / f"{k}.npz", frames=frames)
        yield import_frames(folder / name, name, folder / "cache", workers=1).path.read_bytes()


@contextlib.contextmanager
def _closing(cache: CacheFile) -> Iterator[Any]:
    """Describe the cache as commands do, and close it at the end."""
    try:
        assert len(cache) > 0 and cache.height > 0 and cache.width > 0
        assert int(cache.samples.label.max()) < len(cache.classes)
        yield cache
    finally:
        cache.close()


def _read_events(path: Path) -> None:
    with _closing(open_events(path)) as store:
        assert isinstance(store, EventStore)
        everything = range(len(store))
        for i in everything:
            t, events = store.check_sample(i), store.read(i)
            assert len(t) == len(events) == store.samples.events[i]
            assert events.x.max() < store.width and events.y.max() < store.height and events.p.max() <= 1
        assert np.array_equal(store.times_of(everything), np.concatenate([store.times(i) for i in everything]))
        assert len(store.addresses_of(everything)) == int(store.samples.offset[-1])
        assert sum(map(len, store.groups(100, 2))) == len(store)
        if 2 * store.height * store.width < 1 << 20:
            _bin(store)
    _describe(path)


def _bin(store: EventStore) -> None:
    """Bin every sample in several ways; the store is refused if one of them refuses it."""
    refused = None
    for binning in _BINNINGS:
        try:
            frames = EventFrames(store, binning)
            # Kernels do not check bounds: what is wrong here would be written elsewhere.
            assert all(frames.read(i).shape == frames.sample_shape for i in range(len(store)))
        except SpikeloomError as error:
            refused = error
    if refused is not None:
        raise refused


def _read_frames(path: Path) -> None:
    with _closing(open_frames(path)) as cache:
        assert isinstance(cache, FrameCache)
        assert cache.lengths.min() > 0 and cache.lengths.max() <= cache.timesteps
        if np.prod(cache.sample_shape) < 1 << 24:
            for i in range(len(cache)):
                assert cache.read(i).shape == cache.sample_shape
            assert len(cache.read_batch([0, len(cache) - 1])) == 2
    _describe(path)


def _read_images(path: Path) -> None:
    with _closing(open_images(path)) as store:
        assert isinstance(store, ImageStore)
        for i in range(len(store)):
            assert store.read(i).shape == store.shape
    _describe(path)


def _describe(path: Path) -> None:
    """What `inspect` and `verify` print; verify reports errors, each in one line."""
    json.dumps(inspect_file(path).facts)
    folder = path.parent.parent if path.parent.name == "frames" else path.parent
    if path.parent.name != "frames" or path.stem.startswith("imported"):
        for result in verify_cache(folder):
            assert all(len(line.splitlines()) == 1 for line in result.errors), result.errors


def reseal(rng: np.random.Generator, content: bytearray) -> bytearray:
    """A change of a cache by somebody who can compute its checksums and seals."""

    def change(file: h5py.File) -> None:
        change_anything(rng, file)
        seal_again(file)

    return edited(content, change)
