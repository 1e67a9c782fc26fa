"""How a finished run's neurons fire at each step: the same spikes as an evaluation counts, step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import override
from pipeline.data.run_data import open_data
from pipeline.evaluation.finished_run import evaluate_test, load_selected
from pipeline.evaluation.spikes_over_time import SpikesOverTime
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.errors import RunError

CONFIG = override(TINY, {"binning.timesteps": 5, "network.width": 0.25, "schedule.epochs": 1})


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("spikes"))


@pytest.fixture(scope="module")
def trained(cache: Path) -> Path:
    folder = cache.parent / "trained"
    train_run(CONFIG, folder, cache)
    return folder


def test_shares_over_steps_and_samples_are_the_firing_rates_of_the_test_split(trained: Path, cache: Path):
    there, data = open_run(trained), open_data(CONFIG, cache)
    network, _ = load_selected(there, data, torch.device("cpu"))
    rates = evaluate_test(there, network, data, torch.device("cpu")).firing_rates
    spikes = SpikesOverTime(there, data.frames)
    shares = np.array([spikes.shares(int(sample)) for sample in data.splits.test])
    assert shares.shape == (len(data.splits.test), len(rates), 5)
    assert spikes.layers == tuple(rates)
    np.testing.assert_allclose(shares.mean((0, 2)), list(rates.values()), rtol=1e-6)
    assert shares.min() >= 0 and shares.max() <= 1 and shares.std(2).max() > 0


def test_a_sample_leaves_nothing_behind_for_the_next(trained: Path, cache: Path):
    data = open_data(CONFIG, cache)
    spikes = SpikesOverTime(open_run(trained), data.frames)
    first = spikes.shares(0)
    spikes.shares(1)
    np.testing.assert_array_equal(spikes.shares(0), first)


def test_padding_is_cut_off(trained: Path, cache: Path):
    data = open_data(CONFIG, cache)
    whole = SpikesOverTime(open_run(trained), data.frames).shares(0)
    data.frames.lengths = np.full(len(data.frames), 3)
    np.testing.assert_array_equal(SpikesOverTime(open_run(trained), data.frames).shares(0), whole[:, :3])


def test_frames_of_other_files_than_it_was_trained_on_are_refused(trained: Path, cache: Path):
    there, data = open_run(trained), open_data(CONFIG, cache)
    other = replace(there, environment=there.environment | {"data": "another"})
    with pytest.raises(RunError, match=r"expected frames another, found .* preprocessed from other files since"):
        SpikesOverTime(other, data.frames)


def test_a_run_without_weights_is_refused(trained: Path, cache: Path, tmp_path: Path):
    with pytest.raises(RunError, match=r"expected selected weights \(best\.pt\)"):
        SpikesOverTime(replace(open_run(trained), folder=tmp_path), open_data(CONFIG, cache).frames)
