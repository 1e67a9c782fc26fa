"""Cached real samples: the time to load them, and their size on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import equality, peers
from benchmarks.measuring import Row, compare
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.datasets import find_layout
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_cache import FrameCache, open_frames

T = Binning(20)
REPOSITORY = Path(__file__).resolve().parent.parent


def real_recordings() -> Path | None:
    """The folder of real recordings that the tests use; None if it does not exist."""
    folder = Path(os.environ.get("SPIKELOOM_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    return folder if (folder / "n-mnist").is_dir() else None


def compare_samples(folder: Path, real: Path, repeats: int, passes: int) -> Iterator[Row]:
    """Measure DVS128-Gesture clips and N-MNIST's test samples.

    Args:
        folder: The folder for the caches.
        real: The folder of the recordings.
        repeats: Number of timings per row.
        passes: Number of times that a timing loads all of the few clips.
    """
    store, frames = _build("dvs-gesture", real / "dvs-gesture-clips" / "DvsGesture", folder)
    root = folder / "gesture"
    peers.spikingjelly_events(real / "dvs-gesture-clips" / "DvsGesture", root)
    peers.spikingjelly_frames(root, T.timesteps, frames.height, frames.width)
    equality.check_events(store, root)
    paths = equality.gesture_paths(frames, equality.frames_folder(root, T))
    yield from _rows("real gesture clips, 128x128", store, frames, root, paths, repeats, passes)

    store, frames = _build("n-mnist", real / "n-mnist", folder)
    root = folder / "n-mnist-peers"
    chosen = [i for i, split in enumerate(store.samples.split) if split == 1]
    names = [f"test/{store.samples.label[i]}/{i}.npz" for i in chosen]
    for i, name in zip(chosen, names, strict=True):
        peers.spikingjelly_save_events(store, i, root / "events_np" / name)
    peers.spikingjelly_frames(root, T.timesteps, frames.height, frames.width)
    paths = [equality.frames_folder(root, T) / name for name in names]
    yield from _rows("real N-MNIST, 34x34", store, frames, root, paths, repeats, 1, chosen)


def _build(dataset: str, source: Path, folder: Path) -> tuple[EventStore, FrameCache]:
    layout = find_layout(dataset, source)
    events = build_event_store(layout, folder / "cache")
    return open_events(events), open_frames(ensure_frames(folder / "cache", layout.name, T))


def _rows(
    what: str,
    store: EventStore,
    frames: FrameCache,
    root: Path,
    paths: list[Path],
    repeats: int,
    passes: int,
    chosen: list[int] | None = None,
) -> Iterator[Row]:
    chosen = list(range(len(frames))) if chosen is None else chosen
    for i, path in zip(chosen, paths, strict=True):
        equality.expect(np.array_equal(frames.read(i), peers.spikingjelly_load(path)), f"{path}: frames")
    cached = peers.tonic_cache([frames.read(i) for i in chosen], root / "tonic")
    for k, i in enumerate(chosen):
        equality.expect(np.array_equal(frames.read(i), cached[k][0]), f"tonic, sample {i}")
    buffer = np.empty(frames.sample_shape, frames.dtype)
    again = passes * len(chosen)

    def ours() -> None:
        for i in passes * chosen:
            frames.read(i, buffer)

    def ours_float() -> None:
        # SpikingJelly's loader returns float32.
        for i in passes * chosen:
            frames.read(i, buffer).astype(np.float32)

    def spikingjelly() -> None:
        for path in passes * paths:
            peers.spikingjelly_load(path)

    def tonic() -> None:
        for k in passes * list(range(len(chosen))):
            cached[k]

    yield compare(f"load {again} of {what}", ours, spikingjelly, "SpikingJelly", 8, repeats)
    yield compare(f"load {again} of {what}, as float32", ours_float, spikingjelly, "SpikingJelly", 8, repeats)
    yield compare(f"load {again} of {what}", ours, tonic, "tonic", 3, repeats)
    share = len(chosen) / len(frames)
    for kind, ours_path, theirs, target in (
        ("frames", frames.path, equality.frames_folder(root, T), 0.75),
        ("events", store.path, root / "events_np", 0.7),
    ):
        mine, other = ours_path.stat().st_size * share, peers.bytes_of(theirs)
        yield Row(
            f"disk: {kind} of {what}", f"{mine / 1e6:.3g} MB", f"SpikingJelly {other / 1e6:.3g} MB", mine / other,
            target, less=True,
        )  # fmt: skip
