"""Holm's correction of several p-values for multiple comparisons.

The differences of a comparison are corrected in `tune.comparison.conclusions`, those of the speed of learning in
`tune.comparison.convergence.learning_speed`.
"""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values for multiple comparisons (Holm 1979).

    The k-th smallest of m becomes min(1, (m - k + 1) p), but not less than the adjusted value before it. The
    probability of rejecting any true null hypothesis is at most the level, however the tests depend on each other.

    Args:
        p_values: One per comparison; None if there was no test, which stays None and does not count.

    Raises:
        ValueError: If a p is not between 0 and 1.
    """
    known = [(p, place) for place, p in enumerate(p_values) if p is not None]
    for p, place in known:
        if not 0 <= p <= 1:
            raise ValueError(
                f"p_values: expected numbers from 0 to 1, found {p} at index {place}. Use None where no test was made."
            )
    adjusted: list[float | None] = [None] * len(p_values)
    before = 0.0
    for k, (p, place) in enumerate(sorted(known)):
        before = max(before, min(1.0, (len(known) - k) * p))
        adjusted[place] = before
    return adjusted
