"""Settings that differ only in their fold or split seed become one setting, whose pairs are seeds on splits.

Without this, every fold would be a setting of its own with few seeds, and the comparison would say nothing about the
variance that comes from the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from preprocess.datasets.splits import Resampling
from tune.comparison.arms import Setting
from tune.comparison.comparison_plan import Comparison, Outcomes
from tune.rendering.labels import DrawnSeed, short_name, short_value
from tune.space.parser import SPLIT_DRAWS


@dataclass(frozen=True, eq=False)
class JoinedSplits:
    """A comparison whose splits are repetitions.

    Attributes:
        comparison: The comparison with the joined settings; its seeds are pairs of seed and split.
        members: The settings that each joined setting is made of, in the order of the splits, by its name.
    """

    comparison: Comparison
    members: Mapping[str, tuple[Setting, ...]]
    _seeds: tuple[int, ...]

    @property
    def splits(self) -> int:
        """The number of splits on which each seed is trained; 1 if splits are not a factor."""
        return max(map(len, self.members.values()))

    def draws_of(self, setting: Setting) -> tuple[Resampling, ...]:
        """The splits of a joined setting; () if splits are not a factor."""
        members = self.members[setting.name]
        return tuple(member.config.dataset.resampling for member in members) if _draws(members[0]) else ()

    def outcomes(self, outcomes: Outcomes) -> Outcomes:
        """The outcomes of all runs by joined setting's name, arm's name, and pair of seed and split."""
        return {
            (name, arm.name, pair): outcomes[member.name, arm.name, seed]
            for name, members in self.members.items()
            for arm in self.comparison.arms
            for pair, seed, member in _pairs(self._seeds, members)
        }


def join_splits(comparison: Comparison) -> JoinedSplits:
    """Join the settings of a comparison that differ only in the draw of the test samples."""
    groups: dict[tuple[Any, ...], list[Setting]] = {}
    for setting in comparison.settings:
        others = tuple((axis, value) for axis, value in setting.place.items() if axis not in SPLIT_DRAWS)
        groups.setdefault(others if _draws(setting) else (setting.name,), []).append(setting)
    settings = tuple(_joined_setting(members[0]) for members in groups.values())
    members_by_name = {setting.name: tuple(members) for setting, members in zip(settings, groups.values(), strict=True)}
    if not any(_draws(setting) for setting in comparison.settings):
        return JoinedSplits(comparison, members_by_name, comparison.seeds)
    first = next(iter(members_by_name.values()))
    view = replace(
        comparison,
        settings=settings,
        seeds=tuple(pair for pair, _, _ in _pairs(comparison.seeds, first)),
        tuned={
            (name, arm.name): _tuned([comparison.tuned.get((member.name, arm.name), {}) for member in members])
            for name, members in members_by_name.items()
            for arm in comparison.arms
        },
    )
    return JoinedSplits(view, members_by_name, comparison.seeds)


def _draws(setting: Setting) -> dict[str, Any]:
    """The values of the setting that draw its test samples, by field path."""
    return {path: setting.place[path] for path in SPLIT_DRAWS if path in setting.place}


def _pairs(seeds: Sequence[int], members: Sequence[Setting]) -> Iterator[tuple[int, int, Setting]]:
    """Each seed on each split: the pair, the seed, and the setting of the split."""
    for i, seed in enumerate(seeds):
        for k, member in enumerate(members):
            parts = [f"{path.removeprefix('dataset.')}{value}" for path, value in _draws(member).items()]
            yield DrawnSeed(i * len(members) + k, seed, "/".join(parts)) if parts else seed, seed, member


def _joined_setting(first: Setting) -> Setting:
    """The setting without the axes of the split; its configuration is that of the first split."""
    drawn = {f"{short_name(path)} = {short_value(value)}" for path, value in _draws(first).items()}
    name = ", ".join(part for part in first.name.split(", ") if part not in drawn)
    place = {axis: value for axis, value in first.place.items() if axis not in SPLIT_DRAWS}
    return Setting(name, first.config, place)


def _tuned(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The tuned values of one arm over the splits; those that differ are listed as text."""
    found: dict[str, Any] = {}
    for path in dict.fromkeys(path for own in values for path in own):
        every = list(dict.fromkeys(own.get(path) for own in values))
        found[path] = every[0] if len(every) == 1 else ", ".join(map(short_value, every))
    return found
