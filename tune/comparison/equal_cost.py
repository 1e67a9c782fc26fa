"""Accuracy at equal firing rate, equal energy and equal training time, instead of at equal settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import fmean

from pipeline.runs.run_folder import Run
from tune.comparison.arms import Arm
from tune.comparison.conclusions import Conclusion
from tune.comparison.convergence.speed_by_seed import EPOCH_SPLITS
from tune.comparison.setting_analysis import SettingResult
from tune.comparison.setting_axes import by_other_axes, number_axes
from tune.comparison.training_time import seconds_by_epoch
from tune.stats.curves import at_equal

_COSTS = {"firing rate": ("firing_rate", ".3f", ""), "energy": ("energy_uj", ".3g", " µJ")}


@dataclass(frozen=True)
class AccuraciesAtCost:
    """The accuracies of all arms at one cost.

    Attributes:
        where: The group of settings along which the curves run, or the single setting.
        quantity: The cost that is equal.
        at: Its formatted value.
        accuracies: Fractions, by arm's name.
    """

    where: str
    quantity: str
    at: str
    accuracies: Mapping[str, float]


def accuracies_at_equal_cost(conclusion: Conclusion) -> list[AccuraciesAtCost]:
    """Accuracies at equal costs along the settings of a data set, and at equal training time in each setting."""
    return [*_along_settings(conclusion), *_along_epochs(conclusion)]


def _along_settings(conclusion: Conclusion) -> Iterator[AccuraciesAtCost]:
    """The settings of one data set along an axis, such as T, give each arm a curve of accuracy against cost."""
    axes = number_axes(conclusion)
    # Along epochs, an inference costs the same: what changes is how far training came.
    if len(axes) != 1 or axes[0].startswith("schedule."):
        return
    for name, results in by_other_axes(conclusion, axes).items():
        if len({result.dataset for result in results}) > 1:
            # Different data sets, such as different lags, are different tasks, between which nothing is interpolated.
            continue
        for quantity, (cost, form, unit) in _COSTS.items():
            curves = {arm.name: _curve(results, axes[0], arm, cost) for arm in conclusion.comparison.arms}
            if all(_rises(curve) for curve in curves.values()):
                low, high = _common(curves.values())
                if low < high:
                    at = (low + high) / 2
                    accuracies = _read(curves, at)
                    yield AccuraciesAtCost(name or results[0].dataset, quantity, f"{at:{form}}{unit}", accuracies)


def _curve(results: Sequence[SettingResult], axis: str, arm: Arm, name: str) -> list[tuple[float, float]]:
    """Cost and mean accuracy along the axis, from its cheap end."""
    curve = []
    for result in sorted(results, key=lambda result: result.setting.place[axis]):
        figures = result.arms[arm.name]
        cost, accuracy = getattr(figures, name), figures.summary
        if cost is not None and accuracy is not None:
            curve.append((cost.mean, accuracy.mean))
    # Not sorted by cost: if the cost is not monotonic in T, interpolating between costs does not interpolate in T.
    return curve if not curve or curve[0][0] <= curve[-1][0] else curve[::-1]


def _along_epochs(conclusion: Conclusion) -> Iterator[AccuraciesAtCost]:
    """The accuracy of all arms at the time when the fastest one has finished."""
    for result in conclusion.results:
        split, curves = _epoch_curves(conclusion, result)
        if split and all(len(curve) > 1 for curve in curves.values()):
            at = min(curve[-1][0] for curve in curves.values())
            if at < max(curve[0][0] for curve in curves.values()) or not all(map(_rises, curves.values())):
                continue
            quantity = f"training time ({split} accuracy)"
            yield AccuraciesAtCost(result.setting.name or result.dataset, quantity, f"{at:.0f} s", _read(curves, at))


def _epoch_curves(conclusion: Conclusion, result: SettingResult) -> tuple[str, dict[str, list[tuple[float, float]]]]:
    """The split that every run measured after each epoch, and each arm's mean accuracy by its mean time so far."""
    runs = {
        arm.name: [
            outcome.run
            for seed in conclusion.comparison.seeds
            if (outcome := conclusion.outcomes[result.setting.name, arm.name, seed]).run is not None
        ]
        for arm in conclusion.comparison.arms
    }
    every = [run for mine in runs.values() for run in mine]
    for split in EPOCH_SPLITS:
        column = f"{split}_accuracy"
        if every and all(row.get(column) is not None for run in every for row in run.metrics):
            return split, {name: _mean_curve([_by_time(run, column) for run in mine]) for name, mine in runs.items()}
    return "", {}


def _by_time(run: Run, column: str) -> list[tuple[float, float]]:
    """Seconds so far and the accuracy after each epoch; [] if a time is missing."""
    spent = accumulate(seconds_by_epoch(run) or ())
    return list(zip(spent, (row[column] for row in run.metrics), strict=False))


def _mean_curve(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The mean over seeds, epoch by epoch, up to the last epoch that all of them have."""
    return [
        (fmean(point[0] for point in points), fmean(point[1] for point in points))
        for points in zip(*curves, strict=False)
    ]


def _common(curves: Iterable[Sequence[tuple[float, float]]]) -> tuple[float, float]:
    """The range of costs that all curves cover."""
    curves = list(curves)
    return max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)


def _rises(curve: Sequence[tuple[float, float]]) -> bool:
    """Whether it has at least two points and its cost rises strictly."""
    return len(curve) > 1 and all(left[0] < right[0] for left, right in pairwise(curve))


def _read(curves: Mapping[str, Sequence[tuple[float, float]]], at: float) -> dict[str, float]:
    """Every curve's accuracy at one cost that all of them cover."""
    first, *others = curves
    found: dict[str, float] = {}
    for name in others:
        (cost_a, accuracy_a), (cost_b, accuracy_b) = (zip(*curves[arm], strict=True) for arm in (first, name))
        both = at_equal(cost_a, accuracy_a, cost_b, accuracy_b, at)
        assert both is not None
        found.setdefault(first, float(both.accuracy_a[0]))
        found[name] = float(both.accuracy_b[0])
    return found
