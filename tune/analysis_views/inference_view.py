"""The view of inference with LIF dynamics: a table, and accuracy over the reset value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.analysis.lif_inference import InferenceResult
from tune.analysis_views.accuracy_curve import draw_accuracies
from tune.analysis_views.analysis_view import AnalysisView
from tune.rendering.labels import neuron_label
from tune.rendering.panels import Panel
from tune.rendering.style import PALETTE
from tune.rendering.table import Table, format_percent, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def inference_view(result: InferenceResult) -> AnalysisView:
    """The table and figure of the accuracies with LIF dynamics."""
    trained, soft, best = result.rows[0], result.rows[1], result.best
    neuron = neuron_label(result.subject.neuron)
    samples = result.subject.samples
    return AnalysisView(
        lead=(
            f"The weights that were trained with {neuron} classify {format_percent(trained.accuracy)} % of the samples "
            f"with its own dynamics, {format_percent(soft.accuracy)} % with LIF of soft reset, and "
            f"{format_percent(best.accuracy)} % with LIF of hard reset to {number(best.reset_value or 0.0, 'g')}, the "
            "best of the reset values."
        ),
        sentences=(
            f"One of {samples} samples is {100 / samples:.2f} percentage points. Intervals are over samples (Wilson, "
            "95 %); the samples are the same for all rows, so that differences are more certain than the intervals.",
            "The best reset value was selected on these samples, so that its accuracy is optimistically biased.",
            "The reset value is also the resting potential, as in SpikingJelly and NIR. Weights are not trained again.",
        ),
        tables=(_table(result, neuron),),
        panels=(
            Panel(
                "Accuracy over the reset value",
                f"Of LIF with hard reset, on {samples} samples, with 95 % intervals. The axis does not start at 0.",
                _curve(result, neuron),
            ),
        ),
    )


def _nir_note(result: InferenceResult) -> str:
    nir = result.nir
    if nir is None:
        return ""
    return (
        f"The network with hard reset to {number(nir.reset_value, 'g')} was written as a NIR graph of {nir.nodes} "
        f"nodes to {nir.file}; read again, it has the same predictions for {nir.same} of {result.subject.samples} "
        "samples."
    )


def _table(result: InferenceResult, neuron: str) -> Table:
    names = {"trained": f"{neuron}, as trained", "soft": "LIF, soft reset", "hard": "LIF, hard reset"}
    rows = tuple(
        (
            names[row.dynamics],
            "–" if row.reset_value is None else number(row.reset_value, "g"),
            format_percent(row.accuracy),
            f"{format_percent(row.low)} to {format_percent(row.high)}",
            str(row.same),
            f"{row.firing_rate:.4f}",
        )
        for row in result.rows
    )
    columns = ("dynamics", "reset value", "accuracy, %", "95 % interval", "same predictions", "firing rate")
    title = f"The same weights with other dynamics, {result.subject.samples} samples"
    return Table(title, columns, rows, "lrrrrr", note=_nir_note(result))


def _curve(result: InferenceResult, neuron: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        hard = [row for row in result.rows if row.dynamics == "hard"]
        values = [row.reset_value or 0.0 for row in hard]
        draw_accuracies(axes, values, hard, PALETTE[0], "LIF, hard reset")
        others = {f"{neuron}, as trained": result.rows[0], "LIF, soft reset": result.rows[1]}
        for colour, (name, row) in zip(PALETTE[1:], others.items(), strict=False):
            axes.axhline(100 * row.accuracy, color=colour, linestyle="--", label=name)
        axes.invert_xaxis()
        axes.set_xlabel("reset value, in the unit of the threshold")
        # Room for the legend, below the lowest interval.
        low, high = axes.get_ylim()
        axes.set_ylim(low - 0.35 * (high - low), high)
        axes.legend(labelcolor="linecolor", fontsize=8, loc="lower left")

    return draw
