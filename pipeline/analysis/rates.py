"""Firing rates by layer and time step, silent and saturated neurons, sparsity (Huang et al., ICML 2024, Figure 11)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import RateOptions
from pipeline.analysis.stored_result import AnalysisResult
from pipeline.networks import neuron_layers, reset_network
from preprocess.errors import ConfigError

# Bins of the distribution of single neurons' rates; a neuron that never fires, or always, is in the first or last.
BINS = 20


@dataclass(frozen=True)
class LayerRates:
    """The rates of one spiking layer; all are shares from 0 to 1. A neuron is one element of (C, H, W) or (features,).

    Attributes:
        layer: Name of the layer.
        neurons: Number of neurons.
        rate: Spikes / (neurons * T * samples), without padding.
        by_step: The same at each time step, t = 1 .. T: spikes / (neurons * samples that have the step).
        silent: Share of neurons that fire for none of the samples.
        silent_in_sample: Mean over samples of the share of neurons that do not fire for the sample.
        saturated: Share of neurons that fire at more than `RateResult.saturated_above` of all time steps.
        histogram: Share of neurons with a rate in [k, k + 1) / BINS, k = 0 .. BINS - 1; the last bin includes 1.
    """

    layer: str
    neurons: int
    rate: float
    by_step: tuple[float, ...]
    silent: float
    silent_in_sample: float
    saturated: float
    histogram: tuple[float, ...]

    @property
    def sparsity(self) -> float:
        """Share of outputs that are zero: 1 - rate."""
        return 1.0 - self.rate


@dataclass(frozen=True)
class RateResult(AnalysisResult):
    """Firing rates of a network.

    Attributes:
        saturated_above: The share of time steps above which a neuron counts as saturated.
        layers: The spiking layers, in the order of the network.
        rate: Spikes / (neurons * T * samples) of all layers together.
        by_step: The same at each time step.
    """

    ANALYSIS: ClassVar[str] = "rates"

    saturated_above: float
    layers: tuple[LayerRates, ...]
    rate: float
    by_step: tuple[float, ...]

    @property
    def sparsity(self) -> float:
        """Share of all outputs of spiking layers that are zero: 1 - rate."""
        return 1.0 - self.rate


def analyse_rates(target: Path | str | Analysed, options: RateOptions | None = None) -> RateResult:
    """Measure the firing rates of a network on samples of its data.

    An output counts as a spike if it is not zero. Padding of samples with fewer time steps does not count.

    Args:
        target: A run folder, the name of a preset (whose network is not trained), or an opened one.
        options: The samples, and when a neuron counts as saturated.

    Raises:
        RunError: If the run has no selected weights, or its data changed since the training.
        ConfigError: If the network has no spiking layers.
        CacheError: If the data set has no event store.
    """
    options = options or RateOptions()
    analysed = open_analysed(target)
    analysed.require_weights()
    data = analysed.open_data()
    indices = analysed.choose_samples(data, options)
    with analysed.device() as device:
        network, epoch = analysed.load_network(data, device)
        with torch.no_grad(), _Counts(network) as counts:
            for batch in analysed.load_samples(data, indices, device).batches():
                counts.mask = batch.mask
                network(batch.frames)
                reset_network(network)
    if not counts.layers:
        raise ConfigError(f"{analysed.name}: expected a network with spiking layers, found none in it")
    layers = tuple(each.rates(name, options.saturated_above) for name, each in counts.layers.items())
    outputs = [each.outputs for each in counts.layers.values()]
    spikes = torch.stack([each.spikes for each in counts.layers.values()]).sum(0)
    samples = torch.stack([each.samples * each.neurons for each in counts.layers.values()]).sum(0)
    return RateResult(
        subject=analysed.subject(data=data, part=options.part, samples=len(indices), epoch=epoch),
        saturated_above=options.saturated_above,
        layers=layers,
        rate=float(spikes.sum()) / sum(outputs),
        by_step=tuple((spikes / samples).tolist()),
    )


class _LayerCount:
    """The spikes of one layer so far.

    Attributes:
        neurons: Number of neurons.
        spikes: By time step, float64 (T,).
        samples: Samples that have each time step, float64 (T,).
    """

    def __init__(self, neurons: int) -> None:
        self.neurons = neurons
        self.spikes = torch.zeros(0, dtype=torch.float64)
        self.samples = torch.zeros(0, dtype=torch.float64)
        self._of_neuron = torch.zeros(neurons, dtype=torch.float64)
        self._silent = 0.0

    @property
    def outputs(self) -> float:
        """Number of outputs: neurons * T * samples, without padding."""
        return float(self.samples.sum()) * self.neurons

    def add(self, spikes: torch.Tensor, mask: torch.Tensor | None) -> None:
        """Count a batch.

        Args:
            spikes: Whether a neuron fires, bool (T, B, neurons).
            mask: The steps that count, bool (T, B); None for all.
        """
        steps, batch = spikes.shape[:2]
        if mask is None:
            mask = torch.ones(steps, batch, dtype=torch.bool, device=spikes.device)
        spikes = spikes & mask[..., None]
        self.spikes = _added(self.spikes, spikes.sum((1, 2)))
        self.samples = _added(self.samples, mask.sum(1))
        by_sample = spikes.sum(0)
        self._of_neuron += by_sample.sum(0).double().cpu()
        self._silent += float((by_sample == 0).double().mean(1).sum())

    def rates(self, name: str, saturated_above: float) -> LayerRates:
        """The rates over all batches."""
        of_neuron = self._of_neuron / self.samples.sum()
        bins = (of_neuron * BINS).long().clamp_(max=BINS - 1)
        histogram = torch.bincount(bins, minlength=BINS) / self.neurons
        return LayerRates(
            layer=name,
            neurons=self.neurons,
            rate=float(self.spikes.sum()) / self.outputs,
            by_step=tuple((self.spikes / self.samples / self.neurons).tolist()),
            silent=float((of_neuron == 0).double().mean()),
            silent_in_sample=self._silent / float(self.samples[0]),
            saturated=float((of_neuron > saturated_above).double().mean()),
            histogram=tuple(histogram.tolist()),
        )


def _added(total: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
    """The sum of two sequences (T,), of which one may have fewer time steps."""
    grown = torch.zeros(max(len(total), len(more)), dtype=torch.float64)
    grown[: len(total)] += total
    grown[: len(more)] += more.double().cpu()
    return grown


class _Counts:
    """A context manager that counts the spikes of every spiking layer of a network.

    Attributes:
        layers: The counts by layer; layers that never ran are left out.
        mask: The steps of the next batch that count, bool (T, B); None for all.
    """

    def __init__(self, network: nn.Module) -> None:
        self.layers: dict[str, _LayerCount] = {}
        self.mask: torch.Tensor | None = None
        self._modules = neuron_layers(network)
        self._hooks: list[Any] = []

    def __enter__(self) -> _Counts:
        for name, module in self._modules.items():
            self._hooks.append(module.register_forward_hook(lambda _m, _i, out, name=name: self._see(name, out)))
        return self

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _see(self, name: str, out: torch.Tensor) -> None:
        fires = (out.detach() != 0).flatten(2)
        if name not in self.layers:
            self.layers[name] = _LayerCount(fires.shape[2])
        self.layers[name].add(fires, self.mask)
