"""The figure of a trade-off: validation accuracy against what an inference costs, with the Pareto front as steps.

Call `draw_trade_off` inside `tune.rendering.style.drawing(theme)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tune.rendering.hover_text import set_hover
from tune.rendering.labels import describe_trial, short_value
from tune.rendering.style import colour_of, drawing_ink, neurons_of, new_figure, set_title
from tune.search.pareto import OBJECTIVES, pareto_front
from tune.trials.trial_ranking import complete_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T, NEURON = "binning.timesteps", "neuron.name"
_ALWAYS = ("energy", "timesteps")
_LABELS = {
    "energy": "energy per inference, µJ (estimated by the rule of Table 6)",
    "timesteps": "T, time steps per inference",
    "firing-rate": "firing rate, spikes / (neurons × T × samples)",
    "activation-sparsity": "1 - activation sparsity, spikes / (neurons × T × samples)",
    "sparse-energy": "energy per inference, µJ (estimated, zero inputs cost nothing)",
    "memory-energy": "energy per inference, µJ (estimated, with memory accesses)",
    "effective-macs": "effective MACs per inference",
    "effective-acs": "effective ACs per inference",
    "connection-sparsity": "connection sparsity, share of weights that are 0",
    "footprint": "footprint, bytes of parameters and buffers",
}
# The size of a label, as fractions of the width and height of the axes.
_LABEL_WIDTH, _LABEL_HEIGHT = 0.11, 0.06

Rows = Sequence[dict[str, Any]]


def costs_of(rows: Rows, objectives: Sequence[str] = ()) -> list[str]:
    """The costs to draw, names in `tune.search.pareto.OBJECTIVES`: energy, T and the costs among the objectives.

    Complete rows differ in each of them, and all have it.
    """
    shown = [cost for cost in _LABELS if cost in _ALWAYS or cost in objectives]
    values = {cost: [row.get(OBJECTIVES[cost][0]) for row in complete_rows(rows)] for cost in shown}
    return [cost for cost, found in values.items() if None not in found and len(set(found)) > 1]


def draw_trade_off(rows: Rows, about: str, objectives: Sequence[str] = ()) -> Figure:
    """Draw validation accuracy against each cost: one point per complete trial, and a line along the Pareto front.

    Args:
        rows: As `tune.search.repeated_rows.group_rows` gives them; at least one cost must differ (`costs_of`).
        about: Data set and split, and whether the data are emulated; the heading of the figure.
        objectives: The objectives of the search, whose costs are drawn too.
    """
    done, costs = complete_rows(rows), costs_of(rows, objectives)
    neurons = neurons_of(rows)
    figure, panels = new_figure(max(5.2, 4.3 * len(costs)), 3.6, len(costs))
    for axes, cost in zip(panels, costs, strict=True):
        for neuron in neurons:
            own = [row for row in done if row[NEURON] == neuron]
            _draw_points(axes, own, OBJECTIVES[cost][0], colour_of(neurons, neuron), short_value(neuron))
        _draw_front(axes, pareto_front(done, ("accuracy", cost)), OBJECTIVES[cost][0], named=cost != "timesteps")
        axes.set_xlabel(_LABELS[cost])
    panels[0].set_ylabel("validation accuracy, %")
    # Above the axes, where it covers no point.
    panels[0].legend(labelcolor="linecolor", loc="lower left", bbox_to_anchor=(0, 1), ncols=len(neurons), borderpad=0)
    lines = f"lines: Pareto front of the {len(done)} complete trials{_spread(done)}"
    set_title(figure, f"{about}\n{lines}")
    return figure


def _spread(done: Rows) -> str:
    runs = max(row.get("runs") or 1 for row in done)
    return "" if runs == 1 else f"; means of {runs} seeds, bars: standard deviation"


def _draw_points(axes: Axes, rows: Rows, column: str, colour: str, label: str) -> None:
    places = [row[column] for row in rows], [100 * row["validation_accuracy"] for row in rows]
    dots = axes.scatter(*places, color=colour, s=30, alpha=0.75, linewidth=0, label=label)
    set_hover(dots, [describe_trial(row) for row in rows])
    spreads = [100 * (row.get("validation_accuracy_std") or 0.0) for row in rows]
    if any(spreads):
        axes.errorbar(*places, yerr=spreads, fmt="none", ecolor=colour, elinewidth=1.0, alpha=0.5)


def _draw_front(axes: Axes, front: Rows, column: str, *, named: bool) -> None:
    """Draw the front from the cheapest point on, and label each point with its T if there is room for the text."""
    from matplotlib.ticker import MaxNLocator

    front = sorted(front, key=lambda row: (row[column], row["validation_accuracy"]))
    places = [(row[column], 100 * row["validation_accuracy"]) for row in front]
    axes.margins(x=0.12, y=0.12)
    if axes.dataLim.x0 > 0 and axes.dataLim.x1 > 10 * axes.dataLim.x0:
        axes.set_xscale("log")
    # Every point below the line, up to the most expensive one, is dominated.
    line = [*places, (axes.dataLim.x1, places[-1][1])]
    axes.step([x for x, _ in line], [y for _, y in line], where="post", color=drawing_ink(), linewidth=1, zorder=1)
    if not named:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return
    # Axis limits are updated lazily; without this call, the positions below would refer to the empty axes.
    axes.autoscale_view()
    taken: list[tuple[float, float]] = []
    for row, place in zip(front, places, strict=True):
        x, y = axes.transAxes.inverted().transform(axes.transData.transform(place))
        # No point is to the upper left of a point of the front, so a label there covers no other point.
        if all(abs(x - a) > _LABEL_WIDTH or abs(y - b) > _LABEL_HEIGHT for a, b in taken):
            taken.append((x, y))
            axes.annotate(f"T={row[T]}", place, textcoords="offset points", xytext=(-4, 3), ha="right", fontsize=8)
