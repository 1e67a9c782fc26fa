"""Resampling of seeds and test samples together: how far an accuracy, or the difference of two, might lie elsewhere.

Both are chance in a comparison: another seed trains another network, and another draw of test samples asks other
questions. Every run of a comparison answers the same test samples, so that the two are crossed, and each is drawn
anew independently of the other (Owen, Annals of Applied Statistics 1, 2007: the pigeonhole bootstrap).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Draws held at once, 8 bytes each.
_MOST_DRAWS = 1 << 18


@dataclass(frozen=True)
class Bootstrap:
    """What resampling says of a mean over seeds and test samples; fractions.

    Attributes:
        estimate: Of the data as they are: an accuracy, or accuracy A minus accuracy B.
        interval: Percentile interval. Of fewer than six seeds it is too narrow.
        t_interval: Of the standard error, by Student's t: right for few seeds, too. None as the standard error, and
            where nothing varies.
        std: Standard deviation of the resampled values. It counts the noise of a seed with a sample three times, and of
            n seeds takes (n - 1) / n of their variance.
        standard_error: The same without these faults, from the components of variance; None of one seed, and of one
            sample or group. Where `std` is much larger the intervals are too wide, where it is smaller too narrow.
        seed_share: Share of its square that more seeds would take away; None as above, and where nothing varies.
        sample_share: The share that more test samples (or groups) would take away; None as above. What is left of 1
            is how seeds and samples go together, which more of either would take away.
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
    repeats: int = 10_000,
    seed: int = 0,
) -> Bootstrap:
    """How far accuracy A minus accuracy B might lie elsewhere, by resampling seeds and test samples, the same for both.

    Args:
        right_a: Whether a run of A took a sample for what it is, bool (seeds, samples).
        right_b: The same of B; row i has the seed of A's row i, and the samples stand in the same order.
        clusters: The group of each sample, int or str (samples,): whole groups are drawn (subjects, images,
            recordings) instead of samples. None where samples are independent.
        level: 1 - level is the probability that the intervals aim at.
        repeats: Number of resamples.
        seed: Of the resampling.

    Raises:
        ValueError: If the arrays are not of these shapes, or empty, or a number is out of range.
    """
    a, b = _checked("right_a", right_a), _checked("right_b", right_b)
    if a.shape != b.shape:
        raise ValueError(
            f"right_b: expected (seeds, samples) as right_a, {a.shape}, found {b.shape}. Leave out what only one has."
        )
    return _bootstrap(a.astype(np.int64) - b, clusters, level, repeats, seed)


def bootstrap_accuracy(
    right: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.05,
    repeats: int = 10_000,
    seed: int = 0,
) -> Bootstrap:
    """How far one neuron's accuracy might lie elsewhere; arguments and errors as of `paired_bootstrap`."""
    return _bootstrap(_checked("right", right).astype(np.int64), clusters, level, repeats, seed)


def _checked(name: str, right: ArrayLike) -> NDArray[np.bool_]:
    found = np.asarray(right)
    if found.dtype != np.bool_ or found.ndim != 2 or not found.size:
        raise ValueError(
            f"{name}: expected bool (seeds, samples), at least one of each, found {found.dtype} {found.shape}. "
            "Read it: tune.comparison.predictions.read_correct"
        )
    return found


def sum_by_cluster(values: NDArray[Any], clusters: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of the values over each cluster, float64 (seeds, clusters), and how many samples each has, (clusters,).

    Args:
        values: (seeds, samples).
        clusters: The group of each sample, int or str (samples,); None where every sample is its own.

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
            "Read them: tune.comparison.predictions.read_groups"
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
    """The mean in each resample of seeds and clusters, both drawn with replacement as often as there are; (repeats,).

    A mean is a ratio: the sum of the drawn values over their number, which varies where clusters differ in size.
    """
    seeds, clusters = totals.shape
    # Apart, so that neither depends on how the repeats are cut into chunks.
    for_seeds, for_clusters = np.random.default_rng(seed).spawn(2)
    # Whole numbers far below 2^24, so that float32 is exact; and no matrix product, whose threads wait for each other.
    whole = totals.astype(np.float32)
    chunk = max(1, _MOST_DRAWS // clusters)
    drawn = np.empty(repeats)
    for start in range(0, repeats, chunk):
        rows = min(chunk, repeats - start)
        of_seeds = for_seeds.multinomial(seeds, np.full(seeds, 1 / seeds), rows).astype(np.float32)
        picked = for_clusters.integers(clusters, size=(rows, clusters))
        # Row by row, so that what is picked from stays in the processor's cache.
        weighted = zip(np.einsum("rs,sc->rc", of_seeds, whole), picked, strict=True)
        sums = np.array([row.take(places).sum(dtype=np.float64) for row, places in weighted])
        counts = sizes.take(picked).sum(1) if np.ptp(sizes) else sizes.sum()
        drawn[start : start + rows] = sums / (seeds * counts)
    return drawn


def _t_interval(
    estimate: float, totals: NDArray[np.float64], sizes: NDArray[np.float64], level: float
) -> tuple[float, float] | None:
    """The estimate ± t * standard error, with as many degrees of freedom as the mean squares that it is made of have.

    Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
    """
    squares, parts = _mean_squares(totals, sizes), _components(totals, sizes)
    if squares is None or parts is None or sum(parts) < 1e-24:
        return None
    from scipy.stats import t

    seeds, clusters = totals.shape
    degrees = seeds - 1, clusters - 1, (seeds - 1) * (clusters - 1)
    # A component that was cut off at nothing leaves its mean square to the rest.
    held = (squares[0] * (parts[0] > 0), squares[1] * (parts[1] > 0), squares[2])
    freedom = sum(parts) ** 2 / sum(square**2 / degree for square, degree in zip(held, degrees, strict=True))
    half = float(t.ppf(1 - level / 2, max(1.0, freedom))) * sum(parts) ** 0.5
    return estimate - half, estimate + half


def _components(totals: NDArray[np.float64], sizes: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """The estimate's variance due to seeds, to clusters, and to seeds with clusters; None where there is one of either.

    Components of variance of the two-way layout without repeats (Searle, Casella and McCulloch 1992, chapter 4), none
    below 0.
    """
    squares = _mean_squares(totals, sizes)
    if squares is None:
        return None
    of_seeds, of_clusters, left = squares
    return max(0.0, of_seeds - left), max(0.0, of_clusters - left), left


def _mean_squares(totals: NDArray[np.float64], sizes: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Mean squares over seeds, over clusters and of what is left, each by how many values there are; None of one.

    Of the values' distances from the mean: with clusters of unequal sizes the linearised ones of a ratio.
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
    """Of seeds and of clusters; None where nothing varies but by rounding."""
    if parts is None or sum(parts) < 1e-24:
        return None, None
    return parts[0] / sum(parts), parts[1] / sum(parts)
