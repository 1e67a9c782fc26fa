"""Designs: predefined comparisons, declared before they run: tables and figures of the paper, and our own controls.

Paper: Huang et al., ICML 2024. Each of its designs has a small version for a CPU (a small VGG on N-MNIST and on
emulated gestures), which shows how the design behaves but does not reproduce the paper's numbers; those are shown in a
separate table.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig, override
from pipeline.presets.paper import TABLE3, TAUS
from pipeline.presets.registry import find_preset
from preprocess.errors import ConfigError
from tune.comparison.arms import Arm, Changes, Setting, exchanged_arm, neuron_arm
from tune.comparison.comparison_plan import Comparison
from tune.rendering.labels import short_name, short_value
from tune.rendering.table import Table
from tune.stats.sign_flip import pairs_needed

# Axes besides the field paths: the preset, for designs of several presets, and the lag of delayed cues.
PRESET = "preset"
LAG = "lag, ms"
_LAG = re.compile(r"-lag(\d+)$")


@dataclass(frozen=True)
class Design:
    """A named comparison.

    Attributes:
        name: Its name on the command line.
        summary: Its purpose, in one line.
        presets: The presets in which it is run.
        arms: The neurons that are compared; the first is the baseline.
        axes: Field path to the values with which it is run in every preset.
        changes: The fields that all of its runs set.
        points: Further settings that are not a product of axes: name to the fields that it sets.
        seeds: The number of seeds; 0 for the number that a test of all its differences needs, at least 6.
        paper: The results that the paper reports.
        not_run: The missing requirements, for a design that cannot run yet; "" if it can.
    """

    name: str
    summary: str
    presets: tuple[str, ...] = ()
    arms: tuple[Arm, ...] = ()
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)
    points: Mapping[str, Changes] = field(default_factory=dict)
    seeds: int = 0
    paper: Table | None = None
    not_run: str = ""

    def __post_init__(self) -> None:
        if not self.seeds and self.presets:
            object.__setattr__(self, "seeds", self.seeds_needed)

    @property
    def seeds_needed(self) -> int:
        """The smallest number of seeds with which a test, corrected for all differences, can show one of them."""
        places = math.prod(map(len, self.axes.values())) * max(1, len(self.points))
        return pairs_needed(comparisons=len(self.presets) * places * (len(self.arms) - 1))

    @property
    def config(self) -> RunConfig:
        """The configuration of its first preset with the changes of all runs, to which the command line is compared."""
        return override(find_preset(self.presets[0]).config, {"selection": "last", **self.changes})

    @property
    def own_fields(self) -> frozenset[str]:
        """The field paths in which its settings differ, apart from their presets."""
        return frozenset(self.axes) | {path for changes in self.points.values() for path in changes}

    def settings(self, changes: Changes) -> tuple[Setting, ...]:
        """Make all settings of the design.

        Args:
            changes: The fields that the command line sets in all of them.
        """
        bases = {name: find_preset(name).config for name in self.presets}
        return make_settings(bases, self.axes, {"selection": "last", **self.changes, **changes}, self.points)


def make_settings(
    bases: Mapping[str, RunConfig],
    axes: Mapping[str, Sequence[Any]],
    changes: Changes,
    points: Mapping[str, Changes] | None = None,
) -> tuple[Setting, ...]:
    """Make a setting for each base with each combination of values on the axes, and with each point.

    Args:
        bases: Configurations by the name of the preset.
        axes: Field paths and their values.
        changes: Changes that apply to all settings.
        points: Further settings: names and the fields that they change.

    Raises:
        ConfigError: If a combination is not a valid configuration.
    """
    found = []
    for preset, base in bases.items():
        for values in itertools.product(*axes.values()):
            own = dict(zip(axes, values, strict=True))
            parts = [preset] if len(bases) > 1 else []
            parts += [f"{short_name(path)} = {short_value(value)}" for path, value in own.items()]
            config = override(base, {**changes, **own})
            for point, more in (points or {"": {}}).items():
                name = ", ".join([*parts, point] if point else parts)
                place = {PRESET: preset, **own} | ({"point": point} if point else {})
                found.append(Setting(name, override(config, more), _with_lag(place)))
    return tuple(found)


def _with_lag(place: dict[str, Any]) -> dict[str, Any]:
    """The place with the lag of a delayed-cue data set as a numeric axis."""
    lag = _LAG.search(str(place.get("dataset.name", "")))
    if lag is None:
        return place
    return {path: value for path, value in place.items() if path != "dataset.name"} | {LAG: int(lag[1])}


def neuron_arms(*neurons: str) -> tuple[Arm, ...]:
    """An arm for each neuron."""
    return tuple(map(neuron_arm, neurons))


_PAIR = neuron_arms("lif", "clif")
_SMALL = ("n-mnist-small", "gestures-hard-small")
# A quarter of the channels and few epochs: a LIF run takes about 10 s on one CPU.
_SHORT = {"network.width": 0.25, "schedule.epochs": 6, "binning.timesteps": 8}
_ALL_NEURONS = neuron_arms("lif", "clif", "plif", "klif", "glif", "psn", "relu")
_NO_CIFAR = "needs CIFAR-10 and Spiking-ResNet-18, which spikeloom does not have yet"

_TABLE2 = Table(
    "What the paper reports: Table 2, test accuracy of single runs, best epoch selected by test accuracy",
    ("data set", "network", "T", "LIF, %", "CLIF, %"),
    (
        ("DVS-Gesture", "Spiking-VGG11", "20", "97.57", "97.92"),
        ("CIFAR10-DVS", "Spiking-VGG11", "16", "78.05", "79.00"),
        ("CIFAR10-DVS", "VGGSNN, with augmentation", "10", "84.90", "86.10"),
    ),
    "llrrr",
    "Huang et al. (ICML 2024). Not comparable with a small design: data, networks, epochs and selection differ.",
)
_TABLE3 = Table(
    "What the paper reports: Table 3, LIF on DVS-Gesture, Spiking-VGG11, T = 20, test accuracy in %",
    ("k", *(f"tau {tau:g}" for tau in TAUS)),
    tuple((str(k), *(f"{accuracy:.2f}" for accuracy in row)) for k, row in TABLE3.items()),
    "r" + "r" * len(TAUS),
    "Huang et al. (ICML 2024): gradient from the outputs of the first k time steps only. CLIF in Table 2: 97.92.",
)
_FIGURES = Table(
    "What the paper shows",
    ("figure", "task", "finding"),
    (
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


def _designs() -> Iterator[Design]:
    yield Design(
        "table2",
        "Table 2: LIF and CLIF on DVS-Gesture and CIFAR10-DVS (its event-camera data sets)",
        ("gesture-vgg11", "cifar10dvs-vgg11", "cifar10dvs-vggsnn-aug"),
        _PAIR,
        changes={"selection": "paper"},
        paper=_TABLE2,
    )
    # One seed more than a test needs: this is the README's example, and takes four minutes.
    yield Design("table2-small", "Table 2 on a CPU", _SMALL, _PAIR, changes=_SHORT, seeds=8, paper=_TABLE2)
    yield Design(
        "table3",
        "Table 3: tau and the number of time steps that carry gradient (k), LIF and CLIF on DVS-Gesture",
        ("gesture-vgg11",),
        _PAIR,
        {"grad_steps": tuple(TABLE3), "neuron.tau": TAUS},
        changes={"selection": "paper"},
        # Eleven seeds would be 660 runs: this design maps the effect without a test.
        seeds=6,
        paper=_TABLE3,
    )
    yield Design(
        "table3-small",
        "Table 3 on a CPU: tau and k",
        _SMALL,
        _PAIR,
        {"grad_steps": (1, 4, 8), "neuron.tau": (1.1, 1.5, 2.0)},
        changes=_SHORT,
        seeds=2,
        paper=_TABLE3,
    )
    yield Design(
        "figure2b-small",
        "Figure 2b on a CPU: accuracy over T, five-layer network without average pooling",
        _SMALL,
        _PAIR,
        {"binning.timesteps": (2, 4, 8, 16)},
        changes=_SHORT | {"network.name": "snn4", "network.width": 0.125},
        seeds=3,
        paper=_FIGURES,
    )
    yield Design(
        "figure3a-small",
        "Figure 3a on a CPU: training starts with LIF and continues with CLIF after an epoch",
        _SMALL,
        (*_PAIR, exchanged_arm("lif", "clif", 2), exchanged_arm("lif", "clif", 4)),
        changes=_SHORT,
        seeds=3,
        paper=_FIGURES,
    )
    yield Design(
        "figure3b-small",
        "Figure 3b on a CPU: accuracy over T, starting at T = 1, where both neurons are identical",
        _SMALL,
        _PAIR,
        {"binning.timesteps": (1, 2, 4, 8)},
        changes=_SHORT,
        paper=_FIGURES,
    )
    yield Design(
        "figure4-small",
        "Figure 4 on a CPU: seven neurons",
        _SMALL,
        _ALL_NEURONS,
        changes=_SHORT,
        seeds=3,
        paper=_FIGURES,
    )
    yield Design(
        "figure10-small",
        "Figure 10 on a CPU: test loss by epoch; the best test epoch is selected, as in the paper",
        _SMALL,
        _PAIR,
        changes=_SHORT | {"selection": "paper"},
        paper=_FIGURES,
    )
    yield Design(
        "figure11-small", "Figure 11 on a CPU: firing rates by layer", _SMALL, _PAIR, changes=_SHORT, paper=_FIGURES
    )
    for name, what in (
        ("figure2b", "accuracy over T up to 128, CIFAR-10, five layers, 4 seeds"),
        ("figure3a", "LIF exchanged for CLIF during training, CIFAR-10, ResNet-18"),
        ("figure3b", "accuracy over T, CIFAR-10, ResNet-18"),
        ("figure4", "LIF, PLIF, KLIF, GLIF, CLIF and ReLU, CIFAR-10 and CIFAR-100, ResNet-18"),
        ("figure10", "test loss by epoch, all tasks"),
        ("figure11", "firing rates, all tasks"),
    ):
        yield Design(name, f"Figure {name.removeprefix('figure')}: {what}", paper=_FIGURES, not_run=_NO_CIFAR)
    yield from _own_designs()


def _own_designs() -> Iterator[Design]:
    for suffix, presets, changes in (
        ("", ("gesture-vgg11",), {"selection": "last"}),
        ("-small", _SMALL, _SHORT),
    ):
        where = ", on a CPU" if suffix else ", on DVS-Gesture"
        yield Design(
            f"controls{suffix}",
            f"Ablation of CLIF: neurons with one of its components each{where}",
            presets,
            neuron_arms("lif", "clif", "lif-reset1.8", "clif-detached", "clif-undecayed", "alif"),
            changes=changes,
        )
        yield Design(
            f"a-a{suffix}",
            f"LIF against LIF with different seeds: the noise floor{where}",
            presets,
            (neuron_arm("lif"), Arm("LIF, other seeds", {"neuron.name": "lif"}, seed_offset=1000)),
            changes=changes,
        )
        yield Design(
            f"robustness{suffix}",
            f"Robustness of the sign of CLIF − LIF to changes of shared settings{where}",
            presets,
            (neuron_arm("lif"), _CLIF_ALONE),
            changes=changes,
            points=_ROBUSTNESS,
            seeds=3 if suffix else 0,
        )
    yield Design(
        "delayed-cue-small",
        "Delayed cue: the class is shown before a lag of distractors; difference between the neurons over the lag",
        ("cue-small",),
        _PAIR,
        {"dataset.name": tuple(f"emulated-cue-lag{lag}" for lag in (0, 50, 100, 200))},
        changes={"network.width": 0.5, "schedule.epochs": 8},
    )
    yield Design(
        "time-order-small",
        "Importance of temporal order: time steps as they are, shuffled, reversed, or a single frame",
        ("gestures-hard-small",),
        _PAIR,
        {"input.time_order": ("as-is", "shuffled", "reversed", "one-frame")},
        changes=_SHORT,
    )


# CLIF has one kind of reset and one gradient of it: points that change these change LIF only, as their names say.
_CLIF_ALONE = Arm("clif", {"neuron.name": "clif", "neuron.reset": "soft", "neuron.detach_reset": False})
_ROBUSTNESS: dict[str, Changes] = {
    "as it is": {},
    "surrogate triangle": {"neuron.surrogate": "triangle"},
    "surrogate sigmoid, alpha 4": {"neuron.surrogate": "sigmoid", "neuron.alpha": 4.0},
    "surrogate atan, alpha 2": {"neuron.surrogate": "atan", "neuron.alpha": 2.0},
    "rectangle half as wide": {"neuron.alpha": 2.0},
    "rectangle twice as wide": {"neuron.alpha": 0.5},
    "LIF with hard reset": {"neuron.reset": "hard"},
    "LIF whose reset has no gradient": {"neuron.detach_reset": True},
    "batch norm over T·B": {"network.batch_norm": "joint"},
    "lambda 0": {"loss.mse_weight": 0.0},
}

DESIGNS: dict[str, Design] = {design.name: design for design in _designs()}


def find_design(name: str) -> Design:
    """The design with this name.

    Raises:
        ConfigError: If there is none, with the nearest name; or if it cannot run yet, with the reason.
    """
    if name not in DESIGNS:
        near = difflib.get_close_matches(name, DESIGNS, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'?" if near else "List them: spikeloom compare --list"
        raise ConfigError(f"unknown design '{name}'. {hint}")
    design = DESIGNS[name]
    if design.not_run:
        small = f" Run its small version: spikeloom compare {name}-small" if f"{name}-small" in DESIGNS else ""
        raise ConfigError(f"design '{name}': cannot be run yet: {design.not_run}.{small}")
    return design


def paper_table(name: str) -> Table | None:
    """The table of the paper's results for the design with this name; None for any other comparison."""
    return DESIGNS[name].paper if name in DESIGNS else None


def _count(design: Design) -> int:
    """The number of its runs, including those from which exchanged neurons start."""
    seeds = tuple(range(design.seeds))
    comparison = Comparison(design.name, design.settings({}), design.arms, seeds, Path())
    return len(comparison.configs()) + len(comparison.first_parts())


def list_table() -> Table:
    """The list of all designs."""
    rows = tuple(
        (
            design.name,
            ", ".join(design.presets) or "–",
            _seed_count(design) if design.presets else "–",
            str(_count(design)) if design.presets else "–",
            design.summary if not design.not_run else f"{design.summary}; cannot be run yet: {design.not_run}",
        )
        for design in DESIGNS.values()
    )
    note = (
        "'2 of 11 needed': with fewer seeds than a test of all its differences needs, a design describes differences "
        "but cannot show that they are significant."
    )
    return Table("Designs", ("design", "presets", "seeds", "runs", "description"), rows, "llrrl", note)


def _seed_count(design: Design) -> str:
    needed = design.seeds_needed
    return str(design.seeds) if design.seeds >= needed else f"{design.seeds} of {needed} needed"
