"""Curves of accuracy: over epochs, to compare the speed of learning, and over cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


def learning_curve_area(epochs: Sequence[float], values: Sequence[float]) -> float | None:
    """The mean of a learning curve over its epochs, by the trapezoid rule; None if there are no epochs.

    Of two curves with the same end, the one that rises earlier has the larger value. Compare curves only over the same
    epochs.

    Args:
        epochs: Increasing numbers.
        values: One value per epoch, such as an accuracy.

    Raises:
        ValueError: If the epochs do not increase, the numbers of epochs and values differ, or a value is not finite.
    """
    x, y = _curve("epochs", epochs, "values", values)
    if np.any(np.diff(x) <= 0):
        raise ValueError(f"epochs: expected increasing numbers, found {_shown(x)}. Sort them, and remove duplicates.")
    if len(x) < 2:
        return float(y[0]) if len(x) else None
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


@dataclass(frozen=True, eq=False)
class EqualCost:
    """The accuracies of two curves at the same costs.

    Attributes:
        cost: Increasing costs, float64 (n,), n >= 1.
        accuracy_a: Accuracy of A at each cost, float64 (n,).
        accuracy_b: Accuracy of B at each cost, float64 (n,).
    """

    cost: NDArray[np.float64]
    accuracy_a: NDArray[np.float64]
    accuracy_b: NDArray[np.float64]


def at_equal(
    cost_a: ArrayLike,
    accuracy_a: ArrayLike,
    cost_b: ArrayLike,
    accuracy_b: ArrayLike,
    at: ArrayLike | None = None,
) -> EqualCost | None:
    """Interpolate two curves of accuracy over cost at equal costs; None if the curves have no cost in common.

    The interpolation between points is linear; nothing is extrapolated.

    Args:
        cost_a: Firing rate, energy or seconds of A's points, all increasing or all decreasing, (n,).
        accuracy_a: Accuracy of A's points, (n,).
        cost_b: Cost of B's points, in the same unit, (m,).
        accuracy_b: Accuracy of B's points, (m,).
        at: The costs at which to interpolate, increasing; by default every point of either curve within the range of
            both.

    Raises:
        ValueError: If the costs of a curve are not monotonic, the numbers of its costs and accuracies differ, it has no
            points, a value is not finite, or one of `at` is outside of a curve.
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
                "Choose costs within this range, or run points beyond it."
            )
    return EqualCost(cost, np.interp(cost, xa, ya), np.interp(cost, xb, yb))


def _rising(
    cost_name: str, cost: ArrayLike, name: str, accuracy: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points of a curve, sorted by increasing cost."""
    x, y = _curve(cost_name, cost, name, accuracy)
    if not len(x):
        raise ValueError(f"{cost_name}: expected at least one point, found none. Run at least one.")
    if len(x) > 1 and x[0] > x[-1]:
        x, y = x[::-1], y[::-1]
    if np.any(np.diff(x) <= 0):
        raise ValueError(
            f"{cost_name}: expected costs that all increase or all decrease, found {_shown(np.asarray(cost))}. "
            "Sort the points by cost, and keep one point per cost."
        )
    return x, y


def _curve(x_name: str, x: ArrayLike, y_name: str, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both arrays as float64, checked to have the same length and finite values."""
    found_x, found_y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if found_x.ndim != 1 or found_x.shape != found_y.shape:
        raise ValueError(
            f"{y_name}: expected one value for each of {x_name}, shape {found_x.shape}, found {found_y.shape}. "
            "Leave out incomplete points."
        )
    for name, values in ((x_name, found_x), (y_name, found_y)):
        if not np.all(np.isfinite(values)):
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(
                f"{name}: expected finite numbers, found {values[bad]:g} at index {bad}. Count the run as diverged."
            )
    return found_x, found_y


def _shown(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in values[:8]) + (" and more" if len(values) > 8 else "")
