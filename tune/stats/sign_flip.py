"""The sign-flip test of paired differences: its p, how many pairs it takes, and how small a difference it finds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tune.stats.summary import LEVEL

# Up to this many sign patterns (14 pairs) every one is counted; beyond, as many are drawn.
_PATTERNS = 1 << 14
# Repetitions of a design that tell its power: its quantiles are good to about a hundredth of a standard deviation.
_DESIGNS = 4000
# Draws held at once, 8 bytes each.
_MOST_HELD = 1 << 22


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of the sign-flip permutation test of paired differences; None of none.

    If neither side were better, each difference might as well have the other sign: p is the share of all 2^n sign
    patterns whose mean lies at least as far out (Fisher 1935, section 21). Exact up to 14 pairs, beyond from
    2^14 patterns drawn with a fixed seed.

    Accuracies are counts over a number of samples, so that many patterns lie exactly as far out. As fractions they
    differ by rounding, and SciPy's permutation test (1.17) leaves some of these out; here they count.
    """
    if not differences:
        return None
    values = np.asarray(differences, np.float64)
    signs = 1 - 2 * _flips(len(values)).astype(np.float64)
    sums = np.abs(signs @ values)
    far = sums >= abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if len(values) < _PATTERNS.bit_length():
        return float(far.mean())
    # The pattern that was found is one of them (Phipson and Smyth 2010).
    return float((far.sum() + 1) / (len(far) + 1))


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


def detectable_difference(
    std: float, pairs: int, level: float = LEVEL, power: float = 0.8, comparisons: int = 1
) -> float | None:
    """The smallest true mean difference that the sign-flip test finds with this power; None where it can find none.

    The test has to fall to level / comparisons, the first step of Holm's. It takes the differences for independent and
    normal, and knows nothing of other test samples.

    Args:
        std: Standard deviation of the paired differences, in the unit of the answer.
        pairs: How many differences there will be; of fewer than `pairs_needed` no difference is ever found.
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
    if smallest_p(pairs) * comparisons > level:
        return None
    return std * float(np.quantile(_found_from(pairs, level / comparisons), power))


@lru_cache(maxsize=64)
def _found_from(pairs: int, level: float) -> NDArray[np.float64]:
    """In many repetitions of a design: from which true mean on its test falls to the level; standard deviation 1.

    Of differences z + d, z standard normal, a pattern that flips the pairs A and one that flips all others lie at least
    as far out where the mean of z over A is -d or less. So p <= level where at most so many A have such a mean.
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
    """Which pairs each pattern flips, bool (patterns, pairs): every pattern, or as many as are drawn."""
    if pairs < _PATTERNS.bit_length():
        return (np.arange(1 << pairs)[:, None] >> np.arange(pairs) & 1).astype(np.bool_)
    return np.random.default_rng(0).integers(0, 2, (_PATTERNS, pairs), dtype=np.bool_, endpoint=False)


def _check_design(level: float, comparisons: int) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level}. 0.05 is usual.")
    if comparisons < 1:
        raise ValueError(f"comparisons: expected at least 1, found {comparisons}. Count the neurons but the first.")
