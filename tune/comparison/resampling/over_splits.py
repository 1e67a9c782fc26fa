"""The interval of an accuracy or a difference over splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tune.rendering.labels import DrawnSeed
from tune.stats.resampled_interval import resampled_interval

# Splits whose ratios differ by a larger factor are very unequal.
_MOST_UNEQUAL = 2


def test_per_train(results: Sequence[Mapping[str, Any]]) -> float | None:
    """Test samples divided by training samples, the mean over the runs; None without results."""
    found = _ratios(results)
    return float(np.mean(found)) if found else None


def unequal_shares(results: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """The smallest and largest test samples divided by training samples, if they differ by more than a factor of 2.

    The correction of Nadeau and Bengio is derived for one ratio.
    """
    found = _ratios(results)
    ends = min(found, default=0.0), max(found, default=0.0)
    return ends if ends[1] > _MOST_UNEQUAL * ends[0] else None


def _ratios(results: Sequence[Mapping[str, Any]]) -> list[float]:
    return [result["test_samples"] / result["train_samples"] for result in results if result.get("train_samples")]


def interval_over_splits(by_pair: Mapping[int, float], ratio: float | None) -> tuple[float, float] | None:
    """Interval of the mean over splits; each split counts with its mean over seeds.

    Args:
        by_pair: The value by pair of seed and split.
        ratio: Test samples divided by training samples; None if unknown.
    """
    by_split: dict[str, list[float]] = {}
    for pair, value in by_pair.items():
        if isinstance(pair, DrawnSeed):
            by_split.setdefault(pair.split, []).append(value)
    return None if ratio is None else resampled_interval([float(np.mean(part)) for part in by_split.values()], ratio)
