"""What a comparison compares, and where: arms (a neuron each, or a neuron trained otherwise) in settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.run_config import RunConfig, fingerprint, override
from tune.rendering.labels import neuron_label

Changes = Mapping[str, Any]
"""Field path to value."""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Attributes:
        name: Unique; a neuron's own name where it is a neuron and nothing else.
        changes: What it sets, the neuron's name at least.
        begins: What its first epochs set instead, with schedule.stop_epoch; then the neuron is exchanged. None trains
            as it is from the start.
        seed_offset: Added to every seed: the other side of a comparison of a neuron with itself.
    """

    name: str
    changes: Changes
    begins: Changes | None = None
    seed_offset: int = 0

    @property
    def neuron(self) -> str:
        """The neuron that it ends with."""
        return str(self.changes["neuron.name"])

    @property
    def label(self) -> str:
        """How tables and pictures call it."""
        return neuron_label(self.neuron) if self.name == self.neuron else self.name


@dataclass(frozen=True)
class Setting:
    """One place where all arms are measured.

    Attributes:
        name: Unique, for people; "" where there is only one.
        config: What all runs of it share.
        place: Its value on each of the design's axes, by the axis' name: the preset, or a field path.
    """

    name: str
    config: RunConfig
    place: Changes = field(default_factory=dict)


def neuron_arm(neuron: str) -> Arm:
    """The arm that is a neuron."""
    return Arm(neuron, {"neuron.name": neuron})


def exchanged_arm(first: str, then: str, epoch: int) -> Arm:
    """Training begins with one neuron and goes on with another after an epoch (Huang et al., ICML 2024, Figure 3a)."""
    name = f"{neuron_label(first)} → {neuron_label(then)} after epoch {epoch}"
    return Arm(name, {"neuron.name": then}, begins={"neuron.name": first, "schedule.stop_epoch": epoch})


def parts_of(setting: Setting, arm: Arm, seed: int, tuned: Changes) -> list[RunConfig]:
    """The runs of one arm with one seed, each from the one before; all but an exchanged neuron have one.

    Args:
        setting: Where.
        arm: What.
        seed: The comparison's; the arm may add to it.
        tuned: What a search found for this arm here; {} of none.

    Raises:
        ConfigError: If the arm does not fit the setting.
    """
    own = {**tuned, "seed": seed + arm.seed_offset}
    last = override(setting.config, {**arm.changes, **own})
    if arm.begins is None:
        return [last]
    first = override(setting.config, {**own, **arm.begins})
    return [first, override(last, {"start_from": fingerprint(first)})]
