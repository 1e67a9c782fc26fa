"""The view of dynamics: traces, inter-spike intervals, rate over input, autocorrelation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.analysis.dynamics import CURVE_STEPS, SETTLING, DynamicsResult, NeuronDynamics
from tune.analysis_views.analysis_view import AnalysisView
from tune.rendering.firing_rate_figure import short_layer
from tune.rendering.labels import neuron_label
from tune.rendering.panels import Panel
from tune.rendering.style import PALETTE, colour_of
from tune.rendering.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Time steps of the traces, neurons with traces, and intervals that figures show; the file has all.
_TRACED, _TRACES, _LONGEST = 80, 4, 30
_CURVES = {
    "constant": ("Rate over constant input", "constant input current"),
    "poisson": ("Rate over Poisson input", "mean input current"),
    "layer": ("Rate over input in the layer", "mean input current of a neuron"),
}
# u, m and s are drawn alike in all figures of a neuron.
_LINES = {"u": "-", "m": ":", "s": "--"}


def dynamics_view(result: DynamicsResult) -> AnalysisView:
    """Tables and figures of dynamics."""
    return AnalysisView(
        lead=_lead(result),
        sentences=(
            f"Input: {_input(result)}. tau {result.tau:g}, threshold {result.v_threshold:g}.",
            "R[k] is the paper's autocorrelation, without subtracting the mean: m is never negative, so that its R "
            "does not fall to zero, however little it remembers. The autocovariance, with the mean subtracted, shows "
            f"how long a signal remembers{_heterogeneity(result)}.",
            "Nothing is learnt here: that a neuron fires less or remembers longer does not show that networks of it "
            "are more accurate.",
        ),
        tables=(_table(result),),
        panels=(
            *(_trace_panel(result, neuron) for neuron in result.neurons[:_TRACES]),
            _interval_panel(result),
            *_curve_panels(result),
            _correlation_panel(result, "autocorrelation"),
            _correlation_panel(result, "autocovariance"),
        ),
    )


def _heterogeneity(result: DynamicsResult) -> str:
    return "; in a layer, it includes the lasting differences between neurons" if result.layer else ""


def _input(result: DynamicsResult) -> str:
    if result.layer:
        return f"the currents of {short_layer(result.layer)}, {result.inputs:,} of its neurons and samples"
    if result.input == "poisson":
        return (
            f"Poisson spikes of {result.amplitude:g} each, {result.input_rate:g} per time step in the mean, "
            f"{result.inputs} sequences of {result.steps} steps"
        )
    return f"constant {result.amplitude:g}" if result.input == "constant" else f"the current in {result.input}"


def _lead(result: DynamicsResult) -> str:
    parts = []
    for neuron in result.neurons:
        mean = neuron.intervals.mean
        interval = "" if mean is None else f" (mean interval {mean:.2f} steps)"
        parts.append(f"{neuron_label(neuron.neuron)} {neuron.rate:.3f}{interval}")
    return f"Spikes per time step on the same input: {', '.join(parts)}."


def _table(result: DynamicsResult) -> Table:
    rows = []
    for neuron in result.neurons:
        intervals, times = neuron.intervals, {each.signal: _memory(each.autocovariance) for each in neuron.correlations}
        mean = "–" if intervals.mean is None else f"{intervals.mean:.2f}"
        variation = "–" if intervals.variation is None else f"{intervals.variation:.2f}"
        shortest = next((k + 1 for k, count in enumerate(intervals.counts) if count), None)
        shown = [mean, variation, str(shortest or "–"), times["u"], times.get("m", "–")]
        rows.append((neuron_label(neuron.neuron), f"{neuron.rate:.4f}", *shown))
    columns = ("neuron", "rate", "mean interval", "variation", "shortest interval", "memory of u", "memory of m")
    note = (
        "rate: spikes per time step. Intervals between spikes in time steps; variation: their standard deviation / "
        "mean. Memory: the lag in time steps at which the autocovariance falls below 1/e."
    )
    return Table("Neurons on the same input", columns, tuple(rows), "lrrrrrr", note=note)


def _memory(covariance: Sequence[float] | None) -> str:
    """The first lag at which a correlation is below 1/e, with the lags between interpolated."""
    for lag, value in enumerate(covariance or ()):
        if value < 1 / math.e and covariance is not None:
            before = covariance[lag - 1]
            return f"{lag - 1 + (before - 1 / math.e) / (before - value):.2f}"
    return "–" if covariance is None else f"> {len(covariance) - 1}"


def _trace_panel(result: DynamicsResult, neuron: NeuronDynamics) -> Panel:
    steps = min(result.steps, _TRACED)
    places = range(1, steps + 1)

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.fill_between(
            places, result.current[:steps], step="mid", color=PALETTE[6], alpha=0.35, linewidth=0, label="input"
        )
        axes.axhline(result.v_threshold, color=PALETTE[6], linewidth=1, linestyle="--")
        axes.plot(places, neuron.u[:steps], color=PALETTE[0], linewidth=1.4, label="u")
        if neuron.m is not None:
            axes.plot(places, neuron.m[:steps], color=PALETTE[1], linewidth=1.4, label="m")
        fired = [t for t in places if neuron.spikes[t - 1]]
        axes.plot(
            fired,
            [neuron.u[t - 1] for t in fired],
            color=PALETTE[3],
            linestyle="",
            marker="o",
            markersize=4,
            label="s = 1",
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("time step")
        axes.set_ylabel("potential, input current")
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, top + 0.15 * (top - bottom))
        axes.legend(fontsize=8, ncols=4, loc="upper right")

    of = "" if steps == result.steps else f" The first {steps} of {result.steps} steps."
    m = "" if neuron.m is None else " m: complementary potential after the step."
    caption = (
        "One of the input sequences (grey) and its spikes. u: potential before firing, with the threshold dashed."
        f"{m}{of}"
    )
    return Panel(f"Trace of {neuron_label(neuron.neuron)}", caption, draw)


def _interval_panel(result: DynamicsResult) -> Panel:
    names = [neuron.neuron for neuron in result.neurons]

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        for neuron in result.neurons:
            counts = neuron.intervals.counts
            if counts:
                shares = [count / sum(counts) for count in counts[:_LONGEST]]
                axes.plot(
                    range(1, len(shares) + 1), shares, color=colour_of(names, neuron.neuron), marker="o", markersize=4,
                    label=neuron_label(neuron.neuron),
                )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("interval in time steps")
        axes.set_ylabel("share of intervals")
        _legend(axes)

    caption = f"Time steps from a spike to the next, over all inputs, up to {_LONGEST} steps."
    return Panel("Inter-spike intervals", caption, draw)


def _curve_panels(result: DynamicsResult) -> tuple[Panel, ...]:
    names = [neuron.neuron for neuron in result.neurons]

    def panel(kind: str) -> Panel:
        title, axis = _CURVES[kind]

        def draw(axes: Axes) -> None:
            for neuron in result.neurons:
                for curve in neuron.curves:
                    if curve.kind == kind:
                        label = neuron_label(neuron.neuron)
                        axes.plot(curve.inputs, curve.rates, color=colour_of(names, neuron.neuron), label=label)
            axes.set_ylim(bottom=0)
            axes.set_xlabel(axis)
            axes.set_ylabel("spikes per time step")
            _legend(axes)

        measured = (
            "Means over bins of neurons with similar mean input."
            if kind == "layer"
            else f"Mean over {CURVE_STEPS:,} time steps, after {SETTLING} to settle. Without a network."
        )
        return Panel(title, measured, draw)

    return tuple(panel(curve.kind) for curve in result.neurons[0].curves)


def _correlation_panel(result: DynamicsResult, quantity: str) -> Panel:
    names = [neuron.neuron for neuron in result.neurons]
    raw = quantity == "autocorrelation"

    def draw(axes: Axes) -> None:
        for neuron in result.neurons:
            for each in neuron.correlations:
                values = getattr(each, quantity)
                # Spikes would hide the other lines.
                if each.signal != "s" and values and values[0]:
                    colour, label = colour_of(names, neuron.neuron), f"{each.signal} of {neuron_label(neuron.neuron)}"
                    scaled = [value / values[0] for value in values]
                    axes.plot(range(len(scaled)), scaled, color=colour, linestyle=_LINES[each.signal], label=label)
        axes.set_xlabel("lag k in time steps")
        axes.set_ylabel("R[k] / R[0]" if raw else "correlation coefficient")
        _legend(axes)

    caption = "With the mean subtracted, relative to lag 0; m is dotted."
    if raw:
        caption = (
            "As in the paper's Figure 8, without subtracting the mean; m is dotted. A slow decay does not show memory: "
            "any signal that is never negative has it."
        )
    return Panel("Autocorrelation" if raw else "Autocovariance", caption, draw)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(labelcolor="linecolor", fontsize=8)
