"""Designs of the paper's tables and figures (Huang et al., ICML 2024).

Each has a version for a CPU: a small VGG on N-MNIST, trained until every run has converged. It shows how the design
behaves but does not reproduce the paper's numbers, which are shown in a separate table. Small versions of the designs
on images would need images that come with a package; there are none, so that they run on recordings too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.presets.paper import TABLE3, TAUS
from pipeline.presets.paper_images import TABLE3_CIFAR10
from tune.comparison.arms import exchanged_arm
from tune.comparison.designs.design import (
    CONTROLLED,
    PAIR,
    REAL,
    SHORT,
    SHORT_MOST,
    Design,
    neuron_arms,
)
from tune.rendering.table import Table

_SELECTED = {"selection": "paper"}
_RESNETS, _STEPS = ("cifar10-resnet18", "cifar100-resnet18"), ("-t4", "", "-t8")
_EVENT_TASKS = ("gesture-vgg11", "cifar10dvs-vgg11")
_TASKS = ("cifar10-resnet18", "cifar100-resnet18", "tiny-imagenet-vgg13", *_EVENT_TASKS)

_TABLE1 = Table(
    "What the paper reports: Table 1, test accuracy of single runs, best epoch selected by test accuracy",
    ("data set", "network", "T", "LIF, %", "CLIF, %"),
    (
        ("CIFAR-10", "ResNet-18", "4", "–", "94.89"),
        ("CIFAR-10", "ResNet-18", "6", "94.51", "95.41"),
        ("CIFAR-10", "ResNet-18", "8", "–", "95.68"),
        ("CIFAR-100", "ResNet-18", "4", "–", "77.00"),
        ("CIFAR-100", "ResNet-18", "6", "76.23", "78.36"),
        ("CIFAR-100", "ResNet-18", "8", "–", "78.99"),
        ("Tiny-ImageNet", "Spiking-VGG13", "4", "–", "63.16"),
        ("Tiny-ImageNet", "Spiking-VGG13", "6", "–", "64.13"),
    ),
    "llrrr",
    "Huang et al. (ICML 2024); LIF from Table 8. Without the rows with an asterisk.",
)
_TABLE1_AUGMENTED = Table(
    "What the paper reports: Table 1, rows with an asterisk, best epoch selected by test accuracy",
    ("data set", "network", "T", "LIF, %", "CLIF, %"),
    (
        ("CIFAR-10", "ResNet-18", "4", "–", "96.01"),
        ("CIFAR-10", "ResNet-18", "6", "–", "96.45"),
        ("CIFAR-10", "ResNet-18", "8", "–", "96.69"),
        ("CIFAR-100", "ResNet-18", "4", "–", "79.69"),
        ("CIFAR-100", "ResNet-18", "6", "–", "80.58"),
        ("CIFAR-100", "ResNet-18", "8", "–", "80.89"),
    ),
    "llrrr",
    "Huang et al. (ICML 2024); the ANN has 96.65 and 80.89.",
)
_TABLE2 = Table(
    "What the paper reports: Table 2, test accuracy of single runs, best epoch selected by test accuracy",
    ("data set", "network", "T", "LIF, %", "CLIF, %"),
    (
        ("DVS-Gesture", "Spiking-VGG11", "20", "97.57", "97.92"),
        ("DVS-Gesture", "Spike-Driven Transformer", "16", "98.26", "99.31"),
        ("CIFAR10-DVS", "Spiking-VGG11", "16", "78.05", "79.00"),
        ("CIFAR10-DVS", "VGGSNN, with augmentation", "10", "84.90", "86.10"),
    ),
    "llrrr",
    "Huang et al. (ICML 2024). Not comparable with a small design: data, networks, epochs and selection differ.",
)


def _table3(task: str, accuracies: Mapping[int, tuple[float, ...]], clif: str) -> Table:
    """One half of Table 3."""
    return Table(
        f"What the paper reports: Table 3, LIF on {task}, test accuracy in %",
        ("k", *(f"tau {tau:g}" for tau in TAUS)),
        tuple((str(k), *(f"{accuracy:.2f}" for accuracy in row)) for k, row in accuracies.items()),
        "r" + "r" * len(TAUS),
        f"Huang et al. (ICML 2024): gradient from the outputs of the first k time steps only. CLIF in {clif}.",
    )


_TABLE3 = _table3("DVS-Gesture, Spiking-VGG11, T = 20", TABLE3, "Table 2: 97.92")
_TABLE3_CIFAR10 = _table3("CIFAR-10, ResNet-18, T = 6", TABLE3_CIFAR10, "Table 1: 95.41")
_FIGURES = Table(
    "What the paper shows",
    ("figure", "task", "finding"),
    (
        ("2a", "CIFAR-10, 5-layer network, T = 6", "LIF hardly improves when more than k = 2 steps carry gradient"),
        ("2b", "CIFAR-10, 5-layer network", "LIF peaks at T = 32 and declines beyond; CLIF keeps improving; 4 seeds"),
        ("3a", "CIFAR-10, ResNet-18, T = 6", "the loss falls a few epochs after LIF is exchanged for CLIF"),
        ("3b", "CIFAR-10, ResNet-18", "equal at T = 1 (92.7 %), CLIF ahead at every larger T"),
        ("4", "CIFAR-10 (T = 8) and CIFAR-100 (T = 6), ResNet-18", "CLIF ahead of LIF, PLIF, KLIF and GLIF"),
        ("10", "all tasks", "CLIF's test loss falls faster and ends lower"),
        ("11", "all tasks", "CLIF fires less than LIF"),
    ),
    "lll",
    "Huang et al. (ICML 2024), from the text and figures, which give no numbers.",
)


def paper_designs() -> Iterator[Design]:
    """Iterate over the paper's tables and figures, each followed by its small version."""
    yield from _tables()
    yield from _figures()


def _tables() -> Iterator[Design]:
    yield Design(
        "table1",
        "Table 1: LIF and CLIF on CIFAR-10, CIFAR-100 and Tiny-ImageNet (its static images), without augmented rows",
        (
            *(f"{name}{steps}" for name in _RESNETS for steps in _STEPS),
            *(f"tiny-imagenet-vgg13{steps}" for steps in ("-t4", "")),
        ),
        PAIR,
        changes=_SELECTED,
        paper=_TABLE1,
        full_size=True,
    )
    yield Design(
        "table1-aug",
        "Table 1, rows with an asterisk: LIF and CLIF on CIFAR-10 and CIFAR-100 with Mixup, CutMix and TrivialAugment",
        tuple(f"{name}{steps}-aug" for name in _RESNETS for steps in _STEPS),
        PAIR,
        changes=_SELECTED,
        paper=_TABLE1_AUGMENTED,
        full_size=True,
    )
    yield Design(
        "table2",
        "Table 2: LIF and CLIF on DVS-Gesture and CIFAR10-DVS (its event-camera data sets)",
        ("gesture-vgg11", "gesture-sdt", "cifar10dvs-vgg11", "cifar10dvs-vggsnn-aug"),
        PAIR,
        changes=_SELECTED,
        paper=_TABLE2,
        full_size=True,
    )
    yield Design(
        "table2-small",
        "Table 2 on N-MNIST and a CPU: LIF, CLIF and the controls of their difference",
        REAL,
        CONTROLLED,
        changes=SHORT,
        most_epochs=SHORT_MOST,
        paper=_TABLE2,
    )
    yield Design(
        "table3",
        "Table 3: tau and the number of time steps that carry gradient (k), LIF and CLIF on DVS-Gesture",
        ("gesture-vgg11",),
        PAIR,
        {"grad_steps": tuple(TABLE3), "neuron.tau": TAUS},
        changes=_SELECTED,
        # Eleven seeds would be 660 runs: this design maps the effect without a test.
        seeds=6,
        paper=_TABLE3,
        full_size=True,
    )
    yield Design(
        "table3-cifar10",
        "Table 3: tau and the number of time steps that carry gradient (k), LIF and CLIF on CIFAR-10",
        ("cifar10-resnet18",),
        PAIR,
        {"grad_steps": tuple(TABLE3_CIFAR10), "neuron.tau": TAUS},
        changes=_SELECTED,
        seeds=6,
        paper=_TABLE3_CIFAR10,
        full_size=True,
    )
    yield Design(
        "table3-small",
        "Table 3 on N-MNIST and a CPU: tau and k, the number of time steps that carry gradient",
        REAL,
        PAIR,
        {"grad_steps": (1, 2, 4), "neuron.tau": (1.1, 1.5, 2.0)},
        changes=SHORT,
        seeds=2,
        # From 32 to 64 epochs, the training accuracy with k = 1 changes by -6.4 to +7.5 points (means of the arms, in
        # docs/results/table3-small.md): 128 epochs would take another hour and hardly be the end.
        most_epochs=64,
        paper=_TABLE3,
    )


def _figures() -> Iterator[Design]:
    yield Design(
        "figure2a",
        "Figure 2a: tau and k, CIFAR-10, five-layer network, LIF and CLIF",
        ("cifar10-snn5",),
        PAIR,
        {"grad_steps": tuple(TABLE3_CIFAR10), "neuron.tau": TAUS},
        changes=_SELECTED,
        seeds=4,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure2b",
        "Figure 2b: accuracy over T up to 128, CIFAR-10, five-layer network, 4 seeds as in the paper",
        ("cifar10-snn5",),
        PAIR,
        {"binning.timesteps": (2, 4, 8, 16, 32, 64, 128)},
        changes=_SELECTED,
        seeds=4,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure2b-small",
        "Figure 2b on N-MNIST and a CPU: accuracy over T, four convolutions without average pooling",
        REAL,
        CONTROLLED,
        {"binning.timesteps": (2, 4, 8)},
        changes=SHORT | {"network.name": "snn4", "network.width": 0.125},
        # A test of all differences needs nine seeds: 108 runs.
        seeds=2,
        most_epochs=SHORT_MOST,
        paper=_FIGURES,
    )
    yield Design(
        "figure3a",
        "Figure 3a: LIF exchanged for CLIF during training, CIFAR-10, ResNet-18; the epochs of the exchange are ours",
        ("cifar10-resnet18",),
        (*PAIR, *(exchanged_arm("lif", "clif", epoch) for epoch in (50, 100, 150))),
        changes=_SELECTED,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure3a-small",
        "Figure 3a on N-MNIST and a CPU: LIF exchanged for CLIF, or for LIF with CLIF's reset, during training",
        REAL,
        (*PAIR, exchanged_arm("lif", "clif", 8), exchanged_arm("lif", "lif-reset1.8", 8)),
        # Epochs cannot be doubled where a neuron is exchanged after one of them.
        changes=SHORT,
        seeds=3,
        paper=_FIGURES,
    )
    yield Design(
        "figure3b",
        "Figure 3b: accuracy over T, CIFAR-10, ResNet-18",
        ("cifar10-resnet18",),
        PAIR,
        {"binning.timesteps": (1, 2, 4, 6, 8)},
        changes=_SELECTED,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure3b-small",
        "Figure 3b on N-MNIST and a CPU: accuracy over T, starting at T = 1, where both neurons are identical",
        REAL,
        CONTROLLED,
        {"binning.timesteps": (1, 2, 4, 8)},
        changes=SHORT,
        # A test of all differences needs nine seeds: 144 runs.
        seeds=3,
        most_epochs=SHORT_MOST,
        paper=_FIGURES,
    )
    yield Design(
        "figure4",
        "Figure 4: six neurons, CIFAR-10 (T = 8) and CIFAR-100 (T = 6), ResNet-18",
        ("cifar10-resnet18-t8", "cifar100-resnet18"),
        neuron_arms("lif", "clif", "plif", "klif", "glif", "relu"),
        changes=_SELECTED,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure4-small",
        "Figure 4 on N-MNIST and a CPU: seven neurons, LIF with CLIF's reset, and CLIF without its second gradient",
        REAL,
        neuron_arms("lif", "clif", "lif-reset1.8", "clif-detached", "plif", "klif", "glif", "psn", "relu"),
        changes=SHORT,
        seeds=3,
        most_epochs=SHORT_MOST,
        paper=_FIGURES,
    )
    yield Design(
        "figure10",
        "Figure 10: test loss by epoch, all five tasks",
        _TASKS,
        PAIR,
        changes=_SELECTED,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure10-events",
        "Figure 10: test loss by epoch, its panels of event-camera data",
        _EVENT_TASKS,
        PAIR,
        changes=_SELECTED,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure10-small",
        "Figure 10 on N-MNIST and a CPU: test loss by epoch; the best test epoch is selected, as in the paper",
        REAL,
        CONTROLLED,
        changes=SHORT | _SELECTED,
        seeds=3,
        most_epochs=SHORT_MOST,
        paper=_FIGURES,
    )
    yield Design(
        "figure11",
        "Figure 11: firing rates by layer, all five tasks",
        _TASKS,
        PAIR,
        changes=_SELECTED,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure11-events",
        "Figure 11: firing rates by layer, its panels of event-camera data",
        _EVENT_TASKS,
        PAIR,
        changes=_SELECTED,
        paper=_FIGURES,
        full_size=True,
    )
    yield Design(
        "figure11-small",
        "Figure 11 on N-MNIST and a CPU: firing rates by layer",
        REAL,
        CONTROLLED,
        changes=SHORT,
        most_epochs=SHORT_MOST,
        paper=_FIGURES,
    )
