"""Rows that the CLIF paper quotes from others in Tables 1 and 2, as far as spikeloom has their neuron and network.

The paper gives neuron, network and T of these rows; the other settings are from the papers and the code that are named
beside them. What differs is in the summary of each preset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.config.run_config import (
    DatasetConfig,
    InputConfig,
    LossConfig,
    NetworkConfig,
    NeuronConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
)
from pipeline.presets.paper import PAPER_TRAINING
from pipeline.presets.paper_images import CIFAR10, STARRED_AUGMENTATION
from pipeline.presets.preset import Preset
from preprocess.binning.binning_config import Binning

# Fang et al., ICCV 2021: PLIF with initial tau = 2 and decayed input, hard reset without gradient, arctangent
# surrogate, and the mean squared error of the voting layer's rates over all time steps. Their learning rate follows a
# cosine with a period of 128 epochs; here it decays once.
_PLIF_NEURON = NeuronConfig(name="plif", surrogate="atan", alpha=2.0, reset="hard", decay_input=True, detach_reset=True)
_PLIF_GESTURE = replace(
    PAPER_TRAINING,
    dataset=DatasetConfig(name="dvs-gesture"),
    binning=Binning(timesteps=20),
    network=NetworkConfig(name="plif-net-gesture", dropout=0.5, batch_norm="joint"),
    neuron=_PLIF_NEURON,
    loss=LossConfig(mse_weight=1.0, mse_target="one-hot", readout="mean"),
    optimiser=OptimiserConfig(name="adamw", learning_rate=1e-3, weight_decay=0.0),
    schedule=ScheduleConfig(epochs=1024),
    batch_size=16,
    precision="fp32",
)
_PLIF_CIFAR10_DVS = replace(
    _PLIF_GESTURE,
    dataset=DatasetConfig(name="cifar10-dvs", split="random-0.9"),
    network=replace(_PLIF_GESTURE.network, name="plif-net-cifar10dvs"),
    schedule=ScheduleConfig(epochs=512),
)
_PLIF_CIFAR10 = replace(
    _PLIF_GESTURE,
    dataset=DatasetConfig(name="cifar10", augmentation="crop+flip"),
    binning=Binning(timesteps=6),
    input=CIFAR10.input,
    network=replace(_PLIF_GESTURE.network, name="plif-net-cifar10"),
)

# The last layer is linear, with logits instead of rates; all of these codes average it over the time steps.
_CROSS_ENTROPY = LossConfig(mse_weight=0.0, readout="mean")

# Fang et al., NeurIPS 2023, cifar10/train_cf10.py.
_PSN_CIFAR10 = replace(
    CIFAR10,
    dataset=DatasetConfig(name="cifar10", augmentation=STARRED_AUGMENTATION),
    binning=Binning(timesteps=4),
    network=NetworkConfig(name="modified-plif-net-cifar10", batch_norm="joint"),
    neuron=NeuronConfig(name="psn", surrogate="atan", alpha=2.0),
    loss=replace(_CROSS_ENTROPY, label_smoothing=0.1),
    optimiser=OptimiserConfig(weight_decay=0.0),
    schedule=ScheduleConfig(epochs=1024),
    keep_last=False,
)

# Yao et al., NeurIPS 2022. CIFAR: the command in the code's README; its ResNet-18 has batch norm and neuron behind
# each convolution. CIFAR10-DVS: cifar10dvs/train.py with the options of the README; there the learning rate follows a
# cosine with a period of 128 epochs.
_GLIF_CIFAR10 = replace(
    CIFAR10,
    dataset=DatasetConfig(name="cifar10", augmentation="crop+flip"),
    network=replace(CIFAR10.network, batch_norm="joint"),
    neuron=NeuronConfig(name="glif"),
    loss=_CROSS_ENTROPY,
    optimiser=OptimiserConfig(learning_rate=0.1, weight_decay=4e-5),
    batch_size=64,
    precision="fp32",
    seed=9,
)
_GLIF_CIFAR10_DVS = replace(
    PAPER_TRAINING,
    dataset=DatasetConfig(name="cifar10-dvs", split="random-0.9", augmentation="crop"),
    binning=Binning(timesteps=16),
    input=InputConfig(size=48),
    network=NetworkConfig(name="wide-7b", batch_norm="joint"),
    neuron=NeuronConfig(name="glif"),
    loss=_CROSS_ENTROPY,
    optimiser=OptimiserConfig(learning_rate=0.01, weight_decay=0.0),
    schedule=ScheduleConfig(epochs=200),
    batch_size=32,
)


def _klif(base: RunConfig, timesteps: int) -> RunConfig:
    """KLIF's row (Jiang and Zhang, 2023): no code was released, so that training is assumed to be that of PLIF-Net."""
    return replace(
        base,
        binning=Binning(timesteps=timesteps),
        neuron=replace(_PLIF_NEURON, name="klif"),
        network=replace(base.network, name=f"modified-{base.network.name}"),
        loss=_CROSS_ENTROPY,
    )


_KLIF = "modified PLIF-Net, quoted there from Jiang and Zhang (2023), who released no code; training assumed as PLIF's"
_PLIF = "PLIF-Net, quoted there from Fang et al. (2021); the schedule differs"
_GLIF = "quoted there from Yao et al. (2022)"


def quoted_presets() -> Iterator[Preset]:
    """Iterate over the rows of Table 1, then those of Table 2."""
    # The printed T and accuracy are not those of Fang et al., who have T = 8 and 93.50 %.
    yield Preset("cifar10-plif-net", _PLIF_CIFAR10, f"Table 1: {_PLIF}, and so does T: theirs is 8", "PLIF 94.25")
    yield Preset("cifar10-modified-plif-net", _klif(_PLIF_CIFAR10, 10), f"Table 1: {_KLIF}", "KLIF 92.52")
    yield Preset(
        "cifar10-modified-plif-net-psn",
        _PSN_CIFAR10,
        "Table 1: modified PLIF-Net, quoted there from Fang et al. (2023), with the augmentation of their code",
        "PSN 95.32",
    )
    for name, paper in (("cifar10", "GLIF 94.88"), ("cifar100", "GLIF 77.28")):
        yield Preset(
            f"{name}-resnet18-glif",
            replace(_GLIF_CIFAR10, dataset=replace(_GLIF_CIFAR10.dataset, name=name)),
            f"Table 1: ResNet-18, {_GLIF}; theirs is not pre-activated, and its GLIF has gates for each channel",
            paper,
        )
    yield Preset("gesture-plif-net", _PLIF_GESTURE, f"Table 2: {_PLIF}", "PLIF 97.57")
    yield Preset("gesture-modified-plif-net", _klif(_PLIF_GESTURE, 12), f"Table 2: {_KLIF}", "KLIF 94.10")
    yield Preset("cifar10dvs-plif-net", _PLIF_CIFAR10_DVS, f"Table 2: {_PLIF}, and so does the split", "PLIF 74.80")
    yield Preset("cifar10dvs-modified-plif-net", _klif(_PLIF_CIFAR10_DVS, 15), f"Table 2: {_KLIF}", "KLIF 70.90")
    yield Preset(
        "cifar10dvs-wide-7b",
        _GLIF_CIFAR10_DVS,
        f"Table 2: 7B-wideNet, {_GLIF}; schedule and split differ",
        "GLIF 78.10",
    )
