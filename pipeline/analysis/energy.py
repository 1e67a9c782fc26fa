"""Energy of an inference by the rule of the CLIF paper's Table 6: counted operations times what one takes in 45 nm.

A MAC (multiplication and addition, 32 bits) takes 4.6 pJ, an AC (addition alone) 0.9 pJ (Horowitz, ISSCC 2014). A layer
that sees spikes alone adds a weight for each of them: its ACs are its dense MACs times the share of its inputs that are
1. All other layers, averages and the neurons' own updates take MACs (`pipeline.analysis.operations.macs_per_step`). The
table's figures are of one time step; an inference takes T of them. It is a count, not a measurement: memory accesses
are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.analysis.operations import Operations, count_run_operations, macs_per_step
from pipeline.config.neuron_traits import traits_of
from pipeline.config.run_config import RunConfig
from pipeline.runs.result_json import EnergyResult

PJ_PER_MAC = 4.6
PJ_PER_AC = 0.9
_UJ = 1e-6


@dataclass(frozen=True)
class Energy:
    """Of one sample.

    Attributes:
        macs: In one time step.
        acs: In one time step, the mean over steps and samples.
        timesteps: Steps of an inference; where T varies their mean.
    """

    macs: float
    acs: float
    timesteps: float

    @property
    def per_step_uj(self) -> float:
        """Microjoules of one time step, as Table 6 prints them."""
        return (PJ_PER_MAC * self.macs + PJ_PER_AC * self.acs) * _UJ

    @property
    def per_inference_uj(self) -> float:
        """Microjoules of all time steps."""
        return self.per_step_uj * self.timesteps

    def describe(self) -> EnergyResult:
        """The entry `energy` of `result.json`."""
        return {
            "macs_per_step": self.macs,
            "acs_per_step": self.acs,
            "timesteps": self.timesteps,
            "per_step_uj": self.per_step_uj,
            "per_inference_uj": self.per_inference_uj,
        }


def count_energy(operations: Operations, neuron: str, rates: Mapping[str, float], timesteps: float) -> Energy:
    """The energy of a network whose layers fired so often.

    Args:
        operations: Of the network.
        neuron: Its name; a custom class is counted as lif.
        rates: Spikes / (elements * T * samples) of each layer that another one sees, by name.
        timesteps: Steps of an inference.
    """
    per_neuron = traits_of(neuron).macs_per_step(timesteps)
    seeing = [layer for layer in operations.of("conv", "linear") if layer.source]
    acs = sum(layer.macs * rates[layer.source] for layer in seeing)
    return Energy(macs_per_step(operations, per_neuron), acs, timesteps)


class EnergyCount:
    """The operations of a run's network, counted once, for energies at whatever rates it fires.

    Attributes:
        watched: Modules besides the spiking layers whose rates are needed: poolings of spikes.
    """

    def __init__(
        self, config: RunConfig, network: nn.Module, size: tuple[int, int], timesteps: int, device: torch.device
    ) -> None:
        self._neuron = config.neuron.name
        self._operations = count_run_operations(config, network, size, timesteps, device)
        neurons = {layer.name for layer in self._operations.of("neuron")}
        sources = {layer.source for layer in self._operations.of("conv", "linear") if layer.source}
        self.watched = tuple(sorted(sources - neurons))

    def energy(self, rates: Mapping[str, float], timesteps: float) -> Energy:
        """Of one sample, where layers fire so often."""
        return count_energy(self._operations, self._neuron, rates, timesteps)
