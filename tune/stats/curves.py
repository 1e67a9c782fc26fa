"""Curves of accuracy: over epochs, so that fast learners can be told, and over what accuracy costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


def learning_curve_area(epochs: Sequence[float], values: Sequence[float]) -> float | None:
    """The mean of a learning curve over its epochs, by the trapezoid rule; None of no epochs.

    Of two curves that end alike, the one that rose sooner has more. Curves compare only over the same epochs.

    Args:
        epochs: Increasing.
        values: One for each epoch, such as accuracies.

    Raises:
        ValueError: If the epochs do not increase, are not as many as the values, or a value is no number.
    """
    x, y = _curve("epochs", epochs, "values", values)
    if np.any(np.diff(x) <= 0):
        raise ValueError(f"epochs: expected increasing numbers, found {_shown(x)}. Sort them, and leave one of each.")
    if len(x) < 2:
        return float(y[0]) if len(x) else None
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


@dataclass(frozen=True, eq=False)
class EqualCost:
    """Two accuracies at the same costs.

    Attributes:
        cost: Increasing, float64 (n,), n >= 1.
        accuracy_a: At each cost, float64 (n,).
        accuracy_b: At each cost, float64 (n,).
    """

    cost: NDArray[np.float64]
    accuracy_a: NDArray[np.float64]
    accuracy_b: NDArray[np.float64]

    @property
    def difference(self) -> NDArray[np.float64]:
        """A minus B at each cost, float64 (n,)."""
        return self.accuracy_a - self.accuracy_b


def at_equal(
    cost_a: ArrayLike,
    accuracy_a: ArrayLike,
    cost_b: ArrayLike,
    accuracy_b: ArrayLike,
    at: ArrayLike | None = None,
) -> EqualCost | None:
    """Two curves of accuracy over cost read at equal cost; None where no cost lies within both.

    Between its points a curve is taken for straight, and beyond its ends for unknown: nothing is extrapolated.

    Args:
        cost_a: Firing rate, energy or seconds of A's points, all increasing or all decreasing, (n,).
        accuracy_a: Of A's points, (n,).
        cost_b: Of B's points, in the same unit, (m,).
        accuracy_b: Of B's points, (m,).
        at: The costs at which to read, increasing; by default every point of either curve that lies within both.

    Raises:
        ValueError: If the costs of a curve go up and down, if it has not one accuracy for each cost or no point, if a
            value is no number, or if one of `at` lies outside a curve.
    """
    xa, ya = _rising("cost_a", cost_a, "accuracy_a", accuracy_a)
    xb, yb = _rising("cost_b", cost_b, "accuracy_b", accuracy_b)
    low, high = max(xa[0], xb[0]), min(xa[-1], xb[-1])
    if low > high:
        return None
    if at is None:
        knots = np.unique(np.concatenate([xa, xb, [low, high]]))
        cost = knots[(knots >= low) & (knots <= high)]
    else:
        cost = np.atleast_1d(np.asarray(at, np.float64))
        outside = cost[~((cost >= low) & (cost <= high))]
        if len(outside):
            raise ValueError(
                f"at: expected costs from {low:g} to {high:g}, which both curves cover, found {_shown(outside)}. "
                "Ask within, or run points beyond."
            )
    return EqualCost(cost, np.interp(cost, xa, ya), np.interp(cost, xb, yb))


def _rising(
    cost_name: str, cost: ArrayLike, name: str, accuracy: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A curve's points by increasing cost."""
    x, y = _curve(cost_name, cost, name, accuracy)
    if not len(x):
        raise ValueError(f"{cost_name}: expected at least one point, found none. Run one.")
    if len(x) > 1 and x[0] > x[-1]:
        x, y = x[::-1], y[::-1]
    if np.any(np.diff(x) <= 0):
        raise ValueError(
            f"{cost_name}: expected costs that all increase or all decrease, found {_shown(np.asarray(cost))}. "
            "Sort the points by cost, and leave one at each cost."
        )
    return x, y


def _curve(x_name: str, x: ArrayLike, y_name: str, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 of one length, every value a number."""
    found_x, found_y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if found_x.ndim != 1 or found_x.shape != found_y.shape:
        raise ValueError(
            f"{y_name}: expected one for each of {x_name}, shape {found_x.shape}, found {found_y.shape}. "
            "Leave out points that lack one."
        )
    for name, values in ((x_name, found_x), (y_name, found_y)):
        if not np.all(np.isfinite(values)):
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(
                f"{name}: expected numbers, found {values[bad]:g} at place {bad}. Count the run as diverged."
            )
    return found_x, found_y


def _shown(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in values[:8]) + (" and more" if len(values) > 8 else "")
