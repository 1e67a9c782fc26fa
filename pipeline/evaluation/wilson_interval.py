"""How far a measured accuracy may lie from the true one."""

from __future__ import annotations


def accuracy_interval(correct: int, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share of samples (Wilson, 1927), as fractions.

    It covers the choice of test samples alone, not the choice of a seed. Near 0 and 1 it is not symmetric, and it
    never leaves [0, 1].
    """
    # SciPy's statistics take a second to load.
    from scipy.stats import binomtest

    interval = binomtest(correct, samples).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
