"""What one inference of a network costs on samples of its data, by every rule of `pipeline.cost.inference_costs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pipeline.analysis.analysed_network import Analysed, open_analysed
from pipeline.analysis.analysis_options import EnergyOptions
from pipeline.analysis.stored_result import AnalysisResult
from pipeline.config.run_config import RunConfig
from pipeline.cost.energy import PJ_PER_AC, PJ_PER_MAC
from pipeline.cost.inference_costs import CostCount, InferenceCosts
from pipeline.cost.memory_energy import PRINTED_NEURONS, MemoryEnergy, printed_terms
from pipeline.evaluation.evaluate import costs_of, evaluate


@dataclass(frozen=True)
class LayerCosts:
    """The synaptic operations of one layer for one inference, as a mean over samples.

    Attributes:
        layer: Name of the layer.
        kind: conv, linear, or product or sum of attention.
        dense: Operations if no input and no weight were zero.
        macs: MACs that its inputs cause: operations of inputs other than -1, 0 and 1.
        acs: ACs that its inputs cause.
        input_sparsity: Share of its inputs that are zero.
        energy_uj: Energy of its MACs and ACs, in µJ.
    """

    layer: str
    kind: str
    dense: float
    macs: float
    acs: float
    input_sparsity: float
    energy_uj: float


@dataclass(frozen=True)
class CostResult(AnalysisResult):
    """The costs of one inference, for all its time steps, as a mean over samples.

    Attributes:
        timesteps: Time steps of an inference.
        macs_per_step: MACs of one time step by the rule of Table 6.
        acs_per_step: ACs of one time step by the rule of Table 6.
        table6_per_step_uj: Energy of one time step by the rule of Table 6, in µJ, as the paper prints it.
        table6_uj: The same for all time steps.
        sparse_uj: Energy of the operations in µJ if a zero input costs nothing.
        effective_macs: NeuroBench's effective MACs.
        effective_acs: NeuroBench's effective ACs.
        dense: NeuroBench's dense synaptic operations.
        activation_sparsity: Share of the outputs of spiking layers that are zero.
        connection_sparsity: Share of the weights that are zero.
        footprint_bytes: Memory of all parameters and buffers.
        corrected: Energy with memory accesses and addressing, in pJ.
        printed: The same as Table 7 has it, in pJ; None if `why_not_printed` says why it is not defined.
        why_not_printed: The reason, or "".
        layers: The layers, in the order in which they run.
    """

    ANALYSIS: ClassVar[str] = "energy"

    timesteps: float
    macs_per_step: float
    acs_per_step: float
    table6_per_step_uj: float
    table6_uj: float
    sparse_uj: float
    effective_macs: float
    effective_acs: float
    dense: float
    activation_sparsity: float
    connection_sparsity: float
    footprint_bytes: int
    corrected: MemoryEnergy
    printed: MemoryEnergy | None
    why_not_printed: str
    layers: tuple[LayerCosts, ...]


def analyse_energy(target: Path | str | Analysed, options: EnergyOptions | None = None) -> CostResult:
    """Calculate what one inference costs, from the operations and spikes of a network on samples of its data.

    Args:
        target: A run folder, the name of a preset (whose network is not trained), or an opened one.
        options: The samples.

    Raises:
        RunError: If the run has no selected weights, or its data changed since the training.
        CacheError: If the data set has no event store.
    """
    options = options or EnergyOptions()
    analysed = open_analysed(target)
    analysed.require_weights()
    data = analysed.open_data()
    indices = analysed.choose_samples(data, options)
    steps = float(np.mean(data.frames.lengths[indices]))
    config = analysed.config
    with analysed.device() as device:
        network, epoch = analysed.load_network(data, device)
        count = CostCount(config, network, data.size, data.frames.timesteps, device)
        found = evaluate(network, analysed.load_samples(data, indices, device), config.loss, count.operations)
        costs = costs_of(count, network, found, steps)
    printed, why_not = printed_for(config, count, found.input_rates, steps)
    return CostResult(
        subject=analysed.subject(data=data, part=options.part, samples=len(indices), epoch=epoch),
        timesteps=steps,
        macs_per_step=costs.energy.macs,
        acs_per_step=costs.energy.acs,
        table6_per_step_uj=costs.energy.per_step_uj,
        table6_uj=costs.energy.per_inference_uj,
        sparse_uj=costs.sparse_uj,
        effective_macs=costs.synapses.effective_macs,
        effective_acs=costs.synapses.effective_acs,
        dense=costs.synapses.dense,
        activation_sparsity=costs.activation_sparsity,
        connection_sparsity=costs.connection_sparsity,
        footprint_bytes=costs.footprint_bytes,
        corrected=costs.memory,
        printed=printed,
        why_not_printed=why_not,
        layers=_layers(costs),
    )


def printed_for(
    config: RunConfig, count: CostCount, rates: Mapping[str, float], timesteps: float
) -> tuple[MemoryEnergy | None, str]:
    """Table 7's terms for a network, or None and the reason why they are not defined for it.

    Args:
        config: Configuration of the network.
        count: Its operations.
        rates: Spikes / (neurons * T * samples) by spiking layer.
        timesteps: T.
    """
    if config.neuron.name not in PRINTED_NEURONS:
        return None, f"Table 7 has {', '.join(PRINTED_NEURONS)}, not {config.neuron.name}"
    # The paper leaves out the convolutions of shortcuts.
    shapes = [shape for shape in count.shapes.values() if set(shape.kernel) != {1}]
    neurons = count.operations.of("neuron")
    if len(neurons) != len(shapes) - 1:
        return None, (
            f"Table 7 has networks with a layer of neurons behind every layer with weights but the last, not "
            f"{len(shapes)} layers with weights and {len(neurons)} of neurons"
        )
    return printed_terms(shapes, config.neuron.name, timesteps, [rates[layer.name] for layer in neurons]), ""


def _layers(costs: InferenceCosts) -> tuple[LayerCosts, ...]:
    return tuple(
        LayerCosts(
            layer=layer.name,
            kind=layer.kind,
            dense=layer.dense,
            macs=layer.macs,
            acs=layer.acs,
            input_sparsity=1.0 - layer.nonzeros / layer.inputs,
            energy_uj=(PJ_PER_MAC * layer.macs + PJ_PER_AC * layer.acs) * 1e-6,
        )
        for layer in costs.synapses.layers
    )
