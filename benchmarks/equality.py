"""Checks that a peer's results equal ours before anything is timed: times of different work are not comparable."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import peers
from preprocess.binning.binning_config import Binning
from preprocess.datasets.layout import Layout
from preprocess.store.event_store import EventStore
from preprocess.store.frame_cache import FrameCache


def expect(equal: bool, what: str) -> None:
    """Stop the benchmark if results differ."""
    if not equal:
        raise SystemExit(f"benchmarks: {what}: expected the peer's values, found others.")


def check_decoded(layout: Layout) -> None:
    """Check that SpikingJelly decodes the same events from the first recording."""
    recording = layout.recordings[0]
    chunks = list(layout.open(recording).chunks())
    theirs = peers.spikingjelly_decode(recording.path)
    for column in "txyp":
        ours = np.concatenate([getattr(chunk, column) for chunk in chunks])
        expect(np.array_equal(ours, theirs[column]), f"{recording.path}: {column}")


def check_events(store: EventStore, root: Path) -> None:
    """Check that SpikingJelly saved the same events of every gesture sample."""
    for i, path in enumerate(gesture_paths(store, root / "events_np")):
        events = store.read(i)
        with np.load(path) as theirs:
            for column in "txyp":
                expect(np.array_equal(getattr(events, column), theirs[column]), f"{path}: {column}")


def check_frames(frames: FrameCache, paths: list[Path]) -> None:
    """Check that SpikingJelly's frames in these files equal those of the samples."""
    for i, path in enumerate(paths):
        expect(np.array_equal(frames.read(i), peers.spikingjelly_load(path)), f"{path}: frames")


def gesture_paths(of: EventStore | FrameCache, root: Path) -> list[Path]:
    """SpikingJelly's path of each gesture sample: ``<split>/<label>/<recording>_<number of the label>.npz``."""
    table = of.samples
    paths = []
    for name, label, split in zip(table.name, table.label, table.split, strict=True):
        recording, _, sample = str(name).partition("/")
        number = sample.rpartition("_")[2]
        paths.append(root / ("train", "test")[split] / str(label) / f"{recording}_{number}.npz")
    return paths


def frames_folder(root: Path, binning: Binning) -> Path:
    """SpikingJelly's folder of frames."""
    return root / f"frames_number_{binning.timesteps}_split_by_{binning.split_by}"
