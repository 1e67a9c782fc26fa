"""What is handed out for inference: the same input has the same output, whoever forgets to reset."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import override
from pipeline.data.run_data import RunData, open_data
from pipeline.evaluation.finished_run import load_selected
from pipeline.evaluation.nir_export import ReadNetwork
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run

CPU = torch.device("cpu")
FRAMES = 4 * torch.rand((3, 4, 2, 16, 16), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("loaded"))


def loaded(cache: Path, tmp_path: Path, **changes: object) -> tuple[torch.nn.Module, RunData]:
    config = override(TINY, {"schedule.epochs": 1} | {path.replace("__", "."): v for path, v in changes.items()})
    with torch.enable_grad():
        train_run(config, tmp_path / "run", cache)
    data = open_data(config, cache)
    return load_selected(open_run(tmp_path / "run"), data, CPU)[0], data


@pytest.mark.parametrize("neuron", ["lif", "clif", "plif"])
@torch.no_grad()
def test_the_same_input_has_the_same_output_also_after_training_mode(cache: Path, tmp_path: Path, neuron: str):
    network, _ = loaded(cache, tmp_path, neuron__name=neuron, neuron__tau=4.0)
    assert not network.training
    first = network(FRAMES)
    assert torch.equal(network(FRAMES), first)
    # Of another batch size; some processors then sum in another order.
    torch.testing.assert_close(network(FRAMES[:, :2]), first[:, :2])
    before = copy.deepcopy(network.state_dict())
    network.train()
    network(FRAMES)
    network.load_state_dict(before)
    network.eval()
    assert torch.equal(network(FRAMES), first)
    assert torch.equal(copy.deepcopy(network)(FRAMES), first)


@torch.no_grad()
def test_in_training_mode_the_state_stays_for_whoever_trains_in_chunks(cache: Path, tmp_path: Path):
    network, _ = loaded(cache, tmp_path, neuron__tau=4.0)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    first = network(FRAMES)
    assert not torch.equal(network(FRAMES), first)


@torch.no_grad()
def test_a_network_read_from_nir_forgets_too(cache: Path, tmp_path: Path):
    pytest.importorskip("nirtorch")
    from pipeline.evaluation.nir_export import export_nir

    network, data = loaded(cache, tmp_path, neuron__reset="hard")
    export_nir(network, data.size, tmp_path / "net.nir", channels=2)
    read = ReadNetwork(tmp_path / "net.nir", CPU)
    first = read(FRAMES)
    assert torch.equal(read(FRAMES), first)
