"""What the settings of a comparison show together: accuracy and gap over an axis, maps over two, and forests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tune.comparison.axes import by_other_axes, number_axes
from tune.comparison.captions import about_figure
from tune.comparison.conclusions import Conclusion
from tune.comparison.setting_analysis import Difference, Verdict
from tune.rendering.labels import short_name, short_value
from tune.rendering.panels import head_about
from tune.rendering.style import PALETTE, colour_of, new_figure, tell
from tune.rendering.table import number
from tune.stats.summary import t_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Groups = Mapping[str, Sequence[Verdict]]
"""Settings that differ along the axes that are drawn alone, by what else they are."""
Line = tuple[str, str, list[list[float]]]
"""An arm's name, the line's label, and its values by seed at each place."""


@dataclass(frozen=True)
class Overview:
    """A figure of several settings.

    Attributes:
        about: What it was measured on, and that data are emulated where they are.
        draw: Draws it under the theme that is on; given `about` where the figure stands alone, "" on a page.
    """

    about: str
    draw: Callable[[str], Figure]


def file_word(name: str) -> str:
    """A setting's name as a part of a file's."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)


def overview_figures(conclusion: Conclusion) -> dict[str, Overview]:
    """What several settings show together, by the file's name."""
    if len(conclusion.verdicts) < 2 or not conclusion.tested:
        return {}
    about = about_figure(conclusion.verdicts)
    figures = {"differences": Overview(about, partial(draw_forest, conclusion))}
    axes = number_axes(conclusion)
    groups = by_other_axes(conclusion, axes)
    if len(axes) == 1:
        figures["accuracy"] = Overview(about, partial(draw_lines, conclusion, groups, axes[0]))
        figures["gap"] = Overview(about, partial(draw_gap, conclusion, groups, axes[0]))
    elif len(axes) == 2:
        for name, verdicts in groups.items():
            key = "-".join(filter(None, ("map", file_word(name))))
            figures[key] = Overview(about_figure(verdicts), partial(draw_maps, verdicts, axes))
    return figures


def draw_lines(conclusion: Conclusion, groups: Groups, axis: str, about: str = "") -> Figure:
    """Mean test accuracy over an axis, a line for each arm with its t-interval over seeds; a panel for each group."""

    def lines(places: Sequence[Verdict]) -> list[Line]:
        return [
            (arm.name, arm.label, [list(verdict.arms[arm.name].accuracy.values()) for verdict in places])
            for arm in conclusion.comparison.arms
        ]

    return _draw_over(conclusion, groups, axis, "test accuracy, %", lines, about)


def draw_gap(conclusion: Conclusion, groups: Groups, axis: str, about: str = "") -> Figure:
    """Each paired difference over an axis, with its t-interval; a panel for each group."""

    def lines(places: Sequence[Verdict]) -> list[Line]:
        return [
            (difference.arm.name, difference.label, [verdict.differences[k].values for verdict in places])
            for k, difference in enumerate(places[0].differences)
        ]

    figure = _draw_over(conclusion, groups, axis, "paired difference, points", lines, about)
    for axes in figure.axes:
        axes.axhline(0, color=PALETTE[-1], linewidth=1)
    return figure


def _draw_over(
    conclusion: Conclusion,
    groups: Groups,
    axis: str,
    quantity: str,
    lines: Callable[[Sequence[Verdict]], list[Line]],
    about: str,
) -> Figure:
    arms = [arm.name for arm in conclusion.comparison.arms]
    figure, panels = new_figure(4.6 * len(groups), 3.5, len(groups))
    for axes, (name, verdicts) in zip(panels, groups.items(), strict=True):
        places = sorted(verdicts, key=lambda verdict: verdict.setting.place[axis])
        values = [verdict.setting.place[axis] for verdict in places]
        for arm, label, by_place in lines(places):
            _draw_mean_line(axes, list(zip(values, by_place, strict=True)), colour_of(arms, arm), label)
        datasets = {verdict.dataset for verdict in places}
        # Along a lag each place is another data set, and the axis says which.
        axes.set_title(name or (places[0].dataset if len(datasets) == 1 else ""))
        axes.set_xlabel(short_name(axis))
        _tick_values(axes, values)
    panels[0].set_ylabel(quantity)
    panels[0].legend(labelcolor="linecolor")
    head_about(figure, about)
    return figure


def _tick_values(axes: Axes, values: Sequence[float]) -> None:
    if min(values) > 0 and max(values) / min(values) >= 8:
        axes.set_xscale("log")
    axes.set_xticks(values, [short_value(value) for value in values])
    axes.minorticks_off()


def _draw_mean_line(axes: Axes, held: Sequence[tuple[float, list[float]]], colour: str, label: str) -> None:
    there = [(place, 100 * np.array(values)) for place, values in held if values]
    intervals = [(place, t_interval(values.tolist())) for place, values in there]
    spread = [(place, interval) for place, interval in intervals if interval is not None]
    if spread:
        lows, highs = [interval[0] for _, interval in spread], [interval[1] for _, interval in spread]
        axes.fill_between([place for place, _ in spread], lows, highs, color=colour, alpha=0.15, linewidth=0)
    means = [float(values.mean()) for _, values in there]
    (line,) = axes.plot([place for place, _ in there], means, color=colour, marker="o", label=label)
    tell(line, [_sure_words(values.tolist()) for _, values in there])


def draw_maps(verdicts: Sequence[Verdict], axes_names: Sequence[str], about: str = "") -> Figure:
    """Mean test accuracy over two axes, a map for each arm on one scale, and a map of each difference."""
    down, across = axes_names
    rows = sorted({verdict.setting.place[down] for verdict in verdicts})
    columns = sorted({verdict.setting.place[across] for verdict in verdicts})
    cells = {(verdict.setting.place[down], verdict.setting.place[across]): verdict for verdict in verdicts}
    arms, differences = list(verdicts[0].arms), verdicts[0].differences
    figure, panels = new_figure(3.6 * (len(arms) + len(differences)), 3.4, len(arms) + len(differences))

    def grid(read: Any) -> NDArray[np.float64]:
        return np.array([[read(cells[r, c]) if (r, c) in cells else np.nan for c in columns] for r in rows], float)

    maps = [grid(lambda verdict, arm=arm: _percent_mean(verdict.arms[arm].accuracy)) for arm in arms]
    low, high = np.nanmin(maps), max(np.nanmax(maps), np.nanmin(maps) + 0.1)
    for axes, arm, numbers in zip(panels, arms, maps, strict=False):
        _draw_map(axes, numbers, rows, columns, {"cmap": "viridis", "vmin": low, "vmax": high}, ".1f")
        axes.set_title(f"{verdicts[0].arms[arm].arm.label}, %")
    for k, difference in enumerate(differences):
        numbers = grid(lambda verdict, k=k: _percent_mean(verdict.differences[k].by_seed))
        reach = max(float(np.nanmax(np.abs(numbers))), 0.1) if np.isfinite(numbers).any() else 0.1
        axes = panels[len(arms) + k]
        _draw_map(axes, numbers, rows, columns, {"cmap": "RdBu", "vmin": -reach, "vmax": reach}, "+.1f")
        axes.set_title(f"{difference.label}, points")
    for axes in panels:
        axes.set_xlabel(short_name(across))
    panels[0].set_ylabel(short_name(down))
    head_about(figure, about)
    return figure


def _percent_mean(by_seed: Mapping[int, float]) -> float:
    return 100 * float(np.mean(list(by_seed.values()))) if by_seed else float("nan")


def _draw_map(
    axes: Axes,
    numbers: NDArray[np.float64],
    rows: Sequence[Any],
    columns: Sequence[Any],
    scale: dict[str, Any],
    form: str,
) -> None:
    mesh = axes.pcolormesh(np.ma.masked_invalid(numbers), linewidth=0, **scale)
    for (row, column), value in np.ndenumerate(numbers):
        if not np.isfinite(value):
            axes.text(column + 0.5, row + 0.5, "missing", ha="center", va="center", fontsize=7)
            continue
        red, green, blue, _ = mesh.to_rgba(np.array([value]))[0]
        colour = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        words = format(value, form).replace("-", "−")
        axes.text(column + 0.5, row + 0.5, words, ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [short_value(value) for value in columns])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [short_value(value) for value in rows])
    axes.tick_params(length=0)
    axes.grid(visible=False)


def draw_forest(conclusion: Conclusion, about: str = "") -> Figure:
    """Every paired difference, a line each: dots for seeds, the mean, its t-interval."""
    arms = [arm.name for arm in conclusion.comparison.arms]
    several = len(arms) > 2
    shown = [(verdict, difference) for verdict, difference in conclusion.differences if difference.by_seed]
    figure, (axes,) = new_figure(7.2, 1.0 + 0.34 * max(1, len(shown)) + 0.3 * bool(about))
    words = [
        f"{verdict.setting.name}: {difference.label}" if several else verdict.setting.name
        for verdict, difference in shown
    ]
    for k, (_, difference) in enumerate(shown):
        draw_difference(axes, k, difference, colour_of(arms, difference.arm.name), words[k])
    axes.axvline(0, color=PALETTE[-1], linewidth=1)
    axes.set_yticks(range(len(shown)), words)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    label = "paired difference" if several else conclusion.differences[0][1].label
    axes.set_xlabel(f"{label}, points")
    head_about(figure, about)
    return figure


def draw_difference(axes: Axes, k: int, difference: Difference, colour: str, row: str) -> None:
    """Dots for the seeds, and above them the mean with its interval.

    Args:
        axes: Where.
        k: The row's place.
        difference: What.
        colour: Of all of its marks.
        row: What the row is called.
    """
    values = 100 * np.array(difference.values)
    dots = axes.scatter(values, np.full(len(values), k + 0.12), color=colour, s=28, alpha=0.6, linewidth=0)
    tell(dots, [f"seed {seed}" for seed in difference.by_seed], row)
    interval = t_interval(values.tolist())
    if interval is not None:
        axes.plot(interval, [k - 0.12, k - 0.12], color=colour, linewidth=3, solid_capstyle="butt", alpha=0.5)
    mean = axes.scatter([values.mean()], [k - 0.12], color=colour, marker="D", s=44, zorder=3)
    tell(mean, [f"mean of {_sure_words(values.tolist())}"], row)


def _sure_words(values: Sequence[float]) -> str:
    """How many seeds, and the interval of their mean where there is one."""
    interval = t_interval(values)
    ends = "" if interval is None else f", 95 % interval {' to '.join(number(end, '.1f') for end in interval)}"
    return f"{seeds_words(len(values))}{ends}"


def seeds_words(count: int, word: str = "seed") -> str:
    """1 seed, 2 seeds."""
    return f"{count} {word}{'' if count == 1 else 's'}"
