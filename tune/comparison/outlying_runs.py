"""Sentences on single runs far from those of the other seeds: a mean over few seeds is then about one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from tune.comparison.setting_analysis import SettingResult

DISTANCE, RANGES = 0.1, 3
"""A run is named if its accuracy differs from the median of the arm's others by this and by three times their range."""
_FEWEST = 3
_CAUSE = " To see whether batch norm's running average is the cause: spikeloom analyse RUN_DIR batch-norm"


def outlying_sentences(results: Sequence[SettingResult]) -> Iterator[str]:
    """A sentence for each such run of an arm with at least three."""
    for result in results:
        where = f"{result.setting.name}: " if result.setting.name else ""
        for figures in result.arms.values():
            for seed, accuracy in figures.accuracy.items():
                others = [value for other, value in figures.accuracy.items() if other != seed]
                if len(others) + 1 < _FEWEST:
                    continue
                if abs(accuracy - median(others)) >= max(DISTANCE, RANGES * (max(others) - min(others))):
                    yield (
                        f"{where}{figures.arm.label} reached {100 * accuracy:.1f} % with seed {seed}, and "
                        f"{_range(others)} with the others: its mean, and every difference from it, are about this run."
                        f"{_CAUSE if accuracy < median(others) else ''}"
                    )


def _range(values: Sequence[float]) -> str:
    low, high = f"{100 * min(values):.1f}", f"{100 * max(values):.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"
