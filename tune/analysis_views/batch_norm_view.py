"""The view of batch norm in evaluation: accuracies by the statistics used, and the distance of time steps from them."""

from __future__ import annotations

from pipeline.analysis.batch_norm_statistics import BatchNormResult, NormLayer
from tune.analysis_views.analysis_view import AnalysisView
from tune.analysis_views.layer_choice import shown_layers
from tune.analysis_views.time_step_lines import time_step_lines
from tune.rendering.firing_rate_figure import short_layer
from tune.rendering.panels import Panel
from tune.rendering.table import Table, format_percent

# A legend with more lines would cover them.
_MOST_LINES = 6


def batch_norm_view(result: BatchNormResult) -> AnalysisView:
    """Tables and figures of batch norm's statistics."""
    running, batch, estimated = result.rows
    shown = shown_layers(result.layers, _MOST_LINES)
    some = "" if len(shown) == len(result.layers) else f" {len(shown)} of {len(result.layers)} layers."
    measured = f"Measured on {result.subject.samples} samples."
    return AnalysisView(
        lead=(
            f"With batch norm's running average, as in evaluation, {format_percent(running.accuracy)} % of the samples "
            f"are classified correctly; with the statistics of batches, as in training, "
            f"{format_percent(batch.accuracy)} %; with averages over {result.estimated_from} training samples, taken "
            f"with the selected weights, {format_percent(estimated.accuracy)} %.{_finding(result)}"
        ),
        sentences=(
            f"Batch norm is {result.mode}: training normalises "
            + {"per-step": "each time step by its own statistics", "joint": "all time steps together"}.get(
                result.mode, "as the layers do"
            )
            + f", over a batch (here of {result.batch} samples). Evaluation normalises all time steps by one running "
            "average.",
            "The statistics of batches are a control, not a way to classify: a prediction then depends on the other "
            "samples of the batch. Intervals are over samples (Wilson, 95 %); the samples are the same for all rows.",
            "Distances are measured with the statistics of batches in all layers. Where the lag is small and the shift "
            "is not, the time steps differ from each other: a network with joint batch norm was trained so, one with "
            "per-step was not.",
        ),
        tables=(_accuracies(result), _layers(result)),
        panels=(
            Panel(
                "Shift of time steps",
                "Root mean square over channels of (mean of the time step − running mean) / running standard "
                f"deviation. {measured}{some}",
                time_step_lines({_short(each): each.shift for each in shown}, "shift, in running standard deviations"),
            ),
            Panel(
                "Scale of time steps",
                "Geometric mean over channels of standard deviation of the time step / running standard "
                f"deviation. {measured}{some}",
                time_step_lines({_short(each): each.scale for each in shown}, "scale", 1.0),
            ),
        ),
    )


def _short(layer: NormLayer) -> str:
    return short_layer(layer.layer.removesuffix(".norm"))


_CAUSES = {
    "averages": "The running averages are out of date.",
    "time-steps": (
        "Training normalises time steps separately, and one average does not fit them. Compare neurons with "
        "--network.batch-norm joint."
    ),
    "samples": "These samples may differ from those of the training.",
}


def _finding(result: BatchNormResult) -> str:
    cause = result.cause
    if cause is None:
        return ""
    running, batch, estimated = result.rows
    errors = result.subject.samples - running.correct
    lost, recovered = batch.correct - running.correct, max(estimated.correct - running.correct, 0)
    return (
        f" {lost} of {errors} errors disappear with the statistics of batches, {recovered} with new averages. "
        f"{_CAUSES[cause]}"
    )


def _accuracies(result: BatchNormResult) -> Table:
    names = {
        "running": "running average",
        "batch": "of each batch",
        "estimated": f"average over {result.estimated_from} training samples",
    }
    rows = tuple(
        (
            names[row.statistics],
            format_percent(row.accuracy),
            f"{format_percent(row.low)} to {format_percent(row.high)}",
            str(row.same),
        )
        for row in result.rows
    )
    columns = ("statistics", "accuracy, %", "95 % interval", "same predictions")
    return Table(f"The same weights with other statistics, {result.subject.samples} samples", columns, rows, "lrrr")


def _layers(result: BatchNormResult) -> Table:
    rows = tuple(
        (
            _short(layer),
            str(layer.channels),
            f"{layer.lag:.2f}",
            f"{min(layer.shift):.2f} to {max(layer.shift):.2f}",
            f"{min(layer.scale):.2f} to {max(layer.scale):.2f}",
        )
        for layer in result.layers
    )
    columns = ("layer", "channels", "lag", "shift", "scale")
    return Table(
        "Distance from the running average: of all time steps (lag), of each one (lowest to highest)",
        columns,
        rows,
        "lrrrr",
    )
