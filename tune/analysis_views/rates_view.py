"""The view of firing rates: by layer, by time step, and over single neurons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipeline.analysis.rates import BINS, LayerRates, RateResult
from tune.analysis_views.analysis_view import AnalysisView
from tune.analysis_views.layer_choice import shown_layers
from tune.analysis_views.time_step_lines import time_step_lines
from tune.rendering.firing_rate_figure import rates_panel, short_layer
from tune.rendering.panels import Panel
from tune.rendering.style import colour_of
from tune.rendering.table import Table, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# A legend with more lines would cover them.
_MOST_LINES = 6


def rates_view(result: RateResult) -> AnalysisView:
    """Tables and figures of firing rates."""
    shown = shown_layers(result.layers, _MOST_LINES)
    some = "" if len(shown) == len(result.layers) else f" {len(shown)} of {len(result.layers)} layers."
    measured = f"Measured on {result.subject.samples} samples."
    return AnalysisView(
        lead=(
            f"{format_percent(result.rate)} % of all outputs of spiking layers are spikes (firing rate "
            f"{result.rate:.4f}, activation sparsity {result.sparsity:.4f})."
        ),
        sentences=(
            "A neuron is silent if it fires for none of the samples, and saturated if it fires at more than "
            f"{100 * result.saturated_above:g} % of all time steps. Neither distinguishes samples well.",
            "Rates do not show how much a spike contributes to the prediction, nor what it costs; see the analyses "
            "gradients and energy.",
        ),
        tables=(_table(result),),
        panels=(
            rates_panel(measured, {result.subject.neuron: {layer.layer: layer.rate for layer in result.layers}}),
            Panel(
                "Firing rate by time step",
                f"Spikes / (neurons × samples) at each time step. {measured}{some}",
                time_step_lines({short_layer(each.layer): each.by_step for each in shown}, "spikes per neuron"),
            ),
            Panel(
                "Neurons by firing rate",
                f"Share of the neurons of a layer, in bins of {1 / BINS:g}, on a logarithmic scale. {measured}{some}",
                _histogram(shown),
            ),
        ),
    )


def _table(result: RateResult) -> Table:
    rows = [
        (
            short_layer(layer.layer),
            f"{layer.neurons:,}",
            f"{layer.rate:.4f}",
            f"{layer.sparsity:.4f}",
            format_percent(layer.silent),
            format_percent(layer.silent_in_sample),
            format_percent(layer.saturated),
        )
        for layer in result.layers
    ]
    total = ("all", f"{sum(layer.neurons for layer in result.layers):,}", f"{result.rate:.4f}")
    rows.append((*total, f"{result.sparsity:.4f}", "", "", ""))
    columns = ("layer", "neurons", "firing rate", "sparsity", "silent, %", "silent in a sample, %", "saturated, %")
    return Table("Firing rates by layer", columns, tuple(rows), "lrrrrrr", summary=1)


def _histogram(layers: Sequence[LayerRates]) -> Callable[[Axes], None]:
    names = [layer.layer for layer in layers]

    def draw(axes: Axes) -> None:
        places = [(k + 0.5) / BINS for k in range(BINS)]
        for layer in layers:
            name = short_layer(layer.layer)
            shares = [share or math.nan for share in layer.histogram]
            axes.plot(places, shares, color=colour_of(names, layer.layer), marker="o", markersize=3, label=name)
        axes.set_yscale("log")
        axes.set_xlim(0, 1)
        axes.set_xlabel("spikes per time step of a neuron")
        axes.set_ylabel("share of neurons")
        axes.legend(labelcolor="linecolor", fontsize=8)

    return draw
