"""Learning curves of a setting: loss and accuracy by epoch, each arm with a band over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocess.terminal.plural import counted
from tune.comparison.comparison_plan import Outcome
from tune.comparison.conclusions import Conclusion
from tune.comparison.convergence.speed_by_seed import EPOCH_SPLITS
from tune.comparison.setting_analysis import SettingResult
from tune.rendering.hover_text import set_hover
from tune.rendering.panels import Panel
from tune.rendering.run_curves import finish_epochs
from tune.rendering.style import colour_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPLIT_TITLES = {"validation": "Validation", "test": "Test", "train": "Training"}


def learning_panels(conclusion: Conclusion, result: SettingResult) -> list[Panel]:
    """Loss and accuracy by epoch: each arm's mean over seeds, with a band from the lowest to the highest seed."""
    arms = list(result.arms)
    runs = {
        arm: [outcome.run.metrics for outcome in _outcomes(conclusion, result, arm) if outcome.run is not None]
        for arm in arms
    }
    every = [metrics for mine in runs.values() for metrics in mine]
    split = next((split for split in EPOCH_SPLITS if _has(every, f"{split}_accuracy")), "train")
    loss = next((split for split in ("test", "validation") if _has(every, f"{split}_loss")), "train")

    def draw(axes: Axes, column: str, scale: float) -> None:
        for arm in arms:
            if runs[arm]:
                _draw_band(axes, runs[arm], column, scale, colour_of(arms, arm), result.arms[arm].arm.label)
        finish_epochs(axes)

    caption = "Lines are means over seeds; bands reach from the lowest to the highest seed."
    panels = [Panel("Training loss", caption, lambda axes: draw(axes, "train_loss", 1))]
    if loss != "train":
        panels.append(Panel(f"{_SPLIT_TITLES[loss]} loss", caption, lambda axes: draw(axes, f"{loss}_loss", 1)))
    accuracy = Panel(f"{_SPLIT_TITLES[split]} accuracy, %", caption, lambda axes: draw(axes, f"{split}_accuracy", 100))
    return [*panels, accuracy]


def _outcomes(conclusion: Conclusion, result: SettingResult, arm: str) -> list[Outcome]:
    return [conclusion.outcomes[result.setting.name, arm, seed] for seed in conclusion.comparison.seeds]


def _has(runs: Sequence[Sequence[Mapping[str, Any]]], column: str) -> bool:
    return any(row.get(column) is not None for metrics in runs for row in metrics)


def _draw_band(
    axes: Axes, runs: Sequence[Sequence[Mapping[str, Any]]], column: str, scale: float, colour: str, label: str
) -> None:
    """Draw mean and range at each epoch, over the runs that have it."""
    values: dict[int, list[float]] = {}
    for row in (row for metrics in runs for row in metrics):
        if row.get(column) is not None:
            values.setdefault(int(row["epoch"]), []).append(scale * row[column])
    epochs = sorted(values)
    means = [float(np.mean(values[epoch])) for epoch in epochs]
    lows, highs = [min(values[epoch]) for epoch in epochs], [max(values[epoch]) for epoch in epochs]
    axes.fill_between(epochs, lows, highs, color=colour, alpha=0.2, linewidth=0)
    # A line of one epoch would be invisible without a marker.
    (line,) = axes.plot(epochs, means, color=colour, label=label, marker="o" if len(epochs) == 1 else None)
    set_hover(line, [counted(len(values[epoch]), "seed") for epoch in epochs])
