"""How fast each run of an arm learned: the epochs that it took to a training accuracy, and the area under its curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.analysis.convergence_rule import epochs_to
from tune.comparison.comparison_plan import Outcome
from tune.stats.curves import learning_curve_area

EPOCH_SPLITS = ("validation", "test", "train")
"""The accuracy that is measured after each epoch: the first of these that a run has."""


@dataclass(frozen=True)
class Speed:
    """The epochs that a run took to a training accuracy.

    Attributes:
        epochs: The number of epochs; for a run that did not reach it, all epochs of the setting.
        reached: Whether it reached the accuracy. Otherwise it would have taken more, and the number is a lower bound.
        samples: Training samples seen in these epochs; None if the run's number of samples is unknown.
    """

    epochs: float
    reached: bool
    samples: float | None


def speed_by_seed(mine: Mapping[int, Outcome], accuracy: float, epochs: int) -> dict[int, Speed]:
    """The speed of each finished run, and of each that diverged, which never reaches the accuracy.

    Args:
        mine: The runs of one arm in one setting, by seed.
        accuracy: The training accuracy, a fraction.
        epochs: The number of epochs of the setting.
    """
    found = {}
    for seed, outcome in mine.items():
        if outcome.run is not None and any(row.get("train_accuracy") is not None for row in outcome.run.metrics):
            taken = epochs_to(outcome.run.metrics, accuracy)
            # A run that early stopping ended was given all epochs too; with fewer it would count as a faster one.
            used = float(epochs) if taken is None else taken
            found[seed] = Speed(used, taken is not None, _samples(outcome.result, used))
        elif outcome.diverged:
            found[seed] = Speed(float(epochs), False, None)
    return found


def _samples(result: Mapping[str, Any], epochs: float) -> float | None:
    """The number of samples in these epochs; runs of earlier versions did not record it."""
    if result.get("train_samples") is None:
        return None
    return epochs * (result["train_samples"] - result.get("left_out_per_epoch", 0))


def curve_area(outcome: Outcome) -> float | None:
    """The mean accuracy of a finished run over its epochs, on the first of `EPOCH_SPLITS` that it measured."""
    assert outcome.run is not None
    metrics = outcome.run.metrics
    for split in EPOCH_SPLITS:
        rows = [row for row in metrics if row.get(f"{split}_accuracy") is not None]
        if rows:
            return learning_curve_area([row["epoch"] for row in rows], [row[f"{split}_accuracy"] for row in rows])
    return None
