"""Paired differences: those of a setting by seed, and a forest plot of all settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocess.terminal.plural import counted
from tune.comparison.conclusions import Conclusion
from tune.comparison.setting_analysis import Difference, SettingResult
from tune.rendering.hover_text import set_hover
from tune.rendering.panels import Panel, set_about
from tune.rendering.style import PALETTE, colour_of, new_figure
from tune.rendering.table import number
from tune.stats.summary import t_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


def draw_forest(conclusion: Conclusion, about: str = "") -> Figure:
    """Every paired difference in a row: dots for seeds, a diamond for the mean, a bar for its t-interval."""
    arms = [arm.name for arm in conclusion.comparison.arms]
    several = len(arms) > 2
    shown = [(result, difference) for result, difference in conclusion.differences if difference.by_seed]
    figure, (axes,) = new_figure(7.2, 1.0 + 0.34 * max(1, len(shown)) + 0.3 * bool(about))
    rows = [
        f"{result.setting.name}: {difference.label}" if several else result.setting.name for result, difference in shown
    ]
    for k, (_, difference) in enumerate(shown):
        draw_difference(axes, k, difference, colour_of(arms, difference.arm.name), rows[k])
    axes.axvline(0, color=PALETTE[-1], linewidth=1)
    axes.set_yticks(range(len(shown)), rows)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    label = "paired difference" if several else conclusion.differences[0][1].label
    axes.set_xlabel(f"{label}, percentage points")
    set_about(figure, about)
    return figure


def draw_difference(axes: Axes, k: int, difference: Difference, colour: str, row: str) -> None:
    """Draw dots for the seeds, and above them the mean with its interval.

    Args:
        axes: The axes.
        k: The row's position.
        difference: The difference.
        colour: The colour of all of its marks.
        row: The row's name.
    """
    values = 100 * np.array(difference.values)
    dots = axes.scatter(values, np.full(len(values), k + 0.12), color=colour, s=28, alpha=0.6, linewidth=0)
    set_hover(dots, [f"seed {seed}" for seed in difference.by_seed], row)
    interval = t_interval(values.tolist())
    if interval is not None:
        axes.plot(interval, [k - 0.12, k - 0.12], color=colour, linewidth=3, solid_capstyle="butt", alpha=0.5)
    mean = axes.scatter([values.mean()], [k - 0.12], color=colour, marker="D", s=44, zorder=3)
    set_hover(mean, [f"mean of {mean_text(values.tolist())}"], row)


def mean_text(values: Sequence[float]) -> str:
    """The number of seeds, and the interval of their mean if there is one."""
    interval = t_interval(values)
    ends = "" if interval is None else f", 95 % interval {' to '.join(number(end, '.1f') for end in interval)}"
    return f"{counted(len(values), 'seed')}{ends}"
