"""Panels of figures: each is drawn on its own axes, alone on a page or side by side in a file."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune.rendering.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Font size, in points, of the line on the data; a letter of the widest usual font takes about 60 % of it.
_ABOUT_SIZE = 9
_LETTERS_PER_INCH = 72 / (0.6 * _ABOUT_SIZE)


@dataclass(frozen=True)
class Panel:
    """One plot: its title, its caption, the function that draws it, and its size in inches."""

    title: str
    caption: str
    draw: Callable[[Axes], None]
    width: float = 4.6
    height: float = 3.2


def draw_panels(*panels: Panel, about: str = "", columns: int | None = None) -> Figure:
    """A figure of panels side by side; call it within `tune.rendering.style.drawing(theme)`.

    Args:
        *panels: From left to right, in rows from top to bottom.
        about: For a figure that stands alone: the data that it was measured on, shown above the panels and titles.
        columns: Maximum number of panels in a row; all are in one row if None.
    """
    columns = len(panels) if columns is None else min(columns, len(panels))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    width = max(sum(panel.width for panel in row) for row in rows)
    height = sum(max(panel.height for panel in row) for row in rows)
    figure, every_axes = new_figure(width, height, columns, len(rows))
    for axes in every_axes[len(panels) :]:
        axes.remove()
    for axes, panel in zip(every_axes, panels, strict=False):
        panel.draw(axes)
        if about:
            axes.set_title(panel.title)
    set_about(figure, about)
    return figure


def set_about(figure: Figure, about: str) -> None:
    """Write the data that a figure was measured on above all of its axes, wrapped to its width."""
    if about:
        width = int(_LETTERS_PER_INCH * figure.get_figwidth())
        lines = textwrap.wrap(about, width, break_on_hyphens=False)
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=_ABOUT_SIZE)
