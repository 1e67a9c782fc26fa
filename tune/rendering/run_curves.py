"""Learning curves of one run: loss and accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tune.rendering.panels import Panel
from tune.rendering.style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
