"""Cells of a comparison's tables: means with their spread, and intervals."""

from __future__ import annotations

from tune.rendering.table import POINTS, number
from tune.stats.summary import Summary

MISSING = "missing"
"""The cell of a run without a result."""


def mean_std(summary: Summary | None, scale: float, form: str) -> str:
    """Mean ± standard deviation; a dash if there is none."""
    if summary is None:
        return "–"
    mean = number(scale * summary.mean, form)
    return mean if summary.std is None else f"{mean} ± {number(scale * summary.std, form.lstrip('+'))}"


def ends(interval: tuple[float, float] | None, form: str = POINTS, scale: float = 100) -> str:
    """The ends of an interval, by default of fractions in per cent; a dash if there is none."""
    return "–" if interval is None else " to ".join(number(scale * end, form) for end in interval)
