"""Confidence interval of an accuracy."""

from __future__ import annotations


def accuracy_interval(correct: int, samples: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of a proportion (Wilson, 1927), as fractions.

    It covers the sampling of test samples, but not the variance across seeds. It is always within [0, 1] and
    asymmetric near 0 and 1.
    """
    # Imported here, because scipy.stats takes a second to load.
    from scipy.stats import binomtest

    interval = binomtest(correct, samples).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
