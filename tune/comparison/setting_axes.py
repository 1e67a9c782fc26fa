"""The axes along which a comparison's settings differ: numeric ones, such as T, and all others."""

from __future__ import annotations

from collections.abc import Sequence

from tune.comparison.conclusions import Conclusion
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


def by_other_axes(conclusion: Conclusion, axes: Sequence[str]) -> dict[str, list[SettingResult]]:
    """The settings grouped by their values on all other axes, with the group's name."""
    groups: dict[str, list[SettingResult]] = {}
    for result in conclusion.results:
        others = {axis: value for axis, value in result.setting.place.items() if axis not in axes}
        varies = [axis for axis in others if len({v.setting.place.get(axis) for v in conclusion.results}) > 1]
        groups.setdefault(", ".join(str(others[axis]) for axis in varies), []).append(result)
    return groups
