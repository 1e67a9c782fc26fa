"""A data set that networks learn in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_layout import tiny_layout

from pipeline.config.run_config import RunConfig, override
from pipeline.presets.registry import PRESETS
from preprocess.building.build_event_store import build_event_store
from preprocess.events import Events

CLASSES = 3


def telling_events(seed: int) -> Events:
    """Sample `seed` of class ``seed % 3``: nine of ten events fall into its own third of the sensor."""
    rng = np.random.default_rng(seed)
    count = 300
    third = np.where(rng.random(count) < 0.9, seed % CLASSES, rng.integers(0, CLASSES, count))
    t = np.sort(rng.integers(1000, 101_000, count))
    x = (3 * third + rng.integers(0, 3, count)).astype(np.uint16)
    y = rng.integers(0, 9, count).astype(np.uint16)
    return Events(t, x, y, rng.integers(0, 2, count).astype(np.uint8), 9, 9)


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the event store `tiny`: 60 samples of three classes, half of them test samples."""
    folder = tmp_path_factory.mktemp("tiny")
    layout = tiny_layout(folder / "src", [telling_events(k) for k in range(60)], classes=CLASSES)
    build_event_store(layout, folder / "cache")  # type: ignore[arg-type]
    return folder / "cache"


@pytest.fixture(scope="session")
def tiny_config() -> RunConfig:
    """Three epochs of a narrow network on `tiny`."""
    changes = {
        "dataset.name": "tiny",
        "dataset.validation_fraction": 0.3,
        "binning.timesteps": 4,
        "network.width": 0.25,
        "schedule.epochs": 3,
        "batch_size": 5,
    }
    return override(PRESETS["n-mnist-small"].config, changes)
