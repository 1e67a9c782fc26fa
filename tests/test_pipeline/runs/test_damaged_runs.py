"""Run folders that were mixed up, cut or carried elsewhere: one line each, never a silent other result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, tiny_cache

from pipeline.cli import COMMANDS
from pipeline.config.run_config import ConfigError, RunConfig, override
from pipeline.evaluation.evaluate_run import evaluate_run
from pipeline.runs.run_folder import open_run
from pipeline.training.train_run import train_run
from preprocess.errors import FullMemoryError, RunError
from preprocess.files import read_json, read_lines
from preprocess.terminal.command_line import run_main


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in words])


class Stop(Exception):
    pass


def stop_after(epochs: int):
    def stop(row: dict, timing: dict) -> None:
        if row["epoch"] == epochs:
            raise Stop

    return stop


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("damaged"))


@pytest.fixture
def half(cache: Path, tmp_path: Path) -> Path:
    """A run that stopped after two of three epochs."""
    with pytest.raises(Stop):
        train_run(TINY, tmp_path / "half", cache, on_epoch=stop_after(2))
    return tmp_path / "half"


def test_a_checkpoint_of_another_run_is_refused_though_its_layers_fit(cache: Path, half: Path, tmp_path: Path):
    other = override(TINY, {"seed": 8, "optimiser.weight_decay": 0.3})
    train_run(other, tmp_path / "other", cache)
    shutil.copy(tmp_path / "other/checkpoint.pt", half)
    with pytest.raises(RunError, match=r"checkpoint.pt: expected the checkpoint of run \w{12}, found that of \w{12}"):
        train_run(TINY, half, cache)


@pytest.mark.parametrize("kept", [0, 1])
def test_missing_rows_of_trained_epochs_are_refused_before_anything_is_trained(cache: Path, half: Path, kept: int):
    path = half / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:kept]))
    with pytest.raises(RunError, match=rf"metrics.jsonl: expected the rows of epochs 1 to 2, found {kept}"):
        train_run(TINY, half, cache, on_epoch=lambda *_: pytest.fail("an epoch ran"))


@pytest.mark.parametrize(
    "change",
    [
        {"random": []},
        {"random": [1, 2]},
        {"random": [torch.zeros(3, dtype=torch.uint8)]},
        {"epoch": "2"},
        {"best": {"epoch": 99, "accuracy": 1.0, "loss": 0.0}},
        {"optimiser": {}},
        {"average": None, "network": {}},
    ],
    ids=str,
)
def test_a_checkpoint_that_makes_no_sense_is_one_line(cache: Path, half: Path, change: dict):
    path = half / "checkpoint.pt"
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(RunError, match=r"checkpoint.pt: ") as caught:
        train_run(TINY, half, cache)
    assert len(str(caught.value).splitlines()) == 1


def test_weights_ahead_of_their_epochs_row_are_one_line(cache: Path, half: Path):
    path = half / "best.pt"
    torch.save(torch.load(path, weights_only=True) | {"epoch": 3}, path)
    with pytest.raises(
        RunError, match=r"expected a row for epoch 3, which the weights in best.pt are of, found 2 rows"
    ):
        evaluate_run(open_run(half), cache)


def test_a_pickle_that_would_run_code_is_refused_without_advice_to_run_it(cache: Path, half: Path):
    (half / "checkpoint.pt").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(RunError, match="no code from it was run") as caught:
        train_run(TINY, half, cache)
    assert "weights_only" not in str(caught.value)


def test_a_run_goes_on_where_its_device_is_missing(cache: Path, half: Path, capsys, monkeypatch):
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps(config | {"device": "cuda"}))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert run("train", "--resume", half, "--cache", cache) == 2
    assert "expected one of this machine's 0 CUDA devices, found 'cuda'. Use auto." in capsys.readouterr().err
    assert run("train", "--resume", half, "--cache", cache, "--device", "cpu") == 0
    (half / "config.json").write_text(json.dumps(config | {"device": "cuda"}))
    assert run("evaluate", half, "--cache", cache, "--device", "cpu", "--json") == 0


def test_where_earlier_epochs_were_trained_is_kept_and_another_number_of_threads_is_told(
    cache: Path, half: Path, capsys
):
    train_run(override(TINY, {"threads": 2}), half, cache)
    assert "trained with threads 1 and continued with 2: results will differ" in capsys.readouterr().err
    about = read_json(half / "environment.json")
    assert about is not None and about["threads"] == 2 and [was["threads"] for was in about["earlier"]] == [1]
    assert len(read_lines(half / "metrics.jsonl")) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1 << 70}, r"seed: expected 0 to 9223372036854775807, found"),
        ({"threads": 100_000}, r"threads: expected 1 to 1024, found 100000"),
        ({"neuron.name": "psn", "grad_steps": 2}, r"grad_steps: expected all steps, because 'psn' has weights"),
        ({"neuron.name": "clif", "neuron.reset": "hard"}, r"neuron.reset: expected soft for neuron 'clif', found hard"),
    ],
)
def test_settings_that_cannot_be_are_faults_of_the_configuration(changes: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        override(TINY, changes)


def test_tables_name_tau_only_where_a_neuron_has_one():
    titles = [override(RunConfig(), {"neuron.name": name}).neuron.title for name in ("lif", "psn", "if")]
    assert titles == ["lif, tau 2", "psn", "if"]


def test_a_run_that_does_not_fit_into_memory_says_what_to_lower(cache: Path, tmp_path: Path):
    # So much that the first layer is refused, and nothing is filled.
    with pytest.raises(FullMemoryError, match=r"cpu: out of memory\. Lower batch_size, input.size, network.width"):
        train_run(override(TINY, {"network.width": 1e10}), tmp_path / "run", cache)
