"""The axes along which a comparison's settings differ: numeric ones, such as T, those of a map, and all others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tune.comparison.conclusions import Conclusion
from tune.comparison.designs.design import POINT, PRESET
from tune.comparison.setting_analysis import SettingResult


def number_axes(conclusion: Conclusion) -> list[str]:
    """The axes that have a numeric value in every setting, and more than one value."""
    settings = conclusion.comparison.settings
    found = []
    for axis in settings[0].place:
        values = {setting.place[axis] for setting in settings if axis in setting.place}
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        if len(values) > 1 and numbers and all(axis in setting.place for setting in settings):
            found.append(axis)
    return found


def map_axes(conclusion: Conclusion) -> list[str]:
    """The two axes of maps: the numeric ones, or else the only two fields in which the settings differ; [] if none.

    Fields need not be numeric: `neuron.temporal_window` may have no limit, and `neuron.truncation` has names.
    """
    numbers = number_axes(conclusion)
    if len(numbers) > 1:
        return numbers if len(numbers) == 2 else []
    settings = conclusion.comparison.settings
    # Data sets have panels of their own: their accuracies share no scale.
    fields = [axis for axis in settings[0].place if axis not in (PRESET, POINT, "dataset.name")]
    varying = [axis for axis in fields if len({setting.place.get(axis) for setting in settings}) > 1]
    return varying if len(varying) == 2 and all(axis in s.place for s in settings for axis in varying) else []


def in_order(values: Iterable[Any]) -> list[Any]:
    """Each value once: numbers ascending, with None, no limit, after them; names as they were given."""
    once = list(dict.fromkeys(values))
    numbers = [value for value in once if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) + once.count(None) < len(once):
        return once
    return sorted(numbers) + [None] * once.count(None)


def by_other_axes(conclusion: Conclusion, axes: Sequence[str]) -> dict[str, list[SettingResult]]:
    """The settings grouped by their values on all other axes, with the group's name."""
    groups: dict[str, list[SettingResult]] = {}
    for result in conclusion.results:
        others = {axis: value for axis, value in result.setting.place.items() if axis not in axes}
        varies = [axis for axis in others if len({v.setting.place.get(axis) for v in conclusion.results}) > 1]
        groups.setdefault(", ".join(str(others[axis]) for axis in varies), []).append(result)
    return groups
