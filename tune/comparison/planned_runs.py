"""What a comparison prints before its first run: the runs, and the power of its test with this number of seeds."""

from __future__ import annotations

from pathlib import Path

from preprocess.terminal.plural import counted
from tune.comparison.comparison_plan import Comparison, read_outcomes
from tune.comparison.conclusions import seeds_warning
from tune.comparison.resampling.joined_splits import join_splits
from tune.rendering.labels import format_seeds
from tune.rendering.table import number
from tune.stats.sign_flip import detectable_difference


def plan_lines(comparison: Comparison, folder: Path) -> list[str]:
    """The planned runs, and the power of the test with this number of seeds; printed before the first run."""
    outcomes = read_outcomes(comparison, folder).values()
    joined = join_splits(comparison)
    comparison, splits = joined.comparison, joined.splits
    there = sum(outcome.run is not None for outcome in outcomes)
    count = len(comparison.seeds)
    epochs = sorted({setting.config.schedule.last_epoch for setting in comparison.settings})
    settings = f" in {len(comparison.settings)} settings" if len(comparison.settings) > 1 else ""
    length = " or ".join(counted(number, "epoch") for number in epochs)
    noun = "seed" if splits == 1 else "pair"
    arms = f"{', '.join(comparison.labels)}{settings}, {counted(count, noun)} each ({format_seeds(comparison.seeds)})"
    lines = [f"{counted(len(outcomes), 'run')} of {length}: {arms}; {there} already done"]
    lines += _declared_lines(comparison)
    family = len(comparison.settings) * (len(comparison.arms) - 1)
    if warning := seeds_warning(count, family, splits):
        return [*lines, warning]
    smallest = detectable_difference(1.0, count, comparisons=family)
    return [
        *lines,
        f"With {counted(count, noun)}, the sign-flip test has 80 % power to detect differences of at least "
        f"{smallest:.1f} standard deviations of the paired differences",
    ]


def _declared_lines(comparison: Comparison) -> list[str]:
    """What the options declare before the first run."""
    lines = []
    if comparison.auto is not None:
        lines.append(
            "All runs are trained again for twice as many epochs until every run has converged, for at most "
            f"{comparison.auto.most} epochs"
        )
    if comparison.margin is not None:
        margin = number(100 * comparison.margin, "g")
        lines.append(f"Declared margin: differences within {margin} percentage points do not matter")
    return lines
