"""input.polarity: every network trains on two channels or one, and all that reads a run follows."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline import load_run
from pipeline.cli import COMMANDS
from pipeline.config.run_config import InputConfig, RunConfig, fingerprint, override
from pipeline.cost.operations import count_run_operations
from pipeline.data.dataset import FrameDataset
from pipeline.data.input_encoding import encode
from pipeline.data.loader import FrameLoader
from pipeline.data.run_data import open_data
from pipeline.dry_run.dry_run import dry_run
from pipeline.evaluation.evaluate_run import evaluate_run
from pipeline.networks import NETWORKS, SpikeCounter
from pipeline.networks.run_network import make_run_network
from pipeline.runs.run_folder import open_run
from pipeline.runtime.distributed import Group
from pipeline.training.learner import Learner
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError, RunError
from preprocess.terminal.command_line import run_main
from tune.space.space import parse_space

CPU = torch.device("cpu")
POLARITIES = {"split": 2, "merged": 1, "on": 1, "off": 1}
COUNTS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 2, 2, 16, 16), dtype=np.uint8))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("polarity"))


@pytest.mark.parametrize("encoding", ["counts", "binary"])
def test_channels_are_those_of_the_counts(encoding: str):
    def found(polarity: str, counts: torch.Tensor = COUNTS) -> torch.Tensor:
        return encode(counts, InputConfig(polarity=polarity, encoding=encoding))  # type: ignore[arg-type]

    wide = COUNTS.long()
    merged = {"counts": wide.sum(2, keepdim=True), "binary": (wide.sum(2, keepdim=True) > 0)}[encoding]
    assert merged.max() == (1 if encoding == "binary" else wide.sum(2).max()) and wide.sum(2).max() > 255
    torch.testing.assert_close(found("merged"), merged.float(), rtol=0, atol=0)
    split = found("split")
    assert torch.equal(found("off"), split[:, :, :1]) and torch.equal(found("on"), split[:, :, 1:])
    assert all(found(name).is_contiguous() and found(name).dtype == torch.float32 for name in POLARITIES)
    # The loader reuses the memory of its counts.
    assert all(found(name, COUNTS.int()).data_ptr() != COUNTS.data_ptr() for name in POLARITIES)


def test_resizing_comes_after_the_choice():
    small = {name: encode(COUNTS, InputConfig(size=6, polarity=name)) for name in POLARITIES}  # type: ignore[arg-type]
    assert small["merged"].shape == (3, 2, 1, 6, 6)
    torch.testing.assert_close(small["merged"], small["on"] + small["off"])


def test_pil_la_needs_both_polarities():
    expected = "input.polarity: expected split with input.encoding pil-la, whose images have both, found on. Use"
    with pytest.raises(ConfigError, match=expected):
        override(RunConfig(), {"input.encoding": "pil-la", "input.polarity": "on"})


def test_fingerprints_of_earlier_configurations_stay():
    prints = {fingerprint(override(TINY, {"input.polarity": name})) for name in POLARITIES}
    assert len(prints) == 4 and fingerprint(TINY) in prints
    # Written down before the field existed.
    assert fingerprint(RunConfig(seed=5)) == "5c3c68cee554" and fingerprint(TINY) == "bc23a0a6e8c9"


# Both numbers of channels for every network, and every choice for one.
@pytest.mark.parametrize(
    ("name", "polarity"),
    [*product(NETWORKS, ("split", "merged")), ("spiking-vgg-small", "on"), ("spiking-vgg-small", "off")],
)
def test_every_network_takes_a_training_step(name: str, polarity: str, cache: Path):
    changes = {"network.name": name, "network.width": 1 / 32, "input.polarity": polarity, "input.size": 32}
    config = override(TINY, changes)
    data = open_data(config, cache)
    network = make_run_network(config, classes=3, size=data.size, timesteps=3, device=CPU)
    options = {"seed": 1, "training": True, "augmentation": "flip+roll+rotation+shear+crop+cutout+event-drop"}
    loader = FrameLoader(data.frames, data.splits.train[:8], 8, config.input, CPU, **options)  # type: ignore[arg-type]
    (batch,) = loader.batches(1)
    channels = POLARITIES[polarity]
    assert batch.frames.shape == (3, 8, channels, 32, 32)
    first = count_run_operations(config, network, data.size, 3, CPU).of("conv", "linear")[0]
    weight = network.get_submodule(first.name).weight
    inputs = channels if first.kind == "conv" else channels * 32 * 32
    assert weight.shape[1] == inputs and first.macs == first.outputs * weight[0].numel()
    learner = Learner(config, network.train(), CPU, Group())
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with SpikeCounter(network) as counter:
        loss, _ = learner.loss(batch, counter)
        learner.update(loss)
    assert torch.isfinite(loss)
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("neuron", ["lif", "clif"])
def test_fused_layers_equal_torchs_with_one_channel(neuron: str, cache: Path):
    """One channel has the same strides in both memory layouts, which kernels must not mistake."""
    logits, gradients = [], []
    for backend in ("fused", "torch"):
        config = override(TINY, {"neuron.name": neuron, "neuron.backend": backend, "input.polarity": "merged"})
        network = make_run_network(config, classes=3, size=(16, 16), timesteps=3, device=CPU).train()
        out = network(encode(COUNTS, config.input) / 32)
        out.square().sum().backward()
        logits.append(out.detach())
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module", params=["merged", "on", "off"])
def trained(request: pytest.FixtureRequest, cache: Path) -> Path:
    folder = cache.parent / request.param
    changes = {"input.polarity": request.param, "neuron.reset": "hard", "network.width": 0.25, "selection": "last"}
    train_run(override(TINY, changes | {"schedule.epochs": 4}), folder, cache)
    return folder


def test_a_run_is_evaluated_exported_and_predicts_alike(trained: Path, cache: Path):
    pytest.importorskip("nir", reason="no package nir: pip install 'spikeloom[nir]'")
    result = evaluate_run(open_run(trained), cache, nir=trained / "network.nir")
    samples = len(open_data(TINY, cache).splits.test)
    assert result["nir"]["same_predictions"] == samples
    network = load_run(trained)
    data = open_data(network.config, cache)
    with np.load(trained / "predictions.npz") as file:
        expected = file["logits"].argmax(1).tolist()
    # From counts of both polarities, as frames are stored.
    counts = np.stack([data.frames.read(int(i)) for i in data.splits.test])
    assert [prediction.label for prediction in network.predict(counts)] == expected
    from_set = FrameDataset(data.frames, data.splits.test, network.config.input)
    assert from_set[0][0].shape == (3, 1, 16, 16)
    batch = torch.stack([frames for frames, _ in from_set], 1)
    assert [prediction.label for prediction in network.classify(batch)] == expected


def test_the_dry_run_counts_one_channel(cache: Path, capsys: pytest.CaptureFixture[str]):
    both = dry_run(TINY, cache)
    one = dry_run(override(TINY, {"input.polarity": "on"}), cache)
    assert one["memory_bytes"]["frames"] * 2 == both["memory_bytes"]["frames"]
    assert one["layers"][0]["macs"] * 2 == both["layers"][0]["macs"] and one["parameters"] < both["parameters"]
    argv = ["train", "n-mnist-small", "--dry-run", "--input.polarity", "off", "--cache", str(cache)]
    assert run_main(COMMANDS, prog="spikeloom", description="", argv=argv) == 0
    assert "1 x 34 x 34" in capsys.readouterr().out


def test_weights_of_other_channels_are_refused_as_a_start(trained: Path, cache: Path):
    config = override(TINY, {"start_from": str(trained), "neuron.reset": "hard", "network.width": 0.25})
    with pytest.raises(RunError, match=r"expected a network with features\.conv1\.conv\.weight of shape \(6, 1"):
        train_run(config, trained.parent / f"from-{trained.name}", cache)


def test_own_networks_are_called_with_the_channels(cache: Path, tmp_path: Path):
    (tmp_path / "own.py").write_text(
        "import torch\n"
        "class Own(torch.nn.Module):\n"
        "    def __init__(self, channels, classes):\n"
        "        super().__init__()\n"
        "        self.line = torch.nn.Linear(channels, classes)\n"
        "    def forward(self, x):\n"
        "        return self.line(x.mean((3, 4)))\n"
    )
    for polarity, channels in POLARITIES.items():
        config = override(TINY, {"network.name": f"{tmp_path}/own.py:Own", "input.polarity": polarity})
        network = make_run_network(config, classes=3, size=(16, 16), timesteps=3, device=CPU)
        assert network.line.in_features == channels
    (tmp_path / "two.py").write_text((tmp_path / "own.py").read_text().replace("Linear(channels,", "Linear(2,"))
    config = override(TINY, {"network.name": f"{tmp_path}/two.py:Own", "input.polarity": "merged"})
    with pytest.raises(ConfigError, match=r"fails on frames \(T, B, channels, H, W\) = \(3, 2, 1, 16, 16\)"):
        make_run_network(config, classes=3, size=(16, 16), timesteps=3, device=CPU)


def test_a_search_can_try_polarities():
    space = parse_space(["input.polarity=split,merged,on,off"], TINY)
    assert [point["input.polarity"] for point in space.combinations(TINY)] == list(POLARITIES)
