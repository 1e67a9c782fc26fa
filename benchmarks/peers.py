"""The same work done by SpikingJelly 2.0 and tonic 1.7, through their public interfaces."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spikingjelly.datasets import utils as spikingjelly_utils
from spikingjelly.datasets.base import FrameFixedNumberBuilder, NeuromorphicDatasetConfig
from spikingjelly.datasets.dvs128_gesture import DVS128Gesture
from tonic import DiskCachedDataset

from preprocess.store.event_store import EventStore


def spikingjelly_decode(path: Path) -> dict[str, NDArray[Any]]:
    """Decode one AEDAT 3.1 file."""
    return spikingjelly_utils.load_aedat_v3(path)


def spikingjelly_events(source: Path, root: Path) -> Path:
    """Decode and split the recordings of a folder with the layout of DVS128-Gesture; return ``root/events_np``.

    SpikingJelly expects the recordings in a folder ``DvsGesture``, and decodes in threads.
    """
    extracted, events = root / "extract", root / "events_np"
    extracted.mkdir(parents=True)
    (extracted / "DvsGesture").symlink_to(source)
    events.mkdir()
    DVS128Gesture.create_raw_from_extracted(extracted, events)
    return events


def spikingjelly_save_events(store: EventStore, i: int, path: Path) -> None:
    """Save a sample as SpikingJelly saves decoded samples, with int64 columns."""
    events = store.read(i)
    path.parent.mkdir(parents=True, exist_ok=True)
    spikingjelly_utils.np_savez(path, **{c: getattr(events, c).astype(np.int64) for c in "txyp"})


def spikingjelly_frames(root: Path, timesteps: int, height: int, width: int) -> Path:
    """Make the frames of every sample below ``root/events_np``, split by number; return their folder."""
    configuration = NeuromorphicDatasetConfig(
        root=root, train=None, data_type="frame", frames_number=timesteps, split_by="number"
    )
    folder, _ = FrameFixedNumberBuilder(configuration, root / "events_np", height, width).build()
    return folder


def spikingjelly_load(path: Path) -> NDArray[np.float32]:
    """Load the frames of a sample with the function that SpikingJelly's data sets use."""
    return spikingjelly_utils.load_npz_frames(path)


def tonic_cache(frames: list[NDArray[Any]], folder: Path) -> DiskCachedDataset:
    """tonic's disk cache of frames in the int16 format of its ToFrame, filled by a first epoch."""
    logging.getLogger().setLevel(logging.WARNING)
    cached = DiskCachedDataset([(frame.astype(np.int16), 0) for frame in frames], str(folder))
    for i in range(len(cached)):
        cached[i]
    return cached


def bytes_of(folder: Path) -> int:
    """Total size of all files in a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
