"""A cache and a configuration so small that a run takes a second, for tests of everything that trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from tiny_layout import random_events, tiny_layout

from pipeline.config.run_config import DatasetConfig, NetworkConfig, OptimiserConfig, RunConfig, ScheduleConfig
from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store
from preprocess.events import Events

TINY = RunConfig(
    dataset=DatasetConfig(name="tiny", validation_fraction=0.25),
    binning=Binning(timesteps=3),
    network=NetworkConfig(name="spiking-vgg-small", width=0.125, head="gap"),
    optimiser=OptimiserConfig(learning_rate=0.05),
    schedule=ScheduleConfig(epochs=3),
    batch_size=8,
    threads=1,
    seed=7,
)


def tiny_cache(folder: Path, samples: int = 72, name: str = "tiny", *, tests: bool = True) -> Path:
    """A cache of 16x16 samples in three classes that differ in where most events lie; half of them test, or none."""
    events = [_somewhere(i, i % 3) for i in range(samples)]
    layout = tiny_layout(folder / f"src-{name}", events, name=name)
    # One group for each sample, so that validation samples come from every class.
    splits = [i // 3 % 2 if tests else 0 for i in range(samples)]
    sources = [
        replace(source, samples=tuple(replace(s, group=s.name, split=split) for s in source.samples))
        for source, split in zip(layout.recordings, splits, strict=True)
    ]
    build_event_store(replace(layout, recordings=tuple(sources)), folder / "cache")
    return folder / "cache"


def _somewhere(seed: int, label: int) -> Events:
    events = random_events(seed, 400, height=16, width=16)
    rng = np.random.default_rng(seed)
    near = rng.random(400) < 0.8
    x = np.where(near, 5 * label + rng.integers(0, 5, 400), events.x).astype(np.uint16)
    return Events(events.t, x, events.y, events.p, 16, 16)
