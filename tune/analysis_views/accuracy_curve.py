"""Accuracies with their intervals as a curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class HasAccuracy(Protocol):
    """An accuracy and the ends of its interval, as fractions."""

    @property
    def accuracy(self) -> float:
        """Accuracy as a fraction."""

    @property
    def low(self) -> float:
        """Lower end of its interval, a fraction."""

    @property
    def high(self) -> float:
        """Upper end of its interval, a fraction."""


def draw_accuracies(
    axes: Axes, places: Sequence[float], points: Sequence[HasAccuracy], colour: str, label: str | None = None
) -> None:
    """Draw accuracies in per cent at places on the x axis, with bars for the intervals."""
    values = [100 * point.accuracy for point in points]
    below = [100 * (point.accuracy - point.low) for point in points]
    above = [100 * (point.high - point.accuracy) for point in points]
    bars = [below, above]
    axes.errorbar(places, values, bars, color=colour, label=label, marker="o", markersize=4, capsize=2, elinewidth=1.0)
    axes.set_ylabel("accuracy, %")
