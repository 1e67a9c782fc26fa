"""What does not change over time is computed once, and equals the computation at every time step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.kernels.tensors import is_repeated, repeated
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.layers.blocks import channels_last, over_time
from pipeline.networks import build_network, reset_network
from preprocess.errors import ConfigError

STEPS, SAMPLES = 5, 3
NETWORKS = ("spiking-vgg-small", "spiking-vgg11", "snn5", "vggsnn", "plif-net-cifar10dvs")


def network_of(name: str, batch_norm: str, neuron: str = "lif", backend: str = "torch") -> nn.Module:
    return build_network(
        NetworkConfig(name=name, width=0.0625, batch_norm=batch_norm, head="gap"),
        NeuronConfig(name=neuron, backend=backend),
        channels=3,
        classes=4,
        size=(32, 32),
        timesteps=STEPS,
        seed=1,
    )


def images(dtype: torch.dtype = torch.float64, size: int = 32) -> torch.Tensor:
    return torch.randn(SAMPLES, 3, size, size, generator=torch.Generator().manual_seed(3), dtype=dtype)


def flops(network: nn.Module, x: torch.Tensor) -> int:
    reset_network(network)
    with FlopCounterMode(display=False) as counted:
        network(x).square().sum().backward()
    return counted.get_total_flops()


def test_a_sequence_that_shares_the_memory_of_a_step_is_recognised():
    image = images()
    assert is_repeated(repeated(image, STEPS)) and is_repeated(repeated(image, STEPS)[:3, 1:])
    assert not is_repeated(torch.stack([image] * STEPS)) and not is_repeated(repeated(image, 1))
    moved = channels_last(repeated(image, STEPS))
    assert is_repeated(moved) and moved[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved, repeated(image, STEPS))


def test_a_module_without_state_sees_one_time_step():
    seen = []
    out = over_time(lambda x: seen.append(x.shape) or 2 * x, repeated(images(), STEPS))
    assert seen == [(SAMPLES, 3, 32, 32)] and is_repeated(out)
    assert torch.equal(out, 2 * torch.stack([images()] * STEPS))


@pytest.mark.parametrize("mode", ["per-step", "joint"])
@pytest.mark.parametrize("trains", [True, False])
def test_batch_norm_of_a_repeated_step_equals_that_of_its_copies(mode: str, trains: bool):
    once = SequenceBatchNorm(3, mode).double().train(trains)
    nn.init.uniform_(once.weight), nn.init.uniform_(once.bias)
    once.running_mean.uniform_(), once.running_var.uniform_()
    every = copy.deepcopy(once)
    weights = torch.randn(STEPS, SAMPLES, 3, 4, 4, dtype=torch.float64)
    for seed in range(3):
        x = torch.randn(SAMPLES, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        out, expected = once(repeated(a, STEPS)), every(torch.stack([b] * STEPS))
        assert is_repeated(out)
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
        (out * weights).sum().backward(), (expected * weights).sum().backward()
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-12)
    for name, parameter in once.named_parameters():
        torch.testing.assert_close(parameter.grad, every.get_parameter(name).grad, rtol=1e-10, atol=1e-12)
    for name, buffer in once.named_buffers():
        torch.testing.assert_close(buffer, every.get_buffer(name), rtol=1e-12, atol=0)


def test_a_step_of_one_value_is_left_to_the_computation_of_every_step():
    x = repeated(torch.ones(1, 3, 1, 1), STEPS)
    with pytest.raises(ConfigError, match="batch_size"):
        SequenceBatchNorm(3, "per-step")(x)
    joint = SequenceBatchNorm(3, "joint")
    joint(x)
    assert joint.running_var.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch_norm", ["per-step", "joint"])
def test_networks_equal_their_expanded_computation_and_count_the_first_layer_once(name: str, batch_norm: str):
    once = network_of(name, batch_norm).double()
    every = copy.deepcopy(once)
    short, full = repeated(images(), STEPS), torch.stack([images()] * STEPS)
    saved = flops(every, full) - flops(once, short)
    first = next(module for module in once.modules() if isinstance(module, nn.Conv2d))
    side = 32 // first.stride[0]
    macs = first.weight.numel() * side * side * SAMPLES
    # Two FLOPs per MAC, in the forward pass and for the gradient of the weights; images have no gradient.
    assert saved == (STEPS - 1) * 2 * 2 * macs > 0
    for key, parameter in once.named_parameters():
        expected = every.get_parameter(key).grad
        # The gradient of a bias before batch norm is zero but for rounding.
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-9, atol=1e-12 + 1e-9 * float(expected.abs().max()))
    for key, buffer in once.named_buffers():
        torch.testing.assert_close(buffer, every.get_buffer(key), rtol=1e-12, atol=1e-15)
    once.eval(), every.eval()
    reset_network(once), reset_network(every)
    torch.testing.assert_close(once(short), every(full), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("neuron", ["lif", "clif"])
@pytest.mark.parametrize("batch_norm", ["per-step", "joint"])
def test_fused_neurons_with_batch_norm_equal_their_expanded_computation(neuron: str, batch_norm: str):
    once = network_of("snn5", batch_norm, neuron, "fused")
    every = copy.deepcopy(once)
    image = images(torch.float32)
    for _ in range(2):
        reset_network(once), reset_network(every)
        out, expected = once(repeated(image, STEPS)), every(torch.stack([image] * STEPS))
        assert torch.equal(out, expected)
        out.square().sum().backward(), expected.square().sum().backward()
    for key, parameter in once.named_parameters():
        if not key.endswith("conv.bias"):
            expected = every.get_parameter(key).grad
            atol = 1e-4 * float(expected.abs().max())
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=atol)
    for key, buffer in once.named_buffers():
        torch.testing.assert_close(buffer, every.get_buffer(key), rtol=1e-6, atol=1e-7)


def test_the_first_layer_keeps_one_time_step_for_the_backward_pass():
    """With batch norm and neuron in one, the input of both is kept, which all time steps share."""
    network = network_of("snn5", "per-step", "lif", "fused")
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def kept(x: torch.Tensor) -> int:
        sizes.clear()
        reset_network(network)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = network(x)
        assert out.requires_grad
        return sum(sizes.values())

    image = images(torch.float32)
    first = network.features[0].conv
    saved = kept(torch.stack([image] * STEPS)) - kept(repeated(image, STEPS))
    assert saved >= (STEPS - 1) * 4 * SAMPLES * first.out_channels * 32 * 32
