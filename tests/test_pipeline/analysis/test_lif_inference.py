"""Trained weights with LIF dynamics: LIF by hand, networks that were built with LIF, and the NIR graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from messages import refuses
from spikingjelly.activation_based import neuron

from pipeline.analysis.analysed_network import Analysed
from pipeline.analysis.analysis_options import InferenceOptions
from pipeline.analysis.lif_inference import InferenceResult, analyse_inference, with_lif
from pipeline.config.run_config import NetworkConfig, NeuronConfig, RunConfig
from pipeline.networks import build_network, reset_network
from pipeline.neurons.clif.node import CLIFNode
from pipeline.runs.run_folder import open_run
from preprocess.errors import ConfigError, RunError

Untrained = Callable[..., Analysed]


@pytest.mark.parametrize("reset", [None, 0.0, -0.1, 0.3])
def test_converted_neuron_fires_as_lif_by_hand(reset: float | None):
    """u = v - (v - r) / tau + x; after a spike v is r, or u - 1 with soft reset, where rest is 0."""
    node = with_lif(torch.nn.Sequential(CLIFNode(tau=3.0, step_mode="m")), reset)
    x = 1.2 * torch.rand(12, 1, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rest = reset or 0.0
    v, expected = torch.full_like(x[0], rest), []
    for current in x:
        u = v - (v - rest) / 3.0 + current
        spikes = (u >= 1.0).double()
        v = u - spikes if reset is None else torch.where(spikes > 0, torch.full_like(u, rest), u)
        expected.append(spikes)
    with torch.no_grad():
        found = node(x)
    assert torch.equal(found, torch.stack(expected)) and 0 < found.mean() < 1
    theirs = neuron.LIFNode(3.0, decay_input=False, v_reset=reset, step_mode="m")
    with torch.no_grad():
        assert torch.equal(found, theirs(x))


@pytest.mark.parametrize("trained_as", ["clif", "lif", "lif-reset1.8", "clif-undecayed"])
def test_converted_network_is_the_network_of_lif_with_the_same_weights(trained_as: str):
    form = {"channels": 2, "classes": 3, "size": (16, 16), "timesteps": 5, "seed": 1}
    config = NetworkConfig(name="spiking-resnet18", width=0.125)
    given = build_network(config, NeuronConfig(name=trained_as, tau=1.7, v_threshold=0.6), **form).eval()
    frames = torch.randint(0, 4, (5, 2, 2, 16, 16), generator=torch.Generator().manual_seed(1)).float()
    for reset in ("soft", "hard"):
        lif = build_network(config, NeuronConfig(tau=1.7, v_threshold=0.6, reset=reset), **form).eval()  # type: ignore[arg-type]
        lif.load_state_dict(given.state_dict())
        converted = with_lif(given, None if reset == "soft" else 0.0)
        with torch.no_grad():
            assert torch.equal(converted(frames), lif(frames))
    with torch.no_grad():
        before = given(frames)
        reset_network(given)
        assert torch.equal(given(frames), before)
    assert not any(type(module) is CLIFNode for module in converted.modules())


def test_rows_are_the_trained_dynamics_then_soft_then_hard_resets(trained: Path):
    found, result = analyse_inference(trained, InferenceOptions(resets=(-0.1, 0.0))), open_run(trained).result
    assert result is not None
    assert [(row.dynamics, row.reset_value) for row in found.rows] == [
        ("trained", None), ("soft", None), ("hard", 0.0), ("hard", -0.1),
    ]  # fmt: skip
    first = found.rows[0]
    assert (first.correct, first.accuracy, first.low, first.high) == (
        result["correct"], result["test_accuracy"], result["test_accuracy_low"], result["test_accuracy_high"],
    )  # fmt: skip
    assert first.same == found.subject.samples and first.firing_rate == pytest.approx(result["firing_rate"])
    assert found.best.correct == max(row.correct for row in found.rows[2:])
    assert found.nir is None and InferenceResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_lif_with_soft_reset_is_itself(untrained: Untrained):
    first, soft = analyse_inference(untrained(), InferenceOptions(samples=12, resets=(0.0,))).rows[:2]
    assert replace(soft, dynamics="trained") == first


def test_one_step_of_clif_is_one_step_of_lif(untrained: Untrained):
    one = untrained(neuron__name="clif", binning__timesteps=1)
    rows = analyse_inference(one, InferenceOptions(samples=12, resets=(0.0,))).rows
    assert {(row.correct, row.same, row.firing_rate) for row in rows} == {(rows[0].correct, 12, rows[0].firing_rate)}


def test_the_most_accurate_hard_reset_is_written_as_a_nir_graph(trained: Path, tmp_path: Path):
    pytest.importorskip("nir", reason="no package nir: pip install 'spikeloom[nir]'")
    path = tmp_path / "network.nir"
    found = analyse_inference(trained, InferenceOptions(resets=(0.0, -0.1), nir=path))
    assert found.nir is not None and path.is_file() and found.nir.nodes > 5
    assert found.nir.reset_value == found.best.reset_value and found.nir.same == found.subject.samples
    assert InferenceResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_what_is_not_defined_is_one_line(untrained: Untrained, trained: Path, tmp_path: Path):
    with refuses(ConfigError, expected="a neuron that has LIF's membrane", found="'psn'", errors=1):
        analyse_inference(untrained(neuron__name="psn"))
    with refuses(ConfigError, where="--resets", expected="below the threshold 1", found="2", errors=1):
        analyse_inference(trained, InferenceOptions(resets=(0.0, 2.0)))
    with refuses(ConfigError, where="network.name", found="'plif-net-gesture'", errors=1):
        other = untrained(network__name="plif-net-gesture")
        analyse_inference(other, InferenceOptions(nir=tmp_path / "network.nir"))
    with refuses(ConfigError, where="--resets", found="nan", errors=1):
        InferenceOptions(resets=(float("nan"),))
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("config.json", "environment.json"):
        (empty / name).write_bytes((trained / name).read_bytes())
    with refuses(RunError, expected="selected weights", errors=1):
        analyse_inference(empty)
    assert isinstance(open_run(trained).config, RunConfig)
