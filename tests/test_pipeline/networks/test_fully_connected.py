"""Fully connected networks, feed-forward and recurrent: against plain loops, and trained on spike trains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from messages import refuses
from torch import nn

from pipeline.config.run_config import NetworkConfig, NeuronConfig, override
from pipeline.layers.dense import RecurrentNeuron
from pipeline.networks import SpikeCounter, build_network, neuron_layers, reset_network
from pipeline.presets.registry import find_preset
from pipeline.training.train_run import train_run
from preprocess.building.build_event_store import build_event_store
from preprocess.datasets import find_layout
from preprocess.errors import ConfigError

LIF = NeuronConfig("lif", backend="torch", surrogate="atan", alpha=2.0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(network: NetworkConfig, neuron: NeuronConfig = LIF, **words: Any) -> nn.Module:
    given = {"channels": 1, "classes": 20, "size": (1, 700), "timesteps": 4, "seed": 0} | words
    return build_network(network, neuron, **given)


def spikes(steps: int = 5, batch: int = 3, units: int = 700) -> torch.Tensor:
    mean = torch.full((steps, batch, 1, 1, units), 0.1)
    return torch.poisson(mean, generator=torch.Generator().manual_seed(0)).double()


def test_sizes_are_those_of_cramer_et_al():
    """128 neurons for each layer; a batch norm has two weights for each."""
    assert [layer.out_features for layer in linear_layers(build(NetworkConfig("fc-snn")))] == [128, 128, 20]
    recurrent = build(NetworkConfig("rsnn"))
    assert [(layer.in_features, layer.out_features) for layer in linear_layers(recurrent)] == [
        (700, 128),
        (128, 128),
        (128, 20),
    ]
    assert sum(p.numel() for p in recurrent.parameters()) == 700 * 128 + 128 * 128 + 2 * 128 + 129 * 20
    assert linear_layers(build(NetworkConfig("rsnn", width=2.0)))[1].in_features == 256


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def test_a_recurrent_network_equals_a_plain_loop():
    """LIF, norm and recurrence written out, with their gradients."""
    network, x = build(NetworkConfig("rsnn", width=1 / 8)).double(), spikes()
    block = network.hidden.layer1
    nn.init.constant_(block.norm.bias, 0.5)
    surrogate = block.neuron.neuron.surrogate_function
    v = s = torch.zeros(3, 16, dtype=torch.float64)
    logits = []
    for step in x.flatten(2):
        current = step @ block.linear.weight.T
        mean, variance = current.mean(0), current.var(0, unbiased=False)
        current = (current - mean) / (variance + 1e-5).sqrt() * block.norm.weight + block.norm.bias
        v = v / 2 + current + s @ block.neuron.recurrent.weight.T
        s = surrogate(v - 1.0)
        v = v - s
        logits.append(s @ network.classifier.weight.T + network.classifier.bias)
    expected, found = torch.stack(logits), network(x)
    assert float((found != network.classifier.bias).double().mean()) > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weights = list(network.parameters())
    gradients = [torch.autograd.grad(out.square().sum(), weights, retain_graph=True) for out in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


def test_recurrent_connections_carry_the_spikes_of_the_step_before():
    network = build(NetworkConfig("rsnn", width=1 / 8)).double().eval()
    network.hidden.layer1.norm.running_var.fill_(0.1)
    x = spikes()
    with torch.no_grad():
        with_them = network(x)
        reset_network(network)
        network.hidden.layer1.neuron.recurrent.weight.zero_()
        without = network(x)
    assert torch.equal(with_them[0], without[0]) and not torch.equal(with_them[1], without[1])


def test_a_recurrent_layer_is_one_spiking_layer_and_padding_does_not_count():
    network = build(NetworkConfig("rsnn", width=1 / 8)).double()
    nn.init.constant_(network.hidden.layer1.norm.bias, 1.0)
    assert [type(module) for module in neuron_layers(network).values()] == [RecurrentNeuron]
    fired: list[torch.Tensor] = []
    network.hidden.layer1.neuron.register_forward_hook(lambda _m, _i, out: fired.append(out))
    x, mask = spikes(), torch.ones(5, 3, dtype=torch.bool)
    mask[2:, 1] = False
    with torch.no_grad(), SpikeCounter(network) as counter:
        counter.mask = mask
        network(x)
    assert counter.rate() == float(fired[0][mask].mean()) > 0


class AllAtOnce(nn.Module):
    """Sees the mean over all steps, so that single steps give other spikes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > x.mean(0)).to(x)


def test_neurons_that_need_all_steps_at_once_are_refused():
    line = {"where": "neuron.name", "expected": "runs step by step", "remedy": "network.name fc-snn"}
    with refuses(ConfigError, **line, found="PSN, which needs all steps at once"):
        build(NetworkConfig("rsnn"), NeuronConfig("psn"))
    with refuses(ConfigError, **line, found="AllAtOnce"):
        RecurrentNeuron(AllAtOnce(), 8)


@pytest.mark.parametrize("name", ["lif", "clif", "alif", "ar-lif", "tc-lif", "lm-h"])
def test_a_window_of_gradients_is_refused_by_recurrent_networks(name: str):
    line = {"where": "neuron.temporal_window", "expected": "none", "found": "1", "remedy": "network.name fc-snn"}
    with refuses(ConfigError, **line):
        build(NetworkConfig("rsnn"), NeuronConfig(name, temporal_window=1))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of a file in the format of SHD, whose classes differ in how the units move over time."""
    folder, rng = tmp_path_factory.mktemp("shd"), np.random.default_rng(3)
    for part, samples in (("train", 48), ("test", 24)):
        labels = np.arange(samples) % 3
        with h5py.File(folder / f"shd_{part}.h5", "w") as file:
            times = file.create_dataset("spikes/times", (samples,), h5py.vlen_dtype(np.float16))
            units = file.create_dataset("spikes/units", (samples,), h5py.vlen_dtype(np.uint16))
            for k, label in enumerate(labels):
                t = np.sort(rng.random(400))
                course = (t, 1 - t, np.full(400, 0.5))[label]
                times[k] = t.astype(np.float16)
                units[k] = np.clip(700 * course + rng.normal(0, 40, 400), 0, 699).astype(np.uint16)
            file["labels"] = labels.astype(np.uint16)
            file["extra/keys"] = np.array([b"rising", b"falling", b"level"])
            file["extra/speaker"] = (np.arange(samples) // 6).astype(np.uint16)
    build_event_store(find_layout("shd", folder), folder / "cache")
    return folder / "cache"


@pytest.mark.parametrize("name", ["shd-fc", "shd-rsnn"])
def test_presets_for_spike_trains_learn(name: str, spoken: Path, tmp_path: Path):
    """The classes have the same units in the same number: only their order tells rising from falling."""
    preset = find_preset(name)
    small = {"binning.split_by": "time", "binning.timesteps": 12, "network.width": 0.25, "batch_size": 8}
    small |= {"schedule.epochs": 6, "optimiser.learning_rate": 0.02, "threads": 1}
    result = train_run(override(preset.config, small), tmp_path / "run", spoken)
    assert preset.config.input.channels == 1 and len(result["classes"]) == 3
    assert result["test_accuracy"] > 0.8, result["test_accuracy"]
    assert result["energy"]["acs_per_step"] > 0
