"""Figures of one run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.commands.tables import data_name
from pipeline.runs.result_json import EvaluationJson


def draw_confusion(path: Path, result: EvaluationJson) -> None:
    """Draw the confusion matrix of a result: colours are fractions of each row, numbers are samples.

    Args:
        path: Path of the image, with a suffix that matplotlib supports, such as .png.
        result: A result with `confusion`, `classes`, `test_accuracy`, `test_samples`, `dataset` and `emulated`.
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
    # With more than about forty classes, numbers would not be readable.
    if len(counts) <= 40:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 0.6 else "black"
            number = str(counts[row, column])
            axes.text(column, row, number, ha="center", va="center", color=colour, fontsize=8)
    accuracy = f"{100 * result['test_accuracy']:.2f} % of {result['test_samples']} test samples"
    axes.set_title(f"{data_name(result)}: {accuracy}", fontsize=10)
    figure.savefig(path, dpi=120)


def draw_latency(path: Path, result: EvaluationJson) -> bool:
    """Draw the accuracy after the first t time steps, and at other T if they were evaluated.

    Args:
        path: Path of the image, with a suffix that matplotlib supports, such as .png.
        result: A result with `latency_curve`, `test_samples`, `timesteps`, `dataset`, `emulated`, and if available
            `accuracy_by_timesteps`.

    Returns:
        Whether a figure was drawn. If there is nothing to draw, the figure of an earlier evaluation is deleted.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from pipeline.evaluation.wilson_interval import accuracy_interval

    curve, others = result["latency_curve"], result.get("accuracy_by_timesteps")
    if curve is None and others is None:
        path.unlink(missing_ok=True)
        return False
    samples = result["test_samples"]

    def bounds(accuracies: list[float]) -> NDArray[np.float64]:
        """Lower and upper ends of the intervals in per cent, (2, n)."""
        return 100 * np.array([accuracy_interval(round(a * samples), samples) for a in accuracies]).T

    figure = Figure(figsize=(6.6, 4.0), layout="constrained")
    axes = figure.add_subplot()
    if curve is not None:
        steps = np.arange(1, len(curve) + 1)
        low, high = bounds(curve)
        axes.fill_between(steps, low, high, color="tab:blue", alpha=0.15, linewidth=0)
        marker = "o" if len(curve) <= 40 else None
        label = f"first t of T = {result['timesteps']} steps"
        axes.plot(steps, 100 * np.array(curve), marker=marker, markersize=4, color="tab:blue", label=label)
    if others is not None:
        heights = 100 * np.array(list(others.values()))
        low, high = bounds(list(others.values()))
        # Rounding may make a bar minimally negative.
        bars = np.maximum([heights - low, high - heights], 0.0)
        label = "the same weights at other T"
        places = [int(steps) for steps in others]
        axes.errorbar(places, heights, bars, fmt="s", markersize=5, capsize=3, color="tab:orange", label=label)
    classes = len(result["classes"])
    axes.axhline(100 / classes, color="grey", linewidth=1, linestyle=":", label=f"1 of {classes} classes")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, 1.04 * max([len(curve or ())] + [int(steps) for steps in others or ()]))
    axes.set_ylim(0, 102)
    axes.set_xlabel("time steps")
    axes.set_ylabel("test accuracy in per cent")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    axes.set_title(f"{data_name(result)}: {samples} test samples, 95 % intervals", fontsize=10)
    figure.savefig(path, dpi=120)
    return True
