"""Pictures of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.tables import data_name


def draw_confusion(path: Path, result: dict[str, Any]) -> None:
    """Draw the confusion matrix of a result: shades are shares of a row's label, numbers are samples.

    Args:
        path: A picture's name with an ending that matplotlib knows, such as .png.
        result: With `confusion`, `classes`, `test_accuracy`, `test_samples`, `dataset` and `emulated`.
    """
    from matplotlib.figure import Figure

    counts = np.array(result["confusion"])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.45 * len(counts) + 2.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    ticks = range(len(counts))
    axes.set_xticks(ticks, result["classes"], rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, result["classes"])
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    # Beyond some forty classes numbers would not be readable.
    if len(counts) <= 40:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 0.6 else "black"
            number = str(counts[row, column])
            axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    accuracy = f"{100 * result['test_accuracy']:.2f} % of {result['test_samples']} test samples"
    axes.set_title(f"{data_name(result)}: {accuracy}", fontsize=10)
    figure.savefig(path, dpi=120)
