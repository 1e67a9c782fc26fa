"""Batches hold the cache's counts, time first, in an order that only the seed and the epoch decide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from messages import refuses
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import DatasetConfig, InputConfig
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import RunData, open_data
from pipeline.runtime.distributed import Group
from preprocess.errors import CacheError, ConfigError
from preprocess.store.frame_cache import open_frames

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("data"))


@pytest.fixture
def data(cache: Path) -> RunData:
    return open_data(TINY, cache)


def loader(data: RunData, **options: object) -> FrameLoader:
    return FrameLoader(data.frames, data.splits.train, 8, InputConfig(), CPU, **options)  # type: ignore[arg-type]


def test_batches_are_the_caches_counts_time_first(data: RunData):
    seen = 0
    for batch in loader(data).batches():
        indices = data.splits.train[seen : seen + len(batch.labels)]
        assert batch.frames.shape == (3, len(indices), 2, 16, 16) and batch.frames.dtype == torch.float32
        for b, i in enumerate(indices):
            np.testing.assert_array_equal(batch.frames[:, b].numpy(), data.frames.read(int(i)))
            assert batch.labels[b] == data.frames.samples.label[i]
        seen += len(indices)
    assert seen == len(data.splits.train)


def test_training_drops_a_last_batch_that_is_not_full_and_evaluation_does_not(data: RunData):
    train, straight = loader(data, seed=1, training=True), loader(data)
    assert len(data.splits.train) % 8 != 0
    assert {len(batch.labels) for batch in train.batches(1)} == {8}
    assert train.samples == 8 * len(train) < straight.samples == len(data.splits.train)


def test_a_last_batch_that_is_not_full_can_be_kept(data: RunData):
    kept = loader(data, seed=1, training=True, keep_last=True)
    dropped = loader(data, seed=1, training=True)
    sizes = [len(batch.labels) for batch in kept.batches(1)]
    assert sizes == [8] * len(dropped) + [len(data.splits.train) % 8]
    assert kept.samples == len(data.splits.train)
    for one, other in zip(kept.batches(1), dropped.batches(1), strict=False):
        assert torch.equal(one.frames, other.frames)


def test_processes_that_cannot_share_the_last_batch_equally_are_refused(data: RunData):
    rest = len(data.splits.train) % 8
    assert rest % 2 == 1
    with refuses(
        ConfigError, where="keep_last", expected=f"last batch of {rest} samples", remedy="Leave keep_last out"
    ):
        loader(data, seed=1, training=True, keep_last=True, group=Group(0, 2))


def test_order_depends_on_seed_and_epoch_alone(data: RunData):
    def order(seed: int, epoch: int) -> list[float]:
        batches = loader(data, seed=seed, training=True).batches(epoch)
        return [float(batch.frames.double().square().sum()) for batch in batches]

    torch.manual_seed(1)
    first = order(3, 1)
    torch.manual_seed(2)
    assert order(3, 1) == first
    assert order(3, 2) != first and order(4, 1) != first


def test_leaving_an_epoch_early_ends_its_reader(data: RunData):
    import threading

    for _ in loader(data).batches():
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frames")]


def test_missing_frames_are_made_and_found_again(cache: Path):
    config = replace(TINY, binning=replace(TINY.binning, timesteps=5))
    path = open_data(config, cache).frames.path
    assert open_frames(path).timesteps == 5
    before = path.stat().st_mtime_ns
    assert open_data(config, cache).frames.path.stat().st_mtime_ns == before


def test_a_missing_event_store_names_the_command_that_makes_it(cache: Path):
    with pytest.raises(CacheError, match="Make it: spikeloom preprocess folder --name elsewhere --source DIR --cache"):
        open_data(replace(TINY, dataset=DatasetConfig(name="elsewhere")), cache)
    # A name that is almost that of a data set in the cache.
    with pytest.raises(CacheError, match=r"no such file. Did you mean 'tiny'\? Make it: spikeloom preprocess"):
        open_data(replace(TINY, dataset=DatasetConfig(name="tini")), cache)


def test_a_batch_larger_than_the_training_set_is_refused(cache: Path):
    with pytest.raises(ConfigError, match=r"batch_size: expected at most the \d+ training samples of tiny, found 999"):
        open_data(replace(TINY, batch_size=999), cache)


def test_a_batch_larger_than_the_training_set_is_all_of_it_where_the_last_batch_is_kept(cache: Path):
    config = replace(TINY, batch_size=999, keep_last=True)
    data = open_data(config, cache)
    loader = FrameLoader(data.frames, data.splits.train, 999, InputConfig(), CPU, seed=0, training=True, keep_last=True)
    assert [len(batch.labels) for batch in loader.batches(1)] == [len(data.splits.train)]
    assert config.batches_per_epoch(len(data.splits.train)) == 1 and not config.batches_per_epoch(0)


def test_no_sample_is_in_two_splits_and_selection_last_trains_on_all(cache: Path, data: RunData):
    parts = (data.splits.train, data.splits.validation, data.splits.test)
    assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts)) == len(data.frames)
    everything = open_data(replace(TINY, selection="last"), cache).splits
    assert len(everything.train) == len(data.splits.train) + len(data.splits.validation)
    assert np.array_equal(everything.test, data.splits.test) and len(everything.validation) == 0


@pytest.mark.gpu
def test_a_gpu_gets_the_same_batches_from_pinned_buffers(data: RunData):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    indices = np.tile(data.splits.train, 20)
    on_gpu = FrameLoader(data.frames, indices, 8, InputConfig(), torch.device("cuda"))
    on_cpu = FrameLoader(data.frames, indices, 8, InputConfig(), CPU)
    for one, other in zip(on_gpu.batches(), on_cpu.batches(), strict=True):
        assert one.frames.is_cuda and torch.equal(one.frames.cpu(), other.frames)
        assert torch.equal(one.labels.cpu(), other.labels)
