"""Truncated back-propagation in time: spikes stay, and gradients reach back exactly as far as the window says."""

from __future__ import annotations

import pytest
import torch
from messages import refuses
from spikingjelly.activation_based import neuron, surrogate

from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import NetworkConfig, NeuronConfig, RunConfig, fingerprint, override
from pipeline.networks import build_network
from pipeline.neurons import make_neuron
from preprocess.errors import ConfigError

T = 7
WINDOWED = [name for name, entry in NEURONS.items() if entry.traits.has_window]
OTHERS = [name for name in NEURONS if name not in WINDOWED]


def drawn(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(T, 2, 20, generator=generator, dtype=torch.float64) * 1.2 + 0.4
    return x.to(dtype), torch.randn(T, 2, 20, generator=generator, dtype=torch.float64).to(dtype)


def make(name: str, window: int | None = None, truncation: str = "sliding", backend: str = "torch") -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"temporal_window": window, "truncation": truncation, "backend": backend, "timesteps": T}
    node = make_neuron(NeuronConfig(name, tau=1.7, **options))  # type: ignore[arg-type]
    return node.double() if backend == "torch" else node


def cut_jacobian(name: str, window: int, *, block: bool = False) -> torch.Tensor:
    """The gradient of the input from the complete graph, of which what is outside the window is left out."""
    x, weights = drawn()
    x.requires_grad_()
    spikes = make(name)(x)
    total = torch.zeros_like(x)
    for t in range(T):
        (found,) = torch.autograd.grad((spikes[t] * weights[t]).sum(), x, retain_graph=True)
        oldest = t - t % (window + 1) if block else t - window
        total[max(oldest, 0) : t + 1] += found[max(oldest, 0) : t + 1]
    return total


@pytest.mark.parametrize("window", [0, 1, 3, T - 1, 40])
@pytest.mark.parametrize("truncation", ["block", "sliding"])
@pytest.mark.parametrize("name", WINDOWED)
def test_gradient_is_the_complete_one_without_what_is_outside_the_window(name: str, truncation: str, window: int):
    x, weights = drawn()
    x.requires_grad_()
    spikes = make(name, window, truncation)(x)
    (spikes * weights).sum().backward()
    assert torch.equal(spikes, make(name)(drawn()[0]))
    torch.testing.assert_close(x.grad, cut_jacobian(name, window, block=truncation == "block"), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in WINDOWED if NEURONS[name].traits.fused])
def test_fused_kernels_cut_as_pytorch_does(name: str):
    x, weights = drawn(torch.float32)
    x.requires_grad_()
    (make(name, 2, backend="fused")(x) * weights).sum().backward()
    torch.testing.assert_close(x.grad.double(), cut_jacobian(name, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WINDOWED)
def test_state_after_the_sequence_is_the_same_and_the_next_sequence_goes_on_from_it(name: str):
    x = drawn()[0]
    whole = make(name)(x)
    node = make(name, 1)
    found = [node(x[:5].requires_grad_()), node(x[5:].requires_grad_())]
    assert torch.equal(torch.cat(found), whole)


@pytest.mark.parametrize("truncation", ["block", "sliding"])
@pytest.mark.parametrize("name", WINDOWED)
def test_state_between_the_windows_is_not_rounded_to_16_bits(name: str, truncation: str):
    x = torch.randn(30, 2, 200, generator=torch.Generator().manual_seed(1)).bfloat16()
    whole = make(name, backend="auto")(x.float())
    windowed = make(name, 1, truncation, backend="auto")(x.clone().requires_grad_())
    assert windowed.dtype == torch.bfloat16 and torch.equal(windowed.float(), whole)


def test_a_window_of_no_past_is_sltt():
    """SpikingJelly's node for spatial learning through time, a step at a time."""
    x, weights = drawn()
    theirs = neuron.SLTTLIFNode(1.7, False, 1.0, None, surrogate.Rect())
    expected = x.clone().requires_grad_()
    out = torch.stack([theirs(current) for current in expected])
    (out * weights).sum().backward()
    found = x.clone().requires_grad_()
    spikes = make("lif", 0)(found)
    (spikes * weights).sum().backward()
    assert torch.equal(spikes, out)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-12, atol=0)


def test_learnt_parameters_get_the_gradient_of_the_windows():
    x, weights = drawn()
    found = {}
    for window in (None, 0, T - 1):
        node = make("lif", window)
        node.tau = torch.nn.Parameter(torch.tensor(1.7, dtype=torch.float64))
        (node(x.clone().requires_grad_()) * weights).sum().backward()
        found[window] = node.tau.grad
    torch.testing.assert_close(found[T - 1], found[None])
    assert not torch.isclose(found[0], found[None])


@pytest.mark.parametrize("truncation", ["block", "sliding"])
@pytest.mark.parametrize("window", [T - 1, 40])
def test_networks_with_a_window_of_all_steps_compute_what_they_do_without_one(window: int, truncation: str):
    """Bit for bit, because the runs have one fingerprint: with the kernels that include batch norm, too."""
    x = torch.rand(T, 2, 2, 16, 16, generator=torch.Generator().manual_seed(3))
    found = []
    for neuron_config in (NeuronConfig(), NeuronConfig(temporal_window=window, truncation=truncation)):  # type: ignore[arg-type]
        network = build_network(
            NetworkConfig(width=0.5), neuron_config, channels=2, classes=3, size=(16, 16), timesteps=T, seed=1
        )
        logits = network(x)
        (logits * torch.arange(3)).sum().backward()
        found.append([logits, *(parameter.grad for parameter in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", OTHERS)
def test_neurons_without_a_window_refuse_one(name: str):
    with refuses(ConfigError, where="neuron.temporal_window", found="2", remedy="lif, clif"):
        RunConfig(neuron=NeuronConfig(name, temporal_window=2))


def test_negative_windows_are_refused_and_titles_name_windows():
    with refuses(ConfigError, where="neuron.temporal_window", found="-1"):
        RunConfig(neuron=NeuronConfig(temporal_window=-1))
    assert NeuronConfig(temporal_window=3, truncation="sliding").title == "lif, tau 2, sliding window 3"
    assert NeuronConfig(temporal_window=0, truncation="sliding").title == "lif, tau 2, window 0"


def test_windows_of_all_steps_and_cuts_without_a_past_are_the_same_run():
    def of(**changes: object) -> str:
        changed = {f"neuron.{name}": value for name, value in changes.items()}
        return fingerprint(override(RunConfig(), {"binning.timesteps": 8, **changed}))

    assert of() == of(truncation="sliding") == of(temporal_window=7) == of(temporal_window=7, truncation="sliding")
    assert of(temporal_window=0) == of(temporal_window=0, truncation="sliding")
    assert len({of(), of(temporal_window=0), of(temporal_window=2), of(temporal_window=2, truncation="sliding")}) == 4
