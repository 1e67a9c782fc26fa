"""The field that a wrong name means: other frameworks' names, parts of names, typing errors; one rule everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS
from pipeline.config.nearest_field import _SYNONYMS, nearest_field
from pipeline.config.run_config import field_paths, override
from pipeline.presets.registry import PRESETS
from preprocess.errors import ConfigError
from preprocess.terminal.command_line import run_main


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("optimiser.lr", "optimiser.learning_rate"),
        ("lr", "optimiser.learning_rate"),
        ("optimizer.lr", "optimiser.learning_rate"),
        ("optimizer.name", "optimiser.name"),
        ("epochs", "schedule.epochs"),
        ("train.num_epochs", "schedule.epochs"),
        ("bs", "batch_size"),
        ("batch", "batch_size"),
        ("wd", "optimiser.weight_decay"),
        ("T", "binning.timesteps"),
        ("binning.T", "binning.timesteps"),
        ("timesteps", "binning.timesteps"),
        ("time-steps", "binning.timesteps"),
        ("tau", "neuron.tau"),
        ("neuron.v_th", "neuron.v_threshold"),
        ("warmup", "schedule.warmup_epochs"),
        ("decay_input", "neuron.decay_input"),
        ("optimiser.learning_rat", "optimiser.learning_rate"),
        ("nueron.tua", "neuron.tau"),
        ("seeed", "seed"),
    ],
)
def test_a_wrong_name_means_the_field_that_people_expect(name: str, meant: str):
    assert nearest_field(name, field_paths()) == meant


@pytest.mark.parametrize("name", ["foo.bar", "optimiser.zzz", "network.depth", ""])
def test_a_name_that_is_like_no_field_means_none(name: str):
    assert nearest_field(name, field_paths()) is None


def test_every_synonym_is_of_a_field_and_of_one_alone():
    words = [word for line in _SYNONYMS.values() for word in line.split()]
    assert _SYNONYMS.keys() <= field_paths().keys() and len(words) == len(set(words))


def test_files_and_flags_suggest_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ConfigError, match=r"optimiser.lr: expected .* Did you mean 'optimiser.learning_rate'"):
        override(PRESETS["n-mnist-small"].config, {"optimiser.lr": 0.1})
    (tmp_path / "config.json").write_text(json.dumps({"optimiser": {"lr": 0.1}}))
    for words, meant in (
        (["--config", str(tmp_path / "config.json")], "'optimiser.learning_rate'"),
        (["n-mnist-small", "--lr", "0.1"], "'--optimiser.learning-rate'"),
        (["n-mnist-small", "--epochs", "3"], "'--schedule.epochs'"),
        (["n-mnist-small", "--T", "3"], "'--binning.timesteps'"),
        (["n-mnist-small", "--resum", "x"], "'--resume'"),
    ):
        assert run_main(COMMANDS, prog="spikeloom", description="", argv=["train", *words]) == 2
        assert f"id you mean {meant}" in capsys.readouterr().err
