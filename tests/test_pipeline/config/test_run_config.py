"""Configurations: every fault at once, flags and files that change fields, fingerprints that mean the same thing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.run_config import (
    NeuronConfig,
    RunConfig,
    ScheduleConfig,
    field_paths,
    fingerprint,
    flatten,
    from_dict,
    load_config,
    override,
    to_dict,
)
from pipeline.presets.registry import PRESETS, find_preset
from preprocess.binning.binning_config import Binning
from preprocess.errors import ConfigError


def test_every_fault_of_every_part_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        RunConfig(neuron=NeuronConfig(tau=1.0, alpha=-1.0), schedule=ScheduleConfig(epochs=0), batch_size=0)
    assert error.value.errors == (
        "neuron.tau: expected more than 1 time step, found 1.0",
        "neuron.alpha: expected more than 0, found -1.0",
        "schedule.epochs: expected at least 1, found 0",
        "batch_size: expected at least 1, found 0",
    )


def test_override_tells_unknown_wrongly_typed_and_out_of_range_fields_together():
    with pytest.raises(ConfigError) as error:
        override(RunConfig(), {"neuron.tua": 2.0, "batch_size": "many", "neuron.tau": 0.5})
    assert error.value.errors == (
        "neuron.tua: expected a field of the configuration, found none of this name. Did you mean 'neuron.tau'?",
        "batch_size: expected a whole number, found 'many'",
        "neuron.tau: expected more than 1 time step, found 0.5",
    )


def test_override_changes_only_what_it_names():
    changed = override(RunConfig(), {"neuron.tau": 3, "input.size": 48, "grad_steps": None})
    before, after = flatten(RunConfig()), flatten(changed)
    assert {path for path in before if before[path] != after[path]} == {"neuron.tau", "input.size"}
    assert after["neuron.tau"] == 3.0 and isinstance(after["neuron.tau"], float)


def test_booleans_are_no_numbers():
    with pytest.raises(ConfigError, match="batch_size: expected a whole number, found True"):
        override(RunConfig(), {"batch_size": True})


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name: str):
    config = PRESETS[name].config
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_fields_named_in_the_design_exist():
    named = """dataset.name dataset.split dataset.validation_fraction binning.timesteps binning.split_by
    binning.downsample input.size input.resize input.encoding input.polarity network.name network.width network.dropout
    network.batch_norm network.head neuron.name neuron.tau neuron.surrogate neuron.alpha neuron.v_threshold
    neuron.backend neuron.timesteps loss.mse_weight loss.mse_target loss.label_smoothing
    optimiser.name optimiser.learning_rate optimiser.momentum optimiser.weight_decay schedule.name schedule.epochs
    schedule.warmup_epochs batch_size grad_steps precision device threads seed selection"""
    assert set(named.split()) <= set(field_paths())


def test_fingerprint_is_of_what_is_computed_not_of_where():
    config = RunConfig()
    assert fingerprint(config) == fingerprint(replace(config, device="cpu", threads=1))
    others = [replace(config, seed=1), replace(config, binning=Binning(timesteps=4)), replace(config, selection="last")]
    assert len({fingerprint(config), *(fingerprint(other) for other in others)}) == 4


def test_load_config_reads_a_runs_file_and_a_searchs_best(tmp_path: Path):
    config = replace(RunConfig(), seed=5)
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    (tmp_path / "best.json").write_text(json.dumps({"trial": "x", "config": to_dict(config)}))
    assert load_config(tmp_path / "config.json") == load_config(tmp_path / "best.json") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "expected a run's config.json or a search's best.json, found no such file"),
        ("{", "expected a configuration in JSON, found: "),
        ("[1]", "expected a JSON object, found list"),
        ('{"config": 5}', "expected a JSON object, found int"),
        ('{"config": {}, "trials": []}', "search's best.json, found the plan of a search. Give the best.json"),
        ('{"sede": 1}', "sede: expected a field of the configuration, found none of this name. Did you mean 'seed'?"),
    ],
)
def test_faulty_files_are_one_line(tmp_path: Path, text: str | None, message: str):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert len(error.value.errors) == 1 and message in str(error.value)


def test_unknown_presets_name_the_nearest():
    with pytest.raises(ConfigError, match=r"lists, found 'n-mnist-smal'\. Did you mean 'n-mnist-small'"):
        find_preset("n-mnist-smal")
