"""The figures of a search; call the drawing functions inside `tune.rendering.style.drawing(theme)`.

Only complete trials are shown: the accuracy of a trial that was stopped early is not comparable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune.rendering.hover_text import set_hover
from tune.rendering.labels import describe_trial, short_name, short_value
from tune.rendering.style import PAPER, colour_of, drawing, neurons_of, new_figure, save, set_title
from tune.search.trade_off_figure import costs_of, draw_trade_off
from tune.trials.trial_ranking import complete_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T, TAU, NEURON = "binning.timesteps", "neuron.tau", "neuron.name"

# A field with more values than this was drawn from a range: points without a line, no cells.
_FEW = 10
_PANELS = 4
# Light to dark, readable in grey; text on a cell is white from the middle on.
_COLOURS = "viridis"

Rows = Sequence[dict[str, Any]]


def write_figures(folder: Path, rows: Rows, fields: Sequence[str], about: str, objectives: Sequence[str] = ()) -> None:
    """Write accuracy.svg/.png, tau-timesteps if T and tau are searched, and pareto if a cost varies.

    Nothing is written if no trial is complete.

    Args:
        folder: ``figures`` of the search.
        rows: As `tune.search.repeated_rows.group_rows` gives them, with the columns T, tau and neuron.
        fields: The searched field paths.
        about: Data set and split, and whether the data are emulated; the heading of the figures.
        objectives: The objectives of the search.
    """
    if not complete_rows(rows):
        return
    with drawing(PAPER):
        save(draw_accuracy(rows, fields, about), folder, "accuracy")
        if T in fields and TAU in fields:
            save(draw_heat_map(rows, about), folder, "tau-timesteps")
        if costs_of(rows, objectives):
            save(draw_trade_off(rows, about, objectives), folder, "pareto")


def draw_accuracy(rows: Rows, fields: Sequence[str], about: str) -> Figure:
    """Draw validation accuracy over T and each other searched field: complete trials, and a line along the best."""
    paths = [path for path in dict.fromkeys((T, *fields)) if path not in (NEURON, "seed")][:_PANELS]
    neurons = neurons_of(rows)
    figure, panels = new_figure(max(5.8, 3.6 * len(paths)), 3.5, len(paths))
    done = complete_rows(rows)
    for axes, path in zip(panels, paths, strict=True):
        for neuron in neurons:
            points = [row for row in done if row[NEURON] == neuron]
            _draw_points(axes, points, path, _values(done, path), colour_of(neurons, neuron), short_value(neuron))
        axes.set_xlabel(short_name(path))
    panels[0].set_ylabel("validation accuracy, %")
    # Above the axes, where it covers no point.
    panels[0].legend(labelcolor="linecolor", loc="lower left", bbox_to_anchor=(0, 1), ncols=len(neurons), borderpad=0)
    runs = max(row.get("runs") or 1 for row in done)
    what = "trials" if runs == 1 else f"configurations, means of {runs} seeds"
    bars = "" if runs == 1 else ", bars: standard deviation"
    set_title(figure, f"{about}\n{len(done)} complete of {len(rows)} {what}; lines: the best{bars}")
    return figure


def _values(rows: Rows, path: str) -> list[Any]:
    """The distinct values of a field: numbers in increasing order, then texts and none in order of occurrence."""
    values = dict.fromkeys(row[path] for row in rows)
    return sorted(values, key=lambda value: (not _is_number(value), value if _is_number(value) else 0))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _draw_points(axes: Axes, points: Rows, path: str, values: list[Any], colour: str, label: str) -> None:
    few = len(values) <= _FEW
    # Few values are evenly spaced categories; many are placed on their numeric scale.
    places = {value: float(k) if few else float(value) for k, value in enumerate(values) if few or _is_number(value)}
    shown = [row for row in points if row[path] in places]
    dots = axes.scatter(
        [places[row[path]] for row in shown],
        [100 * row["validation_accuracy"] for row in shown],
        color=colour,
        alpha=0.55,
        s=26,
        linewidth=0,
        # One entry in the legend: that of the line, if there is one.
        label=f"_{label}" if few else label,
    )
    set_hover(dots, [describe_trial(row) for row in shown])
    spreads = [100 * (row.get("validation_accuracy_std") or 0.0) for row in shown]
    if any(spreads):
        where = [places[row[path]] for row in shown], [100 * row["validation_accuracy"] for row in shown]
        axes.errorbar(*where, yerr=spreads, fmt="none", ecolor=colour, elinewidth=1.0, alpha=0.4)
    if few:
        tops = [(places[value], top) for value in values if (top := _best(shown, path, value)) is not None]
        axes.plot([place for place, _ in tops], [top for _, top in tops], color=colour, label=label)
        axes.set_xticks(range(len(values)), [short_value(value) for value in values])
        axes.set_xlim(-0.4, len(values) - 0.6)
    elif values[0] > 0 and max(places) / values[0] > 20:
        _use_log_scale(axes)


def _use_log_scale(axes: Axes) -> None:
    """Use a logarithmic x axis with few plain numbers, because powers of ten would overlap."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _best(rows: Rows, path: str, value: Any) -> float | None:
    """The best validation accuracy, per cent, of the rows with this value."""
    return max((100 * row["validation_accuracy"] for row in rows if row[path] == value), default=None)


def draw_heat_map(rows: Rows, about: str) -> Figure:
    """Draw the best validation accuracy of each pair of tau and T, with a panel for each neuron."""
    neurons = neurons_of(rows)
    steps, taus = _values(rows, T), _values(rows, TAU)
    figure, panels = new_figure(max(4.6, 3.7 * len(neurons)), 3.5, len(neurons))
    scores = [100 * row["validation_accuracy"] for row in complete_rows(rows)]
    scale = {"cmap": _COLOURS, "vmin": min(scores), "vmax": max(max(scores), min(scores) + 0.1)}
    image: Any = None
    for axes, neuron in zip(panels, neurons, strict=True):
        own = [row for row in rows if row[NEURON] == neuron]
        if max(len(steps), len(taus)) <= _FEW:
            image = _draw_cells(axes, own, steps, taus, scale)
        else:
            done = complete_rows(own)
            colours = [100 * row["validation_accuracy"] for row in done]
            image = axes.scatter([row[T] for row in done], [row[TAU] for row in done], c=colours, s=70, **scale)
            set_hover(image, [describe_trial(row) for row in done])
            if len(steps) <= _FEW:
                axes.set_xticks(steps)
            axes.set_ylim(taus[0] - 0.1, taus[-1] + 0.1)
        axes.set_title(short_value(neuron))
        axes.set_xlabel(short_name(T))
    panels[0].set_ylabel(short_name(TAU))
    figure.colorbar(image, ax=list(panels), label="best validation accuracy, %")
    set_title(figure, about)
    return figure


def _draw_cells(axes: Axes, rows: Rows, steps: list[Any], taus: list[Any], scale: dict[str, Any]) -> Any:
    done = complete_rows(rows)
    cells = [[_best([row for row in done if row[T] == t], TAU, tau) for t in steps] for tau in taus]
    numbers = [[math.nan if cell is None else cell for cell in line] for line in cells]
    image = axes.pcolormesh(numbers, edgecolors="none", linewidth=0, **scale)
    middle = (scale["vmin"] + scale["vmax"]) / 2
    for y, tau in enumerate(taus):
        for x, t in enumerate(steps):
            cell = cells[y][x]
            if cell is None:
                axes.text(x + 0.5, y + 0.5, _why_empty(rows, t, tau), ha="center", va="center", fontsize=7)
            else:
                colour = "black" if cell > middle else "white"
                axes.text(x + 0.5, y + 0.5, f"{cell:.1f}", ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks([k + 0.5 for k in range(len(steps))], [short_value(t) for t in steps])
    axes.set_yticks([k + 0.5 for k in range(len(taus))], [short_value(tau) for tau in taus])
    axes.grid(visible=False)
    return image


def _why_empty(rows: Rows, t: Any, tau: Any) -> str:
    """The statuses of the trials of a cell in which none is complete."""
    return ", ".join(dict.fromkeys(row["status"] for row in rows if row[T] == t and row[TAU] == tau))
