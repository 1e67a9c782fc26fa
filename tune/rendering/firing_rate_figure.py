"""The figure of firing rates, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tune.rendering.panels import Panel
from tune.rendering.style import colour_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
