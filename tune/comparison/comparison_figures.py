"""A comparison's figures as files, and the panels of one setting: learning curves, seeds and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocess.terminal.plural import counted
from tune.comparison.captions import about_figure
from tune.comparison.comparison_plan import Outcome
from tune.comparison.conclusions import Conclusion
from tune.comparison.convergence.run_convergence import EPOCH_SPLITS
from tune.comparison.overview_figures import draw_difference, file_part, overview_figures
from tune.comparison.setting_analysis import SettingResult
from tune.rendering.hover_text import set_hover
from tune.rendering.learning_curves import finish_epochs
from tune.rendering.panels import Panel, draw_panels
from tune.rendering.style import PALETTE, PAPER, colour_of, drawing, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPLIT_TITLES = {"validation": "Validation", "test": "Test", "train": "Training"}


def write_figures(conclusion: Conclusion, folder: Path) -> None:
    """Write every figure as .svg and .png: those of all settings together, then those of each setting."""
    with drawing(PAPER):
        for name, overview in overview_figures(conclusion).items():
            save(overview.draw(overview.about), folder, name)
        for result in conclusion.results:
            if result.test_samples is None:
                continue
            about = about_figure([result])
            suffix = f"-{file_part(result.setting.name)}" if result.setting.name else ""
            save(draw_panels(*learning_panels(conclusion, result), about=about), folder, f"learning-curves{suffix}")
            save(draw_panels(*difference_panels(result), about=about), folder, f"paired-differences{suffix}")


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


def difference_panels(result: SettingResult) -> list[Panel]:
    """Test accuracy by arm with one line per seed, and each paired difference with its mean and t-interval."""
    return [
        Panel("Test accuracy by seed, %", "Lines join the runs of one seed.", lambda axes: _draw_seeds(axes, result)),
        Panel(
            "Paired difference, percentage points",
            "Dots are seeds, the diamond is their mean, the bar its 95 % interval.",
            lambda axes: _draw_differences(axes, result),
        ),
    ]


def _draw_seeds(axes: Axes, result: SettingResult) -> None:
    arms = list(result.arms)
    for seed in result.seeds:
        places = [k for k, arm in enumerate(arms) if seed in result.arms[arm].accuracy]
        values = [100 * result.arms[arms[k]].accuracy[seed] for k in places]
        axes.plot(places, values, color=PALETTE[-1], alpha=0.5, linewidth=1, zorder=1)
        dots = axes.scatter(places, values, color=[colour_of(arms, arms[k]) for k in places], s=32, zorder=2)
        set_hover(dots, [f"seed {seed}"] * len(places))
    tilt: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if len(arms) > 4 else {}
    axes.set_xticks(range(len(arms)), [result.arms[arm].arm.label for arm in arms], **tilt)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    axes.grid(axis="x", visible=False)


def _draw_differences(axes: Axes, result: SettingResult) -> None:
    arms = list(result.arms)
    for k, difference in enumerate(result.differences):
        if difference.by_seed:
            draw_difference(axes, k, difference, colour_of(arms, difference.arm.name), difference.label)
    axes.axvline(0, color=PALETTE[-1], linewidth=1)
    axes.set_yticks(range(len(result.differences)), [difference.label for difference in result.differences])
    axes.set_ylim(len(result.differences) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
