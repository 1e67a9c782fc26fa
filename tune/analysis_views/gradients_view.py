"""The view of gradients: their parts by distance in time, exact zeros, and how far inputs reach later spikes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.analysis.gradient_sums import LayerGradients, Reach
from pipeline.analysis.gradients import COMPARED, GradientResult
from tune.analysis_views.analysis_view import AnalysisView
from tune.analysis_views.layer_choice import shown_layers
from tune.rendering.firing_rate_figure import name_layers, short_layer
from tune.rendering.labels import neuron_label
from tune.rendering.panels import Panel
from tune.rendering.style import PALETTE, colour_of
from tune.rendering.table import Table, format_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The distance of the table of reach, where T is larger.
_FAR = 7


def gradients_view(result: GradientResult) -> AnalysisView:
    """Tables and figures of gradients."""
    measured = f"Measured on {result.subject.samples} samples in training mode."
    return AnalysisView(
        lead=_lead(result),
        sentences=_sentences(result),
        tables=(_layer_table(result), _reach_table(result)),
        panels=(_parts_panel(result, measured), _zeros_panel(result, measured), *_reach_panels(result, measured)),
    )


def _lead(result: GradientResult) -> str:
    neuron = neuron_label(result.subject.neuron)
    ratios = [layer.temporal / layer.spatial for layer in result.layers if layer.spatial]
    zeros = [layer.zero_temporal for layer in result.layers]
    if not ratios:
        return f"No layer has a gradient ({neuron})."
    return (
        f"The temporal part of dL/du is {min(ratios):.2f} to {max(ratios):.2f} times the spatial part ({neuron}, by "
        f"layer; root mean squares); it is exactly zero for {format_percent(min(zeros))} to "
        f"{format_percent(max(zeros))} % of all neurons and steps.{_comparison(result)}"
    )


def _comparison(result: GradientResult) -> str:
    """How far the compared neurons reach, relative to LIF, as a sentence after a space; "" if LIF does not."""
    distance = _far(result)
    means = {name: _mean_reach(result, name, distance) for name in COMPARED}
    if not means["lif"]:
        return ""
    others = ", ".join(
        f"{neuron_label(name)} {means[name] / means['lif']:.1f} times" for name in COMPARED if name != "lif"
    )
    return f" On the same input currents, |ds[t']/dx[t]| at a distance of {distance} is, relative to LIF's: {others}."


def _mean_reach(result: GradientResult, neuron: str, distance: int) -> float:
    values = [reach.mean[distance] for layer in result.layers for reach in layer.reach if reach.neuron == neuron]
    return sum(values) / len(values)


def _far(result: GradientResult) -> int:
    # Where T varies, the samples may all be shorter than the longest of the data set.
    return min(len(result.layers[0].reach[0].mean) - 1, _FAR)


def _sentences(result: GradientResult) -> tuple[str, ...]:
    printed = [layer.printed_difference for layer in result.layers if layer.printed_difference is not None]
    notes = [
        "The parts of each layer sum to the gradient of autograd with a relative difference of at most "
        f"{result.residual:.1e} (L2 norm).",
        "A temporal part is zero where no later step has a gradient through its spike (|u − v_th| is at least half the "
        "width of the surrogate there), or where the chain between the steps is cut: LIF's factor is exactly zero at "
        "each step with |u − v_th| < 1/2 for α = v_th = 1.",
        "Reach compares neurons on the input currents of this network. A network that was trained with another neuron "
        "has other currents: analyse it too. A longer reach is not by itself a higher accuracy.",
    ]
    if printed:
        notes.insert(
            1,
            "The parts of Eqs. 45 and 48 as printed in the paper count the path u[t] → m[t] → u[t+1] twice; their sum "
            f"differs from the gradient by {100 * min(printed):.1f} to {100 * max(printed):.1f} %.",
        )
    return tuple(notes)


def _layer_table(result: GradientResult) -> Table:
    complementary = any(layer.printed_difference is not None for layer in result.layers)
    columns = ["layer", "neurons", "spatial, rms", "temporal, rms", "temporal / spatial"]
    columns += ["through m, rms"] if complementary else []
    columns += ["zero temporal, %", "of which cut, %", "zero at all steps, %"]
    rows = []
    for layer in result.layers:
        row = [short_layer(layer.layer), f"{layer.neurons:,}", f"{layer.spatial:.2e}", f"{layer.temporal:.2e}"]
        row.append(f"{layer.temporal / layer.spatial:.3f}" if layer.spatial else "–")
        if complementary:
            row.append(f"{_through_m(layer):.2e}")
        cut = layer.zero_cut / layer.zero_temporal if layer.zero_temporal else None
        row += [format_percent(layer.zero_temporal), format_percent(cut), format_percent(layer.zero_neurons)]
        rows.append(tuple(row))
    return Table(
        "Parts of the gradient by layer", tuple(columns), tuple(rows), "l" + "r" * (len(columns) - 1), note=_TABLE_NOTE
    )


_TABLE_NOTE = (
    "rms: root mean square over time steps, samples and neurons. Zero temporal: the temporal part is exactly zero; of "
    "which cut: although a later step has a spatial part. Through m: the part at distance 1 that passes through m[t]."
)


def _through_m(layer: LayerGradients) -> float:
    return layer.by_source[1].complementary or 0.0


def _reach_table(result: GradientResult) -> Table:
    distance = _far(result)
    names = _compared(result)
    rows = []
    for layer in result.layers:
        by_name = {reach.neuron: reach for reach in layer.reach}
        rows.append((short_layer(layer.layer), *(f"{by_name[name].mean[distance]:.2e}" for name in names)))
    columns = ("layer", *(neuron_label(name) for name in names))
    title = f"Mean of |ds[t']/dx[t]| at a distance of {distance}"
    return Table(title, columns, tuple(rows), "l" + "r" * len(names), note="On the same input currents in each layer.")


def _compared(result: GradientResult) -> list[str]:
    """The neurons whose reach was measured, in one order for all runs."""
    names = [reach.neuron for reach in result.layers[0].reach]
    return [*(name for name in COMPARED if name in names), *(name for name in names if name not in COMPARED)]


def _parts_panel(result: GradientResult, measured: str) -> Panel:
    shown = shown_layers(result.layers)
    names = [layer.layer for layer in shown]
    has_m = any(layer.printed_difference is not None for layer in result.layers)

    def draw(axes: Axes) -> None:
        for layer in shown:
            colour = colour_of(names, layer.layer)
            totals = [part.total or math.nan for part in layer.by_source]
            name = short_layer(layer.layer)
            axes.plot(range(len(totals)), totals, color=colour, marker="o", markersize=4, label=name)
            if has_m:
                through = [part.complementary or math.nan for part in layer.by_source]
                # Without a name in the legend, which would cover the lines; the caption explains them.
                axes.plot(range(len(through)), through, color=colour, linestyle=":", marker="s", markersize=3)
        _by_distance(axes, "rms of the part of dL/du")
        axes.legend(labelcolor="linecolor", fontsize=8)

    caption = (
        "Root mean square by the distance from u[t] to the spike s[t'] at which the loss acts; 0 is the spatial part."
        f"{' Dotted: what of it passes through m[t].' if has_m else ''} Parts of opposite sign cancel in the sum, "
        f"which a root mean square does not show. {measured}"
    )
    return Panel("Parts of the gradient by distance", caption, draw)


def _zeros_panel(result: GradientResult, measured: str) -> Panel:
    def draw(axes: Axes) -> None:
        places = range(len(result.layers))
        cut = [100 * layer.zero_cut for layer in result.layers]
        rest = [100 * (layer.zero_temporal - layer.zero_cut) for layer in result.layers]
        axes.bar(places, rest, width=0.6, color=PALETTE[6], label="no later gradient")
        axes.bar(places, cut, bottom=rest, width=0.6, color=PALETTE[1], label="cut on the way")
        name_layers(axes, [layer.layer for layer in result.layers])
        axes.set_ylim(0, 100)
        axes.set_ylabel("share of neurons and steps, %")
        axes.legend(fontsize=8)

    return Panel(
        "Exactly zero temporal gradients",
        "Share of all neurons and steps before the last whose temporal part is exactly zero, because no later spike "
        "has a gradient, or because the chain to it has a factor of exactly zero. It does not show how large the "
        f"others are. {measured}",
        draw,
    )


def _reach_panels(result: GradientResult, measured: str) -> tuple[Panel, ...]:
    names = _compared(result)

    def panel(layer: LayerGradients) -> Panel:
        by_name = {reach.neuron: reach for reach in layer.reach}

        def draw(axes: Axes) -> None:
            for name in names:
                _draw_reach(axes, by_name[name], colour_of(names, name))
            _by_distance(axes, "mean of |ds[t']/dx[t]|")
            axes.legend(labelcolor="linecolor", fontsize=8)

        title = f"Reach in {short_layer(layer.layer)}"
        caption = (
            "How far an input current reaches later spikes by the surrogate gradient, all neurons on the same "
            f"currents. It does not show that a network learns better. {measured}"
        )
        return Panel(title, caption, draw)

    return tuple(panel(layer) for layer in shown_layers(result.layers))


def _draw_reach(axes: Axes, reach: Reach, colour: str) -> None:
    values = [value or math.nan for value in reach.mean]
    label = neuron_label(reach.neuron)
    axes.plot(range(len(values)), values, color=colour, marker="o", markersize=4, label=label)


def _by_distance(axes: Axes, quantity: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("distance t' − t in time steps")
    axes.set_ylabel(quantity)
