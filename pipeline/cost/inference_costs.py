"""What one inference of a network costs by several rules, from one pass over samples.

- `Energy`: Table 6's rule. A layer that receives other values than spikes counts in full.
- `sparse_uj`: the same energies of operations, but a zero input costs nothing (`pipeline.cost.synaptic_operations`);
  an average pooling of spikes multiplies these only. Updates of neurons count in full: they happen in each step.
- `memory`: with memory accesses and addressing, the corrected terms of `pipeline.cost.memory_energy`.
- NeuroBench's metrics: effective MACs and ACs, activation sparsity, connection sparsity and footprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.config.neurons import NeuronTraits, traits_of
from pipeline.config.run_config import RunConfig
from pipeline.cost.energy import PJ_PER_AC, PJ_PER_MAC, Energy, count_energy
from pipeline.cost.layer_shapes import layer_shapes
from pipeline.cost.memory_energy import MemoryEnergy, corrected_terms
from pipeline.cost.operations import ADDING, Operations, count_run_operations, probe_frames
from pipeline.cost.synaptic_operations import SynapticOperations
from pipeline.networks.spiking_layers import has_configured_neuron
from pipeline.runs.result_json import CostColumns, EnergyResult


@dataclass(frozen=True)
class InferenceCosts:
    """The costs of one inference: of one sample, with all its time steps, as a mean over samples.

    Attributes:
        energy: Operations and energy by the rule of Table 6.
        synapses: The operations that inputs caused, by layer.
        sparse_uj: Energy of the operations in µJ if a zero input costs nothing.
        memory: Energy with memory accesses and addressing.
        firing_rate: Outputs other than zero / (neurons * T * samples) of all spiking layers.
        connection_sparsity: Share of the weights of convolutions and linear layers that are zero.
        footprint_bytes: Memory of all parameters and buffers.
    """

    energy: Energy
    synapses: SynapticOperations
    sparse_uj: float
    memory: MemoryEnergy
    firing_rate: float
    connection_sparsity: float
    footprint_bytes: int

    @property
    def activation_sparsity(self) -> float:
        """Share of the outputs of spiking layers that are zero."""
        return 1.0 - self.firing_rate

    def columns(self) -> CostColumns:
        """The costs in a row of ``metrics.jsonl``."""
        return {
            "energy_uj": self.energy.per_inference_uj,
            "sparse_energy_uj": self.sparse_uj,
            "memory_energy_uj": self.memory.total_uj,
            "effective_macs": self.synapses.effective_macs,
            "effective_acs": self.synapses.effective_acs,
            "connection_sparsity": self.connection_sparsity,
            "footprint_bytes": self.footprint_bytes,
        }

    def describe(self) -> EnergyResult:
        """The entry `energy` of ``result.json``."""
        columns = self.columns()
        return {
            **self.energy.describe(),
            "sparse_uj": columns["sparse_energy_uj"],
            "memory_uj": columns["memory_energy_uj"],
            "effective_macs": columns["effective_macs"],
            "effective_acs": columns["effective_acs"],
            "connection_sparsity": columns["connection_sparsity"],
            "footprint_bytes": columns["footprint_bytes"],
        }


class CostCount:
    """The operations of a run's network, counted once, to calculate its costs from any evaluation.

    Attributes:
        operations: Its operations in one time step.
        shapes: The shape of each convolution and linear layer, by name.
    """

    def __init__(
        self, config: RunConfig, network: nn.Module, size: tuple[int, int], timesteps: int, device: torch.device
    ) -> None:
        # A custom network may have its own neurons, of which nothing is known.
        self._neuron = config.neuron.name if has_configured_neuron(network) else ""
        self.operations = count_run_operations(config, network, size, timesteps, device)
        self.shapes = layer_shapes(network, probe_frames(config, size, timesteps, device))

    @property
    def traits(self) -> NeuronTraits:
        """Facts about the neuron; those of lif if it is not known."""
        return traits_of(self._neuron)

    def energy(self, rates: Mapping[str, float], timesteps: float) -> Energy:
        """Calculate the energy by the rule of Table 6 at these firing rates."""
        return count_energy(self.operations, self._neuron, rates, timesteps)

    def costs(
        self,
        network: nn.Module,
        rates: Mapping[str, float],
        firing_rate: float,
        synapses: SynapticOperations,
        timesteps: float,
    ) -> InferenceCosts:
        """Calculate all costs.

        Args:
            network: The network, with the weights that were evaluated.
            rates: Outputs other than zero / (elements * T * samples) of spiking layers and of `watched` modules.
            firing_rate: The same of all spiking layers together.
            synapses: The operations that inputs caused.
            timesteps: Mean number of time steps.
        """
        neurons = self.operations.of("neuron")
        updates = self.traits.macs_per_step(timesteps) * self.operations.neurons * timesteps
        pools = self.operations.of("pool")
        pooled = sum(layer.macs * (rates[layer.source] if layer.source else 1.0) for layer in pools)
        macs = updates + pooled * timesteps + sum(layer.macs for layer in synapses.layers)
        acs = sum(layer.acs for layer in synapses.layers)
        return InferenceCosts(
            energy=self.energy(rates, timesteps),
            synapses=synapses,
            sparse_uj=(PJ_PER_MAC * macs + PJ_PER_AC * acs) * 1e-6,
            memory=corrected_terms(synapses, self.shapes, neurons, rates, self.traits, timesteps),
            firing_rate=firing_rate,
            connection_sparsity=connection_sparsity(network),
            footprint_bytes=footprint_bytes(network),
        )


def watched(operations: Operations) -> tuple[str, ...]:
    """Modules besides the spiking layers whose rates are required: poolings and masks of spikes."""
    neurons = {layer.name for layer in operations.of("neuron")}
    sources = {layer.source for layer in operations.of(*ADDING, "pool") if layer.source}
    return tuple(sorted(sources - neurons))


def connection_sparsity(network: nn.Module) -> float:
    """Share of the weights of all convolutions and linear layers that are zero; biases are not counted."""
    weights = [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)
    ]
    total = sum(weight.numel() for weight in weights)
    zeros = sum(weight.numel() - int(torch.count_nonzero(weight.detach())) for weight in weights)
    return zeros / total if total else 0.0


def footprint_bytes(network: nn.Module) -> int:
    """Memory of all parameters and buffers in bytes."""
    tensors = [*network.parameters(), *network.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
