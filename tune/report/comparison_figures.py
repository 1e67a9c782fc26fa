"""A comparison's figures: learning curves, seeds and differences of a setting; axes, maps and forests of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tune.comparison import Outcome
from tune.comparison_axes import by_other_axes, number_axes
from tune.conclusion import Conclusion
from tune.drawing import PALETTE, PAPER, colour_of, drawing, new_figure, save, tell
from tune.report.figures import Panel, draw_panels, finish_epochs
from tune.results import short_name, short_value
from tune.statistics import t_interval
from tune.verdict import EPOCH_SPLITS, Difference, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Groups = Mapping[str, Sequence[Verdict]]
"""Settings that differ along the axes that are drawn alone, by what else they are."""
Line = tuple[str, str, list[list[float]]]
"""An arm's name, the line's label, and its values by seed at each place."""

_SPLIT_WORDS = {"validation": "Validation", "test": "Test", "train": "Training"}

def write_figures(conclusion: Conclusion, folder: Path) -> None:
    """Every figure as .svg and .png: what all settings show together, then each setting's own."""
    with drawing(PAPER):
        for name, figure in draw_overview(conclusion).items():
            save(figure, folder, name)
        for verdict in conclusion.verdicts:
            if verdict.test_samples is None:
                continue
            about = f"{verdict.about}{'; emulated data' if verdict.emulated else ''}"
            suffix = f"-{_file_word(verdict.setting.name)}" if verdict.setting.name else ""
            save(draw_panels(*learning_panels(conclusion, verdict), about=about), folder, f"learning-curves{suffix}")
            save(draw_panels(*difference_panels(verdict), about=about), folder, f"paired-differences{suffix}")


def _file_word(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)


def draw_overview(conclusion: Conclusion) -> dict[str, Figure]:
    """What several settings show together, by the file's name; call it inside `tune.drawing.drawing(theme)`."""
    if len(conclusion.verdicts) < 2 or not conclusion.tested:
        return {}
    figures = {"differences": draw_forest(conclusion)}
    axes = number_axes(conclusion)
    groups = by_other_axes(conclusion, axes)
    if len(axes) == 1:
        figures["accuracy"] = draw_lines(conclusion, groups, axes[0])
        figures["gap"] = draw_gap(conclusion, groups, axes[0])
    elif len(axes) == 2:
        for name, verdicts in groups.items():
            figures["-".join(filter(None, ("map", _file_word(name))))] = draw_maps(verdicts, axes, name)
    return figures


def draw_lines(conclusion: Conclusion, groups: Groups, axis: str) -> Figure:
    """Mean test accuracy over an axis, a line for each arm with its t-interval over seeds; a panel for each group."""

    def lines(places: Sequence[Verdict]) -> list[Line]:
        return [
            (arm.name, arm.label, [list(verdict.arms[arm.name].accuracy.values()) for verdict in places])
            for arm in conclusion.comparison.arms
        ]

    return _draw_over(conclusion, groups, axis, "test accuracy, %", lines)


def draw_gap(conclusion: Conclusion, groups: Groups, axis: str) -> Figure:
    """Each paired difference over an axis, with its t-interval; a panel for each group."""

    def lines(places: Sequence[Verdict]) -> list[Line]:
        return [
            (difference.arm.name, difference.label, [verdict.differences[k].values for verdict in places])
            for k, difference in enumerate(places[0].differences)
        ]

    figure = _draw_over(conclusion, groups, axis, "paired difference, points", lines)
    for axes in figure.axes:
        axes.axhline(0, color=PALETTE[-1], linewidth=1)
    return figure


def _draw_over(
    conclusion: Conclusion,
    groups: Groups,
    axis: str,
    quantity: str,
    lines: Callable[[Sequence[Verdict]], list[Line]],
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
    tell(line, [_seeds(len(values)) for _, values in there])


def draw_maps(verdicts: Sequence[Verdict], axes_names: Sequence[str], name: str) -> Figure:
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
    figure.suptitle(name or verdicts[0].about, x=0.01, ha="left", fontsize=10.5)
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


def draw_forest(conclusion: Conclusion) -> Figure:
    """Every paired difference, a line each: dots for seeds, the mean, its t-interval."""
    arms = [arm.name for arm in conclusion.comparison.arms]
    shown = [(verdict, difference) for verdict, difference in conclusion.differences if difference.by_seed]
    figure, (axes,) = new_figure(7.2, 1.0 + 0.34 * max(1, len(shown)))
    words = []
    for k, (verdict, difference) in enumerate(shown):
        _draw_difference(axes, k, difference, colour_of(arms, difference.arm.name))
        several = len(conclusion.comparison.arms) > 2
        words.append(f"{verdict.setting.name}: {difference.label}" if several else verdict.setting.name)
    axes.axvline(0, color=PALETTE[-1], linewidth=1)
    axes.set_yticks(range(len(shown)), words)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    label = "paired difference" if len(conclusion.comparison.arms) > 2 else conclusion.differences[0][1].label
    axes.set_xlabel(f"{label}, points")
    return figure


def learning_panels(conclusion: Conclusion, verdict: Verdict) -> list[Panel]:
    """Loss and accuracy by epoch: each arm's mean over seeds, and the band from lowest to highest."""
    arms = list(verdict.arms)
    runs = {
        arm: [outcome.run.metrics for outcome in _outcomes(conclusion, verdict, arm) if outcome.run is not None]
        for arm in arms
    }
    every = [metrics for mine in runs.values() for metrics in mine]
    split = next((split for split in EPOCH_SPLITS if _has(every, f"{split}_accuracy")), "train")
    loss = next((split for split in ("test", "validation") if _has(every, f"{split}_loss")), "train")

    def draw(axes: Axes, column: str, scale: float) -> None:
        for arm in arms:
            if runs[arm]:
                _draw_band(axes, runs[arm], column, scale, colour_of(arms, arm), verdict.arms[arm].arm.label)
        finish_epochs(axes)

    caption = "Lines are means over seeds; bands reach from the lowest to the highest seed."
    panels = [Panel("Training loss", caption, lambda axes: draw(axes, "train_loss", 1))]
    if loss != "train":
        panels.append(Panel(f"{_SPLIT_WORDS[loss]} loss", caption, lambda axes: draw(axes, f"{loss}_loss", 1)))
    accuracy = Panel(
        f"{_SPLIT_WORDS[split]} accuracy, %", caption, lambda axes: draw(axes, f"{split}_accuracy", 100)
    )
    return [*panels, accuracy]


def _outcomes(conclusion: Conclusion, verdict: Verdict, arm: str) -> list[Outcome]:
    return [conclusion.outcomes[verdict.setting.name, arm, seed] for seed in conclusion.comparison.seeds]


def _has(runs: Sequence[Sequence[Mapping[str, Any]]], column: str) -> bool:
    return any(row.get(column) is not None for metrics in runs for row in metrics)


def _draw_band(
    axes: Axes, runs: Sequence[Sequence[Mapping[str, Any]]], column: str, scale: float, colour: str, label: str
) -> None:
    """Mean and range, at each epoch, over the runs that have it."""
    values: dict[int, list[float]] = {}
    for row in (row for metrics in runs for row in metrics):
        if row.get(column) is not None:
            values.setdefault(int(row["epoch"]), []).append(scale * row[column])
    epochs = sorted(values)
    means = [float(np.mean(values[epoch])) for epoch in epochs]
    lows, highs = [min(values[epoch]) for epoch in epochs], [max(values[epoch]) for epoch in epochs]
    axes.fill_between(epochs, lows, highs, color=colour, alpha=0.2, linewidth=0)
    # A run of one epoch would draw no line at all.
    (line,) = axes.plot(epochs, means, color=colour, label=label, marker="o" if len(epochs) == 1 else None)
    tell(line, [_seeds(len(values[epoch])) for epoch in epochs])


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"


def difference_panels(verdict: Verdict) -> list[Panel]:
    """Test accuracy by arm with a line for each seed, and each paired difference with its mean and t-interval."""
    return [
        Panel("Test accuracy by seed, %", "Runs of one seed are joined.", lambda axes: _draw_seeds(axes, verdict)),
        Panel(
            "Paired difference, points",
            "Dots are seeds, the diamond is their mean, the bar its 95 % interval.",
            lambda axes: _draw_differences(axes, verdict),
        ),
    ]


def _draw_seeds(axes: Axes, verdict: Verdict) -> None:
    arms = list(verdict.arms)
    for seed in verdict.seeds:
        places = [k for k, arm in enumerate(arms) if seed in verdict.arms[arm].accuracy]
        values = [100 * verdict.arms[arms[k]].accuracy[seed] for k in places]
        axes.plot(places, values, color=PALETTE[-1], alpha=0.5, linewidth=1, zorder=1)
        axes.scatter(places, values, color=[colour_of(arms, arms[k]) for k in places], s=32, zorder=2)
    tilt: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if len(arms) > 4 else {}
    axes.set_xticks(range(len(arms)), [verdict.arms[arm].arm.label for arm in arms], **tilt)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    axes.grid(axis="x", visible=False)


def _draw_differences(axes: Axes, verdict: Verdict) -> None:
    arms = list(verdict.arms)
    for k, difference in enumerate(verdict.differences):
        if difference.by_seed:
            _draw_difference(axes, k, difference, colour_of(arms, difference.arm.name))
    axes.axvline(0, color=PALETTE[-1], linewidth=1)
    axes.set_yticks(range(len(verdict.differences)), [difference.label for difference in verdict.differences])
    axes.set_ylim(len(verdict.differences) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def _draw_difference(axes: Axes, k: int, difference: Difference, colour: str) -> None:
    """Dots for the seeds, and above them the mean with its interval."""
    values = 100 * np.array(difference.values)
    axes.scatter(values, np.full(len(values), k + 0.12), color=colour, s=28, alpha=0.6, linewidth=0)
    interval = t_interval(values.tolist())
    if interval is not None:
        axes.plot(interval, [k - 0.12, k - 0.12], color=colour, linewidth=3, solid_capstyle="butt", alpha=0.5)
    axes.scatter([values.mean()], [k - 0.12], color=colour, marker="D", s=44, zorder=3)
