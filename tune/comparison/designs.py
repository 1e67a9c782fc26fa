"""Designs: named comparisons, declared before they run; the paper's tables and figures, and controls of our own.

Huang et al., ICML 2024. Each of the paper's has a small version for a CPU (a small VGG on N-MNIST and on emulated
gestures): what it shows is how the design behaves, never the paper's numbers, which stand beside it in a table of
their own.
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
from tune.comparison.plan import Comparison
from tune.rendering.labels import short_name, short_value
from tune.rendering.table import Table
from tune.stats.sign_flip import pairs_needed

# What the settings of a design that has several presets differ in, beside its axes; and that of delayed cues.
PRESET = "preset"
LAG = "lag, ms"
_LAG = re.compile(r"-lag(\d+)$")


@dataclass(frozen=True)
class Design:
    """A named comparison.

    Attributes:
        name: As it is called on the command line.
        summary: What it is for, in a line.
        presets: The configurations that it is run in.
        arms: What is compared; the first is what the others are compared with.
        axes: Field path to the values that it is run with in every preset.
        changes: What all of its runs set.
        points: Settings of its own, by name, where they are no product of axes: what each sets.
        seeds: How many; 0 is as many as a test of all its differences needs, and 6 at least.
        paper: What the paper reports, in a table of its own.
        not_run: Why it cannot run yet; "" where it can.
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
        """With fewer no test, corrected for how many differences there are, could show one of them."""
        places = math.prod(map(len, self.axes.values())) * max(1, len(self.points))
        return pairs_needed(comparisons=len(self.presets) * places * (len(self.arms) - 1))

    @property
    def config(self) -> RunConfig:
        """Of its first preset, with what all runs set: what the command line's fields are read against."""
        return override(find_preset(self.presets[0]).config, {"selection": "last", **self.changes})

    @property
    def own_fields(self) -> frozenset[str]:
        """The field paths in which its settings differ, beside their presets."""
        return frozenset(self.axes) | {path for changes in self.points.values() for path in changes}

    def settings(self, changes: Changes) -> tuple[Setting, ...]:
        """Every place that it is run in.

        Args:
            changes: What the command line sets for all of them.
        """
        bases = {name: find_preset(name).config for name in self.presets}
        return make_settings(bases, self.axes, {"selection": "last", **self.changes, **changes}, self.points)


def make_settings(
    bases: Mapping[str, RunConfig],
    axes: Mapping[str, Sequence[Any]],
    changes: Changes,
    points: Mapping[str, Changes] | None = None,
) -> tuple[Setting, ...]:
    """A setting for each base with each combination of values on the axes, and with each point.

    Args:
        bases: Configurations by preset's name.
        axes: Field path to values.
        changes: Applied to all.
        points: What other settings change, by name.

    Raises:
        ConfigError: If a combination is no valid configuration.
    """
    found = []
    for preset, base in bases.items():
        for values in itertools.product(*axes.values()):
            own = dict(zip(axes, values, strict=True))
            words = [preset] if len(bases) > 1 else []
            words += [f"{short_name(path)} = {short_value(value)}" for path, value in own.items()]
            config = override(base, {**changes, **own})
            for point, more in (points or {"": {}}).items():
                name = ", ".join([*words, point] if point else words)
                place = {PRESET: preset, **own} | ({"point": point} if point else {})
                found.append(Setting(name, override(config, more), _with_lag(place)))
    return tuple(found)


def _with_lag(place: dict[str, Any]) -> dict[str, Any]:
    """Data sets that differ in their lag lie on an axis of numbers."""
    lag = _LAG.search(str(place.get("dataset.name", "")))
    if lag is None:
        return place
    return {path: value for path, value in place.items() if path != "dataset.name"} | {LAG: int(lag[1])}


def neuron_arms(*neurons: str) -> tuple[Arm, ...]:
    """An arm for each neuron."""
    return tuple(map(neuron_arm, neurons))


_PAIR = neuron_arms("lif", "clif")
_SMALL = ("n-mnist-small", "gestures-hard-small")
# A quarter of the channels and few epochs: a run of LIF is some 10 s of one CPU.
_SHORT = {"network.width": 0.25, "schedule.epochs": 6, "binning.timesteps": 8}
_ALL_NEURONS = neuron_arms("lif", "clif", "plif", "klif", "glif", "psn", "relu")
_NO_CIFAR = "needs CIFAR-10 and Spiking-ResNet-18, which spikeloom does not have yet"

_TABLE2 = Table(
    "What the paper reports: Table 2, test accuracy of single runs, best epoch by the test samples",
    ("data set", "network", "T", "LIF, %", "CLIF, %"),
    (
        ("DVS-Gesture", "Spiking-VGG11", "20", "97.57", "97.92"),
        ("CIFAR10-DVS", "Spiking-VGG11", "16", "78.05", "79.00"),
        ("CIFAR10-DVS", "VGGSNN, with augmentation", "10", "84.90", "86.10"),
    ),
    "llrrr",
    "Huang et al. (ICML 2024). Other data, networks, epochs and selection than a small design's: never one table.",
)
_TABLE3 = Table(
    "What the paper reports: Table 3, LIF on DVS-Gesture, Spiking-VGG11, T = 20, test accuracy in %",
    ("k", *(f"tau {tau:g}" for tau in TAUS)),
    tuple((str(k), *(f"{accuracy:.2f}" for accuracy in row)) for k, row in TABLE3.items()),
    "r" + "r" * len(TAUS),
    "Huang et al. (ICML 2024): gradient from the outputs of the first k steps alone. CLIF's Table 2 value is 97.92.",
)
_FIGURES = Table(
    "What the paper shows",
    ("figure", "task", "in words"),
    (
        ("2b", "CIFAR-10, 5-layer network", "LIF is best at T = 32 and falls behind it; CLIF goes on rising; 4 seeds"),
        ("3a", "CIFAR-10, ResNet-18, T = 6", "the loss falls a few epochs after LIF is exchanged for CLIF"),
        ("3b", "CIFAR-10, ResNet-18", "equal at T = 1 (92.7 %), CLIF ahead at every larger T"),
        ("4", "CIFAR-10 (T = 8) and CIFAR-100 (T = 6), ResNet-18", "CLIF ahead of LIF, PLIF, KLIF and GLIF"),
        ("10", "all tasks", "CLIF's test loss falls faster, and lower"),
        ("11", "all tasks", "CLIF fires less than LIF"),
    ),
    "lll",
    "Huang et al. (ICML 2024), read off its text and figures, which give no numbers.",
)


def _designs() -> Iterator[Design]:
    yield Design(
        "table2",
        "Table 2's event-camera rows that can be run: both neurons on DVS-Gesture and CIFAR10-DVS",
        ("gesture-vgg11", "cifar10dvs-vgg11", "cifar10dvs-vggsnn-aug"),
        _PAIR,
        changes={"selection": "paper"},
        paper=_TABLE2,
    )
    # One more than a test needs: it is the README's, and runs in four minutes.
    yield Design("table2-small", "Table 2 on a CPU", _SMALL, _PAIR, changes=_SHORT, seeds=8, paper=_TABLE2)
    yield Design(
        "table3",
        "Table 3: how many steps carry gradient (k), and tau, for LIF and CLIF on DVS-Gesture",
        ("gesture-vgg11",),
        _PAIR,
        {"grad_steps": tuple(TABLE3), "neuron.tau": TAUS},
        changes={"selection": "paper"},
        # Eleven would be 660 runs: this maps, and tests nothing.
        seeds=6,
        paper=_TABLE3,
    )
    yield Design(
        "table3-small",
        "Table 3 on a CPU: k and tau",
        _SMALL,
        _PAIR,
        {"grad_steps": (1, 4, 8), "neuron.tau": (1.1, 1.5, 2.0)},
        changes=_SHORT,
        seeds=2,
        paper=_TABLE3,
    )
    yield Design(
        "figure2b-small",
        "Figure 2b on a CPU: accuracy over T, a network of five layers without average pooling",
        _SMALL,
        _PAIR,
        {"binning.timesteps": (2, 4, 8, 16)},
        changes=_SHORT | {"network.name": "snn5", "network.width": 0.125},
        seeds=3,
        paper=_FIGURES,
    )
    yield Design(
        "figure3a-small",
        "Figure 3a on a CPU: training begins with LIF and goes on with CLIF after an epoch",
        _SMALL,
        (*_PAIR, exchanged_arm("lif", "clif", 2), exchanged_arm("lif", "clif", 4)),
        changes=_SHORT,
        seeds=3,
        paper=_FIGURES,
    )
    yield Design(
        "figure3b-small",
        "Figure 3b on a CPU: accuracy over T from T = 1 on, where both neurons are the same",
        _SMALL,
        _PAIR,
        {"binning.timesteps": (1, 2, 4, 8)},
        changes=_SHORT,
        paper=_FIGURES,
    )
    yield Design(
        "figure4-small",
        "Figure 4 on a CPU: neurons side by side",
        _SMALL,
        _ALL_NEURONS,
        changes=_SHORT,
        seeds=3,
        paper=_FIGURES,
    )
    yield Design(
        "figure10-small",
        "Figure 10 on a CPU: test loss by epoch; the best test epoch is taken, as the paper does",
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
        ("figure3a", "exchange of LIF for CLIF at an epoch, CIFAR-10, ResNet-18"),
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
        where = " on a CPU" if suffix else " on DVS-Gesture"
        yield Design(
            f"controls{suffix}",
            f"what of CLIF makes a difference: neurons that have one part of it each{where}",
            presets,
            neuron_arms("lif", "clif", "lif-reset1.8", "clif-detached", "clif-undecayed", "alif"),
            changes=changes,
        )
        yield Design(
            f"a-a{suffix}",
            f"LIF against LIF with other seeds: the noise floor{where}",
            presets,
            (neuron_arm("lif"), Arm("LIF, other seeds", {"neuron.name": "lif"}, seed_offset=1000)),
            changes=changes,
        )
        yield Design(
            f"robustness{suffix}",
            f"whether the sign of CLIF - LIF holds when what both share is changed{where}",
            presets,
            (neuron_arm("lif"), _CLIF_ALONE),
            changes=changes,
            points=_ROBUSTNESS,
            seeds=3 if suffix else 0,
        )
    yield Design(
        "delayed-cue-small",
        "a class shown early, a lag of distractors, and the answer at the end: the gap between neurons over the lag",
        ("cue-small",),
        _PAIR,
        {"dataset.name": tuple(f"emulated-cue-lag{lag}" for lag in (0, 50, 100, 200))},
        changes={"network.width": 0.5, "schedule.epochs": 8},
    )
    yield Design(
        "time-order-small",
        "what the order of time is worth: time steps as they are, shuffled, reversed, or one frame alone",
        ("gestures-hard-small",),
        _PAIR,
        {"input.time_order": ("as-is", "shuffled", "reversed", "one-frame")},
        changes=_SHORT,
    )


# CLIF has one reset and one way to differentiate it: points that change these change LIF alone, and their names say so.
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
    """The design of a name.

    Raises:
        ConfigError: If there is none, with the nearest name; or if it cannot run yet, with the reason.
    """
    if name not in DESIGNS:
        near = difflib.get_close_matches(name, DESIGNS, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'?" if near else "List them: spikeloom compare --list"
        raise ConfigError(f"unknown design '{name}'. {hint}")
    design = DESIGNS[name]
    if design.not_run:
        small = f" Its small version runs: spikeloom compare {name}-small" if f"{name}-small" in DESIGNS else ""
        raise ConfigError(f"design '{name}': not run: {design.not_run}.{small}")
    return design


def paper_table(name: str) -> Table | None:
    """What the paper reports for a design of this name; None for any other comparison."""
    return DESIGNS[name].paper if name in DESIGNS else None


def _count(design: Design) -> int:
    """How many runs it takes, those included from which exchanged neurons start."""
    seeds = tuple(range(design.seeds))
    comparison = Comparison(design.name, design.settings({}), design.arms, seeds, Path())
    return len(comparison.configs()) + len(comparison.first_parts())


def list_table() -> Table:
    """Every design, for people."""
    rows = tuple(
        (
            design.name,
            ", ".join(design.presets) or "–",
            _seed_words(design) if design.presets else "–",
            str(_count(design)) if design.presets else "–",
            design.summary if not design.not_run else f"{design.summary}; not run: {design.not_run}",
        )
        for design in DESIGNS.values()
    )
    note = "A design of fewer seeds than a test of all its differences needs describes them, and can show none."
    return Table("Designs", ("design", "presets", "seeds", "runs", "what it is"), rows, "llrrl", note)


def _seed_words(design: Design) -> str:
    needed = design.seeds_needed
    return str(design.seeds) if design.seeds >= needed else f"{design.seeds} of {needed} needed"
