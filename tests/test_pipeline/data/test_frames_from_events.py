"""Runs that read events straight from their store compute the same, and augment them from seed and epoch alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_layout import random_events
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import DatasetConfig, InputConfig, RunConfig, fingerprint, override
from pipeline.data.event_augmentation import augment_events
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import open_data
from pipeline.training.train_run import train_run
from preprocess.binning.binning_config import Binning
from preprocess.errors import ConfigError
from preprocess.events import Events
from preprocess.store.event_store import open_events

CPU = torch.device("cpu")
EVENTS = replace(TINY, input=InputConfig(source="events"))
KINDS = ("time-jitter", "spatial-jitter", "drop-events")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tiny_cache(tmp_path)


def augmented(kind: str, config: RunConfig = EVENTS) -> RunConfig:
    return override(config, {"dataset.augmentation": kind})


def test_a_run_from_events_equals_one_from_the_cache_and_makes_none(cache: Path, tmp_path: Path):
    train_run(EVENTS, tmp_path / "events", cache)
    assert not (cache / "tiny" / "frames").exists()
    train_run(TINY, tmp_path / "cache-run", cache)
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("events", "cache-run")]
    assert lines[0] == lines[1]
    assert fingerprint(EVENTS) == fingerprint(TINY) != fingerprint(augmented("time-jitter"))


@pytest.mark.parametrize("kind", KINDS)
def test_augmented_batches_depend_on_seed_epoch_and_sample_alone(cache: Path, kind: str):
    data = open_data(augmented(kind), cache)

    def frames(seed: int, epoch: int, *, kind: str = kind, indices: np.ndarray = data.splits.train) -> dict[int, bytes]:
        loader = FrameLoader(data.frames, indices, 4, InputConfig(), CPU, seed=seed, training=True, augmentation=kind)
        order = [i for batch in loader._plan(epoch) for i in batch.tolist()]
        found = [batch.frames[:, b].numpy() for batch in loader.batches(epoch) for b in range(4)]
        return {i: counts.tobytes() for i, counts in zip(order, found, strict=True)}

    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    first = frames(1, 1)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    np.random.seed(6)  # noqa: NPY002
    assert frames(1, 1) == first
    some = frames(1, 1, indices=data.splits.train[:12])
    assert all(first[i] == counts for i, counts in some.items() if i in first)
    for other in (frames(1, 2), frames(2, 1), frames(1, 1, kind="none")):
        shared = first.keys() & other.keys()
        assert len(shared) > 8 and sum(first[i] != other[i] for i in shared) > 0.8 * len(shared)


def test_evaluation_sees_the_events_as_they_are(cache: Path, tmp_path: Path):
    config = augmented("drop-events")
    train_run(config, tmp_path / "run", cache)
    data = open_data(config, cache)
    loader = FrameLoader(data.frames, data.splits.test, 8, InputConfig(), CPU)
    counts = sum(int(batch.frames.sum()) for batch in loader.batches())
    assert counts == int(data.frames.samples.events[data.splits.test].sum())


def test_each_augmentation_changes_what_it_says():
    events = random_events(1, 2000, height=30, width=40)

    def change(kind: str) -> Events:
        return augment_events(kind, 30, 40, seed=1, epoch=1)(7, events)

    jittered = change("time-jitter")
    assert len(jittered) == 2000 and np.all(np.diff(jittered.t) >= 0)
    assert 0 < np.abs(jittered.t - events.t).mean() < 1500
    assert sorted(jittered.address().tolist()) == sorted(events.address().tolist())
    moved = change("spatial-jitter")
    assert 1700 < len(moved) < 2000
    assert moved.x.max() < 40 and moved.y.max() < 30 and np.isin(moved.t, events.t).all()
    other = augment_events("spatial-jitter", 30, 40, seed=1, epoch=1)(8, events)
    assert len(other) != len(moved) or not np.array_equal(other.x, moved.x)
    dropped = change("drop-events")
    assert 1400 <= len(dropped) < 2000 and np.isin(dropped.t, events.t).all()


def test_augmentation_asks_for_events_and_for_a_fixed_number_of_steps():
    with pytest.raises(
        ConfigError, match=r"dataset.augmentation: expected input.source events, found input.source cac"
    ):
        replace(TINY, dataset=DatasetConfig(name="tiny", augmentation="time-jitter"))
    varying = replace(EVENTS, binning=Binning(split_by="duration", duration_us=10_000))
    with pytest.raises(ConfigError, match=r"expected a binning\.split_by of fixed T, found duration"):
        augmented("time-jitter", varying)
    assert override(TINY, {"input.source": "events", "dataset.augmentation": "drop-events"})


def test_a_varying_binning_reads_lengths_from_events_too(cache: Path):
    varying = {"binning.split_by": "event_count", "binning.event_count": 90}
    from_events, from_cache = (open_data(override(c, varying), cache) for c in (EVENTS, TINY))
    loaders = [
        FrameLoader(data.frames, data.splits.test, 8, InputConfig(), CPU).batches()
        for data in (from_events, from_cache)
    ]
    for one, other in zip(*loaders, strict=True):
        assert torch.equal(one.frames, other.frames) and one.lengths is not None and other.lengths is not None
        assert torch.equal(one.lengths, other.lengths)
    store = open_events(cache / "tiny" / "events.h5")
    assert from_events.frames.lengths.tolist() == [int(n) // 90 for n in store.samples.events]


def test_no_batch_holds_what_another_left_in_its_buffer(cache: Path):
    data = open_data(EVENTS, cache)
    loader = FrameLoader(data.frames, data.splits.train, 5, InputConfig(), CPU)
    kept = [batch.frames for batch in loader.batches()]
    again = [batch.frames.clone() for batch in loader.batches()]
    assert all(torch.equal(one, other) for one, other in zip(kept, again, strict=True))
