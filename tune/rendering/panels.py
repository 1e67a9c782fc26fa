"""Panels of runs: each is drawn on its own axes, alone on a page or side by side in a file."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tune.rendering.style import PALETTE, colour_of, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LABELLED_CLASSES = 20
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


def draw_panels(*panels: Panel, about: str = "") -> Figure:
    """A figure of panels side by side; call it within `tune.rendering.style.drawing(theme)`.

    Args:
        *panels: From left to right.
        about: For a figure that stands alone: the data that it was measured on, shown above the panels and titles.
    """
    width, height = sum(panel.width for panel in panels), max(panel.height for panel in panels)
    figure, every_axes = new_figure(width, height, len(panels))
    for axes, panel in zip(every_axes, panels, strict=True):
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


def run_panels(metrics: Sequence[Mapping[str, Any]], chosen_epoch: int | None) -> list[Panel]:
    """Loss and accuracy of one run by epoch, on every split that was measured, with the selected epoch."""

    def draw(axes: Axes, quantity: str, scale: float) -> None:
        for k, split in enumerate(("train", "validation", "test")):
            column = f"{split}_{quantity}"
            rows = [row for row in metrics if row.get(column) is not None]
            if rows:
                marker = "o" if len(rows) == 1 else None
                values = [scale * row[column] for row in rows]
                axes.plot([row["epoch"] for row in rows], values, color=PALETTE[k], label=split, marker=marker)
        if chosen_epoch is not None:
            axes.axvline(chosen_epoch, color=PALETTE[-1], linewidth=1, linestyle=":", label="selected epoch")
        finish_epochs(axes)

    caption = "The run is not finished." if chosen_epoch is None else "Dotted: the selected epoch."
    return [
        Panel("Loss", caption, lambda axes: draw(axes, "loss", 1)),
        Panel("Accuracy, %", caption, lambda axes: draw(axes, "accuracy", 100)),
    ]


def finish_epochs(axes: Axes) -> None:
    """Label the axis of epochs with integers, and add a legend if any line has a label."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", labelcolor="linecolor")


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


def short_layer(name: str) -> str:
    """A spiking layer's name without its common ending."""
    return name.removesuffix(".neuron")


def rates_panel(caption: str, rates: Mapping[str, Mapping[str, float]]) -> Panel:
    """Firing rate by spiking layer, with one line per named network."""
    layers = list(dict.fromkeys(layer for by_layer in rates.values() for layer in by_layer))

    def draw(axes: Axes) -> None:
        for name, by_layer in rates.items():
            places = [k for k, layer in enumerate(layers) if layer in by_layer]
            values = [by_layer[layers[k]] for k in places]
            axes.plot(places, values, color=colour_of(list(rates), name), marker="o", label=name)
        names = [short_layer(layer) for layer in layers]
        axes.set_xticks(range(len(layers)), names, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("firing rate")
        if len(rates) > 1:
            axes.legend(labelcolor="linecolor")

    return Panel("Firing rate by layer", f"Spikes / (neurons × T × samples). {caption}", draw)
