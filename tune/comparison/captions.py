"""Captions: the data sets, splits and T that numbers were measured on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tune.comparison.setting_analysis import SettingResult

_STEPS = "T = "


def measured_on(results: Sequence[SettingResult]) -> str:
    """Data sets, splits and T, each once: ``n-mnist, emulated-digits, official split, T = 4, 8``."""
    splits = _once(result.split_title for result in results)
    steps = _once(result.config.binning.steps_title for result in results)
    if all(title.startswith(_STEPS) for title in steps):
        steps = [_STEPS + ", ".join(title.removeprefix(_STEPS) for title in steps)]
    datasets = _once(result.dataset for result in results)
    return ", ".join((*datasets, f"{' and '.join(splits)} split{'s' if len(splits) > 1 else ''}", *steps))


def about_figure(results: Sequence[SettingResult]) -> str:
    """The same for a figure that stands alone, with the name of a single setting, and whether the data are emulated."""
    emulated = [result.emulated for result in results]
    suffix = "; emulated data" if all(emulated) else "; some of the data are emulated" if any(emulated) else ""
    names = [result.setting.name for result in results]
    where = f"{names[0]}: " if len(names) == 1 and names[0] else ""
    return f"{where}{measured_on(results)}{suffix}"


def data_title(subject: str, results: Sequence[SettingResult]) -> str:
    """The title of a table: whether any data are emulated, what it shows, and the data that it was measured on."""
    emulated = any(result.emulated for result in results)
    return f"{'Emulated data: ' if emulated else ''}{subject}: {measured_on(results)}"


def _once(titles: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(titles))
