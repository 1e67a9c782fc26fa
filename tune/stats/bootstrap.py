"""Bootstrap over seeds and test samples: the uncertainty of an accuracy, or of the difference of two.

A comparison has two sources of randomness: the seeds, which give different networks, and the selection of the test
samples. All runs of a comparison are evaluated on the same test samples, so the two factors are crossed, and each is
resampled independently of the other (Owen, Annals of Applied Statistics 1, 2007: the pigeonhole bootstrap).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The number of resamples of every interval.
REPEATS = 10_000

# The largest number of draws in memory at a time, 8 bytes each.
_MOST_DRAWS = 1 << 18


@dataclass(frozen=True)
class Bootstrap:
    """The uncertainty of a mean over seeds and test samples, in fractions.

    Attributes:
        estimate: The value for the original data: an accuracy, or accuracy A minus accuracy B.
        interval: Percentile interval; too narrow with fewer than six seeds.
        t_interval: Interval from the standard error by Student's t, which is also valid for few seeds. None if the
            standard error is None, or if nothing varies.
        std: Standard deviation of the resampled values. It counts the seed-sample interaction three times, and
            contains (n - 1) / n of the variance of n seeds.
        standard_error: The standard error without these biases, from the components of variance; None with a single
            seed, sample or group. If `std` is much larger, `interval` is too wide; if it is smaller, too narrow.
        seed_share: Share of its square that is due to seeds, and that more seeds would reduce; None if the standard
            error is None, or if nothing varies.
        sample_share: Share that is due to test samples (or groups); None as above. The remainder is the interaction of
            seeds and samples, which more of either would reduce.
    """

    estimate: float
    interval: tuple[float, float]
    t_interval: tuple[float, float] | None
    std: float
    standard_error: float | None
    seed_share: float | None
    sample_share: float | None


def paired_bootstrap(
    right_a: ArrayLike,
    right_b: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.05,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Bootstrap:
    """Estimate the uncertainty of accuracy A minus accuracy B, with the same resampled seeds and samples for both.

    Args:
        right_a: Whether each run of A classified each sample correctly, bool (seeds, samples).
        right_b: The same for B; row i has the seed of A's row i, and the samples are in the same order.
        clusters: The group of each sample, int or str (samples,): whole groups (subjects, images, recordings) are
            resampled instead of samples. None if samples are independent.
        level: The nominal coverage of the intervals is 1 - level.
        repeats: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: If an array has another shape or is empty, or a number is out of range.
    """
    a, b = _checked("right_a", right_a), _checked("right_b", right_b)
    if a.shape != b.shape:
        raise ValueError(
            f"right_b: expected the shape of right_a, {a.shape}, found {b.shape}. Leave out seeds that only one has."
        )
    return _bootstrap(a.astype(np.int64) - b, clusters, level, repeats, seed)


def bootstrap_accuracy(
    right: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.05,
    repeats: int = REPEATS,
    seed: int = 0,
) -> Bootstrap:
    """Estimate the uncertainty of one neuron's accuracy; arguments and errors as for `paired_bootstrap`."""
    return _bootstrap(_checked("right", right).astype(np.int64), clusters, level, repeats, seed)


def _checked(name: str, right: ArrayLike) -> NDArray[np.bool_]:
    found = np.asarray(right)
    if found.dtype != np.bool_ or found.ndim != 2 or not found.size:
        raise ValueError(
            f"{name}: expected bool (seeds, samples), at least one of each, found {found.dtype} {found.shape}. "
            "Read it: tune.comparison.sample_predictions.read_correct"
        )
    return found


def sum_by_cluster(values: NDArray[Any], clusters: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of the values over each cluster, float64 (seeds, clusters), and the cluster sizes, (clusters,).

    Args:
        values: (seeds, samples).
        clusters: The group of each sample, int or str (samples,); None if every sample is its own group.

    Raises:
        ValueError: If there is not one group for each sample.
    """
    samples = values.shape[1]
    if clusters is None:
        return values.astype(np.float64), np.ones(samples)
    groups = np.asarray(clusters)
    if groups.shape != (samples,):
        raise ValueError(
            f"clusters: expected a group for each of the {samples} samples, found shape {groups.shape}. "
            "Read them: tune.comparison.sample_predictions.read_groups"
        )
    names, of_sample = np.unique(groups, return_inverse=True)
    totals = np.array([np.bincount(of_sample, row, len(names)) for row in values], np.float64)
    return totals, np.bincount(of_sample, minlength=len(names)).astype(np.float64)


def _bootstrap(
    values: NDArray[np.int64], clusters: ArrayLike | None, level: float, repeats: int, seed: int
) -> Bootstrap:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level}. 0.05 gives 95 % intervals.")
    if repeats < 1:
        raise ValueError(f"repeats: expected at least 1, found {repeats}. 10,000 are enough for two digits.")
    totals, sizes = sum_by_cluster(values, clusters)
    estimate = float(totals.sum() / (len(totals) * sizes.sum()))
    drawn = _resample(totals, sizes, repeats, seed)
    low, high = np.quantile(drawn, [level / 2, 1 - level / 2])
    parts = _components(totals, sizes)
    return Bootstrap(
        estimate,
        (float(low), float(high)),
        _t_interval(estimate, totals, sizes, level),
        float(drawn.std()),
        None if parts is None else sum(parts) ** 0.5,
        *_shares(parts),
    )


def _resample(totals: NDArray[np.float64], sizes: NDArray[np.float64], repeats: int, seed: int) -> NDArray[np.float64]:
    """The mean of each resample of seeds and clusters, both drawn with replacement, (repeats,).

    A mean is a ratio: the sum of the drawn values divided by their number, which varies if clusters differ in size.
    """
    seeds, clusters = totals.shape
    # Separate generators, so that neither depends on how the repeats are divided into chunks.
    for_seeds, for_clusters = np.random.default_rng(seed).spawn(2)
    # Integers far below 2^24, so float32 is exact. No matrix product, because its threads would wait for each other.
    whole = totals.astype(np.float32)
    chunk = max(1, _MOST_DRAWS // clusters)
    drawn = np.empty(repeats)
    for start in range(0, repeats, chunk):
        rows = min(chunk, repeats - start)
        of_seeds = for_seeds.multinomial(seeds, np.full(seeds, 1 / seeds), rows).astype(np.float32)
        picked = for_clusters.integers(clusters, size=(rows, clusters))
        # Row by row, so that the source row stays in the processor's cache.
        weighted = zip(np.einsum("rs,sc->rc", of_seeds, whole), picked, strict=True)
        sums = np.array([row.take(places).sum(dtype=np.float64) for row, places in weighted])
        counts = sizes.take(picked).sum(1) if np.ptp(sizes) else sizes.sum()
        drawn[start : start + rows] = sums / (seeds * counts)
    return drawn


def _t_interval(
    estimate: float, totals: NDArray[np.float64], sizes: NDArray[np.float64], level: float
) -> tuple[float, float] | None:
    """The estimate ± t * standard error, with Satterthwaite's degrees of freedom.

    Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
    """
    squares, parts = _mean_squares(totals, sizes), _components(totals, sizes)
    if squares is None or parts is None or sum(parts) < 1e-24:
        return None
    # The quantile of t; scipy.stats has it too, but takes a second to load.
    from scipy.special import stdtrit

    seeds, clusters = totals.shape
    degrees = seeds - 1, clusters - 1, (seeds - 1) * (clusters - 1)
    # The mean square of a component that was truncated at 0 does not contribute.
    held = (squares[0] * (parts[0] > 0), squares[1] * (parts[1] > 0), squares[2])
    freedom = sum(parts) ** 2 / sum(square**2 / degree for square, degree in zip(held, degrees, strict=True))
    half = float(stdtrit(max(1.0, freedom), 1 - level / 2)) * sum(parts) ** 0.5
    return estimate - half, estimate + half


def _components(totals: NDArray[np.float64], sizes: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """The variance of the estimate due to seeds, clusters and their interaction; None with one seed or cluster.

    Components of variance of the two-way layout without replication (Searle, Casella and McCulloch 1992, chapter 4),
    truncated at 0.
    """
    squares = _mean_squares(totals, sizes)
    if squares is None:
        return None
    of_seeds, of_clusters, left = squares
    return max(0.0, of_seeds - left), max(0.0, of_clusters - left), left


def _mean_squares(totals: NDArray[np.float64], sizes: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Mean squares of seeds, clusters and residuals, each over the number of values; None with one seed or cluster.

    They are computed from deviations from the mean; for clusters of unequal sizes, from the linearised ratio.
    """
    seeds, clusters = totals.shape
    if min(seeds, clusters) < 2:
        return None
    z = (totals - totals.sum() / (seeds * sizes.sum()) * sizes) / sizes.mean()
    of_seed, of_cluster = z.mean(1), z.mean(0)
    rest = z - of_seed[:, None] - of_cluster + z.mean()
    left = float((rest**2).sum()) / ((seeds - 1) * (clusters - 1) * seeds * clusters)
    return float(of_seed.var(ddof=1)) / seeds, float(of_cluster.var(ddof=1)) / clusters, left


def _shares(parts: tuple[float, float, float] | None) -> tuple[float | None, float | None]:
    """The shares of seeds and of clusters; None if the values vary only by rounding."""
    if parts is None or sum(parts) < 1e-24:
        return None, None
    return parts[0] / sum(parts), parts[1] / sum(parts)
