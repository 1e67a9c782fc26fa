"""Energy of an inference as in the CLIF paper's Table 6: number of operations times the energy of each in 45 nm.

A multiply-accumulate operation (MAC, 32 bits) takes 4.6 pJ, an accumulate operation (AC) 0.9 pJ (Horowitz, ISSCC 2014).
A layer whose inputs are only spikes adds one weight per spike: its ACs are its dense MACs times the share of its inputs
that are 1. So does a matrix product of attention, which adds a row of the other matrix, and a sum of spikes. All other
layers, average pooling and the updates of the neurons use MACs (`pipeline.cost.operations.macs_per_step`). Values
in the table are for one time step; an inference has T of them, of which layers whose input does not change over time
are computed in the first only. This is an estimate, not a measurement, and does not include memory accesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.neurons import traits_of
from pipeline.cost.operations import ADDING, Operations, macs_per_step
from pipeline.runs.result_json import EnergyResult

PJ_PER_MAC = 4.6
PJ_PER_AC = 0.9
_UJ = 1e-6


@dataclass(frozen=True)
class Energy:
    """Operations and energy for one sample.

    Attributes:
        macs: MACs in one time step.
        acs: ACs in one time step, as the mean over steps and samples.
        timesteps: Time steps of an inference; their mean if T varies.
        once: Those of the MACs that are computed once for all time steps, because their inputs are static images.
    """

    macs: float
    acs: float
    timesteps: float
    once: float = 0

    @property
    def per_step_uj(self) -> float:
        """Energy of one time step in µJ, as in Table 6."""
        return (PJ_PER_MAC * self.macs + PJ_PER_AC * self.acs) * _UJ

    @property
    def per_inference_uj(self) -> float:
        """Energy of all time steps in µJ."""
        return self.per_step_uj * self.timesteps - PJ_PER_MAC * self.once * (self.timesteps - 1) * _UJ

    def describe(self) -> EnergyResult:
        """The entry `energy` of `result.json`."""
        result: EnergyResult = {
            "macs_per_step": self.macs,
            "acs_per_step": self.acs,
            "timesteps": self.timesteps,
            "per_step_uj": self.per_step_uj,
            "per_inference_uj": self.per_inference_uj,
        }
        if self.once:
            result["macs_once"] = self.once
        return result


def count_energy(operations: Operations, neuron: str, rates: Mapping[str, float], timesteps: float) -> Energy:
    """Calculate the energy of a network from its firing rates.

    Args:
        operations: Operations of the network.
        neuron: Name of the neuron; a custom class without traits, or "" if it is not known, is counted as lif.
        rates: Spikes / (elements * T * samples) of each layer whose spikes are the input of another one, by name.
        timesteps: Time steps of an inference.
    """
    per_neuron = traits_of(neuron).macs_per_step(timesteps)
    accumulating = [layer for layer in operations.of(*ADDING) if layer.source]
    acs = sum(layer.macs * rates[layer.source] for layer in accumulating)
    once = sum(layer.macs for layer in operations.of("conv", "linear") if layer.once and not layer.binary_input)
    return Energy(macs_per_step(operations, per_neuron), acs, timesteps, once)
