"""Energy of an inference: Table 6's own figures, layers counted by hand, and what runs say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache
from torch import nn

from pipeline.config.run_config import NetworkConfig, NeuronConfig, override
from pipeline.cost.energy import PJ_PER_AC, PJ_PER_MAC, Energy, count_energy
from pipeline.cost.inference_costs import CostCount, watched
from pipeline.cost.operations import count_operations
from pipeline.evaluation.evaluate_run import evaluate_run
from pipeline.networks import SpikeCounter, build_network
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run

# Table 6 of the paper: ACs and MACs in millions, energy in microjoules as printed, all of one time step.
TABLE6 = {
    "ResNet18 CIFAR10 ReLU": (0, 557.65, 2565.19),
    "ResNet18 CIFAR10 CLIF": (68.66, 5.12, 85.346),
    "ResNet18 CIFAR10 LIF": (84.86, 2.89, 89.668),
    "ResNet18 CIFAR100 ReLU": (0, 557.7, 2565.42),
    "ResNet18 CIFAR100 CLIF": (55.58, 5.16, 73.758),
    "ResNet18 CIFAR100 LIF": (60.28, 2.93, 67.73),
    "VGG13 Tiny-ImageNet ReLU": (0, 922.56, 4243.776),
    "VGG13 Tiny-ImageNet CLIF": (102.1, 282.83, 1392.908),
    "VGG13 Tiny-ImageNet LIF": (135.25, 278.84, 1404.389),
    "VGG11 Gesture CLIF": (19.16, 1090, 5031.244),
    "VGG11 Gesture LIF": (25.09, 1080, 4990.581),
    "VGG11 CIFAR10-DVS CLIF": (12.02, 153.87, 718.62),
    "VGG11 CIFAR10-DVS LIF": (14.65, 152.5, 714.685),
}


@pytest.mark.parametrize("row", TABLE6)
def test_printed_energies_follow_from_printed_operations(row: str):
    acs, macs, printed = TABLE6[row]
    assert Energy(macs * 1e6, acs * 1e6, 1).per_step_uj == pytest.approx(printed, abs=0.001)


@pytest.mark.parametrize(
    ("network", "channels", "classes", "side", "macs"),
    [
        ("spiking-vgg13", 3, 200, 64, {"lif": 278.84, "clif": 282.83, "relu": 922.56}),
        ("spiking-vgg11", 2, 10, 48, {"lif": 152.50, "clif": 153.87}),
        ("spiking-vgg11", 2, 11, 128, {"lif": 1083, "clif": 1093}),
    ],
)
def test_static_columns_of_table_6_are_reproduced(
    network: str, channels: int, classes: int, side: int, macs: dict[str, float]
):
    """MACs of networks that never fire, and the ANN's energy. Gesture's are printed as 1080 and 1090."""
    for neuron, expected in macs.items():
        built = build_network(
            NetworkConfig(name=network),
            NeuronConfig(name=neuron),
            channels=channels,
            classes=classes,
            size=(side, side),
            timesteps=1,
            seed=1,
        )
        operations = count_operations(built, torch.ones(1, 1, channels, side, side))
        silent = {layer.source: 0.0 for layer in operations.layers if layer.source}
        energy = count_energy(operations, neuron, silent, 1)
        assert energy.acs == 0
        assert energy.macs / 1e6 == pytest.approx(expected, abs=0.5 if expected > 1000 else 0.005)
        if neuron == "relu":
            assert energy.per_step_uj == pytest.approx(4243.776, rel=1e-5)


def test_additions_are_counted_by_hand():
    """Behind a neuron by its own rate, behind a max pooling by the pooling's."""
    network = build_network(
        NetworkConfig(name="plif-net-gesture", width=0.05),
        NeuronConfig(),
        channels=2,
        classes=3,
        size=(32, 32),
        timesteps=4,
        seed=1,
    )
    config = override(TINY, {"network.name": "plif-net-gesture", "network.width": 0.05})
    count = CostCount(config, network.eval(), (32, 32), 4, torch.device("cpu"))
    others = watched(count.operations)
    assert others and all("pool" in name for name in others)
    operations = count_operations(network, torch.ones(1, 1, 2, 32, 32))
    inputs: dict[str, float] = {}
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_pre_hook(
                lambda m, x, name=name: inputs.update({name: x[0].count_nonzero() / x[0].numel()})
            )
    frames = torch.randint(0, 9, (4, 2, 2, 32, 32), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad(), SpikeCounter(network, watched(count.operations)) as counter:
        network(frames)
    expected = sum(layer.macs * float(inputs[layer.name]) for layer in operations.of("conv", "linear") if layer.source)
    found = count.energy(counter.input_rates(), 4)
    assert found.acs == pytest.approx(expected, rel=1e-5) and found.acs > 0
    assert found.per_inference_uj == pytest.approx(4 * (PJ_PER_MAC * found.macs + PJ_PER_AC * found.acs) * 1e-6)
    # What is watched besides is no neuron.
    assert set(counter.rates()) == {layer.name for layer in operations.of("neuron")}


def test_sums_of_attention_add_as_often_as_keys_and_values_spike_together():
    network = build_network(
        NetworkConfig(name="spike-driven-transformer-gesture", width=1 / 8),
        NeuronConfig(v_threshold=0.3),
        channels=2,
        classes=3,
        size=(32, 32),
        timesteps=4,
        seed=1,
    )
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # So that keys and values fire, but not always.
            nn.init.normal_(module.bias, 0.1, 0.2, generator=torch.Generator().manual_seed(module.num_features))
    name = "spike-driven-transformer-gesture"
    config = override(TINY, {"network.name": name, "network.width": 1 / 8})
    count = CostCount(config, network.eval(), (32, 32), 4, torch.device("cpu"))
    assert "blocks.attention1.branch.key_mask" in watched(count.operations)
    fired: dict[str, torch.Tensor] = {}
    pairs = [(f"blocks.attention{k}.branch.key", f"blocks.attention{k}.branch.value") for k in (1, 2)]
    for part in (part for pair in pairs for part in pair):
        network.get_submodule(part).register_forward_hook(lambda _m, _i, out, part=part: fired.update({part: out}))
    frames = 3 * torch.rand(4, 2, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), SpikeCounter(network, watched(count.operations)) as counter:
        network(frames)
    together = sum(int((fired[key].bool() & fired[value].bool()).sum()) for key, value in pairs)
    assert 0 < together < sum(fired[key].numel() for key, _ in pairs)
    rates = counter.input_rates()
    operations = count_operations(network, torch.ones(1, 1, 2, 32, 32))
    # Of one of 4 steps of one of 2 samples.
    assert sum(layer.macs * rates[layer.source] for layer in operations.of("sum")) == pytest.approx(together / 8)
    others = sum(layer.macs * rates[layer.source] for layer in operations.of("conv", "linear") if layer.source)
    assert count.energy(rates, 4).acs == pytest.approx(others + together / 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("energy")
    cache = tiny_cache(folder)
    train_run(TINY, folder / "run", cache)
    return folder / "run", cache


def test_run_says_what_an_inference_takes(run: tuple[Path, Path]):
    folder, cache = run
    there = open_run(folder)
    assert all(row["energy_uj"] > 0 for row in there.metrics)
    assert there.result is not None
    assert there.result["energy_uj"] == there.metrics[there.result["epoch"] - 1]["energy_uj"]
    tested = there.result["energy"]
    assert tested["timesteps"] == 3 and tested["per_inference_uj"] == pytest.approx(3 * tested["per_step_uj"])
    assert evaluate_run(there, cache)["energy"] == tested


def test_more_steps_and_neurons_that_multiply_more_take_more(run: tuple[Path, Path], tmp_path: Path):
    _, cache = run
    found = {}
    for name, changes in {"lif": {}, "clif": {"neuron.name": "clif"}, "longer": {"binning.timesteps": 6}}.items():
        result = train_run(override(TINY, {"schedule.epochs": 1, **changes}), tmp_path / name, cache)
        found[name] = result["energy"]
    assert found["clif"]["macs_per_step"] > found["lif"]["macs_per_step"] == found["longer"]["macs_per_step"]
    assert found["longer"]["per_inference_uj"] > 1.5 * found["lif"]["per_inference_uj"]


def test_run_that_selects_nothing_measures_nothing_until_its_test(run: tuple[Path, Path], tmp_path: Path):
    _, cache = run
    result = train_run(override(TINY, {"schedule.epochs": 1, "selection": "last"}), tmp_path / "last", cache)
    assert result["energy_uj"] is None and result["energy"]["per_inference_uj"] > 0
    assert json.loads((tmp_path / "last" / "metrics.jsonl").read_text())["energy_uj"] is None
