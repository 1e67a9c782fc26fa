"""The speed of learning: epochs to a training accuracy by arm, and their differences, paired by seed.

A run that never reaches the accuracy is censored: it would have taken more epochs than it was trained. It counts with
all of them, so that means are restricted means (min(epochs taken, epochs trained), as in survival analysis: Irwin, J.
Hygiene 47, 1949). Within a seed all arms are trained for the same number of epochs, so under the null hypothesis that
the neurons learn at the same speed the restricted numbers are exchangeable too, and the sign-flip test stays exact; it
understates the difference where only one of a pair reached the accuracy, and sees none where neither did.
"""

from __future__ import annotations

from collections.abc import Iterator

from tune.comparison.arms import PairedDifference
from tune.comparison.setting_analysis import SettingResult
from tune.stats.holm import holm
from tune.stats.summary import Summary, summarise


class SpeedDifference(PairedDifference):
    """A later arm's epochs minus those of the first arm, by seed; negative if it learns faster."""


def speed_differences(result: SettingResult) -> Iterator[SpeedDifference]:
    """The difference of each later arm in a setting."""
    first, *others = result.arms.values()
    for ours in others:
        by_seed = {
            seed: speed.epochs - first.speed[seed].epochs for seed, speed in ours.speed.items() if seed in first.speed
        }
        yield SpeedDifference(ours.arm, first.arm, by_seed)


def corrected_p(results: tuple[SettingResult, ...]) -> dict[tuple[str, str], float | None]:
    """p of each difference by setting's and arm's name, after Holm's correction over all differences of speed.

    A missing difference counts with p = 1: the correction covers all that were declared.
    """
    found = [(result.setting.name, difference) for result in results for difference in speed_differences(result)]
    every = holm([1.0 if difference.p is None else difference.p for _, difference in found])
    return {
        (setting, difference.arm.name): None if difference.p is None else value
        for (setting, difference), value in zip(found, every, strict=True)
    }


def epochs_summary(result: SettingResult, arm: str) -> Summary | None:
    """The restricted number of epochs of an arm."""
    return summarise([speed.epochs for speed in result.arms[arm].speed.values()])


def samples_summary(result: SettingResult, arm: str) -> Summary | None:
    """The training samples seen in these epochs; over the runs that recorded their number."""
    samples = (speed.samples for speed in result.arms[arm].speed.values())
    return summarise([found for found in samples if found is not None])


def censored_seeds(result: SettingResult, arm: str) -> tuple[int, ...]:
    """The seeds that did not reach the accuracy."""
    return tuple(seed for seed, speed in result.arms[arm].speed.items() if not speed.reached)
