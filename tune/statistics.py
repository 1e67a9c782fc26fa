"""What a handful of paired runs says: mean, spread, interval, and how often chance alone would say as much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05

# Up to this many sign patterns (14 seeds) the sign-flip test counts every one; beyond, it draws as many.
_SIGN_PATTERNS = 1 << 14


@dataclass(frozen=True)
class Summary:
    """Of n values: their mean, their sample standard deviation (ddof 1; None of one value), and n."""

    mean: float
    std: float | None
    n: int


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of the values; None of none."""
    if not values:
        return None
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(float(np.mean(values)), std, len(values))


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """The interval that holds the mean of such values with probability 1 - level, by Student's t; None of one value.

    mean ± t(1 - level / 2; n - 1) * std / sqrt(n), which takes the values to be independent and about normal.
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = float(t.ppf(1 - level / 2, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    mean = float(np.mean(values))
    return mean - half, mean + half


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of the sign-flip permutation test of paired differences; None of none.

    If neither side were better, each difference might as well have the other sign: p is the share of all 2^n sign
    patterns whose mean lies at least as far out (Fisher 1935, section 21). Exact up to 14 pairs, beyond from
    2^14 patterns drawn with a fixed seed.
    """
    if not differences:
        return None
    if len(differences) == 1:
        # Both patterns of one pair lie equally far out; SciPy takes no fewer than two.
        return 1.0
    from scipy.stats import permutation_test

    test = permutation_test(
        (np.asarray(differences),),
        lambda values, axis: np.mean(values, axis=axis),
        permutation_type="samples",
        n_resamples=_SIGN_PATTERNS,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p that a sign-flip test of so many pairs can give: 2 of the 2^n patterns."""
    return min(1.0, 2.0 ** (1 - pairs))


def pairs_needed(level: float = LEVEL) -> int:
    """The fewest pairs with which a sign-flip test can fall to the level or below: 6 for 0.05."""
    pairs = 1
    while smallest_p(pairs) > level:
        pairs += 1
    return pairs
