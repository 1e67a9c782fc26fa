"""What every neuron keeps to, whatever its name and backend."""

from __future__ import annotations

import copy

import pytest
import torch
from messages import refuses
from spikingjelly.activation_based import functional

from pipeline.config.run_config import NetworkConfig, NeuronConfig, RunConfig
from pipeline.networks import NETWORKS, build_network
from pipeline.neurons import NEURONS, make_neuron
from preprocess.errors import ConfigError

T = 6
FUSED = [name for name, neuron in NEURONS.items() if neuron.traits.fused]
EVERY = [(name, backend) for name in NEURONS for backend in ("auto", "torch")] + [(name, "fused") for name in FUSED]


@pytest.fixture(params=EVERY, ids="-".join)
def node(request: pytest.FixtureRequest) -> torch.nn.Module:
    name, backend = request.param
    torch.manual_seed(0)
    return make_neuron(NeuronConfig(name, tau=1.8, backend=backend, timesteps=T))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(T, *shape, generator=torch.Generator().manual_seed(1)) + 0.5


@pytest.mark.parametrize("shape", [(3, 8), (3, 4, 5, 5)])
def test_spikes_have_the_inputs_shape_and_gradients_are_finite(node: torch.nn.Module, shape: tuple[int, ...]):
    x = drawn(*shape).requires_grad_()
    out = node(x)
    assert out.shape == x.shape and out.dtype == x.dtype
    if not isinstance(node, torch.nn.ReLU):
        assert set(out.unique().tolist()) == {0.0, 1.0}
    (out * drawn(*shape)).sum().backward()
    for grad in [x.grad, *(parameter.grad for parameter in node.parameters())]:
        assert grad is not None and grad.isfinite().all()
    assert x.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_evaluation_gives_the_spikes_and_gradients_of_training(node: torch.nn.Module, dtype: torch.dtype):
    """As fine-tuning with frozen batch norm and attribution need them."""
    if dtype == torch.float64 and getattr(node, "backend", "") == "fused":
        pytest.skip("the kernels are for 32 and 16 bits")
    node.to(dtype)
    found = []
    for training in (True, False):
        node.train(training)
        node.zero_grad()
        functional.reset_net(node)
        x = drawn(3, 8).to(dtype).requires_grad_()
        spikes = node(x)
        (spikes * drawn(3, 8).to(dtype)).sum().backward()
        found.append([spikes, x.grad, *(parameter.grad for parameter in node.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True)) and found[1][1].any()


def test_a_reset_forgets(node: torch.nn.Module):
    x = drawn(3, 8)
    first = node(x)
    node(x)
    functional.reset_net(node)
    assert torch.equal(node(x), first)


def test_a_state_dict_carries_all_that_was_learnt(node: torch.nn.Module):
    x = drawn(3, 8)
    other = copy.deepcopy(node)
    with torch.no_grad():
        for parameter in node.parameters():
            parameter.add_(0.1)
    other.load_state_dict(node.state_dict())
    assert torch.equal(other(x), node(x))


@pytest.mark.parametrize("name", ["glif", "psn"])
def test_neurons_with_weights_for_each_step_refuse_another_t(name: str):
    node = make_neuron(NeuronConfig(name, timesteps=4))
    with refuses(ConfigError, where="neuron.name", expected=f"T = 4, for which this '{name}' has", found="T = 6"):
        node(drawn(2, 3))
    with pytest.raises(ConfigError, match=f"neuron.timesteps: expected a number of time steps for '{name}'"):
        make_neuron(NeuronConfig(name))


@pytest.mark.parametrize("name", list(NEURONS))
@pytest.mark.parametrize("network", list(NETWORKS))
def test_networks_are_built_from_every_neuron_and_their_seed_decides_all(network: str, name: str):
    def build() -> torch.nn.Module:
        return build_network(
            NetworkConfig(network, width=1 / 16),
            NeuronConfig(name),
            channels=2,
            classes=3,
            size=(32, 32),
            timesteps=T,
            seed=5,
        )

    if network == "rsnn" and not runs_by_steps(name):
        with refuses(ConfigError, where="neuron.name", expected="runs step by step", found="all steps at once"):
            build()
        return
    first = build()
    assert first(drawn(2, 2, 32, 32)).shape == (T, 2, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), build().parameters(), strict=True))


def runs_by_steps(name: str) -> bool:
    """Whether a neuron gives the same spikes for a sequence and for each of its steps in turn."""
    (node, twin), x = (make_neuron(NeuronConfig(name, timesteps=T)) for _ in range(2)), drawn(2, 3)
    try:
        with torch.no_grad():
            return torch.equal(torch.cat([node(step[None]) for step in x]), twin(x))
    except ConfigError:
        return False


def test_another_t_than_the_frames_is_refused():
    with pytest.raises(
        ConfigError, match=r"neuron.timesteps: expected T = 6 as the frames have, found 4. Leave it out"
    ):
        build_network(
            NetworkConfig(), NeuronConfig("psn", timesteps=4), channels=2, classes=3, size=(32, 32), timesteps=T, seed=0
        )
    with pytest.raises(ConfigError, match=r"neuron.timesteps: expected at least 1, found 0"):
        RunConfig(neuron=NeuronConfig("psn", timesteps=0))
