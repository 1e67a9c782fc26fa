"""A tiny data set, and an untrained network on it for each neuron, which analyses accept as they accept a preset's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_run import TINY, tiny_cache

from pipeline.analysis.analysed_network import Analysed
from pipeline.config.run_config import override
from pipeline.training.train_run import train_run

SMALL = override(TINY, {"binning.timesteps": 5, "network.width": 0.1, "schedule.epochs": 1})


@pytest.fixture(scope="session")
def small_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("analysis"), samples=48)


@pytest.fixture(scope="session")
def untrained(small_cache: Path) -> Callable[..., Analysed]:
    """Makes an opened preset of the small configuration with changes."""

    def make(**changes: Any) -> Analysed:
        fields = {name.replace("__", "."): value for name, value in changes.items()}
        return Analysed("small", override(SMALL, fields), small_cache, None)

    return make


@pytest.fixture(scope="session")
def trained(small_cache: Path) -> Path:
    """The folder of a run with CLIF."""
    folder = small_cache.parent / "trained"
    train_run(override(SMALL, {"neuron.name": "clif"}), folder, small_cache)
    return folder
