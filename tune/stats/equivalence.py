"""Equivalence within a margin: two one-sided t-tests of paired differences, their power, and the pairs they need."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tune.stats.summary import LEVEL, summarise

# Numbers of pairs beyond this are not searched: no comparison trains that many.
MOST_PAIRS = 1000


def equivalence_p(differences: Sequence[float], margin: float, *, least_std: float = 0.0) -> float | None:
    """p-value of the two one-sided t-tests that the mean difference lies between -margin and margin.

    The larger of the p-values of t = (mean + margin) / se against mean <= -margin and t = (mean - margin) / se against
    mean >= margin, with n - 1 degrees of freedom (Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987). It is
    at most the level exactly if the interval of the mean with coverage 1 - 2 level lies within the margin. Assumes
    independent and approximately normal differences.

    Args:
        differences: Paired differences.
        margin: The largest difference that does not matter, in the same unit, more than 0.
        least_std: The standard deviation is taken to be at least this, such as the resolution of an accuracy: a few
            equal values do not imply that others would be.

    Returns:
        None for fewer than two differences, and if they do not vary and `least_std` is 0.

    Raises:
        ValueError: If the margin is not a positive number.
    """
    _check_margin(margin)
    summary = summarise(differences)
    if summary is None or summary.std is None:
        return None
    error = max(summary.std, least_std) / math.sqrt(summary.n)
    if not error:
        return None
    # The distribution of t; scipy.stats has it too, but takes a second to load.
    from scipy.special import stdtr

    return float(stdtr(summary.n - 1, -(margin - abs(summary.mean)) / error))


def equivalence_power(mean: float, std: float, margin: float, pairs: int, level: float = LEVEL) -> float:
    """The probability that the two one-sided tests find equivalence.

    P(T1 >= t and T2 <= -t) of two noncentral t variables, bounded by P(T1 >= t) + P(T2 <= -t) - 1, which is exact up to
    the probability that neither test rejects.

    Args:
        mean: The true mean difference.
        std: The true standard deviation of the differences, more than 0.
        margin: The largest difference that does not matter.
        pairs: Number of pairs, at least 2.
        level: Significance level.
    """
    from scipy.special import nctdtr, stdtrit

    error = std / math.sqrt(pairs)
    critical = float(stdtrit(pairs - 1, 1 - level))
    above = 1 - float(nctdtr(pairs - 1, (mean + margin) / error, critical))
    below = float(nctdtr(pairs - 1, (mean - margin) / error, -critical))
    return max(0.0, above + below - 1)


def difference_power(mean: float, std: float, pairs: int, level: float = LEVEL) -> float:
    """The probability that a two-sided paired t-test finds the difference; the sign-flip test's is close to it.

    Args:
        mean: The true mean difference.
        std: The true standard deviation of the differences, more than 0.
        pairs: Number of pairs, at least 2.
        level: Significance level.
    """
    from scipy.special import nctdtr, stdtrit

    critical = float(stdtrit(pairs - 1, 1 - level / 2))
    return 1 - float(nctdtr(pairs - 1, abs(mean) / std * math.sqrt(pairs), critical))


def pairs_to_decide(
    mean: float, std: float, margin: float, *, least: int = 2, level: float = LEVEL, power: float = 0.8
) -> int | None:
    """The number of pairs with which a test of equivalence or of a difference succeeds with this power.

    Both are computed as if the observed mean and standard deviation were the true ones, which makes it a rough number.

    Args:
        mean: The observed mean difference.
        std: The observed standard deviation of the differences, more than 0.
        margin: The largest difference that does not matter.
        least: The fewest pairs to consider, such as those with which a sign-flip test can reach the level.
        level: Significance level of each test; with several comparisons, their share of it.
        power: The probability of success of either test.

    Returns:
        None if `MOST_PAIRS` are not enough.
    """
    _check_margin(margin)

    def equivalent(pairs: int) -> bool:
        return equivalence_power(mean, std, margin, pairs, level) >= power

    def different(pairs: int) -> bool:
        return difference_power(mean, std, pairs, level) >= power

    found = [_fewest(equivalent, max(2, least)), _fewest(different, max(2, least))]
    return min((pairs for pairs in found if pairs is not None), default=None)


def _fewest(suffices: Callable[[int], bool], least: int) -> int | None:
    """The smallest number of pairs that suffices, by bisection: power rises with the number."""
    if not suffices(MOST_PAIRS):
        return None
    low, high = least, MOST_PAIRS
    while low < high:
        middle = (low + high) // 2
        if suffices(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _check_margin(margin: float) -> None:
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"margin: expected a difference of more than 0, found {margin}. Half a percent is 0.005.")
