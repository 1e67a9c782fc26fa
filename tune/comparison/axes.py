"""Along what a comparison's settings differ: axes of numbers, such as T, and whatever else tells settings apart."""

from __future__ import annotations

from collections.abc import Sequence

from tune.comparison.conclusions import Conclusion
from tune.comparison.setting_analysis import Verdict


def number_axes(conclusion: Conclusion) -> list[str]:
    """The axes whose values are numbers in every setting, and more than one."""
    settings = conclusion.comparison.settings
    found = []
    for axis in settings[0].place:
        values = {setting.place[axis] for setting in settings if axis in setting.place}
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        if len(values) > 1 and numbers and all(axis in setting.place for setting in settings):
            found.append(axis)
    return found


def by_other_axes(conclusion: Conclusion, axes: Sequence[str]) -> dict[str, list[Verdict]]:
    """The settings that differ in these axes alone together, by the words of their other places."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in conclusion.verdicts:
        others = {axis: value for axis, value in verdict.setting.place.items() if axis not in axes}
        varies = [axis for axis in others if len({v.setting.place.get(axis) for v in conclusion.verdicts}) > 1]
        groups.setdefault(", ".join(str(others[axis]) for axis in varies), []).append(verdict)
    return groups
