"""The Spike-Driven Transformer rows of the CLIF paper's Table 2, and the transformer's own settings on other data.

Source: the code of Yao et al. (NeurIPS 2023), conf/gesture/2_256_200E_t16.yml, of which the CLIF paper says that it
only exchanged the neurons, conf/cifar10-dvs/2_256_200E_t10_TET.yml, and 2_512_300E_t4.yml of CIFAR-10 and CIFAR-100.
That code trains through timm: LAMB or AdamW with weight decay of weights only, and a cosine, of which the warm-up
replaces the first epochs, followed by 10 epochs at the lowest learning rate. timm's LAMB clips the norm of the
gradients to 1. The stochastic depth that its options set is a layer that the network does not use. Differences here: on
CIFAR10-DVS, the tenth of each class for testing is random; on CIFAR, see `pipeline.data.rand_augment`.
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
from pipeline.presets.preset import Preset
from preprocess.binning.binning_config import Binning

_GESTURE = RunConfig(
    dataset=DatasetConfig(name="dvs-gesture"),
    binning=Binning(timesteps=16),
    network=NetworkConfig(name="spike-driven-transformer-gesture", batch_norm="joint"),
    loss=LossConfig(mse_weight=0.0, label_smoothing=0.1, readout="mean"),
    optimiser=OptimiserConfig(
        name="lamb", learning_rate=3e-4, weight_decay=0.06, weight_decay_of="weights", clip_norm=1.0
    ),
    schedule=ScheduleConfig(
        epochs=210,
        warmup_epochs=10,
        warmup_learning_rate=1e-6,
        cosine_from="start",
        min_learning_rate=1e-5,
        cooldown_epochs=10,
    ),
    batch_size=16,
    # There, the loader of DVS-Gesture keeps the last batch too.
    keep_last=True,
    precision="fp16",
    seed=42,
    selection="paper",
)
_CIFAR10_DVS = replace(
    _GESTURE,
    dataset=DatasetConfig(name="cifar10-dvs", split="random-0.9"),
    binning=Binning(timesteps=10),
    input=InputConfig(size=64),
    network=NetworkConfig(name="spike-driven-transformer-cifar10dvs", batch_norm="joint"),
    loss=LossConfig(mse_weight=1e-3, mse_target="constant", label_smoothing=0.1),
    optimiser=OptimiserConfig(name="adamw", learning_rate=7.5e-3, weight_decay=1e-4, weight_decay_of="weights"),
    schedule=replace(_GESTURE.schedule, warmup_learning_rate=1e-3, min_learning_rate=3e-4),
    batch_size=32,
)
_CIFAR10 = replace(
    _GESTURE,
    dataset=DatasetConfig(name="cifar10", augmentation="flip+randaugment+mixup", mixup_alpha=0.5, mixing_epochs=200),
    binning=Binning(timesteps=4),
    input=InputConfig(encoding="direct"),
    network=NetworkConfig(name="spike-driven-transformer", batch_norm="joint"),
    optimiser=OptimiserConfig(name="adamw", learning_rate=3e-4, weight_decay=0.06, weight_decay_of="weights"),
    schedule=replace(_GESTURE.schedule, epochs=310, warmup_epochs=20),
    batch_size=64,
    # timm's loader, unlike those of event data, leaves out the last batch.
    keep_last=False,
    precision="fp32",
)
# SpikingJelly's defaults, with a reset without gradient.
_THEIR_LIF = NeuronConfig(surrogate="sigmoid", alpha=4.0, reset="hard", decay_input=True, detach_reset=True)


def transformer_presets() -> Iterator[Preset]:
    """Iterate over the transformer's presets, each followed by the variant with its authors' LIF."""
    yield Preset(
        "gesture-sdt",
        _GESTURE,
        "Table 2: Spike-Driven Transformer, T = 16, with the paper's surrogate and reset",
        "LIF 98.26, CLIF 99.31",
    )
    yield Preset(
        "gesture-sdt-sdtrepo",
        replace(_GESTURE, neuron=_THEIR_LIF),
        "Spike-Driven Transformer, T = 16, with the LIF of its authors",
        variant=True,
    )
    others = {
        "cifar10dvs-sdt": (_CIFAR10_DVS, "T = 10, 64x64"),
        "cifar10-sdt": (_CIFAR10, "CIFAR-10, T = 4"),
        "cifar100-sdt": (replace(_CIFAR10, dataset=replace(_CIFAR10.dataset, name="cifar100")), "CIFAR-100, T = 4"),
    }
    for name, (config, what) in others.items():
        start = f"Spike-Driven Transformer, {what}"
        yield Preset(name, config, f"{start}; no row of the paper", variant=True)
        yield Preset(
            f"{name}-sdtrepo",
            replace(config, neuron=_THEIR_LIF),
            f"{start}, with the LIF of its authors; no row of the paper",
            variant=True,
        )
