"""The CLIF paper's experiments on static images as presets: Table 1, the left half of Table 3, and Figures 2 to 4.

Sources: Huang et al., ICML 2024, Tables 1, 3, 4, 5 and 8, appendix I, and the authors' code, whose commands for CIFAR
have the settings of Table 5. Batches are complete except for the last of an epoch, as in that code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pipeline.config.run_config import (
    DatasetConfig,
    InputConfig,
    NetworkConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
    override,
)
from pipeline.presets.paper import PAPER_TRAINING, table3_cells
from pipeline.presets.preset import Preset
from preprocess.binning.binning_config import Binning

CIFAR10 = replace(
    PAPER_TRAINING,
    dataset=DatasetConfig(name="cifar10", augmentation="crop+flip+cutout"),
    binning=Binning(timesteps=6),
    input=InputConfig(encoding="direct"),
    network=NetworkConfig(name="spiking-resnet18"),
    optimiser=replace(PAPER_TRAINING.optimiser, weight_decay=5e-5),
    schedule=ScheduleConfig(epochs=200),
    batch_size=128,
    keep_last=True,
)
_CIFAR100 = replace(CIFAR10, dataset=replace(CIFAR10.dataset, name="cifar100"), optimiser=PAPER_TRAINING.optimiser)

# The paper takes AutoAugment from Wang et al. (ICML 2023); the policy is the default of the authors' code. That code
# also crops 64x64 pixels from images of this size, which changes nothing.
_TINY_IMAGENET = replace(
    CIFAR10,
    dataset=DatasetConfig(name="tiny-imagenet", augmentation="flip+autoaugment-imagenet"),
    network=NetworkConfig(name="spiking-vgg13"),
    optimiser=PAPER_TRAINING.optimiser,
    schedule=PAPER_TRAINING.schedule,
    batch_size=256,
)

# Left half of Table 3: k, then the test accuracy for each of `pipeline.presets.paper.TAUS`.
TABLE3_CIFAR10 = {
    1: (92.89, 90.34, 87.27, 82.77, 80.71),
    2: (93.86, 93.91, 92.82, 91.09, 89.07),
    3: (94.24, 94.36, 94.12, 93.31, 93.01),
    4: (94.45, 94.61, 94.64, 94.09, 93.43),
    5: (94.73, 94.69, 94.70, 94.23, 94.06),
    6: (94.80, 94.86, 94.94, 94.36, 93.73),
}

# Test accuracy of ResNet-18, and the same with the row's asterisk, by T. LIF is from Table 8, T = 1 from the text about
# Figure 3b.
_RESNET18: dict[str, dict[int, tuple[str, str | None]]] = {
    "cifar10-resnet18": {
        6: ("LIF 94.51, CLIF 95.41", "CLIF 96.45"),
        1: ("LIF 92.7, CLIF 92.7", None),
        4: ("CLIF 94.89", "CLIF 96.01"),
        8: ("CLIF 95.68", "CLIF 96.69"),
    },
    "cifar100-resnet18": {
        6: ("LIF 76.23, CLIF 78.36", "CLIF 80.58"),
        4: ("CLIF 77.00", "CLIF 79.69"),
        8: ("CLIF 78.99", "CLIF 80.89"),
    },
}
_RESNET18_RELU = {
    "cifar10-resnet18": ("ReLU 95.62", "ReLU 96.65"),
    "cifar100-resnet18": ("ReLU 78.14", "ReLU 80.89"),
}
# The printed T = 1, at which frames are not added up.
_ANN = {"neuron.name": "relu", "binning.timesteps": 1}
# Option -cutupmix_auto of the authors' code, after PSN's; there, the loader leaves out the last batch.
STARRED_AUGMENTATION = "flip+trivialaugment+random-erasing+mixup+cutmix"
_AUGMENTED = {"dataset.augmentation": STARRED_AUGMENTATION, "keep_last": False}
_STARRED = "row with asterisk: TrivialAugment, random erasing, Mixup or CutMix"


def image_presets() -> Iterator[Preset]:
    """Iterate over the rows of Table 1, each followed by its variants, then Figure 2 and the left half of Table 3."""
    yield from _resnet18("cifar10-resnet18", CIFAR10)
    yield from _resnet18("cifar100-resnet18", _CIFAR100)
    yield from _tiny_imagenet("tiny-imagenet-vgg13")
    snn5 = replace(CIFAR10, network=NetworkConfig(name="snn5"))
    # The paper gives the network, T and the seeds only.
    yield Preset("cifar10-snn5", snn5, "Figure 2: five convolutions, T = 6; training assumed as ResNet-18's")
    yield from table3_cells(
        "cifar10-resnet18",
        CIFAR10,
        TABLE3_CIFAR10,
        "the configuration of cifar10-resnet18, for which Table 8 has LIF 94.51",
    )


def _resnet18(name: str, base: RunConfig) -> Iterator[Preset]:
    for timesteps, (paper, paper_starred) in _RESNET18[name].items():
        config = override(base, {"binning.timesteps": timesteps})
        is_base = timesteps == base.binning.timesteps
        full_name = name if is_base else f"{name}-t{timesteps}"
        table = "Figure 3b" if timesteps == 1 else "Table 1"
        parts = [f"{table}: ResNet-18, T = {timesteps}"]
        if is_base:
            parts.append("LIF from Table 8")
        if is_base and base == CIFAR10:
            parts.append("the configuration of cifar10-resnet18-k6-tau2, for which Table 3 has LIF 93.73")
        yield Preset(full_name, config, "; ".join(parts), paper)
        if paper_starred is not None:
            summary = f"Table 1: ResNet-18, T = {timesteps}, {_STARRED}"
            yield Preset(f"{full_name}-aug", override(config, _AUGMENTED), summary, paper_starred, variant=True)
    plain, augmented = _RESNET18_RELU[name]
    ann = override(base, _ANN)
    yield Preset(f"{name}-ann", ann, "Table 1: ResNet-18, the ANN", plain)
    yield Preset(
        f"{name}-ann-aug",
        override(ann, _AUGMENTED),
        f"Table 1: ResNet-18, the ANN, {_STARRED}",
        augmented,
        variant=True,
    )


def _tiny_imagenet(name: str) -> Iterator[Preset]:
    base = _TINY_IMAGENET
    yield Preset(name, base, "Table 1: Spiking-VGG13, T = 6", "CLIF 64.13")
    yield Preset(f"{name}-t4", override(base, {"binning.timesteps": 4}), "Table 1: Spiking-VGG13, T = 4", "CLIF 63.16")
    yield Preset(f"{name}-ann", override(base, _ANN), "Table 1: Spiking-VGG13, the ANN")
    flipped = override(base, {"dataset.augmentation": "flip"})
    yield Preset(
        f"{name}-readme",
        replace(flipped, batch_size=128),
        "Spiking-VGG13, command in the authors' README: batches of 128, flip only",
        variant=True,
    )
    yield Preset(
        f"{name}-scripts",
        replace(flipped, optimiser=OptimiserConfig(weight_decay=1e-4), schedule=replace(base.schedule, epochs=200)),
        "Spiking-VGG13, the runs that the authors' inference script names: 200 epochs, weight decay 1e-4, flip only",
        variant=True,
    )
