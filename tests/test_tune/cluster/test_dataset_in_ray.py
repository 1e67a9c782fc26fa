"""Ray's workers read the samples of a `FrameDataset` that travels to them by its path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.data.dataset import FrameDataset
from preprocess import EventFrames, open_events, open_frames
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import ensure_frames


@pytest.mark.ray
@pytest.mark.parametrize("source", ["cache", "events"])
def test_ray_tasks_read_the_same(tiny_cache: Path, shared_ray: None, source: str):
    import ray

    if source == "cache":
        dataset = FrameDataset(open_frames(ensure_frames(tiny_cache, "tiny", Binning(4))))
    else:
        dataset = FrameDataset(EventFrames(open_events(tiny_cache / "tiny" / "events.h5"), Binning(4)))
    expected = [dataset[k] for k in range(0, 60, 20)]
    read = ray.remote(num_cpus=0)(lambda dataset, k: dataset[k])
    found = ray.get([read.remote(dataset, k) for k in range(0, 60, 20)])
    for (frames, label), (expected_frames, expected_label) in zip(found, expected, strict=True):
        assert torch.equal(frames, expected_frames) and label == expected_label
