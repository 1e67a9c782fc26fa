"""Arms, settings and paired differences: which neurons are compared, and in which configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.config.run_config import RunConfig, fingerprint, override
from tune.rendering.labels import neuron_label
from tune.stats.sign_flip import sign_flip_p

Changes = Mapping[str, Any]
"""Field path to value."""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Attributes:
        name: Unique; the neuron's name if the arm is that neuron without further changes.
        changes: The fields that it sets, at least the neuron's name.
        begins: The fields that its first epochs set instead, with schedule.stop_epoch; then the neuron is exchanged.
            None trains the same neuron from start to end.
        seed_offset: Added to every seed, for comparisons of a neuron with itself.
    """

    name: str
    changes: Changes
    begins: Changes | None = None
    seed_offset: int = 0

    @property
    def neuron(self) -> str:
        """The neuron at the end of training."""
        return str(self.changes["neuron.name"])

    @property
    def label(self) -> str:
        """Its name in tables and figures."""
        return neuron_label(self.neuron) if self.name == self.neuron else self.name


@dataclass(frozen=True)
class Setting:
    """One configuration in which all arms are compared.

    Attributes:
        name: Unique; "" if there is only one setting.
        config: The configuration that all of its runs share.
        place: Its value on each axis of the design, by axis: the preset, or a field path.
    """

    name: str
    config: RunConfig
    place: Changes = field(default_factory=dict)


def neuron_arm(neuron: str) -> Arm:
    """The arm of a neuron without further changes."""
    return Arm(neuron, {"neuron.name": neuron})


def exchanged_arm(first: str, then: str, epoch: int) -> Arm:
    """Training starts with one neuron and continues with another after an epoch (Huang et al., 2024, Figure 3a)."""
    name = f"{neuron_label(first)} → {neuron_label(then)} after epoch {epoch}"
    return Arm(name, {"neuron.name": then}, begins={"neuron.name": first, "schedule.stop_epoch": epoch})


def parts_of(setting: Setting, arm: Arm, seed: int, tuned: Changes) -> list[RunConfig]:
    """The runs of one arm with one seed, each starting from the one before; only an exchanged neuron has two.

    Args:
        setting: The setting.
        arm: The arm.
        seed: The comparison's seed, to which the arm may add its offset.
        tuned: The values that were tuned for this arm in this setting; {} if there are none.

    Raises:
        ConfigError: If the arm does not fit the setting.
    """
    own = {**tuned, "seed": seed + arm.seed_offset}
    last = override(setting.config, {**arm.changes, **own})
    if arm.begins is None:
        return [last]
    first = override(setting.config, {**own, **arm.begins})
    return [first, override(last, {"start_from": fingerprint(first)})]


@dataclass(frozen=True)
class PairedDifference:
    """A number of an arm minus that of the first arm, over the seeds that both have.

    Attributes:
        arm: The later arm.
        minus: The first arm.
        by_seed: The difference by seed.
    """

    arm: Arm
    minus: Arm
    by_seed: dict[int, float]

    @property
    def values(self) -> list[float]:
        """The differences, in the order of `by_seed`."""
        return list(self.by_seed.values())

    @property
    def label(self) -> str:
        """Both arms as tables name them, "CLIF − LIF"."""
        return f"{self.arm.label} − {self.minus.label}"

    @cached_property
    def p(self) -> float | None:
        """p-value of the sign-flip test, not corrected for other differences."""
        return sign_flip_p(self.values)
