"""NIR export: the chain equals the network, the file equals the chain, and what NIR cannot express is one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY, tiny_cache
from torch import nn

from pipeline.cli import COMMANDS
from pipeline.config.run_config import NetworkConfig, NeuronConfig, override, to_dict
from pipeline.evaluation.nir_export import TIME_STEP_S, ReadNetwork, export_nir
from pipeline.evaluation.plain_layers import fold_pooling, plain_network
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.networks import NETWORKS, SpikeCounter, build_network, reset_network
from pipeline.networks.modified_plif_net import ModifiedPLIFNet
from pipeline.neurons.make_neuron import NEURONS
from pipeline.training.train_run import train_run
from preprocess.terminal.command_line import run_main

nir = pytest.importorskip("nir", reason="no package nir: pip install 'spikeloom[nir]'")

EXPORTED = [name for name, network in NETWORKS.items() if network.traits.has_nir]
HARD = NeuronConfig(reset="hard", backend="torch")
CPU = torch.device("cpu")


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in words])


def network_of(config: NetworkConfig, neuron: NeuronConfig = HARD, size: tuple[int, int] = (16, 16)) -> nn.Module:
    """A network whose batch norms have moved as in training, so that every layer fires, in float64.

    Rounding would let a spike flip whose potential is within the last digits of the threshold; in float64 none is.
    """
    network = build_network(config, neuron, channels=2, classes=5, size=size, timesteps=4, seed=3)
    generator = torch.Generator().manual_seed(9)

    def draw(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    for module in network.modules():
        if isinstance(module, SequenceBatchNorm):
            module.weight.data = draw(module.weight, 0.5, 2.0)
            module.bias.data = draw(module.bias, 0.2, 1.2)
            module.running_mean = draw(module.running_mean, -0.5, 0.5)
            module.running_var = draw(module.running_var, 0.5, 2.0)
        elif isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            module.bias.data = draw(module.bias, -0.5, 0.5)
    network.classifier.weight.data = draw(network.classifier.weight, -1.0, 1.0)
    if isinstance(network, ModifiedPLIFNet):
        network.hidden.linear.weight.data = draw(network.hidden.linear.weight, -1.0, 1.0)
        network.hidden.linear.bias.data = draw(network.hidden.linear.bias, 0.2, 0.8)
    return network.double().eval()


def counts(size: tuple[int, int], steps: int = 6) -> torch.Tensor:
    """Count frames, float64 (T, 3, 2, H, W)."""
    generator = torch.Generator().manual_seed(2)
    return torch.poisson(torch.full((steps, 3, 2, *size), 0.7), generator=generator).double()


CASES = [
    # 1x1 maps become 7x7 copies; 2x2 overlapping means; 4x3 both; and the mean of an odd map.
    ("spiking-vgg11", "paper", (32, 32)),
    ("spiking-vgg13", "gap", (33, 47)),
    ("spiking-vgg16", "paper", (32, 34)),
    ("spiking-vgg19", "paper", (32, 32)),
    ("spiking-vgg-small", "paper", (16, 16)),
    ("spiking-vgg-small", "paper", (34, 27)),
    ("spiking-vgg-small", "paper", (60, 57)),
    ("spiking-vgg-small", "gap", (25, 31)),
    ("vggsnn", "paper", (33, 49)),
    ("vggsnn", "gap", (48, 48)),
    ("snn4", "paper", (17, 12)),
    ("snn4", "gap", (16, 16)),
    ("snn5", "paper", (32, 37)),
    ("snn5", "gap", (47, 32)),
    ("modified-plif-net-cifar10", "paper", (14, 17)),
    ("modified-plif-net-cifar10dvs", "paper", (33, 48)),
    ("modified-plif-net-gesture", "paper", (64, 97)),
    ("spiking-resnet18", "paper", (13, 16)),
    ("spiking-resnet34", "paper", (16, 16)),
    ("ms-resnet18", "paper", (33, 48)),
    ("ms-resnet34", "paper", (40, 40)),
    ("wide-7b", "paper", (17, 35)),
    ("wide-7b", "gap", (33, 32)),
    ("fc-snn", "paper", (1, 70)),
]


@pytest.mark.parametrize(("name", "head", "size"), CASES)
def test_the_chain_computes_what_the_network_computes(name: str, head, size: tuple[int, int]):
    network = network_of(NetworkConfig(name=name, width=0.05, head=head, dropout=0.2), size=size)
    plain, frames = plain_network(network, size), counts(size)
    with torch.no_grad(), SpikeCounter(network) as counter:
        expected = network(frames)
        found = plain(frames)
    # Neither silence nor saturation, which would hide a wrong layer.
    assert all(0.01 < rate < 0.99 for rate in counter.rates().values()), counter.rates()
    assert len(expected.flatten().unique()) > 20
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_every_exported_network_is_tried_and_the_others_are_named():
    assert {name for name, _, _ in CASES} == set(EXPORTED) <= set(NETWORKS)


NEURON_CASES = [
    HARD,
    NeuronConfig(reset="hard", tau=1.3, v_threshold=0.7, decay_input=True, backend="torch"),
    NeuronConfig(name="if", reset="hard", v_threshold=1.7),
]


by_neuron = pytest.mark.parametrize("neuron", NEURON_CASES, ids=["lif", "lif-decayed", "if"])


@by_neuron
def test_the_chain_keeps_the_settings_of_the_neuron(neuron: NeuronConfig):
    network, frames = network_of(NetworkConfig(width=0.2), neuron), counts((16, 16))
    plain = plain_network(network, (16, 16))
    with torch.no_grad():
        expected = network(frames)
        torch.testing.assert_close(plain(frames), expected, rtol=1e-9, atol=1e-9)
        # And its state is cleared as a network's is.
        reset_network(plain)
        torch.testing.assert_close(plain(frames), expected, rtol=1e-9, atol=1e-9)


@by_neuron
def test_a_file_that_is_read_again_computes_the_same(neuron: NeuronConfig, tmp_path: Path):
    network = network_of(NetworkConfig(width=0.2), neuron)
    written = export_nir(network, (16, 16), tmp_path / "a.nir", channels=2)
    assert written == {"file": str(tmp_path / "a.nir"), "time_step_s": 1e-4, "nodes": 13}
    assert [path.name for path in tmp_path.iterdir()] == ["a.nir"]
    # Weights are read as float32: rounded so they are compared, and computed with in float64.
    plain = plain_network(network, (16, 16)).float().double()
    read = ReadNetwork(tmp_path / "a.nir", CPU).double()
    frames = counts((16, 16))
    with torch.no_grad():
        found = read(frames)
        # The second call starts from rest again.
        assert torch.equal(read(frames), found)
        torch.testing.assert_close(found, plain(frames), rtol=1e-9, atol=1e-9)
    for (name, parameter), (other, again) in zip(plain.named_parameters(), read.graph.named_parameters(), strict=True):
        assert name == other and torch.equal(parameter, again)


@pytest.mark.parametrize("name", ["spiking-resnet18", "wide-7b"])
def test_a_graph_with_sums_is_read_again_as_the_same_network(name: str, tmp_path: Path):
    size = (16, 16)
    network = network_of(NetworkConfig(name=name, width=0.05), size=size)
    export_nir(network, size, tmp_path / "a.nir", channels=2)
    plain = plain_network(network, size).float().double()
    read = ReadNetwork(tmp_path / "a.nir", CPU).double()
    frames = counts(size)
    with torch.no_grad():
        torch.testing.assert_close(read(frames), plain(frames), rtol=1e-9, atol=1e-9)


def test_the_graph_has_the_nodes_and_constants_of_the_network(tmp_path: Path):
    neuron = NeuronConfig(reset="hard", tau=4.0, v_threshold=0.75)
    export_nir(network_of(NetworkConfig(width=0.2), neuron), (16, 16), tmp_path / "a.nir", channels=2)
    nodes = nir.read(tmp_path / "a.nir").nodes
    kinds = [type(node).__name__ for name, node in nodes.items() if name.startswith(("conv", "pool", "class", "flat"))]
    assert sorted(kinds) == sorted(["Conv2d", "LIF", "AvgPool2d"] * 3 + ["Flatten", "Affine"])
    lif = nodes["conv2_neuron"]
    assert lif.v_threshold.shape == (10, 8, 8)
    constants = (lif.tau, lif.r, lif.v_leak, lif.v_threshold, lif.v_reset)
    assert [np.unique(c).tolist() for c in constants] == [[4 * TIME_STEP_S], [4.0], [0.0], [0.75], [0.0]]
    assert nodes["classifier"].weight.shape == (5, 19 * 2 * 2)


@pytest.mark.parametrize(
    ("side", "rows", "columns"), [(7, 1, 1), (7, 7, 7), (7, 3, 5), (1, 4, 6), (7, 14, 21), (2, 5, 3)]
)
def test_pooling_and_linear_layer_are_one_linear_layer(side: int, rows: int, columns: int):
    torch.manual_seed(0)
    pool, linear = nn.AdaptiveAvgPool2d(side), nn.Linear(3 * side * side, 4).double()
    maps = torch.randn(2, 5, 3, rows, columns, dtype=torch.float64)
    folded = fold_pooling(pool, linear, rows, columns)
    assert folded.in_features == 3 * rows * columns
    expected = linear(pool(maps.flatten(0, 1)).flatten(1)).view(2, 5, 4)
    torch.testing.assert_close(folded(maps.flatten(2)), expected)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("nir"))


@pytest.fixture(scope="module")
def trained(cache: Path) -> Path:
    folder = cache.parent / "trained"
    changes = {"neuron.reset": "hard", "network.width": 0.25, "network.head": "paper", "schedule.epochs": 6}
    train_run(override(TINY, changes), folder, cache)
    return folder


def test_evaluate_writes_the_graph_and_says_how_it_predicts(trained: Path, tmp_path: Path, capsys):
    assert run("evaluate", trained, "--nir", tmp_path / "a.nir", "--json") == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1
    result = json.loads(printed.out)
    # Folded weights are rounded anew, and a spike at the threshold may flip: of this run's few samples none changes.
    told = {"file": str(tmp_path / "a.nir"), "time_step_s": 1e-4, "nodes": 13, "same_predictions": 36}
    assert result["nir"] == told and result["correct"] > 12
    assert run("evaluate", trained, "--nir", tmp_path / "b.nir") == 0
    assert f"NIR graph: {tmp_path}/b.nir (13 nodes, time step 0.0001 s; when read again, 36 of 36 test predictions" in (
        capsys.readouterr().out
    )
    with torch.no_grad():
        logits = ReadNetwork(tmp_path / "b.nir", CPU)(torch.ones(3, 1, 2, 16, 16))
    assert logits.shape == (3, 1, 3) and torch.isfinite(logits).all()


def refusal(folder: Path, changes: dict[str, object], capsys) -> str:
    """What evaluate --nir says of a run of a changed configuration; nothing else of the run is there."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(to_dict(override(TINY, changes))))
    assert run("evaluate", folder, "--nir", folder / "a.nir") == 2
    printed = capsys.readouterr()
    assert printed.out == "" and [path.name for path in folder.iterdir()] == ["config.json"]
    return printed.err


@pytest.mark.parametrize("name", [*sorted(set(NEURONS) - {"lif", "if"}), "mine.py:Mine"])
def test_a_neuron_without_a_node_is_one_line(name: str, tmp_path: Path, capsys):
    expected = f"spikeloom: neuron.name: NIR has no node for '{name}'; expected lif or if, with neuron.reset hard\n"
    assert refusal(tmp_path / "run", {"neuron.name": name}, capsys) == expected


@pytest.mark.parametrize("name", ["lif", "if"])
def test_the_soft_reset_is_one_line(name: str, tmp_path: Path, capsys):
    assert refusal(tmp_path / "run", {"neuron.name": name}, capsys) == (
        f"spikeloom: neuron.reset: NIR's {name.upper()} resets to a fixed value (hard reset); this run's neuron resets "
        "softly. Train with --neuron.reset hard to export\n"
    )


@pytest.mark.parametrize("name", [*sorted(set(NETWORKS) - set(EXPORTED)), "mine.py:Mine"])
def test_a_network_that_is_not_exported_is_one_line(name: str, tmp_path: Path, capsys):
    error = refusal(tmp_path / "run", {"network.name": name, "neuron.reset": "hard"}, capsys)
    assert "network.name: NIR export is for spiking-vgg11, " in error and f"found '{name}'. Max pooling" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("package", ["nir", "nirtorch"])
def test_without_the_package_one_line_says_how_to_install_it(package: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    expected = "spikeloom: --nir: expected the package nir: pip install 'spikeloom[nir]'\n"
    assert refusal(tmp_path / "run", {"neuron.reset": "hard"}, capsys) == expected


def test_faults_of_neuron_and_network_are_told_together(tmp_path: Path, capsys):
    error = refusal(tmp_path / "run", {"neuron.name": "clif", "network.name": "plif-net-gesture"}, capsys)
    assert len(error.splitlines()) == 2


def test_a_path_that_cannot_be_written_is_refused_before_the_evaluation(trained: Path, tmp_path: Path, capsys):
    for path in (tmp_path, tmp_path / "none" / "a.nir"):
        before = {file: file.stat().st_mtime_ns for file in trained.iterdir()}
        assert run("evaluate", trained, "--nir", path) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"spikeloom: --nir: expected a file in an existing folder, found {path}. ")
        assert error.count("\n") == 1
        assert {file: file.stat().st_mtime_ns for file in trained.iterdir()} == before
