"""The figure of firing rates, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tune.rendering.panels import Panel
from tune.rendering.style import colour_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# More names would overlap.
_MOST_NAMES = 10


def short_layer(name: str) -> str:
    """A spiking layer's name without its common ending."""
    return name.removesuffix(".neuron")


def name_layers(axes: Axes, layers: Sequence[str]) -> None:
    """Label the places 0, 1, ... of the horizontal axis with spiking layers; with numbers if there are many."""
    if len(layers) <= _MOST_NAMES:
        names = [short_layer(layer) for layer in layers]
        axes.set_xticks(range(len(layers)), names, rotation=30, ha="right", rotation_mode="anchor")
        return
    every = -(-len(layers) // _MOST_NAMES)
    places = range(0, len(layers), every)
    axes.set_xticks(places, [str(place + 1) for place in places])
    axes.set_xlabel("spiking layer, in the order of the network")


def rates_panel(caption: str, rates: Mapping[str, Mapping[str, float]]) -> Panel:
    """Firing rate by spiking layer, with one line per named network."""
    layers = list(dict.fromkeys(layer for by_layer in rates.values() for layer in by_layer))

    def draw(axes: Axes) -> None:
        for name, by_layer in rates.items():
            places = [k for k, layer in enumerate(layers) if layer in by_layer]
            values = [by_layer[layers[k]] for k in places]
            axes.plot(places, values, color=colour_of(list(rates), name), marker="o", label=name)
        name_layers(axes, layers)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("firing rate")
        if len(rates) > 1:
            axes.legend(labelcolor="linecolor")

    return Panel("Firing rate by layer", f"Spikes / (neurons × T × samples). {caption}", draw)
