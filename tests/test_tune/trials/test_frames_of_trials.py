"""Trials find their frame caches made once; those that read events straight from the store need none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.run_config import RunConfig, override
from preprocess.errors import CacheError
from preprocess.terminal.progress import Progress
from tune.trials.run_trials import _ensure_frames


def test_only_what_trials_read_is_made(tiny_cache: Path, tiny_config: RunConfig, tmp_path: Path):
    cache = tmp_path / "cache"
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "events.h5").hardlink_to(tiny_cache / "tiny" / "events.h5")
    from_events = [override(tiny_config, {"input.source": "events", "binning.timesteps": t}) for t in (2, 3)]
    _ensure_frames(from_events, cache, Progress())
    assert not (cache / "tiny" / "frames").exists()
    varying = {"binning.split_by": "event_count", "binning.event_count": 50}
    same = [override(tiny_config, varying | {"binning.timesteps": t}) for t in (2, 3)]
    _ensure_frames([*from_events, *same, tiny_config], cache, Progress())
    made = sorted(path.name for path in (cache / "tiny" / "frames").iterdir())
    assert made == ["event_count-50-9x9.h5", "number-T4-9x9.h5"]


def test_a_missing_store_is_told_before_the_first_trial(tiny_config: RunConfig, tmp_path: Path):
    with pytest.raises(CacheError, match="Make it: spikeloom preprocess folder --name tiny"):
        _ensure_frames([override(tiny_config, {"input.source": "events"})], tmp_path, Progress())
