"""Accuracy on test samples that are not independent: gestures of one person, windows of one recording."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tune.stats.bootstrap import sum_by_cluster


def effective_samples(right: ArrayLike, clusters: ArrayLike) -> float | None:
    """Effective sample size of the accuracy: the number of samples divided by the design effect (Kish 1965).

    The design effect is the variance of the accuracy with groups divided by that of the same number of independent
    samples. An estimate from few groups is rough, and may exceed the number of samples. None with fewer than two
    groups, or if the samples or the groups do not differ at all.

    Args:
        right: Whether a run classified each sample correctly, bool (samples,); or the same for several runs, bool
            (seeds, samples), which are averaged.
        clusters: The group of each sample, int or str (samples,).

    Raises:
        ValueError: If an array has another shape or is empty.
    """
    values = _mean_over_seeds(right)
    error = _standard_error(values, clusters)
    if error is None or error < 1e-12 or np.ptp(values) < 1e-12:
        return None
    return float(values.var(ddof=1)) / error**2


def _mean_over_seeds(right: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(right)
    if found.dtype != np.bool_ or found.ndim not in (1, 2) or not found.size:
        raise ValueError(
            f"right: expected bool (samples,) or (seeds, samples), at least one of each, found {found.dtype} "
            f"{found.shape}. Read it: tune.comparison.sample_predictions.read_correct"
        )
    return np.atleast_2d(found).mean(0)


def _standard_error(values: NDArray[np.float64], clusters: ArrayLike) -> float | None:
    """Standard error of the mean of values (samples,), by groups; None with fewer than two groups."""
    totals, sizes = sum_by_cluster(values[None], clusters)
    n = len(sizes)
    if n < 2:
        return None
    residuals = totals[0] - values.mean() * sizes
    return float(np.sqrt(n / (n - 1) * (residuals**2).sum()) / sizes.sum())
