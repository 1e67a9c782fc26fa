"""A figure with a line for each layer over the time steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tune.rendering.style import colour_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def time_step_lines(
    lines: Mapping[str, Sequence[float]], label: str, reference: float | None = None
) -> Callable[[Axes], None]:
    """A function that draws the values of each layer at t = 1 .. T, from 0 on.

    Args:
        lines: The values by the name of the layer.
        label: What the values are, with their unit.
        reference: The value of a dashed line to compare with.
    """
    names = list(lines)

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        if reference is not None:
            axes.axhline(reference, color="grey", linewidth=0.8, linestyle="--")
        for name, values in lines.items():
            places = range(1, len(values) + 1)
            axes.plot(places, values, color=colour_of(names, name), marker="o", markersize=4, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        # Room for the legend above the lines.
        highest = max([reference or 0.0, *(max(values, default=0.0) for values in lines.values())])
        axes.set_ylim(0, 1.35 * highest or 1.0)
        axes.set_xlabel("time step")
        axes.set_ylabel(label)
        axes.legend(labelcolor="linecolor", fontsize=8)

    return draw
