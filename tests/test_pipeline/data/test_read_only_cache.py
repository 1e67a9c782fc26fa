"""Training on a cache that others own: another T needs no place in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import TINY, tiny_cache

from pipeline.data.run_data import open_data
from preprocess.building import build_frame_cache
from preprocess.terminal.progress import Progress


def test_another_t_of_a_read_only_cache_is_binned_into_the_users_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cache = tiny_cache(tmp_path, samples=12)
    monkeypatch.setenv("SPIKELOOM_CACHE_FRAMES", str(tmp_path / "own"))
    monkeypatch.setattr(build_frame_cache, "can_build", lambda folder: False)
    config = replace(TINY, binning=replace(TINY.binning, timesteps=5), batch_size=2)
    for said in (1, 0):
        data = open_data(config, cache, Progress())
        assert data.frames.path.is_relative_to(tmp_path / "own") and data.frames.timesteps == 5
        assert capsys.readouterr().err.count(f"so frames go to {tmp_path / 'own'}") == said
    assert not (cache / "tiny" / "frames").exists()
