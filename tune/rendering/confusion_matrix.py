"""The figure of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tune.rendering.panels import Panel
from tune.rendering.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LABELLED_CLASSES = 20


def confusion_panel(title: str, caption: str, confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Panel:
    """The confusion matrix: true classes in rows, predicted ones in columns, shaded by the share of the row."""
    counts = np.asarray(confusion, float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)

    def draw(axes: Axes) -> None:
        from matplotlib.colors import ListedColormap

        # One colour with the share as opacity, so that empty cells show the page's background, light or dark.
        axes.pcolormesh(counts, alpha=shares, cmap=ListedColormap([PALETTE[0]]), label="test samples")
        if len(classes) <= _MOST_LABELLED_CLASSES:
            places = np.arange(len(classes)) + 0.5
            for row, column in np.argwhere(counts > 0):
                count = f"{counts[row, column]:.0f}"
                axes.text(column + 0.5, row + 0.5, count, ha="center", va="center_baseline", fontsize=8)
            axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(places, classes)
        axes.tick_params(length=0)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.grid(visible=False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("label")

    side = min(8.0, 2.6 + 0.26 * len(classes))
    return Panel(title, caption, draw, side * 1.1, side)
