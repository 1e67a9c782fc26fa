"""The sign-flip test of paired differences: p-value, required number of pairs, and detectable difference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tune.stats.summary import LEVEL

# Up to this number of sign patterns (14 pairs), all are enumerated; beyond, this number is drawn at random.
_PATTERNS = 1 << 14
# Simulations of a design to estimate its power: quantiles are accurate to about 0.01 standard deviations.
_DESIGNS = 4000
# The largest number of draws in memory at a time, 8 bytes each.
_MOST_HELD = 1 << 22


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of the sign-flip permutation test of paired differences; None if there are no differences.

    Under the null hypothesis, each difference is equally likely to have the opposite sign: p is the share of all 2^n
    sign patterns whose mean is at least as extreme as the observed one (Fisher 1935, section 21). It is exact up to 14
    pairs; beyond, 2^14 patterns are drawn with a fixed seed.

    Accuracies are counts divided by the number of samples, so that many patterns are equally extreme. As fractions
    they differ by rounding, and SciPy's permutation test (1.17) misses some of these ties; here they are included.
    """
    if not differences:
        return None
    values = np.asarray(differences, np.float64)
    signs = 1 - 2 * _flips(len(values)).astype(np.float64)
    sums = np.abs(signs @ values)
    far = sums >= abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if len(values) < _PATTERNS.bit_length():
        return float(far.mean())
    # The observed pattern counts as one of them (Phipson and Smyth 2010).
    return float((far.sum() + 1) / (len(far) + 1))


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p that a sign-flip test with this number of pairs can give: 2 of the 2^n patterns."""
    return min(1.0, 2.0 ** (1 - pairs))


def pairs_needed(level: float = LEVEL, comparisons: int = 1) -> int:
    """The smallest number of pairs with which a sign-flip test can reach the level: 6 for 0.05, 8 for 5 comparisons.

    Several comparisons require the first step of Holm's correction: the smallest p times their number.
    """
    _check_design(level, comparisons)
    pairs = 1
    while smallest_p(pairs) * comparisons > level:
        pairs += 1
    return pairs


def detectable_difference(
    std: float, pairs: int, level: float = LEVEL, power: float = 0.8, comparisons: int = 1
) -> float | None:
    """The smallest true mean difference that the sign-flip test detects with this power; None if it can detect none.

    The test has to reach level / comparisons, the first step of Holm's correction. Differences are assumed to be
    independent and normal; the variance over test samples is not included.

    Args:
        std: Standard deviation of the paired differences, in the unit of the result.
        pairs: Number of differences; with fewer than `pairs_needed`, no difference can be detected.
        level: Significance level of all comparisons together.
        power: Probability of detecting the difference, between level and 1.
        comparisons: Number of tests that share the level.

    Raises:
        ValueError: If a number is out of range.
    """
    _check_design(level, comparisons)
    if not level < power < 1:
        raise ValueError(f"power: expected a number between {level} (the level) and 1, found {power}. 0.8 is usual.")
    if not (std >= 0 and np.isfinite(std)):
        raise ValueError(f"std: expected a standard deviation, 0 or more, found {std}. Use that of earlier pairs.")
    if smallest_p(pairs) * comparisons > level:
        return None
    return std * float(np.quantile(_found_from(pairs, level / comparisons), power))


@lru_cache(maxsize=64)
def _found_from(pairs: int, level: float) -> NDArray[np.float64]:
    """The true mean from which on the test reaches the level, in each simulation of a design; standard deviation 1.

    For differences z + d with z standard normal, a pattern that flips the pairs A, and its complement, are at least as
    extreme as the observed one if the mean of z over A is at most -d. So p <= level if the number of such A is small
    enough.
    """
    rng = np.random.default_rng(pairs)
    flips = _flips(pairs)
    flips = flips[flips.any(1)]
    mean_over = (flips / flips.sum(1, keepdims=True)).T
    # Without the pattern that flips nothing, which always counts.
    may = int(np.floor(level * (len(flips) + 1) / 2 + 1e-9)) - 1
    rows = max(1, _MOST_HELD // len(flips))
    found = []
    for start in range(0, _DESIGNS, rows):
        means = rng.standard_normal((min(rows, _DESIGNS - start), pairs)) @ mean_over
        found.append(-np.partition(means, may, axis=1)[:, may])
    return np.concatenate(found)


@lru_cache(maxsize=8)
def _flips(pairs: int) -> NDArray[np.bool_]:
    """Which pairs each pattern flips, bool (patterns, pairs): all patterns, or a random sample of them."""
    if pairs < _PATTERNS.bit_length():
        return (np.arange(1 << pairs)[:, None] >> np.arange(pairs) & 1).astype(np.bool_)
    return np.random.default_rng(0).integers(0, 2, (_PATTERNS, pairs), dtype=np.bool_, endpoint=False)


def _check_design(level: float, comparisons: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level}. 0.05 is usual.")
    if comparisons < 1:
        raise ValueError(f"comparisons: expected at least 1, found {comparisons}. Count all neurons but the first.")
