"""What a handful of runs says: mean, spread, interval, effect, and p-values of several tests together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05

# A spread that is smaller than this share of the values is what rounding leaves of none.
_ROUNDING = 1e-9


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
    return Summary(float(np.mean(values)), _spread(values) if len(values) > 1 else None, len(values))


def _spread(values: Sequence[float]) -> float:
    std = float(np.std(values, ddof=1))
    return std if std > _ROUNDING * max(map(abs, values)) else 0.0


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """The interval that holds the mean of such values with probability 1 - level, by Student's t.

    mean ± t(1 - level / 2; n - 1) * std / sqrt(n), which takes the values to be independent and about normal. None of
    one value, and of equal ones: a few that happen to be equal do not tell that others would be.
    """
    if len(values) < 2 or not (std := _spread(values)):
        return None
    from scipy.stats import t

    half = float(t.ppf(1 - level / 2, len(values) - 1)) * std / len(values) ** 0.5
    mean = float(np.mean(values))
    return mean - half, mean + half


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
    mean, std = float(np.mean(differences)), _spread(differences)
    if not std:
        return None
    half = (len(differences) - 1) / 2
    return mean / std * float(np.exp(gammaln(half) - gammaln(half - 0.5))) / half**0.5
