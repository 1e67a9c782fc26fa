"""What every built-in network does with any neuron: gradients, state, batch norm, counted parameters."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from spikingjelly.activation_based.neuron import PSN
from torch import nn

from pipeline.config.neurons import traits_of
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.cost.operations import count_operations
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import ConvBlock
from pipeline.networks import NETWORKS, build_network, neuron_layers, reset_network

STEPS, BATCH, SIZE = 2, 3, (32, 32)
# Fused and in steps, with weights for each step, and the ANN.
NEURONS = ("lif", "clif", "psn", "relu")


@pytest.fixture(autouse=True)
def one_thread():
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(name: str, neuron: str, **words: Any) -> nn.Module:
    """A narrow network whose layers all fire, and whose surrogate always passes a gradient."""
    config = NeuronConfig(neuron, surrogate="atan", alpha=2.0, backend=words.pop("backend", "auto"))
    form = {"channels": 2, "classes": 4, "size": SIZE, "timesteps": STEPS, "seed": 0}
    network = build_network(NetworkConfig(name, width=1 / 16, **words), config, **form)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, SequenceBatchNorm):
            nn.init.constant_(module.weight, 0.8)
            nn.init.uniform_(module.bias, 0.3, 0.9, generator=torch.Generator().manual_seed(module.num_features))
        elif isinstance(module, nn.Linear):
            module.weight.data *= 4
        elif isinstance(module, PSN):
            # Thresholds of 0.6 instead of 1, which with two steps no current may reach, and no random sums of steps.
            nn.init.constant_(module.bias, -0.6)
            nn.init.eye_(module.weight)
    return network


def images(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(STEPS, BATCH, 2, *SIZE, generator=generator, dtype=dtype)


def without_effect(network: nn.Module) -> set[str]:
    """Biases of convolutions, which batch norm takes away again."""
    return {f"{name}.bias" for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


# A recurrent network needs the spikes of each step before the next one.
PAIRS = [pair for pair in product(NETWORKS, NEURONS) if pair != ("rsnn", "psn")]


@pytest.mark.parametrize(("name", "neuron"), PAIRS)
def test_gradients_reach_every_parameter_and_the_reset_clears_the_state(name: str, neuron: str):
    network, x = build(name, neuron), images()
    out = network(x)
    assert out.shape == (STEPS, BATCH, 4) and out.isfinite().all() and out.std() > 0
    out.square().sum().backward()
    harmless = without_effect(network)
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.any() or parameter_name in harmless, parameter_name
    network.eval()
    spikes: list[torch.Tensor] = []
    next(iter(neuron_layers(network).values())).register_forward_hook(lambda _m, _i, out: spikes.append(out))
    with torch.no_grad():
        reset_network(network)
        first, _ = network(x), network(x)
        reset_network(network)
        assert torch.equal(network(x), first)
    # The logits of the second pass may be the same: a neuron that always fires does so from any potential.
    assert torch.equal(spikes[0], spikes[1]) == (neuron in ("psn", "relu") and name != "rsnn")


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_belongs_to_a_layer_that_is_counted(name: str):
    network = build(name, "plif")
    operations = count_operations(network, torch.ones(1, 1, 2, *SIZE))
    assert operations.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert operations.parameters == sum(layer.parameters for layer in operations.layers)
    assert [layer.name for layer in operations.of("neuron")] and operations.neurons > 0
    assert {layer.name for layer in operations.of("neuron")} == set(neuron_layers(network))


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_before_the_first_neuron_are_computed_once_for_a_static_image(name: str):
    operations = count_operations(build(name, "lif"), torch.ones(1, 1, 2, *SIZE), static=True)
    layers = operations.of("conv", "linear")
    assert layers[0].once and operations.once_macs > 0
    # A shortcut around the first neuron may be computed once too; what receives spikes never is.
    assert not any(layer.once for layer in layers if layer.binary_input)
    assert sum(layer.once for layer in layers) <= 2


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_norm_per_step_equals_one_call_for_each_time_step(name: str):
    x = images(torch.float64)
    results = []
    for whole in (True, False):
        network = build(name, "clif", backend="torch", dropout=0.2).double()
        torch.manual_seed(4)
        out = network(x) if whole else torch.cat([network(step[None]) for step in x])
        out.square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        results.append((out, {k: v for k, v in gradients.items() if k not in without_effect(network)}, network))
    (found, gradients, ours), (expected, others, theirs) = results
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients, others, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(list(ours.buffers()), list(theirs.buffers()), rtol=1e-10, atol=1e-10)
    norms = [module for module in ours.modules() if isinstance(module, SequenceBatchNorm)]
    assert {int(norm.num_batches_tracked) for norm in norms} == {STEPS}


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_layers_equal_plain_ones(name: str):
    """With float32 a potential may round across the threshold; ReLU has none, so that only spikes are compared."""
    logits = []
    for backend in ("auto", "torch"):
        network = build(name, "clif", batch_norm="joint", backend=backend)
        logits.append(network(images()).detach())
    apart = (logits[0] - logits[1]).abs()
    assert apart.median() <= 1e-3 * logits[1].abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_joint_batch_norm_counts_one_batch(name: str):
    network = build(name, "relu", batch_norm="joint")
    network(images())
    norms = [module for module in network.modules() if isinstance(module, SequenceBatchNorm)]
    assert {int(norm.num_batches_tracked) for norm in norms} == {1}


def test_residual_blocks_run_fused_where_the_neuron_can(monkeypatch: pytest.MonkeyPatch):
    """Every batch norm with a neuron behind it goes through the common kernel, and none of the others."""
    assert traits_of("clif").fused
    network = build("spiking-resnet18", "clif")
    seen: list[object] = []
    for module in neuron_layers(network).values():
        module.register_forward_hook(
            lambda _module, _inputs, keywords, _out: seen.append(keywords.get("norm")), with_kwargs=True
        )
    network(images())
    assert len(seen) == 17 and all(isinstance(norm, SequenceBatchNorm) for norm in seen)
    assert not any(isinstance(module, ConvBlock) for module in network.modules())


@pytest.mark.parametrize("name", ["spiking-resnet18", "sew-resnet18", "ms-resnet18", "wide-7b", "snn5"])
def test_residual_networks_learn_to_tell_two_patterns_apart(name: str):
    config = NeuronConfig("clif")
    form = {"channels": 2, "classes": 2, "size": (16, 16), "timesteps": 2, "seed": 0}
    network = build_network(NetworkConfig(name, width=1 / 8), config, **form)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    labels = torch.arange(8) % 2
    x = torch.rand(2, 8, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    x[:, labels == 1, :, :8] += 1.0
    for _ in range(15):
        loss = nn.functional.cross_entropy(network(x).mean(0), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        reset_network(network)
    assert loss.item() < 0.3
