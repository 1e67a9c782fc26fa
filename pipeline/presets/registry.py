"""Presets: the named configurations, as Python values; each line shows how a row differs from its base."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace

from pipeline.config.run_config import (
    DatasetConfig,
    LossConfig,
    NetworkConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
)
from pipeline.presets.paper import paper_presets
from pipeline.presets.preset import Preset
from preprocess.binning.binning import Binning
from preprocess.errors import ConfigError

# A VGG of three convolutions learns these in minutes on two cores; the paper's head, because global pooling forgets
# where things are, which tells digits apart (N-MNIST, LIF, 6 epochs, validation: 59 % with it, 97 % without).
_SMALL = RunConfig(
    network=NetworkConfig(name="spiking-vgg-small", head="paper"),
    # Some hundred samples are few steps: SGD at 0.1 takes twice the epochs to get as far.
    optimiser=OptimiserConfig(name="adamw", learning_rate=3e-3),
    schedule=ScheduleConfig(epochs=10),
    batch_size=32,
)


def _small_presets() -> Iterator[Preset]:
    yield Preset(
        "n-mnist-small",
        replace(_SMALL, dataset=DatasetConfig(name="n-mnist"), binning=Binning(timesteps=10)),
        "N-MNIST on a CPU; a smoke test where only 100 samples test",
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
        "emulated gestures in a dim, noisy, crowded scene, 1,100 of them for the test: for T, tau and neurons on a CPU",
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
            # Steps of 50 ms whatever the lag, so that a longer one is more steps to remember over: with tau 2 half of a
            # potential is left after each. The probe's two answer: whoever answers during the cue need not remember.
            binning=Binning(split_by="duration", duration_us=50_000, downsample=4),
            loss=LossConfig(last_steps=2),
            # Per step, each would be normalised by itself in training and by what all steps have in common afterwards;
            # cue, lag and probe have little in common (lag 200, LIF, epoch 3: 74 % in training, 14 % on validation).
            network=replace(_SMALL.network, batch_norm="joint"),
            schedule=ScheduleConfig(epochs=12),
        ),
        "emulated cues to be remembered over a lag, at 32x32 on a CPU; other lags: --dataset.name emulated-cue-lag400",
    )
    yield Preset(
        "folder-small",
        replace(
            _SMALL,
            dataset=DatasetConfig(name="folder", split="by-group"),
            binning=Binning(timesteps=10, downsample=4),
        ),
        "recordings of your own (preprocess folder --name folder), a quarter of the camera's size, on a CPU",
        time="1 minute (1,700 samples)",
    )


PRESETS: dict[str, Preset] = {preset.name: preset for preset in (*_small_presets(), *paper_presets())}


def find_preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ConfigError: If there is none, with the nearest name.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'?" if near else "See: spikeloom presets"
        rows = ", ".join(preset.name for preset in PRESETS.values() if not preset.variant)
        raise ConfigError(f"unknown preset '{name}', expected one of: {rows}, or a variant. {hint}")
    return PRESETS[name]
