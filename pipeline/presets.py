"""Presets: the named configurations, as Python values; each line shows how a row differs from its base.

The values are the paper's (Huang et al., ICML 2024: Tables 2, 4 and 5, and the authors' code); where these disagree the
preset's name says which it follows.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.config import (
    DatasetConfig,
    InputConfig,
    LossConfig,
    NetworkConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
)
from preprocess.binning import Binning
from preprocess.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    Attributes:
        name: ``<dataset>-<network>[-t<T>][-<split>]``, or ``<dataset>-small`` for one that a CPU trains in minutes.
        config: What it stands for.
        summary: What it is for, in a line.
        paper: What the paper reports for it, test accuracy in per cent, for LIF and CLIF; None where nothing.
    """

    name: str
    config: RunConfig
    summary: str
    paper: str | None = None


_PAPER_TRAINING = RunConfig(
    schedule=ScheduleConfig(epochs=300),
    optimiser=OptimiserConfig(learning_rate=0.1, momentum=0.9, weight_decay=5e-4),
    precision="fp16",
    selection="paper",
)

_GESTURE = replace(
    _PAPER_TRAINING,
    dataset=DatasetConfig(name="dvs-gesture"),
    binning=Binning(timesteps=20),
    network=NetworkConfig(name="spiking-vgg11", dropout=0.4),
    batch_size=16,
)

_CIFAR10_DVS = replace(
    _PAPER_TRAINING,
    dataset=DatasetConfig(name="cifar10-dvs-clif", split="first-900-train"),
    binning=Binning(timesteps=16),
    input=InputConfig(size=48),
    network=NetworkConfig(name="spiking-vgg11", dropout=0.3),
    loss=LossConfig(mse_target="one-hot"),
    optimiser=OptimiserConfig(learning_rate=0.05),
    batch_size=128,
)

_CIFAR10_DVS_VGGSNN = replace(
    _CIFAR10_DVS,
    dataset=DatasetConfig(name="cifar10-dvs", split="first-100-test"),
    binning=Binning(timesteps=10),
    network=NetworkConfig(name="vggsnn", dropout=0.25),
    optimiser=OptimiserConfig(learning_rate=0.1),
    batch_size=32,
    schedule=ScheduleConfig(epochs=200),
)

# A VGG of three convolutions learns these in minutes on two cores; the paper's head, because global pooling forgets
# where things are, which tells digits apart (N-MNIST, LIF, 6 epochs, validation: 59 % with it, 97 % without).
_SMALL = RunConfig(
    network=NetworkConfig(name="spiking-vgg-small", head="paper"),
    # Some hundred samples are few steps: SGD at 0.1 takes twice the epochs to get as far.
    optimiser=OptimiserConfig(name="adamw", learning_rate=3e-3),
    schedule=ScheduleConfig(epochs=10),
    batch_size=32,
)


def _presets() -> Iterator[Preset]:
    yield Preset(
        "n-mnist-small",
        replace(_SMALL, dataset=DatasetConfig(name="n-mnist"), binning=Binning(timesteps=10)),
        "N-MNIST on a CPU; a smoke test where only 100 samples test",
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
    )
    yield Preset(
        "digits-small",
        replace(
            _SMALL,
            dataset=DatasetConfig(name="emulated-digits", split="random-0.9"),
            binning=Binning(timesteps=10, downsample=4),
        ),
        "emulated digits at 32x32 on a CPU",
    )
    yield Preset("gesture-vgg11", _GESTURE, "Table 2, DVS-Gesture: Spiking-VGG11, T = 20", "LIF 97.57, CLIF 97.92")
    yield Preset(
        "cifar10dvs-vgg11",
        _CIFAR10_DVS,
        "Table 2, CIFAR10-DVS: Spiking-VGG11, T = 16",
        "LIF 78.05, CLIF 79.00",
    )
    yield Preset(
        "cifar10dvs-vgg11-t10",
        replace(_CIFAR10_DVS, binning=Binning(timesteps=10)),
        "the same with T = 10, as Table 6 and the authors' README have it",
    )
    yield Preset(
        "cifar10dvs-vggsnn",
        _CIFAR10_DVS_VGGSNN,
        "Table 2, CIFAR10-DVS: VGGSNN, T = 10; settings assumed, the paper does not give them",
        "LIF 84.90, CLIF 86.10",
    )


PRESETS: dict[str, Preset] = {preset.name: preset for preset in _presets()}


def find_preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ConfigError: If there is none, with the nearest name.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'?" if near else "See: spikeloom presets"
        raise ConfigError(f"unknown preset '{name}', expected one of: {', '.join(PRESETS)}. {hint}")
    return PRESETS[name]
