"""Synaptic operations that inputs cause: NeuroBench's own numbers, a count by hand, and what costs nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from patience import PATIENCE_S
from spikingjelly.activation_based.neuron import BaseNode
from tiny_run import TINY
from torch import nn

from pipeline.config.run_config import NetworkConfig, NeuronConfig, override
from pipeline.cost.inference_costs import CostCount, InferenceCosts, connection_sparsity, footprint_bytes
from pipeline.cost.operations import count_operations
from pipeline.cost.synaptic_operations import SynapseCounter, SynapticOperations, nonzeros_by_position
from pipeline.kernels.tensors import repeated
from pipeline.layers import spike_conv
from pipeline.layers.pooling import AveragePool
from pipeline.networks import SpikeCounter, build_network, reset_network

T, B, SIDE = 4, 3, 34
CPU = torch.device("cpu")


def network_of(name: str, neuron: str = "lif", side: int = SIDE, zeros: float = 0.2) -> nn.Module:
    """A small network with a share of its weights at zero."""
    form = {"channels": 2, "classes": 3, "size": (side, side), "timesteps": T, "seed": 1}
    network = build_network(NetworkConfig(name=name, width=0.25), NeuronConfig(name=neuron, v_threshold=0.5), **form)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight[torch.rand(module.weight.shape, generator=generator) < zeros] = 0
    return network.eval()


def frames_of(side: int = SIDE, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 3, (T, B, 2, side, side), generator=torch.Generator().manual_seed(seed)).float()


def counted(network: nn.Module, frames: torch.Tensor, mask: torch.Tensor | None = None) -> SynapticOperations:
    operations = count_operations(network, torch.ones(1, 1, *frames.shape[2:]))
    reset_network(network)
    with torch.no_grad(), SynapseCounter(network, operations) as counter:
        counter.mask = mask
        network(frames)
    reset_network(network)
    return counter.operations(frames.shape[1])


@pytest.mark.parametrize(
    ("name", "neuron", "zeros"),
    [("spiking-vgg-small", "lif", 0.2), ("spiking-resnet18", "clif", 0.2), ("spiking-resnet18", "lif", 0.0),
     ("sew-resnet18", "lif", 0.2), ("rsnn", "lif", 0.2), ("plif-net-gesture", "plif", 0.2)],
)  # fmt: skip
def test_numbers_are_those_of_the_neurobench_package(name: str, neuron: str, zeros: float):
    """Shortcuts, strides, sums of spikes, recurrent connections, max pooling and weights of zero among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("neurobench", reason="the package neurobench is not installed: pip install -e .[dev]")
        from neurobench.metrics.static import ConnectionSparsity, Footprint
        from neurobench.metrics.workload.activation_sparsity import ActivationSparsity
        from neurobench.metrics.workload.synaptic_operations import SynapticOperations as Theirs
        from neurobench.models import NeuroBenchModel

    class Wrapped(NeuroBenchModel):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network
            self.add_activation_module(BaseNode)

        def __call__(self, batch: torch.Tensor) -> Any:
            return self.network(batch)

        def __net__(self) -> nn.Module:
            return self.network

    network, frames = network_of(name, neuron, zeros=zeros), frames_of()
    ours = counted(network, frames)
    with torch.no_grad(), SpikeCounter(network) as spikes:
        network(frames)
    reset_network(network)
    model = Wrapped(network)
    model.register_hooks()
    with torch.no_grad():
        out = model(frames)
        # Samples first, of which NeuroBench reads the number.
        theirs = Theirs()(model, out, (frames.transpose(0, 1), None))
    found = {"Effective_MACs": ours.effective_macs, "Effective_ACs": ours.effective_acs, "Dense": ours.dense}
    assert found == pytest.approx(theirs) and ours.effective_acs + ours.effective_macs > 0
    assert 1 - spikes.rate() == pytest.approx(ActivationSparsity()(model, out, None))
    model.cleanup_hooks()
    assert round(connection_sparsity(network), 4) == ConnectionSparsity()(model) >= 0.75 * zeros
    assert footprint_bytes(network) == Footprint()(model)


def test_operations_of_a_convolution_and_a_linear_layer_by_hand():
    """One input in a corner meets 4 of 9 taps, one in the middle 9; a weight of zero costs nothing."""
    network = nn.Sequential(nn.Flatten(0, 1), nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 16, 5))
    with torch.no_grad():
        network[1].weight[0, 0, 1, 1] = 0  # type: ignore[index, operator]
        network[1].weight[1] = 0  # type: ignore[index, operator]
        network[1].bias[:] = torch.tensor([0.0, 0.5])  # type: ignore[index, operator]
    frames = torch.zeros(1, 1, 1, 4, 4)
    frames[0, 0, 0, 0, 0], frames[0, 0, 0, 2, 2] = 2.0, 1.0
    conv, linear = counted(network, frames).layers
    assert (conv.acs, conv.macs, conv.dense, conv.nonzeros, conv.inputs) == (0, 3 + 8, 2 * 100, 2, 16)
    # The second map is its bias; of the first one, as many are nonzero as both neighbourhoods cover, which share one.
    assert linear.macs == linear.nonzeros * 5 and linear.nonzeros == 16 + 3 + 8 - 1
    assert counted(network, frames.clamp(max=1)).layers[0].acs == 3 + 8


@pytest.mark.parametrize("sizes", [(3,), (1, 2), (2, 1), (1, 1, 1)])
def test_the_kind_of_operations_does_not_depend_on_the_batches(sizes: tuple[int, ...]):
    """Samples whose inputs are binary by chance take MACs like the others; those that are left out decide nothing."""
    network = nn.Sequential(nn.Flatten(0, 1), nn.Conv2d(1, 2, 3))
    frames = (torch.rand(T, B, 1, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    frames[-1, -1, 0, 2, 2] = 2.0
    operations = count_operations(network, torch.ones(1, 1, 1, 5, 5))
    for mask in (None, torch.ones(T, B, dtype=torch.bool), torch.arange(T)[:, None].expand(T, B) < T - 1):
        with torch.no_grad(), SynapseCounter(network, operations) as counter:
            for batch, counts in zip(
                frames.split(sizes, 1), [None] * B if mask is None else mask.split(sizes, 1), strict=False
            ):
                counter.mask = counts
                network(batch)
        (layer,) = counter.operations(B).layers
        left_out = mask is not None and not mask.all()
        assert (layer.acs > 0, layer.macs > 0) == (left_out, not left_out)
        assert layer == counted(network, frames, mask).layers[0]


@pytest.mark.parametrize("binary_first", [False, True])
def test_counts_of_two_processes_add_up_to_those_of_one(binary_first: bool):
    network = nn.Sequential(nn.Flatten(0, 1), nn.Conv2d(1, 2, 3))
    frames = (torch.rand(T, B, 1, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    frames[0, -1 if binary_first else 0, 0, 2, 2] = 2.0
    operations = count_operations(network, torch.ones(1, 1, 1, 5, 5))
    mine, other = SynapseCounter(network, operations), SynapseCounter(network, operations)
    for counter, share in ((mine, frames[:, :1]), (other, frames[:, 1:])):
        with torch.no_grad(), counter:
            network(share)
    mine.add(other.counts())
    assert mine.operations(B) == counted(network, frames)


def test_padding_of_short_samples_does_not_count():
    network = network_of("rsnn")
    frames = frames_of()
    lengths = torch.tensor([4, 2, 3])
    mask = torch.arange(T)[:, None] < lengths
    frames = frames * mask[..., None, None, None]
    together = counted(network, frames, mask)
    alone = [counted(network, frames[: int(n), k : k + 1]) for k, n in enumerate(lengths)]
    for k, layer in enumerate(together.layers):
        parts = [found.layers[k] for found in alone]
        assert layer.effective * B == sum(part.effective for part in parts) > 0
        assert layer.dense * B == sum(part.dense for part in parts)
        assert layer.inputs * B == sum(part.inputs for part in parts)


def test_padding_of_short_samples_does_not_count_in_maps():
    network, lengths = network_of("plif-net-gesture"), torch.tensor([4, 1, 2])
    mask = torch.arange(T)[:, None] < lengths
    frames = frames_of() * mask[..., None, None, None]
    together = counted(network, frames, mask)
    alone = [counted(network, frames[: int(n), k : k + 1]) for k, n in enumerate(lengths)]
    for k, layer in enumerate(together.layers):
        assert layer.nonzeros * B == sum(found.layers[k].nonzeros for found in alone)


def test_a_layer_whose_input_does_not_change_is_counted_once():
    network, image = network_of("spiking-vgg-small"), frames_of()[0]
    once, each = counted(network, repeated(image, T)), counted(network, torch.stack([image] * T))
    assert each.layers[0].macs == T * once.layers[0].macs > 0 and once.layers[0].inputs == 2 * SIDE**2
    assert each.layers[1:] == once.layers[1:]


@pytest.mark.parametrize("order", ["channels first", "channels last"])
def test_positions_are_counted_in_any_memory_order(order: str):
    x = (torch.rand(600, 3, 4, 5, generator=torch.Generator().manual_seed(0)) < 0.9).float()
    if order == "channels last":
        x = x.contiguous(memory_format=torch.channels_last)
    rows = torch.rand(600, generator=torch.Generator().manual_seed(1)) < 0.5
    assert torch.equal(nonzeros_by_position(x, 3), (x != 0).sum(0))
    assert torch.equal(nonzeros_by_position(x, 3, rows), (x[rows] != 0).sum(0))


def test_counting_leaves_fast_convolutions_and_results_as_they_are(monkeypatch: pytest.MonkeyPatch):
    network, frames = network_of("spiking-resnet18"), frames_of()
    used: list[bool] = []
    fast = spike_conv.spike_conv2d
    monkeypatch.setattr(spike_conv, "spike_conv2d", lambda *given: used.append(True) or fast(*given))
    with torch.no_grad():
        plain = network(frames)
    reset_network(network)
    before = len(used)
    operations = count_operations(network, torch.ones(1, 1, 2, SIDE, SIDE))
    used.clear()
    with torch.no_grad(), SynapseCounter(network, operations):
        observed = network(frames)
    assert torch.equal(plain, observed) and len(used) == before > 0


def costs_at(threshold: float) -> tuple[InferenceCosts, float]:
    """The costs of a network with this threshold, and what its sparse energy should be."""
    network, config = network_of("spiking-vgg-small", side=32), override(TINY, {"network.name": "spiking-vgg-small"})
    for module in network.modules():
        if isinstance(module, BaseNode):
            module.v_threshold = threshold
    count = CostCount(config, network, (32, 32), T, CPU)
    averaged: list[int] = []
    for module in network.modules():
        if isinstance(module, AveragePool):
            module.register_forward_pre_hook(lambda _, given: averaged.append(int(given[0].count_nonzero())))
    with torch.no_grad(), SpikeCounter(network) as spikes, SynapseCounter(network, count.operations) as synapses:
        network(frames_of(32))
    costs = count.costs(network, spikes.input_rates(), spikes.rate(), synapses.operations(B), T)
    updates = 2 * T * count.operations.neurons
    return costs, 4.6e-6 * (costs.synapses.effective_macs + sum(averaged) / B + updates)


def test_energy_depends_on_firing_where_table_6_counts_in_full():
    """With pooling after every convolution Table 6's rule has no ACs; the sparse count follows the spikes."""
    (firing, expected), (silent, least) = costs_at(0.5), costs_at(50.0)
    assert firing.energy.acs == silent.energy.acs == 0
    assert firing.energy.per_inference_uj == silent.energy.per_inference_uj
    assert silent.firing_rate == 0 < firing.firing_rate
    assert firing.sparse_uj == pytest.approx(expected) and expected < firing.energy.per_inference_uj
    # A silent network still computes its first layer and updates its neurons.
    assert silent.sparse_uj == pytest.approx(least) and 0 < least < expected
    assert silent.synapses.effective_macs == silent.synapses.layers[0].macs > 0
    assert silent.memory.total < firing.memory.total


# In a process of its own: the compiler's warnings and caches stay out of the other tests.
COMPILED = """
import torch
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.cost.operations import count_operations
from pipeline.cost.synaptic_operations import SynapseCounter
from pipeline.networks import build_network, reset_network
network = build_network(NetworkConfig("spiking-vgg-small", width=0.125), NeuronConfig(), channels=2, classes=3,
    size=(16, 16), timesteps=3, seed=0).eval()
operations = count_operations(network, torch.ones(1, 1, 2, 16, 16))
x = torch.randint(0, 3, (3, 4, 2, 16, 16)).float()
found = []
for compiles in (False, True):
    if compiles:
        network.compile(backend="aot_eager")
        with torch.no_grad():
            network(x)
        reset_network(network)
    with torch.no_grad(), SynapseCounter(network, operations) as counter:
        network(x)
    reset_network(network)
    found.append(counter.operations(4))
assert found[0] == found[1] and found[0].effective_macs > 0, found
"""


@pytest.mark.slow
@pytest.mark.preloaded
def test_a_compiled_network_is_counted_as_another():
    result = subprocess.run([sys.executable, "-c", COMPILED], timeout=PATIENCE_S, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
