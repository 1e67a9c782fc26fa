"""The analysis of energy: the numbers of the run's own result, and what it says of neurons that Table 7 lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.analysis.analysed_network import Analysed
from pipeline.analysis.analysis_options import EnergyOptions
from pipeline.analysis.energy_costs import CostResult, analyse_energy
from pipeline.runs.run_folder import open_run

Untrained = Callable[..., Analysed]


def test_costs_on_the_test_split_are_those_of_the_result(trained: Path):
    found, result = analyse_energy(trained, EnergyOptions(samples=1000)), open_run(trained).result
    assert result is not None and found.subject.samples == result["test_samples"]
    expected = result["energy"]
    assert found.table6_uj == pytest.approx(expected["per_inference_uj"])
    assert found.table6_per_step_uj == pytest.approx(expected["per_step_uj"])
    names = ("sparse_uj", "effective_macs", "effective_acs", "connection_sparsity", "footprint_bytes")
    assert {name: getattr(found, name) for name in names} == pytest.approx({name: expected[name] for name in names})
    assert found.corrected.total_uj == pytest.approx(expected["memory_uj"])
    assert found.activation_sparsity == pytest.approx(1 - result["firing_rate"])
    assert sum(layer.macs for layer in found.layers) == pytest.approx(found.effective_macs)
    assert found.printed is not None and found.why_not_printed == ""
    assert CostResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_epochs_have_the_costs_of_the_validation_samples(trained: Path):
    run = open_run(trained)
    assert run.result is not None
    (row,) = run.metrics
    assert row["sparse_energy_uj"] < row["energy_uj"] < row["memory_energy_uj"]  # type: ignore[typeddict-item]
    assert row["effective_macs"] > 0 and row["footprint_bytes"] > 1000  # type: ignore[operator, typeddict-item]
    assert run.result["sparse_energy_uj"] == row["sparse_energy_uj"]  # type: ignore[typeddict-item]


def test_neurons_and_networks_that_table_7_lacks_have_the_corrected_terms_alone(untrained: Untrained):
    found = analyse_energy(untrained(neuron__name="psn"), EnergyOptions(samples=4))
    assert found.printed is None and found.why_not_printed == "Table 7 has relu, lif, clif, not psn"
    assert found.corrected.total > 0
    other = analyse_energy(untrained(network__name="rsnn", network__width=0.1), EnergyOptions(samples=4))
    assert other.printed is None and "layers with weights" in other.why_not_printed


def test_samples_of_varying_length_have_costs(untrained: Untrained):
    analysed = untrained(binning__split_by="duration", binning__duration_us=700)
    data = analysed.open_data()
    lengths = data.frames.lengths[data.splits.test]
    found = analyse_energy(analysed, EnergyOptions(samples=1000))
    assert len(set(lengths.tolist())) > 1 and found.timesteps == pytest.approx(lengths.mean())
    assert found.layers[0].dense == pytest.approx(found.timesteps * dense_of_first(found))
    assert found.sparse_uj < found.table6_uj


def dense_of_first(found: CostResult) -> int:
    """A 3x3 convolution of 16x16 pixels, 2 channels to 2, without its padding."""
    assert found.layers[0].kind == "conv"
    return 2 * 2 * (3 * 16 - 2) ** 2
