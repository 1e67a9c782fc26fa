"""Spiking layers of a network: finding them, counting their spikes, and clearing their state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import torch
from spikingjelly.activation_based.neuron import BaseNode
from torch import nn

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def neuron_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Every spiking layer by its dotted name, in the order of the network's definition.

    These are the modules that `pipeline.neurons.make_neuron` made, and any other SpikingJelly nodes. A node inside
    another one is part of it.
    """
    layers: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in layers)
        if not inside and (getattr(module, "is_neuron", False) or isinstance(module, BaseNode)):
            layers[name] = module
    return layers


def describe_spiking_layers(network: nn.Module) -> dict[str, Any]:
    """The entries of environment.json about a network's spiking layers; `pipeline.runs.trained_neuron` reads them.

    `neurons` has the classes with their backends, and `configured_neuron` says whether the configuration's section
    `neuron` describes one of them at least: a custom network may make all its neurons itself.
    """
    layers = neuron_layers(network).values()
    classes = {f"{type(layer).__name__} ({getattr(layer, 'fused_backend', 'torch')})" for layer in layers}
    return {"neurons": sorted(classes), "configured_neuron": has_configured_neuron(network)}


def has_configured_neuron(network: nn.Module) -> bool:
    """Whether a spiking layer was made from the configuration's section `neuron`."""
    return any(getattr(module, "is_configured", False) for module in network.modules())


def reset_network(network: nn.Module) -> None:
    """Clear the membrane potentials and dropout masks of the last sequence."""
    for module in network.modules():
        reset = getattr(module, "reset", None)
        if callable(reset):
            reset()


class SpikeCounter:
    """A context manager that counts the spikes of every spiking layer: outputs other than zero.

    Counts are exact integers on the device; nothing waits for the device until rates are requested.

    Args:
        network: Any network.
        also: Names of other modules whose outputs are spikes, such as poolings; only `input_rates` includes them.

    Attributes:
        mask: The steps of the next forward pass that count, bool (T, B); None counts all. Padding never counts.
    """

    def __init__(self, network: nn.Module, also: Iterable[str] = ()) -> None:
        neurons = neuron_layers(network)
        self._neurons = frozenset(neurons)
        self._layers = neurons | {name: network.get_submodule(name) for name in also if name not in neurons}
        self._spikes: dict[str, int | torch.Tensor] = {}
        self._elements: dict[str, int | torch.Tensor] = dict.fromkeys(self._layers, 0)
        self.mask: torch.Tensor | None = None
        self._hooks: list[Any] = []

    def __enter__(self) -> SpikeCounter:
        for name, module in self._layers.items():
            self._hooks.append(module.register_forward_hook(lambda _m, _i, out, name=name: self._count(name, out)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _count(self, name: str, spikes: torch.Tensor) -> None:
        # torch counts integers seven times as fast as floats, and only zero has no bit set.
        bits = spikes.detach().view(_INTEGERS[spikes.element_size()])
        if bits.dim() == 5 and not bits.is_contiguous():
            # In memory order, where the channel may be the fastest.
            bits = bits.movedim(2, -1)
        if self.mask is None:
            found = torch.count_nonzero(bits)
            elements: int | torch.Tensor = spikes.numel()
        else:
            found = (torch.count_nonzero(bits.flatten(2), 2) * self.mask).sum()
            elements = self.mask.sum() * spikes[0, 0].numel()
        self._spikes[name] = self._spikes[name] + found if name in self._spikes else found
        self._elements[name] = self._elements[name] + elements

    def counts(self) -> dict[str, tuple[int, int]]:
        """Spikes and elements so far of every module that ran."""
        return {name: (int(count), int(self._elements[name])) for name, count in self._spikes.items()}

    def add(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Add the counts of another process."""
        for name, (spikes, elements) in counts.items():
            self._spikes[name] = self._spikes.get(name, 0) + spikes
            self._elements[name] = self._elements[name] + elements

    def totals(self) -> torch.Tensor:
        """Total spikes, and total neurons * T * samples, of all layers; float64 (2,), exact below 2^53."""
        device = next((count.device for count in self._spikes.values() if isinstance(count, torch.Tensor)), None)
        return torch.tensor(self._both(), dtype=torch.float64, device=device)

    def _both(self) -> tuple[int, int]:
        spikes = sum(int(count) for name, count in self._spikes.items() if name in self._neurons)
        return spikes, sum(int(self._elements[name]) for name in self._neurons)

    def input_rates(self) -> dict[str, float]:
        """Spikes / (elements * T * samples) of every module that is counted; 0 for one that never ran."""
        totals = {name: int(elements) for name, elements in self._elements.items()}
        return {name: int(self._spikes[name]) / total if total else 0.0 for name, total in totals.items()}

    def rates(self) -> dict[str, float]:
        """Spikes / (neurons * T * samples) of each spiking layer; 0 for one that never ran."""
        return {name: rate for name, rate in self.input_rates().items() if name in self._neurons}

    def rate(self) -> float:
        """Spikes / (neurons * T * samples) of all spiking layers together."""
        spikes, elements = self._both()
        return spikes / elements if elements else 0.0
