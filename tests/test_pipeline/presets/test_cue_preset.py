"""cue-small: steps of 50 ms at every lag, so that a longer lag is more steps, and an answer in those of the probe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.run_config import RunConfig, override
from pipeline.presets.registry import PRESETS
from pipeline.training.train_run import train_run
from preprocess.building.build_event_store import build_event_store
from preprocess.datasets import find_layout
from preprocess.emulator.cue import PROBE_US, emulate_cue
from preprocess.files import read_json


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cues")
    for lag_ms in (0, 75):
        source = emulate_cue(folder / f"lag{lag_ms}", samples_per_class=4, seed=0, lag_ms=lag_ms, test_share=0.5)
        build_event_store(find_layout("emulated-cue", source), folder / "cache")
    return folder / "cache"


def small(lag_ms: int) -> RunConfig:
    changes = {"schedule.epochs": 1, "network.width": 0.125, "batch_size": 8, "selection": "last", "threads": 1}
    return override(PRESETS["cue-small"].config, changes | {"dataset.name": f"emulated-cue-lag{lag_ms}"})


@pytest.mark.slow
@pytest.mark.parametrize(("lag_ms", "steps"), [(0, 4), (75, 6)])
def test_steps_grow_with_the_lag_and_the_probes_steps_answer(cache: Path, tmp_path: Path, lag_ms: int, steps: int):
    config = small(lag_ms)
    assert config.loss.last_steps == PROBE_US / 50_000
    result = train_run(config, tmp_path / "run", cache)
    assert result["emulated"] and result["dataset"] == f"emulated-cue-lag{lag_ms}"
    curve = result["latency_curve"]
    assert len(curve) == steps and not np.any(curve[:-2])
    assert curve[-1] == result["test_accuracy"]
    environment = read_json(tmp_path / "run" / "environment.json")
    assert environment is not None and f"emulated-cue-lag{lag_ms}" in str(environment["frames"])
