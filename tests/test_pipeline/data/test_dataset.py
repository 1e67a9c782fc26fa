"""`FrameDataset` gives the same samples in this process, in threads, and in forked and spawned workers."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import tiny_cache
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from pipeline.config.run_config import InputConfig
from pipeline.data.dataset import FrameDataset
from preprocess import EventFrames, open_events, open_frames
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import ensure_frames


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("dataset"), samples=24)


def from_cache(cache: Path) -> FrameDataset:
    return FrameDataset(open_frames(ensure_frames(cache, "tiny", Binning(3, "time"))))


def from_events(cache: Path) -> FrameDataset:
    return FrameDataset(EventFrames(open_events(cache / "tiny" / "events.h5"), Binning(3, "time")))


@pytest.fixture(params=[from_cache, from_events], ids=["cache", "events"])
def dataset(cache: Path, request: pytest.FixtureRequest) -> FrameDataset:
    made: FrameDataset = request.param(cache)
    return made


def everything(dataset: Dataset, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(DataLoader(dataset, batch_size=5, **options))  # type: ignore[arg-type]
    return torch.cat([frames for frames, _ in batches]), torch.cat([labels for _, labels in batches])


def test_samples_are_the_caches_counts_and_labels(dataset: FrameDataset):
    assert len(dataset) == 24
    for i in (0, 7, 23):
        frames, label = dataset[i]
        assert frames.dtype == torch.float32 and isinstance(label, int)
        np.testing.assert_array_equal(frames.numpy(), dataset.frames.read(i))
        assert label == dataset.frames.samples.label[i]


def test_a_dataset_ends_where_its_samples_end(dataset: FrameDataset):
    with pytest.raises(IndexError):
        dataset[24]
    assert len(list(dataset)) == 24


def test_chosen_samples_come_in_their_order_and_as_the_network_sees_them(dataset: FrameDataset):
    chosen = FrameDataset(dataset.frames, [5, 2], InputConfig(size=8, encoding="binary"))
    frames, label = chosen[1]
    assert len(chosen) == 2 and label == dataset[2][1] and frames.shape == (3, 2, 8, 8) and frames.max() <= 1
    assert chosen.lengths.tolist() == [3, 3]


def test_forked_workers_read_the_same(dataset: FrameDataset):
    # The file is open already in this process: workers must not share its handle.
    expected = everything(dataset)
    for _ in range(2):
        found = everything(dataset, num_workers=2, multiprocessing_context="fork")
        assert all(map(torch.equal, found, expected))


@pytest.mark.slow
def test_spawned_workers_read_the_same(cache: Path):
    both = ConcatDataset([from_cache(cache), from_events(cache)])
    found = everything(both, num_workers=1, multiprocessing_context="spawn")
    assert all(map(torch.equal, found, everything(both)))


def test_threads_read_the_same(dataset: FrameDataset):
    frames, _ = everything(dataset)
    fresh = pickle.loads(pickle.dumps(dataset))
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            found = list(pool.map(lambda i: fresh[i][0], [*range(24)] * 4))
            assert torch.equal(torch.stack(found), frames.repeat(4, 1, 1, 1, 1))


def test_a_pickle_holds_the_path_and_no_frames(dataset: FrameDataset):
    size = len(pickle.dumps(dataset))
    assert size < 2000 + 8 * len(dataset) + dataset.frames.samples.name.nbytes
