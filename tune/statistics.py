"""What a handful of paired runs says: mean, spread, interval, effect, how often chance alone would say as much, and
how small a difference so many runs can show."""

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
    std = None
    if len(values) > 1:
        # The mean of equal values is rounded, and their distance from it would show.
        std = float(np.std(values, ddof=1)) if min(values) < max(values) else 0.0
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


def pairs_needed(level: float = LEVEL, comparisons: int = 1) -> int:
    """The fewest pairs with which a sign-flip test can fall to the level or below: 6 for 0.05, 8 for 5 comparisons.

    With several comparisons it is the first step of Holm's: the smallest p times their number.
    """
    _check_design(level, comparisons)
    pairs = 1
    while smallest_p(pairs) * comparisons > level:
        pairs += 1
    return pairs


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p adjusted for there being several, so that all are compared with one level (Holm 1979).

    The k-th smallest of m becomes min(1, (m - k + 1) p), or what the one before became, if that is more. The chance
    that any true null hypothesis falls to the level is at most the level, however the tests depend on each other.

    Args:
        p_values: One a comparison; None where there was no test, which stays None and does not count.

    Raises:
        ValueError: If a p is not within 0 and 1.
    """
    known = [(p, place) for place, p in enumerate(p_values) if p is not None]
    for p, place in known:
        if not 0 <= p <= 1:
            raise ValueError(f"p_values: expected numbers from 0 to 1, found {p} at place {place}. Give None for none.")
    adjusted: list[float | None] = [None] * len(p_values)
    before = 0.0
    for k, (p, place) in enumerate(sorted(known)):
        before = max(before, min(1.0, (len(known) - k) * p))
        adjusted[place] = before
    return adjusted


def effect_size(differences: Sequence[float]) -> float | None:
    """How many of their own standard deviations paired differences lie from 0: d_z with Hedges' correction.

    mean / std * J, J = gamma(df / 2) / (sqrt(df / 2) gamma((df - 1) / 2)), df = n - 1 (Cohen 1988, chapter 2;
    Hedges 1981). None of fewer than three, for which J is 0, and where the differences do not vary.
    """
    from scipy.special import gammaln

    if len(differences) < 3:
        return None
    mean, std = float(np.mean(differences)), float(np.std(differences, ddof=1))
    # What rounding leaves of no spread is none.
    if std <= 1e-9 * abs(mean) or std == 0:
        return None
    half = (len(differences) - 1) / 2
    return mean / std * float(np.exp(gammaln(half) - gammaln(half - 0.5))) / half**0.5


def detectable_difference(
    std: float, pairs: int, level: float = LEVEL, power: float = 0.8, comparisons: int = 1
) -> float | None:
    """The smallest true mean difference that a paired t-test finds with this power; None of fewer than two pairs.

    The difference d where a noncentral t with pairs - 1 degrees of freedom and noncentrality d sqrt(pairs) / std lies
    beyond the two-sided bound of level / comparisons, the first step of Holm's, with probability `power` (Cohen 1988,
    chapter 2). It takes the differences for independent and about normal. A sign-flip test needs a little more, and
    with fewer than `pairs_needed` finds nothing.

    Args:
        std: Standard deviation of the paired differences, in the unit of the answer.
        pairs: How many differences there will be.
        level: Of all comparisons together.
        power: Probability of finding it, between level and 1.
        comparisons: How many tests share the level.

    Raises:
        ValueError: If a number is out of range.
    """
    _check_design(level, comparisons)
    if not level < power < 1:
        raise ValueError(f"power: expected a number between {level} (the level) and 1, found {power}. 0.8 is usual.")
    if not (std >= 0 and np.isfinite(std)):
        raise ValueError(f"std: expected a standard deviation, 0 or more, found {std}. Take that of earlier pairs.")
    if pairs < 2:
        return None
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    df = pairs - 1
    bound = float(t.isf(level / comparisons / 2, df))

    def lacking(shift: float) -> float:
        # The far side is nearly nothing, and SciPy 1.17 has no number for some of it (scipy issue 25470).
        return power - float(nct.sf(bound, df, shift) + np.nan_to_num(nct.cdf(-bound, df, shift)))

    most = 1.0
    while lacking(most) > 0:
        most *= 2
    return float(brentq(lacking, 0.0, most, xtol=1e-10)) * std / pairs**0.5


def _check_design(level: float, comparisons: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level}. 0.05 is usual.")
    if comparisons < 1:
        raise ValueError(f"comparisons: expected at least 1, found {comparisons}. Count the neurons but the first.")
