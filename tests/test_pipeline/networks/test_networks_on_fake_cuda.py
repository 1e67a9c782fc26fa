"""Every network, neuron and precision on a CUDA device without one: `tests/fake_cuda.py` says what fails there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import fake_cuda
import pytest
import torch
from fake_cuda import CUDA, DTYPES, CopyError, DtypeError, LaunchError
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode, unset_fake_temporarily

from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.networks import NETWORKS, SpikeCounter, build_network, neuron_layers, reset_network
from pipeline.neurons import NEURONS
from pipeline.runtime.device import autocast

pytest.importorskip("triton", reason="Triton comes with torch for CUDA only")

STEPS, BATCH, CLASSES, SIZE = 2, 2, 3, (32, 32)
# A recurrent network needs the spikes of each step before the next one.
PAIRS = [pair for pair in product(NETWORKS, NEURONS) if pair not in (("rsnn", "psn"), ("rsnn", "sliding-psn"))]


@pytest.fixture
def device():
    with fake_cuda.fake_cuda() as mode:
        yield mode


def build(mode: FakeTensorMode, name: str, neuron: str, **words: Any) -> nn.Module:
    with unset_fake_temporarily():
        network = build_network(
            NetworkConfig(name, width=1 / 16, **words),
            NeuronConfig(neuron),
            channels=2,
            classes=CLASSES,
            size=SIZE,
            timesteps=STEPS,
            seed=0,
        )
    return fake_cuda.move(network, mode)


def check_forward(network: nn.Module, precision: str) -> torch.Tensor:
    """Run a forward pass that records a gradient; outputs are on the device, in the precision's dtype."""
    frames = torch.empty(STEPS, BATCH, 2, *SIZE, device=CUDA)
    seen: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: seen.append(out)) for layer in neuron_layers(network).values()
    ]
    with fake_cuda.Strict(), autocast(CUDA, precision), SpikeCounter(network):
        logits = network(frames)
    for hook in hooks:
        hook.remove()
    assert logits.shape == (STEPS, BATCH, CLASSES) and logits.device == CUDA and logits.requires_grad
    assert logits.dtype in (DTYPES[precision], torch.float32)
    assert seen and all(spikes.device == CUDA and spikes.dtype in (DTYPES[precision], torch.float32) for spikes in seen)
    reset_network(network)
    return logits


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_runs(device: FakeTensorMode, name: str):
    network = build(device, name, "clif", batch_norm="joint", dropout=0.1)
    check_forward(network, "fp32")
    half = ("bf16", "fp16")[list(NETWORKS).index(name) % 2]
    # A linear layer computes the logits.
    assert check_forward(network, half).dtype == DTYPES[half]


@pytest.mark.slow
@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_runs_in_every_precision(device: FakeTensorMode, name: str):
    network = build(device, "spiking-vgg-small", name, batch_norm="joint")
    for precision in DTYPES:
        check_forward(network, precision)


@pytest.mark.slow
def test_networks_run_with_neurons_of_every_kind(device: FakeTensorMode, share_of: Callable[[int], int]):
    """A share of all triples, evenly spread, with batch norm per step; make test-all runs all of them."""
    cases = list(product(PAIRS, DTYPES))
    count = share_of(len(cases))
    for k in range(count):
        (name, neuron), precision = cases[k * len(cases) // count]
        check_forward(build(device, name, neuron), precision)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["vggsnn", "sew-resnet18", "spike-driven-transformer-gesture", "spikformer-dvs", "rsnn"]
)
def test_gradients_of_every_parameter_are_on_the_device(device: FakeTensorMode, name: str):
    network = build(device, name, "clif")
    with fake_cuda.Strict(), autocast(CUDA, "bf16"):
        loss = network(torch.empty(STEPS, BATCH, 2, *SIZE, device=CUDA)).float().square().mean()
    with fake_cuda.Strict():
        fake_cuda.backward(loss)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.device == CUDA and parameter.grad.dtype == torch.float32, name


def test_the_walk_over_the_graph_gives_the_engines_gradients():
    network = build_network(
        NetworkConfig("vggsnn", width=1 / 16), NeuronConfig("clif", surrogate="atan", alpha=2.0),
        channels=2, classes=CLASSES, size=SIZE, timesteps=STEPS, seed=0,
    )  # fmt: skip
    frames = torch.rand(STEPS, BATCH, 2, *SIZE, generator=torch.Generator().manual_seed(0)) * 4
    found = []
    for run in (torch.Tensor.backward, fake_cuda.backward):
        reset_network(network)
        network.zero_grad()
        with fake_cuda.noted_inputs():
            run(network(frames).square().mean())
        found.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(ours, engines) for engines, ours in zip(*found, strict=True)) and found[1][0].any()


class Planted(nn.Module):
    """A network with a defect in front."""

    def __init__(self, network: nn.Module, defect: str) -> None:
        super().__init__()
        self.network, self.defect = network, defect
        self.scale = torch.full((2, 1, 1), 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.defect == "cpu":
            x = x * self.scale
        elif self.defect == "made on the cpu":
            x = x * torch.ones(2, 1, 1)
        elif self.defect == "item":
            x = x / x.max().item()
        elif self.defect == "branch":
            x = x if x.any() else x + 1
        elif self.defect == "numpy":
            x = x * float(x.detach().numpy().max())
        elif self.defect == "copy":
            x.mean().cpu()
        elif self.defect == "dtype":
            x = x.double()
        return self.network(x)


@pytest.mark.parametrize(
    ("defect", "error"),
    [
        ("cpu", (RuntimeError, AssertionError)),
        ("made on the cpu", RuntimeError),
        ("item", DataDependentOutputException),
        ("branch", DataDependentOutputException),
        ("numpy", RuntimeError),
        ("copy", CopyError),
        ("dtype", DtypeError),
    ],
)
def test_a_planted_defect_fails(device: FakeTensorMode, defect: str, error: Any):
    network = build(device, "fc-snn", "clif")
    check_forward(Planted(network, ""), "fp32")
    with pytest.raises(error):
        check_forward(Planted(network, defect), "fp32")


@pytest.mark.parametrize("wrong", ["dtype", "device", "strides", "size"])
def test_a_launch_with_the_wrong_memory_fails(device: FakeTensorMode, wrong: str):
    from pipeline.neurons.lif import cuda_kernels as lif_cuda
    from pipeline.neurons.lif.custom_op import Update

    update = Update(0.5, 1.0, 0.0, 1.0, False, 1.0, False, 0, 1.0)
    gradient, v, u = torch.empty(4, 6, device=CUDA), torch.empty(6, device=CUDA), torch.empty(4, 6, device=CUDA)
    lif_cuda.backward(gradient, v, u, update)
    bad = {
        "dtype": u.half(),
        "device": torch.empty(4, 6),
        "strides": torch.empty(6, 4, device=CUDA).t(),
        "size": u[:, :5],
    }
    with pytest.raises(LaunchError, match=r"expected .*, found"):
        lif_cuda.backward(gradient, v, bad[wrong], update)
