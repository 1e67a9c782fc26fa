"""The rows of docs/paper.md: what the paper's tables and figures have, and the command that runs it here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.augmentation_names import parse_augmentation
from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import RunConfig, override
from pipeline.presets.paper import TABLE3, TAUS
from pipeline.presets.paper_images import TABLE3_CIFAR10
from pipeline.presets.preset import Preset
from pipeline.presets.registry import PRESETS
from tune.comparison.comparison_plan import Comparison
from tune.comparison.designs.design import PRESET, Design
from tune.comparison.designs.registry import DESIGNS

HEADS = ("from", "data set", "network", "neuron", "T", "`spikeloom` …", "paper, %", "memory", "work", "run here")
NOT_RUN = "not run: needs a GPU and the data"

_BY_LABEL = {neuron.traits.label: name for name, neuron in NEURONS.items()}
_SOURCES = (
    "Table 1", "Table 2", "Table 3", "Table 6",
    "Figure 2a", "Figure 2b", "Figure 3a", "Figure 3b", "Figure 4", "Figure 10", "Figure 11",
)  # fmt: skip
_DATASETS = ("cifar10", "cifar100", "tiny-imagenet", "dvs-gesture", "cifar10-dvs-clif", "cifar10-dvs")
# Rows of which the paper prints no accuracy: the ANN of Tiny-ImageNet, energy in Table 6, and Figure 4.
_NO_ACCURACY: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Table 1", "tiny-imagenet-vgg13-ann", ("relu",)),
    ("Table 6", "tiny-imagenet-vgg13", ("lif",)),
    ("Table 6", "cifar10dvs-vgg11-t10", ("lif", "clif")),
    ("Figure 4", "cifar10-resnet18-t8", ("lif", "plif", "klif", "glif")),
    ("Figure 4", "cifar100-resnet18", ("plif", "klif", "glif")),
)
_TABLE3 = (("cifar10-resnet18", TABLE3_CIFAR10), ("gesture-vgg11", TABLE3))
_FIGURES = ("figure2a", "figure2b", "figure3a", "figure3b", "figure10", "figure11")


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        source: The paper's table or figure.
        dataset: Name of the data set.
        network: Name of the network; the paper's if spikeloom does not run the row.
        neuron: Label of the neuron or neurons.
        timesteps: T.
        command: The arguments of `spikeloom`; "" if spikeloom does not run the row.
        accuracy: The printed test accuracy, "–" if none is printed; an asterisk is the paper's.
        configs: The configurations that the command trains.
        status: Whether it was run here.
    """

    source: str
    dataset: str
    network: str
    neuron: str
    timesteps: str
    command: str
    accuracy: str
    configs: tuple[RunConfig, ...] = ()
    status: str = NOT_RUN

    def cells(self, memory: str, work: str) -> tuple[str, ...]:
        """The cells of the table; see `HEADS`."""
        command = f"`{self.command}`" if self.command else "–"
        start = (self.source, self.dataset, self.network, self.neuron, self.timesteps, command)
        return (*start, self.accuracy, memory, work, self.status)


def rows() -> list[Row]:
    """All rows, in the order of the paper's tables and figures and of its data sets."""
    every = [*_accuracies(), *_no_accuracies(), *_other_methods(), *_table3(), *_figures()]

    def place(row: Row) -> tuple[int, int]:
        return _SOURCES.index(row.source.partition(",")[0]), _DATASETS.index(row.dataset)

    return sorted(every, key=place)


def _accuracies() -> Iterator[Row]:
    """Rows of presets with a printed accuracy, but for Table 3."""
    for preset in PRESETS.values():
        if preset.paper is None or preset.config.grad_steps is not None:
            continue
        source = preset.summary.partition(":")[0]
        mixed = "mixup" in parse_augmentation(preset.config.dataset.augmentation)
        for part in preset.paper.split(", "):
            label, accuracy = part.split(" ")
            yield _of_preset(source, preset, _BY_LABEL[label], f"{accuracy} *" if mixed else accuracy)


def _no_accuracies() -> Iterator[Row]:
    for source, name, neurons in _NO_ACCURACY:
        for neuron in neurons:
            yield _of_preset(source, PRESETS[name], neuron, "–")


def _of_preset(source: str, preset: Preset, neuron: str, accuracy: str) -> Row:
    config = override(preset.config, {"neuron.name": neuron})
    own = neuron == preset.config.neuron.name
    command = f"train {preset.name}" if own else f"train {preset.name} --neuron.name {neuron}"
    label, steps = NEURONS[neuron].traits.label, str(config.binning.timesteps)
    return Row(source, config.dataset.name, config.network.name, label, steps, command, accuracy, (config,))


def _table3() -> Iterator[Row]:
    """A row for each k, with the accuracies of all tau."""
    for name, accuracies in _TABLE3:
        for k, cells in accuracies.items():
            configs = tuple(PRESETS[f"{name}-k{k}-tau{tau:g}"].config for tau in TAUS)
            config, printed = configs[0], " / ".join(f"{accuracy:.2f}" for accuracy in cells)
            start = (f"Table 3, k = {k}", config.dataset.name, config.network.name, "LIF")
            command = f"train {name}-k{k}-tau<τ>"
            # One of them: tau costs nothing.
            yield Row(*start, str(config.binning.timesteps), command, printed, configs[:1])


def _figures() -> Iterator[Row]:
    """A row for each figure and data set, of all runs that its design has there."""
    for name in _FIGURES:
        design = DESIGNS[name]
        number = name.removeprefix("figure")
        for preset in design.presets:
            runs = tuple(_runs(design, preset))
            first = runs[0]
            steps = sorted({config.binning.timesteps for config in runs})
            shown = str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
            labels = ", ".join(dict.fromkeys(arm.label.partition(" after")[0] for arm in design.arms))
            accuracy = "92.7 at T = 1" if name == "figure3b" else "–"
            start = (f"Figure {number}", first.dataset.name, first.network.name, labels, shown)
            yield Row(*start, f"compare {name}", accuracy, runs)


def _runs(design: Design, preset: str) -> Iterator[RunConfig]:
    """The runs of a design in one of its presets; an exchanged neuron's two parts are one whole run."""
    settings = [setting for setting in design.settings({}) if setting.place[PRESET] == preset]
    plan = Comparison(design.name, tuple(settings), design.arms, tuple(range(design.seeds)), Path())
    for config in plan.configs():
        yield override(config, {"start_from": None})


# Rows that Table 1 quotes: data set, method, network, T, accuracy. All train LIF in another way than by the surrogate
# gradients that spikeloom has.
_QUOTED: Sequence[tuple[str, str, str, int, str]] = (
    ("cifar10", "Dspike", "modified ResNet-18", 6, "93.50"),
    ("cifar10", "DSR", "PreAct-ResNet-18", 20, "95.40"),
    ("cifar10", "SML", "ResNet-18", 6, "95.12"),
    ("cifar10", "ASGL", "ResNet-18", 4, "95.35 *"),
    ("cifar100", "Dspike", "modified ResNet-18", 6, "74.24"),
    ("cifar100", "DSR", "PreAct-ResNet-18", 20, "78.50"),
    ("cifar100", "SML", "ResNet-18", 6, "78.00"),
    ("cifar100", "ASGL", "ResNet-18", 4, "77.74 *"),
    ("tiny-imagenet", "Online LTL", "VGG-13", 6, "55.37"),
    ("tiny-imagenet", "Joint A-SNN", "VGG-16", 4, "55.39"),
    ("tiny-imagenet", "ASGL", "VGG-13", 8, "56.81"),
)


def _other_methods() -> Iterator[Row]:
    for dataset, method, network, timesteps, accuracy in _QUOTED:
        status = f"quoted by the paper; another training method, {method}"
        yield Row("Table 1", dataset, network, "LIF", str(timesteps), "", accuracy, status=status)
