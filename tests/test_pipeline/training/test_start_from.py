"""A run that goes on from another: as if it had never been two, or with another neuron or setting from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import RunConfig, override
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError, RunError


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run of two of three epochs."""
    folder = tmp_path_factory.mktemp("runs") / "origin"
    train_run(override(TINY, {"schedule.stop_epoch": 2}), folder, cache)
    return folder


def goes_on(origin: Path, **changes: object) -> RunConfig:
    return override(TINY, {"start_from": "origin", **{name.replace("__", "."): v for name, v in changes.items()}})


def test_two_parts_compute_what_one_run_does(tmp_path: Path, cache: Path, origin: Path):
    whole = train_run(TINY, tmp_path / "whole", cache)
    assert len(open_run(origin).metrics) == 2
    rest = train_run(goes_on(origin), origin.parent / "rest", cache)
    assert open_run(origin.parent / "rest").metrics == open_run(tmp_path / "whole").metrics
    parts = [name for name in whole if name not in ("fingerprint", "seconds")]
    assert {name: rest[name] for name in parts} == {name: whole[name] for name in parts}


def test_only_its_own_epochs_take_its_time(cache: Path, origin: Path):
    train_run(goes_on(origin, seed=8), origin.parent / "timed", cache)
    assert [row["epoch"] for row in open_run(origin.parent / "timed").timings] == [3]


def test_lif_is_exchanged_for_clif_at_an_epoch(cache: Path, origin: Path):
    result = train_run(goes_on(origin, neuron__name="clif"), origin.parent / "clif", cache)
    # What another neuron reached before is no choice of this one.
    assert result["epoch"] == 3 and result["epochs"] == 3


def test_settings_of_the_optimiser_are_the_new_ones(cache: Path, origin: Path):
    folder = origin.parent / "decay"
    train_run(goes_on(origin, optimiser__weight_decay=0.3), folder, cache)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert state["optimiser"]["param_groups"][0]["weight_decay"] == 0.3
    assert state["optimiser"]["state"]


def test_run_that_does_not_exist_or_is_too_long_is_refused(cache: Path, origin: Path):
    config = replace(goes_on(origin), start_from="nowhere")
    with pytest.raises(RunError, match=r"nowhere: expected a run folder \(with config.json\), found none"):
        train_run(config, origin.parent / "a", cache)
    assert not (origin.parent / "a").exists()
    with pytest.raises(RunError, match="expected a run of fewer than 2 epochs to start from, found 2"):
        train_run(goes_on(origin, schedule__stop_epoch=2), origin.parent / "b", cache)


def test_optimiser_that_cannot_continue_the_state_is_refused(cache: Path, origin: Path):
    for name in ("adamw", "lamb"):
        with pytest.raises(RunError, match=rf"start_from: expected optimiser\.name sgd, as in .*, found .* {name}"):
            train_run(goes_on(origin, optimiser__name=name), origin.parent / name, cache)
        assert not (origin.parent / name).exists()
    config = goes_on(origin, optimiser__weight_decay_of="weights", optimiser__weight_decay=0.1)
    with pytest.raises(RunError, match=r"expected weight decay of all parameters or none, as in .*, found .* only"):
        train_run(config, origin.parent / "weights", cache)


def test_stop_beyond_the_schedule_is_a_fault():
    with pytest.raises(ConfigError, match=r"schedule\.stop_epoch: expected 1 to epochs = 3, found 4"):
        override(TINY, {"schedule.stop_epoch": 4})
