"""Figures of all settings of a comparison together: accuracy and gap over an axis, maps over two axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tune.comparison.captions import about_figure
from tune.comparison.conclusions import Conclusion
from tune.comparison.figures.paired_differences import draw_forest, mean_text
from tune.comparison.setting_analysis import SettingResult
from tune.comparison.setting_axes import by_other_axes, in_order, map_axes, number_axes
from tune.rendering.hover_text import set_hover
from tune.rendering.labels import short_name, short_value
from tune.rendering.panels import set_about
from tune.rendering.style import PALETTE, colour_of, new_figure
from tune.stats.summary import t_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Groups = Mapping[str, Sequence[SettingResult]]
"""Settings that differ only along the drawn axes, by the values of their other axes."""
Line = tuple[str, str, list[list[float]]]
"""An arm's name, the line's label, and its values by seed in each setting."""


@dataclass(frozen=True)
class Overview:
    """A figure of several settings.

    Attributes:
        about: The data that it was measured on, and whether they are emulated.
        draw: Draws it in the current theme; its argument is `about` if the figure stands alone, "" on a page.
    """

    about: str
    draw: Callable[[str], Figure]


def file_part(name: str) -> str:
    """A setting's name as part of a file name."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)


def overview_figures(conclusion: Conclusion) -> dict[str, Overview]:
    """The figures of several settings together, by file name."""
    if len(conclusion.results) < 2 or not conclusion.tested:
        return {}
    about = about_figure(conclusion.results)
    figures = {"differences": Overview(about, partial(draw_forest, conclusion))}
    axes = number_axes(conclusion)
    groups = by_other_axes(conclusion, axes)
    if len(axes) == 1:
        figures["accuracy"] = Overview(about, partial(draw_lines, conclusion, groups, axes[0]))
        figures["gap"] = Overview(about, partial(draw_gap, conclusion, groups, axes[0]))
    if plane := map_axes(conclusion):
        for name, results in by_other_axes(conclusion, plane).items():
            key = "-".join(filter(None, ("map", file_part(name))))
            figures[key] = Overview(about_figure(results), partial(draw_maps, results, plane))
    return figures


def draw_lines(conclusion: Conclusion, groups: Groups, axis: str, about: str = "") -> Figure:
    """Mean test accuracy over an axis: a line for each arm with its t-interval over seeds, a panel for each group."""

    def lines(places: Sequence[SettingResult]) -> list[Line]:
        return [
            (arm.name, arm.label, [list(result.arms[arm.name].accuracy.values()) for result in places])
            for arm in conclusion.comparison.arms
        ]

    return _draw_over(conclusion, groups, axis, "test accuracy, %", lines, about)


def draw_gap(conclusion: Conclusion, groups: Groups, axis: str, about: str = "") -> Figure:
    """Each paired difference over an axis with its t-interval, a panel for each group."""

    def lines(places: Sequence[SettingResult]) -> list[Line]:
        return [
            (difference.arm.name, difference.label, [result.differences[k].values for result in places])
            for k, difference in enumerate(places[0].differences)
        ]

    figure = _draw_over(conclusion, groups, axis, "paired difference, percentage points", lines, about)
    for axes in figure.axes:
        axes.axhline(0, color=PALETTE[-1], linewidth=1)
    return figure


def _draw_over(
    conclusion: Conclusion,
    groups: Groups,
    axis: str,
    quantity: str,
    lines: Callable[[Sequence[SettingResult]], list[Line]],
    about: str,
) -> Figure:
    arms = [arm.name for arm in conclusion.comparison.arms]
    figure, panels = new_figure(4.6 * len(groups), 3.5, len(groups))
    for axes, (name, results) in zip(panels, groups.items(), strict=True):
        places = sorted(results, key=lambda result: result.setting.place[axis])
        values = [result.setting.place[axis] for result in places]
        for arm, label, by_place in lines(places):
            _draw_mean_line(axes, list(zip(values, by_place, strict=True)), colour_of(arms, arm), label)
        datasets = {result.dataset for result in places}
        # Along a lag each setting has another data set, which the axis shows.
        axes.set_title(name or (places[0].dataset if len(datasets) == 1 else ""))
        axes.set_xlabel(short_name(axis))
        _tick_values(axes, values)
    panels[0].set_ylabel(quantity)
    panels[0].legend(labelcolor="linecolor")
    set_about(figure, about)
    return figure


def _tick_values(axes: Axes, values: Sequence[float]) -> None:
    if min(values) > 0 and max(values) / min(values) >= 8:
        axes.set_xscale("log")
    axes.set_xticks(values, [short_value(value) for value in values])
    axes.minorticks_off()


def _draw_mean_line(axes: Axes, by_place: Sequence[tuple[float, list[float]]], colour: str, label: str) -> None:
    there = [(place, 100 * np.array(values)) for place, values in by_place if values]
    intervals = [(place, t_interval(values.tolist())) for place, values in there]
    spread = [(place, interval) for place, interval in intervals if interval is not None]
    if spread:
        lows, highs = [interval[0] for _, interval in spread], [interval[1] for _, interval in spread]
        axes.fill_between([place for place, _ in spread], lows, highs, color=colour, alpha=0.15, linewidth=0)
    means = [float(values.mean()) for _, values in there]
    (line,) = axes.plot([place for place, _ in there], means, color=colour, marker="o", label=label)
    set_hover(line, [mean_text(values.tolist()) for _, values in there])


def draw_maps(results: Sequence[SettingResult], axes_names: Sequence[str], about: str = "") -> Figure:
    """Mean test accuracy over two axes: a map for each arm on one scale, and a map of each difference."""
    down, across = axes_names
    rows = in_order(result.setting.place[down] for result in results)
    columns = in_order(result.setting.place[across] for result in results)
    cells = {(result.setting.place[down], result.setting.place[across]): result for result in results}
    arms, differences = list(results[0].arms), results[0].differences
    figure, panels = new_figure(3.6 * (len(arms) + len(differences)), 3.4, len(arms) + len(differences))

    def grid(read: Any) -> NDArray[np.float64]:
        return np.array([[read(cells[r, c]) if (r, c) in cells else np.nan for c in columns] for r in rows], float)

    maps = [grid(lambda result, arm=arm: _percent_mean(result.arms[arm].accuracy)) for arm in arms]
    low, high = np.nanmin(maps), max(np.nanmax(maps), np.nanmin(maps) + 0.1)
    for axes, arm, numbers in zip(panels, arms, maps, strict=False):
        _draw_map(axes, numbers, rows, columns, {"cmap": "viridis", "vmin": low, "vmax": high}, ".1f")
        axes.set_title(f"{results[0].arms[arm].arm.label}, %")
    for k, difference in enumerate(differences):
        numbers = grid(lambda result, k=k: _percent_mean(result.differences[k].by_seed))
        reach = max(float(np.nanmax(np.abs(numbers))), 0.1) if np.isfinite(numbers).any() else 0.1
        axes = panels[len(arms) + k]
        _draw_map(axes, numbers, rows, columns, {"cmap": "RdBu", "vmin": -reach, "vmax": reach}, "+.1f")
        axes.set_title(f"{difference.label}, percentage points")
    for axes in panels:
        axes.set_xlabel(short_name(across))
    panels[0].set_ylabel(short_name(down))
    set_about(figure, about)
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
        text = format(value, form).replace("-", "−")
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [short_value(value) for value in columns])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [short_value(value) for value in rows])
    axes.tick_params(length=0)
    axes.grid(visible=False)
