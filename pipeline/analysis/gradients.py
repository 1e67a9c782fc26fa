"""Where the gradient of the loss comes from: parts of dL/du by distance in time, and how far ds[t']/dx[t] reaches.

Huang et al. (ICML 2024), Eqs. 10-13 for LIF, 20-24 and 45-53 for CLIF; `pipeline.analysis.gradient_split` has the
equations in the symbols used here, and what of the printed ones is corrected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import GradientOptions
from pipeline.analysis.gradient_split import NO_WINDOW, Window
from pipeline.analysis.gradient_sums import LayerGradients, LayerSums
from pipeline.analysis.neuron_equations import Equations, equations_of, named_equations
from pipeline.analysis.stored_result import AnalysisResult
from pipeline.config.run_config import RunConfig
from pipeline.data.loader import Batch
from pipeline.evaluation.losses import spiking_loss
from pipeline.networks import neuron_layers, reset_network
from preprocess.errors import ConfigError

# Neurons whose reach is compared on the same inputs, whatever the run's own is.
COMPARED = ("lif", "clif", "lif-reset1.8", "clif-detached")


@dataclass(frozen=True)
class GradientResult(AnalysisResult):
    """The gradients of a network's spiking layers, as in a training step at the analysed weights.

    Attributes:
        loss: Mean loss over the samples.
        timesteps: T of the gradients: grad_steps if the run has it.
        layers: The spiking layers, in the order of the network.
    """

    ANALYSIS: ClassVar[str] = "gradients"

    loss: float
    timesteps: int
    layers: tuple[LayerGradients, ...]

    @property
    def residual(self) -> float:
        """The largest relative difference between a layer's gradient of autograd and the sum of its parts."""
        return max(layer.residual for layer in self.layers)


def analyse_gradients(target: Path | str | Analysed, options: GradientOptions | None = None) -> GradientResult:
    """Split the gradient of the training loss with respect to each neuron's potential by distance in time.

    The network runs in training mode, with the batch statistics of batches of the run's size, dropout, and the run's
    loss, in float32 and without augmentation. Weights do not change.

    Args:
        target: A run folder, the name of a preset (whose network is not trained), or an opened one.
        options: The samples.

    Raises:
        RunError: If the run has no selected weights, or its data changed since the training.
        ConfigError: If a spiking layer is not of a neuron for which the parts are defined, or T is 1.
        CacheError: If the data set has no event store.
    """
    options = options or GradientOptions()
    analysed = open_analysed(target)
    analysed.require_weights()
    config = analysed.config
    data = analysed.open_data()
    steps = config.grad_steps or data.frames.timesteps
    if steps < 2:
        name = "binning.timesteps" if config.grad_steps is None else "grad_steps"
        raise ConfigError(
            f"{name}: expected at least 2 time steps, because one has no temporal gradient, found {steps}. Analyse a "
            "run with more."
        )
    indices = analysed.choose_samples(data, options)
    with analysed.device() as device:
        network, epoch = analysed.load_network(data, device)
        sums = _layer_sums(network, config)
        total = 0.0
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(cuda), _Watching(network, sums) as watching:
            # Dropout's masks.
            torch.manual_seed(options.seed)
            for batch in analysed.load_samples(data, indices, device).batches():
                total += _backward(network, batch, config, watching) * len(batch.labels)
    return GradientResult(
        subject=analysed.subject(data=data, part=options.part, samples=len(indices), epoch=epoch),
        loss=total / len(indices),
        timesteps=steps,
        layers=tuple(each.result() for each in sums.values()),
    )


def _layer_sums(network: nn.Module, config: RunConfig) -> dict[str, LayerSums]:
    """What is summed in each spiking layer; raises ConfigError if a layer's neuron has no known equations."""
    neuron, window = config.neuron, _window(config)
    layers = neuron_layers(network)
    if not layers:
        raise ConfigError(f"{config.network.name}: expected a network with spiking layers, found none in it")
    found = {}
    for name, node in layers.items():
        own = equations_of(node, f"{config.network.name}, layer {name}")
        compared = {other: _like(other, own, config) for other in COMPARED if other != neuron.name}
        found[name] = LayerSums(name, node, own, {neuron.name: own} | compared, window)
    return found


def _like(name: str, own: Equations, config: RunConfig) -> Equations:
    """Another neuron with a layer's own threshold and time constant, which may differ from the configured ones."""
    tau = config.neuron.tau if math.isinf(own.tau) else own.tau
    return named_equations(name, config.neuron, v_threshold=own.v_threshold, tau=tau)


def _window(config: RunConfig) -> Window:
    steps, sliding = config.neuron.temporal_window, config.neuron.truncation == "sliding"
    if steps is None:
        return NO_WINDOW
    return Window(furthest=steps) if sliding else Window(block=steps + 1)


def _backward(network: nn.Module, batch: Batch, config: RunConfig, watching: _Watching) -> float:
    """Forward and backward pass of a batch as in training; returns its loss."""
    network.train()
    steps = config.grad_steps or len(batch.frames)
    watching.mask = None if batch.mask is None else batch.mask[:steps]
    logits = network(batch.frames[:steps])
    timesteps = len(batch.frames) if batch.lengths is None else batch.lengths
    loss = spiking_loss(logits, batch.labels, config.loss, watching.mask, timesteps=timesteps)
    loss.backward()
    network.zero_grad(set_to_none=True)
    reset_network(network)
    return float(loss.detach())


class _Watching:
    """A context manager that splits the gradients of all spiking layers while a backward pass runs through them.

    The gradients of a layer's outputs and of its inputs come one after the other, so that only one layer's are kept.

    Attributes:
        mask: The steps of the next batch that count, bool (T, B); None for all.
    """

    def __init__(self, network: nn.Module, sums: dict[str, LayerSums]) -> None:
        self.mask: torch.Tensor | None = None
        self._layers, self._sums = neuron_layers(network), sums
        self._hooks: list[Any] = []

    def __enter__(self) -> _Watching:
        for name, module in self._layers.items():
            # A hook before the neuron also keeps batch norm apart from it, so that its input current exists.
            self._hooks.append(module.register_forward_pre_hook(self._require_gradient))
            self._hooks.append(
                module.register_forward_hook(lambda _m, inputs, out, name=name: self._follow(name, inputs[0], out))
            )
        return self

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @staticmethod
    def _require_gradient(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        x, *rest = inputs
        # A view, so that a sum of gradients at a tensor that several layers read does not arrive here.
        return (x.view_as(x) if x.requires_grad else x.detach().requires_grad_(), *rest)

    def _follow(self, name: str, x: torch.Tensor, spikes: torch.Tensor) -> torch.Tensor:
        mask, of_spikes = self.mask, []
        current = x.detach()
        out = spikes.view_as(spikes)
        out.register_hook(lambda grad: of_spikes.append(grad.detach()))

        def split(of_x: torch.Tensor) -> None:
            self._sums[name].add(current, of_spikes.pop(), of_x.detach(), mask)

        x.register_hook(split)
        return out
