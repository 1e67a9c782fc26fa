"""The verdict on a difference where a margin was declared: equivalent within it, different, or not decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tune.comparison.setting_analysis import Difference
from tune.rendering.table import number
from tune.stats.equivalence import MOST_PAIRS, pairs_to_decide
from tune.stats.sign_flip import pairs_needed
from tune.stats.summary import LEVEL, summarise

Decision = Literal["equivalent", "different", "not decided"]


@dataclass(frozen=True)
class MarginVerdict:
    """What the seeds of a difference show about a margin.

    Attributes:
        decision: equivalent if the two one-sided tests reach the level; else different if the sign-flip test does; both
            after Holm's correction.
        equivalence_p: p-value of the two one-sided tests after Holm's correction; None without at least two seeds, or
            if they do not vary.
        more_seeds: About how many more seeds would decide, if it is not decided; None if no practical number would.
    """

    decision: Decision
    equivalence_p: float | None
    more_seeds: int | None = None


def judge_margin(
    difference: Difference, margin: float, *, equivalence_p: float | None, difference_p: float | None, family: int
) -> MarginVerdict | None:
    """Judge a difference by a margin; None if no seed has finished runs of both.

    Args:
        difference: The paired differences.
        margin: The largest difference that does not matter, a fraction.
        equivalence_p: p-value of the two one-sided tests after Holm's correction; None if there is none.
        difference_p: p-value of the sign-flip test after Holm's correction.
        family: The number of differences that the correction covers.
    """
    summary = summarise(difference.values)
    if summary is None:
        return None
    if equivalence_p is not None and equivalence_p <= LEVEL:
        return MarginVerdict("equivalent", equivalence_p)
    if difference_p is not None and difference_p <= LEVEL:
        return MarginVerdict("different", equivalence_p)
    std = max(summary.std or 0.0, difference.resolution)
    if summary.std is None or not std:
        return MarginVerdict("not decided", equivalence_p)
    # A sign-flip test of fewer pairs cannot reach the level, whatever the difference.
    least = max(pairs_needed(comparisons=family), summary.n + 1)
    needed = pairs_to_decide(summary.mean, std, margin, least=least, level=LEVEL / family)
    return MarginVerdict("not decided", equivalence_p, None if needed is None else needed - summary.n)


def equivalence_evidence(verdict: MarginVerdict, family: int) -> str:
    """The p-value of the tests of equivalence, for the brackets of a sentence; "" if there is none."""
    if verdict.equivalence_p is None:
        return ""
    corrected = f" with Holm's correction for {family} differences" if family > 1 else ""
    return f"; equivalence p = {verdict.equivalence_p:.2g}{corrected}"


def margin_sentence(verdict: MarginVerdict, difference: Difference, margin: float) -> str:
    """The decision in words."""
    within = f"{number(100 * margin, 'g')} percentage points"
    if verdict.decision == "equivalent":
        crossed = difference.crossed_interval
        if crossed is not None and not -margin <= crossed[0] <= crossed[1] <= margin:
            return (
                f"equivalent within {within} {difference.tested_on}, but the interval over {difference.unit} goes "
                "beyond that, so this may not generalise."
            )
        return f"equivalent within {within}."
    summary = summarise(difference.values)
    assert summary is not None
    if verdict.decision == "different":
        better = difference.arm if summary.mean > 0 else difference.minus
        size = f"by more than {within}" if difference.exceeds(margin) else f"whether by more than {within} is not shown"
        limit = f"; the interval over {difference.unit} includes zero, so this may not generalise"
        limit *= difference.may_not_generalise
        return f"different: {better.label} is significantly better {difference.tested_on}, {size}{limit}."
    if summary.n == 1:
        return f"not decided whether equivalent within {within}: one pair of runs cannot show it."
    if verdict.more_seeds is None:
        most = f"{MOST_PAIRS} {difference.pair}s"
        return f"not decided whether equivalent within {within}; {most} would not suffice at this spread."
    return (
        f"not decided whether equivalent within {within} or different; about {verdict.more_seeds} more "
        f"{difference.pair}{'' if verdict.more_seeds == 1 else 's'} would, with 80 % power, if mean and spread stay "
        "as observed."
    )
