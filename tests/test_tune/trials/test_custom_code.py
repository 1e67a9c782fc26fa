"""Neurons and networks of one's own that cannot train are refused before the first trial, of a search or comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
from messages import refuses

from pipeline.config.run_config import RunConfig, override
from preprocess.errors import ConfigError
from tune.comparison.comparison_plan import compare_neurons
from tune.comparison.run_comparison import compare
from tune.search.options import SearchOptions
from tune.search.search_plan import plan_search

OWN = """
import torch
from spikingjelly.activation_based import neuron
from torch import nn
class LastStep(nn.Module):
    def forward(self, x):
        return x[-1]
class Averaged(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.linear = nn.Linear(2 * size[0] * size[1], classes)
    def forward(self, x):
        return self.linear(x.flatten(2)).mean(0)
class OwnNeurons(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.linear = nn.Linear(2 * size[0] * size[1], classes)
        self.neuron = neuron.LIFNode(step_mode="m")
    def forward(self, x):
        return self.neuron(self.linear(x.flatten(2)))
class NeedsCuda(nn.Module):
    def forward(self, x):
        if not x.is_cuda:
            raise RuntimeError("expected a CUDA tensor")
        return x
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


@pytest.mark.parametrize("word", ["neuron.name=lif,{own}:LastStep", "network.name={own}:Averaged"])
def test_a_search_refuses_them(own: Path, tiny_config: RunConfig, tiny_cache: Path, word: str):
    words = SearchOptions((word.format(own=own),))
    with pytest.raises(ConfigError, match=r"own.py:.*' must return"):
        plan_search("own", tiny_config, words, tiny_cache)


def test_a_search_leaves_code_for_cuda_to_its_trials(own: Path, tiny_config: RunConfig, tiny_cache: Path):
    plan_search("own", tiny_config, SearchOptions((f"neuron.name=lif,{own}:NeedsCuda",)), tiny_cache)


def test_a_comparison_refuses_them_and_leaves_no_folder(
    own: Path, tiny_config: RunConfig, tiny_cache: Path, tmp_path: Path
):
    neurons = compare_neurons("own", tiny_config, ("lif", f"{own}:LastStep"), (1,), tiny_cache)
    averaged = override(tiny_config, {"network.name": f"{own}:Averaged"})
    network = compare_neurons("own", averaged, ("lif", "clif"), (1,), tiny_cache)
    for comparison in (neurons, network):
        with pytest.raises(ConfigError, match=r"own.py:.*' must return"):
            compare(comparison, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_neurons_are_not_compared_or_searched_on_a_network_that_ignores_them(
    own: Path, tiny_config: RunConfig, tiny_cache: Path, tmp_path: Path
):
    config = override(tiny_config, {"network.name": f"{own}:OwnNeurons"})
    with refuses(ConfigError, where="network.name", expected="make_neuron", found="OwnNeurons", remedy="make_neuron"):
        compare(compare_neurons("own", config, ("lif", "clif"), (1,), tiny_cache), tmp_path / "out")
    with refuses(ConfigError, where="neuron.tau", found="OwnNeurons", remedy="Leave the field out", errors=1):
        plan_search("own", config, SearchOptions(("neuron.tau=1.5,2", "optimiser.learning_rate=0.1,0.2")), tiny_cache)
    plan_search("own", config, SearchOptions(("optimiser.learning_rate=0.1,0.2",)), tiny_cache)
