"""Statistics of a few runs: mean, standard deviation, interval and effect size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05

# A standard deviation below this fraction of the values is rounding error and counts as 0.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (ddof 1; None for a single value) of n values."""

    mean: float
    std: float | None
    n: int


def summarise(values: Sequence[float]) -> Summary | None:
    """Summarise the values; None if there are none."""
    if not values:
        return None
    return Summary(float(np.mean(values)), _spread(values) if len(values) > 1 else None, len(values))


def _spread(values: Sequence[float]) -> float:
    std = float(np.std(values, ddof=1))
    return std if std > _ROUNDING * max(map(abs, values)) else 0.0


def t_interval(values: Sequence[float], level: float = LEVEL, *, least_std: float = 0.0) -> tuple[float, float] | None:
    """Confidence interval of the mean with coverage 1 - level, by Student's t.

    mean ± t(1 - level / 2; n - 1) * std / sqrt(n), which assumes independent and approximately normal values. None for
    a single value, and for equal values: that a few are equal does not imply that others would be. The standard
    deviation is taken to be at least `least_std`, such as the resolution of an accuracy.
    """
    if len(values) < 2 or not (std := max(_spread(values), least_std)):
        return None
    # The quantile of t; scipy.stats has it too, but takes a second to load.
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, 1 - level / 2)) * std / len(values) ** 0.5
    mean = float(np.mean(values))
    return mean - half, mean + half


def effect_size(differences: Sequence[float]) -> float | None:
    """Effect size of paired differences: their mean in units of their standard deviation, d_z, with Hedges' correction.

    mean / std * J, J = gamma(df / 2) / (sqrt(df / 2) gamma((df - 1) / 2)), df = n - 1 (Cohen 1988, chapter 2;
    Hedges 1981). None for fewer than three differences, for which J is 0, and if the differences do not vary.
    """
    from scipy.special import gammaln

    if len(differences) < 3:
        return None
    mean, std = float(np.mean(differences)), _spread(differences)
    if not std:
        return None
    half = (len(differences) - 1) / 2
    return mean / std * float(np.exp(gammaln(half) - gammaln(half - 0.5))) / half**0.5
