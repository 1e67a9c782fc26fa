"""The interval of a mean over splits of one data set, whose training samples overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tune.stats.summary import LEVEL, summarise


def resampled_interval(
    values: Sequence[float], test_per_train: float, level: float = LEVEL
) -> tuple[float, float] | None:
    """Confidence interval of the mean over splits, with coverage of about 1 - level.

    mean ± t(1 - level / 2; J - 1) * std * sqrt(1 / J + test_per_train) for J splits: the corrected resampled t-test of
    Nadeau and Bengio (Machine Learning 52, 2003). Without the second term the interval would shrink to nothing with the
    number of splits, although all of them share one data set.

    Args:
        values: The value on each split, already averaged over seeds.
        test_per_train: Test samples divided by training samples.
        level: 1 minus the coverage.

    Returns:
        The ends; None for a single value and for equal values.
    """
    summary = summarise(values)
    if summary is None or not summary.std:
        return None
    # The quantile of t; scipy.stats has it too, but takes a second to load.
    from scipy.special import stdtrit

    half = float(stdtrit(summary.n - 1, 1 - level / 2)) * summary.std * float(np.sqrt(1 / summary.n + test_per_train))
    return summary.mean - half, summary.mean + half
