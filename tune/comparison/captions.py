"""What numbers of several settings were measured on, in the words of a caption."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tune.comparison.setting_analysis import Verdict

_STEPS = "T = "


def measured_on(verdicts: Sequence[Verdict]) -> str:
    """Data sets, splits and T, each once: ``n-mnist, emulated-digits, official split, T = 4, 8``."""
    splits = _once(verdict.config.dataset.split_title for verdict in verdicts)
    steps = _once(verdict.config.binning.steps_title for verdict in verdicts)
    if all(title.startswith(_STEPS) for title in steps):
        steps = [_STEPS + ", ".join(title.removeprefix(_STEPS) for title in steps)]
    datasets = _once(verdict.dataset for verdict in verdicts)
    return ", ".join((*datasets, f"{' and '.join(splits)} split{'s' if len(splits) > 1 else ''}", *steps))


def about_figure(verdicts: Sequence[Verdict]) -> str:
    """The same for a figure that stands alone, its setting's name where it is of one, and whether data are emulated."""
    emulated = [verdict.emulated for verdict in verdicts]
    told = "; emulated data" if all(emulated) else "; some of the data are emulated" if any(emulated) else ""
    names = [verdict.setting.name for verdict in verdicts]
    where = f"{names[0]}: " if len(names) == 1 and names[0] else ""
    return f"{where}{measured_on(verdicts)}{told}"


def titled(words: str, verdicts: Sequence[Verdict]) -> str:
    """The title of a table: what it shows, of which data, and first of all whether any of them are emulated."""
    emulated = any(verdict.emulated for verdict in verdicts)
    return f"{'Emulated data: ' if emulated else ''}{words}: {measured_on(verdicts)}"


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
