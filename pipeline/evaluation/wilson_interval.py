"""Confidence interval of an accuracy."""

from __future__ import annotations

import math
from statistics import NormalDist


def accuracy_interval(correct: int, samples: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a proportion (Wilson, 1927), as fractions.

    It covers the sampling of test samples, but not the variance across seeds. It is always within [0, 1] and
    asymmetric near 0 and 1.
    """
    # Not scipy.stats.binomtest, which gives the same: scipy.stats takes every training process a second to load.
    z = NormalDist().inv_cdf(0.975)
    centre, total = correct + z**2 / 2, samples + z**2
    half = z * math.sqrt(correct * (samples - correct) / samples + z**2 / 4)
    return max(0.0, (centre - half) / total), min(1.0, (centre + half) / total)
