"""Designs: what a predefined comparison declares before it runs, and the settings that it consists of."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.run_config import RunConfig, override
from pipeline.presets.registry import find_preset
from tune.comparison.arms import Arm, Changes, Setting, neuron_arm
from tune.rendering.labels import short_name, short_value
from tune.rendering.table import Table
from tune.stats.sign_flip import pairs_needed

# Axes besides the field paths: the preset, for designs of several presets, and the lag of delayed cues.
PRESET = "preset"
POINT = "point"
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
        most_epochs: The epochs of all runs are doubled up to this number until every run has converged, as with
            ``--epochs auto``; None trains for the configured number.
        paper: The results that the paper reports.
        full_size: Whether it takes a GPU and complete data sets, as opposed to a small version.
    """

    name: str
    summary: str
    presets: tuple[str, ...]
    arms: tuple[Arm, ...]
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)
    points: Mapping[str, Changes] = field(default_factory=dict)
    seeds: int = 0
    most_epochs: int | None = None
    paper: Table | None = None
    full_size: bool = False

    def __post_init__(self) -> None:
        if not self.seeds:
            object.__setattr__(self, "seeds", self.seeds_needed)

    @property
    def seeds_needed(self) -> int:
        """The smallest number of seeds with which a test, corrected for all differences, can show one of them."""
        places = math.prod(map(len, self.axes.values())) * max(1, len(self.points))
        return pairs_needed(comparisons=len(self.presets) * places * (len(self.arms) - 1))

    @property
    def needs(self) -> str:
        """What it takes to run it; "" for a small version."""
        if not self.full_size:
            return ""
        names = dict.fromkeys(find_preset(name).config.dataset.name for name in self.presets)
        return f"a GPU, and the complete data of {', '.join(names)}"

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
                place = {PRESET: preset, **own} | ({POINT: point} if point else {})
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


PAIR = neuron_arms("lif", "clif")
# LIF with CLIF's deeper reset alone, and CLIF without its second gradient: what a difference of the pair comes from.
CONTROLLED = neuron_arms("lif", "clif", "lif-reset1.8", "clif-detached")

# Recordings by a sensor, on which a difference is evidence about the neurons.
REAL = ("n-mnist-small",)
# A quarter of the channels and four time steps: a LIF run of 2,000 samples takes about a minute on one CPU. After these
# epochs more training hardly helps (LIF and CLIF fit 98 to 99 % of the training samples); if it would, `most_epochs`
# doubles them. Each time step normalised by its own statistics, but evaluated with one running average, costs single
# runs up to 44 points (docs/science.md, Batch norm): differences of accuracy would be about batch norm.
SHORT = {
    "network.width": 0.25,
    "schedule.epochs": 32,
    "binning.timesteps": 4,
    "network.batch_norm": "joint",
}
SHORT_MOST = 128
