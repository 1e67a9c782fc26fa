"""Neurons, networks and surrogates that a program registers work wherever built-in names do."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from messages import refuses
from spikingjelly.activation_based import neuron
from tiny_run import TINY, tiny_cache

from pipeline import NeuronTraits, register_network, register_neuron, register_surrogate
from pipeline.config import registrations
from pipeline.config.custom_classes import load_outside
from pipeline.config.inactive_fields import is_inactive
from pipeline.config.neurons import NEURONS
from pipeline.config.run_config import RunConfig, flatten, override
from pipeline.config.surrogates import SURROGATES, make_surrogate
from pipeline.cost.energy import count_energy
from pipeline.cost.operations import Operations
from pipeline.evaluation.evaluate_run import evaluate_run
from pipeline.networks.run_network import make_run_network
from pipeline.networks.spiking_layers import neuron_layers
from pipeline.neurons import make_neuron
from pipeline.neurons.make_neuron import _built_in
from pipeline.runs.changed_code import code_changes
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError, RunError
from preprocess.files import write_json

OWN = """
from spikingjelly.activation_based import neuron, surrogate
from torch import nn


def make_slow(config):
    from pipeline.config.surrogates import make_surrogate

    return neuron.LIFNode(4.0, surrogate_function=make_surrogate(config), step_mode="m")


def make_slow_with(tau):
    def make(config):
        return neuron.LIFNode(tau, step_mode="m")

    return make


class Tiny(nn.Module):
    def __init__(self, make_neuron, channels, classes, size):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(channels * size[0] * size[1], 8), make_neuron(), nn.Linear(8, classes)])

    def forward(self, frames):
        x = frames.flatten(2)
        for layer in self.layers:
            x = layer(x)
        return x


def flat(alpha):
    return surrogate.Erf(alpha=alpha)
"""
TRAITS = NeuronTraits("Slow", has_tau=False, has_reset=False, macs=7, unequal="its tau is 4")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunConfig]:
    """A configuration of a registered neuron, network and surrogate."""
    (tmp_path / "own_registered.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("own_registered")
    register_neuron("slow", module.make_slow, TRAITS)
    register_network("tiny-linear", module.Tiny)
    register_surrogate("flat", module.flat)
    changes = {"neuron.name": "slow", "network.name": "tiny-linear", "neuron.surrogate": "flat"}
    yield override(TINY, changes)
    registrations._registered.clear()
    del NEURONS["slow"], SURROGATES["flat"], sys.modules["own_registered"]


def test_every_built_in_neuron_names_a_function_that_exists():
    assert all(callable(_built_in(name)) for name in NEURONS)


def test_a_run_trains_and_is_evaluated_with_registered_names(own: RunConfig, tmp_path: Path):
    cache = tiny_cache(tmp_path)
    result = train_run(own, tmp_path / "run", cache)
    assert result["test_accuracy"] > 1 / 3
    there = open_run(tmp_path / "run")
    recorded = there.environment["outside"]
    assert recorded["neuron.name"]["file"] == recorded["network.name"]["file"] == str(tmp_path / "own_registered.py")
    assert there.config == own
    assert evaluate_run(open_run(tmp_path / "run"), cache)["test_accuracy"] == result["test_accuracy"]


def test_a_name_that_a_script_registers_otherwise_is_refused(own: RunConfig, tmp_path: Path):
    cache = tiny_cache(tmp_path)

    def register(threshold: float) -> None:
        def make(config: object) -> torch.nn.Module:
            return neuron.LIFNode(v_threshold=threshold, step_mode="m")

        make.__module__ = "__main__"
        register_neuron("slow", make)

    register(1.0)
    result = train_run(own, tmp_path / "run", cache)
    register(1.0)
    assert train_run(own, tmp_path / "run", cache) == result
    register(5.0)
    for again in (
        lambda: train_run(own, tmp_path / "run", cache),
        lambda: evaluate_run(open_run(tmp_path / "run"), cache),
    ):
        with pytest.raises(RunError, match=r"registered as neuron\.name 'slow' has SHA-256"):
            again()
    assert code_changes(open_run(tmp_path / "run"))[0].file == "the code registered as neuron.name 'slow'"
    # Runs of earlier versions did not record it.
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    del environment["outside"]["neuron.name"]
    write_json(tmp_path / "run" / "environment.json", environment)
    assert train_run(own, tmp_path / "run", cache) == result


def test_a_name_registered_with_other_values_of_a_module_is_refused(own: RunConfig, tmp_path: Path):
    module = sys.modules["own_registered"]
    cache = tiny_cache(tmp_path)
    register_neuron("slow", module.make_slow_with(4.0))
    result = train_run(own, tmp_path / "run", cache)
    register_neuron("slow", module.make_slow_with(4.0))
    assert train_run(own, tmp_path / "run", cache) == result
    register_neuron("slow", module.make_slow_with(8.0))
    with pytest.raises(RunError, match=r"the values in neuron\.name 'slow' has SHA-256 .* --accept-changed-code"):
        train_run(own, tmp_path / "run", cache)


def test_traits_decide_what_is_checked_and_counted(own: RunConfig):
    assert is_inactive("neuron.tau", flatten(own)) and not is_inactive("neuron.v_threshold", flatten(own))
    assert own.neuron.title == "slow"
    assert count_energy(Operations((), 0), "slow", {}, 4).macs == 0
    with refuses(ConfigError, where="neuron.reset", expected="soft for neuron 'slow'", found="hard"):
        override(own, {"neuron.reset": "hard"})
    with refuses(ConfigError, where="neuron.backend", expected="fused kernels", found="'slow'"):
        make_neuron(override(own, {"neuron.backend": "fused"}).neuron)


def test_registered_neurons_are_spiking_layers_of_built_in_networks(own: RunConfig):
    config = override(own, {"network.name": "snn5"})
    form = {"classes": 3, "size": (16, 16), "timesteps": 3, "device": torch.device("cpu")}
    network = make_run_network(config, **form)  # type: ignore[arg-type]
    layers = neuron_layers(network).values()
    assert layers and {type(layer).__name__ for layer in layers} == {"LIFNode"}


def test_a_registered_neuron_that_keeps_its_state_is_refused_before_training(own: RunConfig):
    class Keeps(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.sum = x.sum(0) + getattr(self, "sum", 0.0)
            return ((x + self.sum) > 0).float() * x

    register_neuron("slow", lambda config: Keeps())
    form = {"classes": 3, "size": (16, 16), "timesteps": 3, "device": torch.device("cpu")}
    with pytest.raises(ConfigError, match=r"neuron.name: 'slow' must have a method reset\(\)"):
        make_run_network(own, **form)  # type: ignore[arg-type]


def test_registering_again_replaces_and_built_in_names_are_refused(own: RunConfig):
    register_neuron("slow", make_neuron, NeuronTraits(has_tau=True))
    assert not is_inactive("neuron.tau", flatten(own))
    with refuses(ConfigError, where="neuron.name", expected="not built in", found="'lif'", remedy="another name"):
        register_neuron("lif", make_neuron)
    with refuses(ConfigError, where="neuron.surrogate", expected="not built in", found="'atan'"):
        register_surrogate("atan", float)
    with refuses(ConfigError, where="neuron.name", expected="letters, digits", found="'a,b'"):
        register_neuron("a,b", make_neuron)
    with refuses(ConfigError, where="network.name", expected="a function or class", found="3"):
        register_network("three", 3)  # type: ignore[arg-type]
    with refuses(ConfigError, where="network.name", expected="not built in", found="'snn5'"):
        register_network("snn5", torch.nn.Linear)
    with refuses(ConfigError, where="neuron.name", expected="letters, digits", found="None"):
        register_neuron(None, make_neuron)  # type: ignore[arg-type]
    with refuses(ConfigError, where="neuron.name", expected="makes 'slow'", found="an object of LIFNode"):
        register_neuron("slow", neuron.LIFNode())


def test_a_function_may_call_its_only_argument_anything_or_accept_all(own: RunConfig, tmp_path: Path):
    register_neuron("slow", lambda cfg: neuron.LIFNode(float(cfg.tau), step_mode="m"))
    assert make_neuron(own.neuron).tau == own.neuron.tau
    register_neuron("slow", lambda: neuron.LIFNode(7.0, step_mode="m"))
    assert make_neuron(own.neuron).tau == 7.0
    seen: dict[str, object] = {}

    def build(**arguments: object) -> torch.nn.Module:
        seen.update(arguments)
        return torch.nn.Sequential(torch.nn.Flatten(2), torch.nn.Linear(162, 3))

    register_network("tiny-linear", build)
    form = {"classes": 3, "size": (9, 9), "timesteps": 3, "device": torch.device("cpu")}
    make_run_network(own, **form)  # type: ignore[arg-type]
    assert {"classes", "size", "make_neuron", "timesteps"} <= set(seen)
    register_network("tiny-linear", torch.nn.Flatten)
    with refuses(ConfigError, where="network.name", expected="parameters", found="'tiny-linear'"):
        make_run_network(own, **form)  # type: ignore[arg-type]


def test_what_a_file_prints_while_it_is_imported_is_not_output(tmp_path: Path, capsys):
    (tmp_path / "loud.py").write_text("print('loaded')\nclass Net: pass\n")
    assert load_outside(f"{tmp_path}/loud.py:Net", "network.name").__name__ == "Net"
    output = capsys.readouterr()
    assert output.out == "" and "loaded" in output.err


def test_what_a_registered_function_does_wrong_is_reported_in_one_line(own: RunConfig):
    register_neuron("slow", lambda config: 3)
    with refuses(ConfigError, where="neuron.name", expected="'slow' to make a torch.nn.Module", found="3"):
        make_neuron(own.neuron)
    register_neuron("slow", lambda config: 1 / 0)
    with pytest.raises(ConfigError, match=r"neuron.name: 'slow' cannot be made \(ZeroDivisionError: .* in line"):
        make_neuron(own.neuron)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda alpha: None, "None"),
        (lambda: None, "TypeError"),
        (lambda alpha: 1 / 0, "ZeroDivisionError"),
        (lambda alpha: lambda x: x.detach() >= 0, "without one"),
        (lambda alpha: lambda x: x.sum(), "function"),
    ],
)
def test_what_is_not_a_surrogate_is_refused(own: RunConfig, make: Callable[..., object], found: str):
    register_surrogate("flat", make)  # type: ignore[arg-type]
    with refuses(ConfigError, where="neuron.surrogate", expected="'flat' to make", found=found):
        make_surrogate(own.neuron)


def test_unknown_surrogates_are_refused():
    with refuses(ConfigError, where="neuron.surrogate", expected="rect, triangle", found="'recta'", remedy="'rect'?"):
        override(TINY, {"neuron.surrogate": "recta"})


def test_registering_loads_neither_torch_nor_numba():
    code = "import sys, pipeline; pipeline.register_neuron('a', print); print({'torch', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
