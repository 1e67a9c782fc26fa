"""All presets by name; each is defined by its differences from a base configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.config.run_config import (
    DatasetConfig,
    InputConfig,
    LossConfig,
    NetworkConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
)
from pipeline.presets.heidelberg import spike_train_presets
from pipeline.presets.paper import paper_presets
from pipeline.presets.paper_images import image_presets
from pipeline.presets.paper_quoted import quoted_presets
from pipeline.presets.paper_transformers import transformer_presets
from pipeline.presets.preset import Preset
from preprocess.binning.binning_config import Binning
from preprocess.errors import ConfigError
from preprocess.nearest_name import nearest_name

# A VGG with three convolutions trains in minutes on two cores. The head is the paper's, because global pooling discards
# positions, which distinguish digits (N-MNIST, LIF, 6 epochs, validation: 59 % with global pooling, 97 % without).
_SMALL = RunConfig(
    network=NetworkConfig(name="spiking-vgg-small", head="paper"),
    # With a few hundred samples, there are few optimiser steps: SGD at 0.1 needs twice as many epochs.
    optimiser=OptimiserConfig(name="adamw", learning_rate=3e-3),
    schedule=ScheduleConfig(epochs=10),
    batch_size=32,
)


def _small_presets() -> Iterator[Preset]:
    yield Preset(
        "n-mnist-small",
        replace(_SMALL, dataset=DatasetConfig(name="n-mnist"), binning=Binning(timesteps=10)),
        "N-MNIST on a CPU; of 100 test samples one is a point, of 2,000 it is 0.05 points",
        time="40 s (900 samples)",
    )
    yield Preset(
        "gestures-small",
        replace(
            _SMALL,
            dataset=DatasetConfig(name="emulated-gestures"),
            binning=Binning(timesteps=10, downsample=4),
            schedule=ScheduleConfig(epochs=12),
            batch_size=16,
        ),
        "emulated gestures at 32x32 on a CPU",
        time="15 s (440 samples)",
    )
    yield Preset(
        "gestures-hard-small",
        replace(
            _SMALL,
            dataset=DatasetConfig(name="emulated-gestures-hard"),
            binning=Binning(timesteps=8, downsample=4),
            schedule=ScheduleConfig(epochs=12),
        ),
        "emulated gestures in dim, noisy, crowded scenes, 1,100 for testing; to compare T, tau and neurons on a CPU",
        time="1 minute (2,200 samples)",
    )
    yield Preset(
        "digits-small",
        replace(
            _SMALL,
            dataset=DatasetConfig(name="emulated-digits", split="random-0.9"),
            binning=Binning(timesteps=10, downsample=4),
        ),
        "emulated digits at 32x32 on a CPU",
        time="15 s (400 samples)",
    )
    yield Preset(
        "cue-small",
        replace(
            _SMALL,
            dataset=DatasetConfig(name="emulated-cue-lag200"),
            # Time steps of 50 ms for any lag, so that a longer lag has more steps: with tau 2, each halves a potential.
            # Only the two steps of the probe count, because a prediction during the cue would not require memory.
            binning=Binning(split_by="duration", duration_us=50_000, downsample=4),
            loss=LossConfig(last_steps=2),
            # per-step would normalise each step by its own statistics in training, but by the average over steps in
            # evaluation; those of cue, lag and probe differ (lag 200, LIF, epoch 3: 74 % training, 14 % validation).
            network=replace(_SMALL.network, batch_norm="joint"),
            schedule=ScheduleConfig(epochs=12),
        ),
        "emulated cues to remember over a lag, at 32x32 on a CPU; other lags: --dataset.name emulated-cue-lag400",
    )
    yield Preset(
        "folder-small",
        replace(
            _SMALL,
            dataset=DatasetConfig(name="folder", split="by-group"),
            binning=Binning(timesteps=10, downsample=4),
        ),
        "your own recordings (preprocess folder --name folder), downsampled by 4, on a CPU",
        time="1 minute (1,700 samples)",
    )
    yield Preset(
        "images-small",
        replace(
            _SMALL,
            dataset=DatasetConfig(name="cifar10", augmentation="crop+flip"),
            binning=Binning(timesteps=4),
            input=InputConfig(encoding="direct"),
        ),
        "CIFAR-10 or other static images with a small network, on a CPU",
    )


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for presets in (
        _small_presets(),
        image_presets(),
        paper_presets(),
        transformer_presets(),
        quoted_presets(),
        spike_train_presets(),
    )
    for preset in presets
}
"""The presets by name, variants included, in the order of `spikeloom presets --json`."""


def find_preset(name: str) -> Preset:
    """Return the preset with a name.

    Raises:
        ConfigError: If there is none, with a suggestion.
    """
    if name not in PRESETS:
        near = nearest_name(name, PRESETS)
        hint = f"Did you mean '{near}'?" if near else "See: spikeloom presets"
        raise ConfigError(f"preset: expected one that spikeloom presets lists, found '{name}'. {hint}")
    return PRESETS[name]
