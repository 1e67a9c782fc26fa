"""Accuracy at equal firing rate, equal energy and equal training time, instead of at equal settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import fmean

from pipeline.runs.run_folder import Run
from tune.comparison.arms import Arm
from tune.comparison.axes import by_other_axes, number_axes
from tune.comparison.conclusions import Conclusion
from tune.comparison.setting_analysis import EPOCH_SPLITS, Verdict
from tune.comparison.training_time import seconds_by_epoch
from tune.stats.curves import at_equal

_COSTS = {"firing rate": ("firing_rate", ".3f", ""), "energy": ("energy_uj", ".3g", " µJ")}


@dataclass(frozen=True)
class Reading:
    """Accuracies of all arms at one cost.

    Attributes:
        where: The settings that the arms' curves run through, or the one setting.
        quantity: What is equal.
        at: Its value, for people.
        accuracies: Fractions, by arm's name.
    """

    where: str
    quantity: str
    at: str
    accuracies: Mapping[str, float]


def read_at_equal(conclusion: Conclusion) -> list[Reading]:
    """What can be read: costs along the settings of a data set, and training time within each setting."""
    return [*_along_settings(conclusion), *_along_epochs(conclusion)]


def _along_settings(conclusion: Conclusion) -> Iterator[Reading]:
    """Settings of one data set along an axis, T say, make a curve of accuracy against cost for each arm."""
    axes = number_axes(conclusion)
    if len(axes) != 1:
        return
    for name, verdicts in by_other_axes(conclusion, axes).items():
        if len({verdict.dataset for verdict in verdicts}) > 1:
            # Along a lag, say: between two tasks there is no third that costs something in between.
            continue
        for quantity, (cost, form, unit) in _COSTS.items():
            curves = {arm.name: _curve(verdicts, axes[0], arm, cost) for arm in conclusion.comparison.arms}
            if all(_rises(curve) for curve in curves.values()):
                low, high = _common(curves.values())
                if low < high:
                    at = (low + high) / 2
                    yield Reading(name or verdicts[0].dataset, quantity, f"{at:{form}}{unit}", _read(curves, at))


def _curve(verdicts: Sequence[Verdict], axis: str, arm: Arm, name: str) -> list[tuple[float, float]]:
    """Cost and mean accuracy along the axis, from its cheap end."""
    points = []
    for verdict in sorted(verdicts, key=lambda verdict: verdict.setting.place[axis]):
        figures = verdict.arms[arm.name]
        cost, accuracy = getattr(figures, name), figures.summary
        if cost is not None and accuracy is not None:
            points.append((cost.mean, accuracy.mean))
    # Never sorted by cost: where it goes up and down along the axis, what lies between two costs is between no two T.
    return points if not points or points[0][0] <= points[-1][0] else points[::-1]


def _along_epochs(conclusion: Conclusion) -> Iterator[Reading]:
    """At the time when the quickest arm has finished, the others' accuracy after the epochs that they had by then."""
    for verdict in conclusion.verdicts:
        split, curves = _epoch_curves(conclusion, verdict)
        if split and all(len(curve) > 1 for curve in curves.values()):
            at = min(curve[-1][0] for curve in curves.values())
            if at < max(curve[0][0] for curve in curves.values()) or not all(map(_rises, curves.values())):
                continue
            quantity = f"training time ({split} accuracy)"
            yield Reading(verdict.setting.name or verdict.dataset, quantity, f"{at:.0f} s", _read(curves, at))


def _epoch_curves(conclusion: Conclusion, verdict: Verdict) -> tuple[str, dict[str, list[tuple[float, float]]]]:
    """The split that every run measured each epoch, and each arm's mean accuracy by its mean time so far."""
    runs = {
        arm.name: [
            outcome.run
            for seed in conclusion.comparison.seeds
            if (outcome := conclusion.outcomes[verdict.setting.name, arm.name, seed]).run is not None
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
    """Seconds so far and the accuracy after each epoch; [] where a time is missing."""
    spent = accumulate(seconds_by_epoch(run) or ())
    return list(zip(spent, (row[column] for row in run.metrics), strict=False))


def _mean_curve(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Epoch by epoch over the seeds, as far as all go."""
    return [
        (fmean(point[0] for point in points), fmean(point[1] for point in points))
        for points in zip(*curves, strict=False)
    ]


def _common(curves: Iterable[Sequence[tuple[float, float]]]) -> tuple[float, float]:
    """The range of costs that all of them reach."""
    curves = list(curves)
    return max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)


def _rises(curve: Sequence[tuple[float, float]]) -> bool:
    """Whether it has two points or more, each of another cost."""
    return len(curve) > 1 and all(left[0] < right[0] for left, right in pairwise(curve))


def _read(curves: Mapping[str, Sequence[tuple[float, float]]], at: float) -> dict[str, float]:
    """Every curve at one cost that all of them reach."""
    first, *others = curves
    found: dict[str, float] = {}
    for name in others:
        (cost_a, accuracy_a), (cost_b, accuracy_b) = (zip(*curves[arm], strict=True) for arm in (first, name))
        both = at_equal(cost_a, accuracy_a, cost_b, accuracy_b, at)
        assert both is not None
        found |= {first: float(both.accuracy_a[0]), name: float(both.accuracy_b[0])}
    return found
