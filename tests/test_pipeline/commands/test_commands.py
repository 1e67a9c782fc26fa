"""train, evaluate, runs and presets: what they print, what they refuse, and in how many lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE_S
from tiny_run import TINY, tiny_cache

from pipeline.cli import COMMANDS
from pipeline.config.run_config import load_config, to_dict
from pipeline.kernels import buffers
from pipeline.runs.run_folder import open_run
from preprocess.files import read_lines
from preprocess.terminal.command_line import run_main

REPOSITORY = Path(__file__).resolve().parents[3]


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[str(word) for word in words])


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("commands"))


@pytest.fixture(scope="module")
def config(cache: Path) -> Path:
    path = cache.parent / "tiny.json"
    path.write_text(json.dumps(to_dict(TINY)))
    return path


@pytest.fixture(scope="module")
def trained(cache: Path, config: Path) -> Path:
    folder = cache.parent / "trained"
    assert run("train", "--config", config, "--cache", cache, "--out", folder) == 0
    return folder


def test_train_prints_each_epoch_on_stderr_and_the_result_on_stdout(cache: Path, config: Path, tmp_path: Path, capsys):
    words = ("train", "--config", config, "--cache", cache, "--out", tmp_path / "run", "--neuron.name", "clif")
    assert run(*words, "--schedule.epochs", 2) == 0
    printed = capsys.readouterr()
    assert [line.split(",")[0] for line in printed.err.splitlines()] == ["spikeloom: epoch 1", "spikeloom: epoch 2"]
    told = ("clif on tiny", "test accuracy", "of 36", "best epoch on a validation split", "official, 7", "T = 3")
    assert all(text in printed.out for text in told), printed.out
    there = load_config(tmp_path / "run" / "config.json")
    assert (there.neuron.name, there.schedule.epochs, there.seed) == ("clif", 2, 7)


@pytest.fixture(scope="module")
def only_train(tmp_path_factory) -> Path:
    """A cache whose official split has training samples only, as tonic's `NMNIST(train=True)` leaves it."""
    return tiny_cache(tmp_path_factory.mktemp("only-train"), tests=False)


@pytest.mark.parametrize("selection", ["validation", "last"])
def test_without_a_test_split_a_run_trains_and_says_that_nothing_is_tested(
    only_train: Path, config: Path, tmp_path: Path, capsys, selection: str
):
    words = ("train", "--config", config, "--cache", only_train, "--out", tmp_path / "run", "--selection", selection)
    assert run(*words, "--schedule.epochs", 1) == 0
    printed = capsys.readouterr()
    first = printed.err.splitlines()[0]
    assert first == "spikeloom: tiny has no test split, so the run has no test accuracy"
    assert "none (the data set has no test split)" in printed.out
    assert f"firing rate ({'validation' if selection == 'validation' else 'training'})" in printed.out
    result = open_run(tmp_path / "run").result
    assert result["test_samples"] == 0 and "test_accuracy" not in result
    # A finished run is only read; what needs a test split names the remedy.
    assert run(*words, "--schedule.epochs", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out) == result | {"reused": True}
    assert run("evaluate", tmp_path / "run", "--cache", only_train) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "spikeloom: dataset.split: expected a test split, found only the 72 samples of the official training split in "
        "tiny. Preprocess the test recordings as well, or choose random-0.9."
    )


def test_selection_by_the_test_split_needs_one(only_train: Path, config: Path, tmp_path: Path, capsys):
    words = ("train", "--config", config, "--cache", only_train, "--out", tmp_path / "run", "--selection", "paper")
    assert run(*words) == 2
    assert "dataset.split: expected a test split" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run(*words[:-1], "validation", "--dataset.split", "random-0.9", "--schedule.epochs", 1) == 0


def test_the_preset_comes_before_the_options(cache: Path, tmp_path: Path, capsys):
    assert run("train", "--neuron.tau", "1.5", "n-mnist-small", "--cache", cache, "--out", tmp_path / "run") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "PRESET: expected it before the options, found 'n-mnist-small'" in line
    assert "Write: spikeloom train n-mnist-small --neuron.tau ..." in line
    assert run("train", "n-mnist-small", "--neuron.tau", "1.5", "--cache", cache, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "n-mnist/events.h5: expected an event store" in error
    assert "Make it: spikeloom preprocess n-mnist --source DIR" in error
    assert not (tmp_path / "run").exists()


def test_a_neuron_of_ones_own_is_recorded_by_its_absolute_path(cache: Path, config: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from spikingjelly.activation_based.neuron import LIFNode as Mine\n")
    words = ("train", "--config", config, "--cache", cache, "--out", "run", "--neuron.name", "mine.py:Mine")
    assert run(*words, "--schedule.epochs", 1) == 0
    there = open_run(tmp_path / "run")
    assert there.config.neuron.name == f"{tmp_path}/mine.py:Mine"
    assert there.environment["outside"]
    monkeypatch.chdir("/")
    assert run("train", "--resume", tmp_path / "run") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected a preset or --config, found neither. List the presets: spikeloom presets"),
        (("n-mnist-smal",), "lists, found 'n-mnist-smal'. Did you mean 'n-mnist-small'"),
        (("--out", "somewhere", "nope"), "PRESET: expected it before the options, found 'nope'"),
        (("n-mnist-small", "--neuron.timesteps", "4"), "Set --binning.timesteps instead"),
        (("--neuron.tau", "2", "n-mnist-small", "--config", "x.json"), "x.json: expected a run's config.json"),
        (("n-mnist-small", "--neuron.tua", "2"), "Did you mean '--neuron.tau'?"),
        (("n-mnist-small", "--optimiser.learning-rate", "inf"), "learning_rate: expected more than 0, found inf"),
        (("n-mnist-small", "--neuron.tau", "x"), "--neuron.tau"),
        (("n-mnist-small", "--neuron.tau", "0.5"), "neuron.tau: expected more than 1 time step, found 0.5"),
        (("n-mnist-small", "--config", "nowhere.json"), "nowhere.json: expected a run's config.json"),
        (("--resume", "nowhere"), "nowhere: expected a run folder (with config.json), found none"),
    ],
)
def test_faulty_words_are_one_line(words: tuple[str, ...], message: str, capsys):
    assert run("train", *words) == 2
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.splitlines()) == 1 and printed.out == ""


def test_faults_of_several_fields_are_a_line_each(capsys):
    assert run("train", "n-mnist-small", "--neuron.tau", "0.5", "--batch-size", "0") == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_network_or_neuron_that_does_not_exist_is_one_line(cache: Path, config: Path, tmp_path: Path, capsys):
    words = ("train", "--config", config, "--cache", cache)
    assert run(*words, "--out", tmp_path / "a", "--neuron.name", "clfi") == 2
    error = capsys.readouterr().err
    assert "neuron.name: expected one of lif, clif" in error and "found 'clfi'. Did you mean 'clif'?" in error
    assert run(*words, "--out", tmp_path / "b", "--network.name", "spiking-vgg1") == 2
    assert "network.name: expected one of spiking-vgg11" in capsys.readouterr().err
    assert run(*words, "--out", tmp_path / "c", "--network.name", "spiking-vgg11") == 2
    assert "expected frames of at least 32x32 pixels for its 5 poolings, found 16x16" in capsys.readouterr().err
    # Nothing that looks like a run is left of them.
    assert not list(tmp_path.glob("*/config.json"))


def test_a_value_that_is_named_like_a_preset_is_no_preset(cache: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("train", "gestures-small", "--out", "n-mnist-small", "--cache", cache) == 2
    assert "emulated-gestures/events.h5: expected an event store" in capsys.readouterr().err


def test_resume_of_a_run_takes_no_field_even_at_its_default(trained: Path, capsys):
    assert run("train", "--resume", trained, "--schedule.epochs", "300") == 2
    assert "To train longer, start a new run: spikeloom train --config" in capsys.readouterr().err


def test_resume_of_a_finished_run_prints_its_result_and_takes_no_fields(trained: Path, capsys):
    before = (trained / "metrics.jsonl").read_bytes()
    assert run("train", "--resume", trained) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert (trained / "metrics.jsonl").read_bytes() == before
    assert run("train", "--resume", trained, "--seed", "3") == 2
    assert "--resume: expected only" in capsys.readouterr().err


def test_evaluate_reports_classes_layers_and_a_picture(trained: Path, capsys):
    result = open_run(trained).result
    assert run("evaluate", trained) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("Test accuracy by class", "class2", "Firing rate by layer", "confusion.png"))
    assert (trained / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert run("evaluate", trained, "--json") == 0
    assert json.loads(capsys.readouterr().out) == result | {"firing_rate": result["firing_rate"]}


def test_evaluate_of_a_folder_without_weights_is_one_line(trained: Path, tmp_path: Path, capsys):
    import shutil

    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "best.pt").unlink()
    assert run("evaluate", tmp_path / "run") == 2
    found = f"{tmp_path / 'run'}: expected selected weights (best.pt), found none after 3 epochs. "
    # A finished run is not trained again by --resume.
    again = f"Train it again: spikeloom train --config {tmp_path / 'run' / 'config.json'}"
    assert capsys.readouterr().err.endswith(f"{found}The run is finished, so that it cannot be resumed. {again}\n")
    (tmp_path / "run" / "result.json").unlink()
    assert run("evaluate", tmp_path / "run") == 2
    assert f"{found}Resume it: spikeloom train --resume {tmp_path / 'run'}" in capsys.readouterr().err
    assert run("evaluate", tmp_path) == 2
    assert "expected a run folder (with config.json), found none" in capsys.readouterr().err


def test_weights_of_another_network_are_refused(trained: Path, tmp_path: Path, capsys):
    import shutil

    shutil.copytree(trained, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["network"]["width"] = 0.25
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert run("evaluate", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert "expected a network with" in error and "of shape (6, 2, 3, 3)" in error and len(error.splitlines()) == 1


def test_runs_lists_finished_and_unfinished_runs_and_names_damaged_ones(trained: Path, tmp_path: Path, capsys):
    import shutil

    for name in ("done", "unfinished", "damaged"):
        shutil.copytree(trained, tmp_path / name)
    (tmp_path / "unfinished" / "result.json").unlink()
    (tmp_path / "damaged" / "metrics.jsonl").write_text("5\n")
    assert run("runs", tmp_path, "--json") == 0
    printed = capsys.readouterr()
    rows = {row["run"]: row for row in json.loads(printed.out)["runs"]}
    assert {name: row["finished"] for name, row in rows.items()} == {"done": True, "unfinished": False}
    assert rows["done"]["test_accuracy"] is not None and rows["unfinished"]["test_accuracy"] is None
    (line,) = printed.err.splitlines()
    assert "left out" in line and "damaged/metrics.jsonl: cannot be read" in line
    assert run("runs", tmp_path) == 0
    assert "unfinished" in capsys.readouterr().out


def test_runs_of_an_empty_or_missing_folder_is_one_line(tmp_path: Path, capsys):
    assert run("runs", tmp_path) == 2
    assert "expected at least one run, found none. Train one: spikeloom train PRESET" in capsys.readouterr().err
    assert run("runs", tmp_path / "none") == 2
    assert "expected a folder of runs, found none" in capsys.readouterr().err


def test_presets_are_listed_as_table_and_json(capsys):
    assert run("presets") == 0
    out = capsys.readouterr().out
    assert "n-mnist-small" in out and "gesture-vgg11" in out
    assert run("presets", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["gesture-vgg11"]["binning"]["timesteps"] == 20


@pytest.mark.slow
@pytest.mark.preloaded
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_to_go_on(cache: Path, config: Path, tmp_path: Path, number: int, code: int):
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "pipeline", "train", "--config", str(config), "--cache", str(cache)]
    words += ["--out", str(folder), "--schedule.epochs", "2000"]
    trainer = subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        # Heard from its start, whatever this process does with Ctrl-C meanwhile.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (folder / "checkpoint.pt").exists():
            assert trainer.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        trainer.send_signal(number)
        _, error = trainer.communicate(timeout=PATIENCE_S)
    finally:
        trainer.kill()
    assert trainer.returncode == code, error
    assert f"stopped after the last complete epoch. Resume: spikeloom train --resume {folder}" in error
    assert "Traceback" not in error
    rows = read_lines(folder / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_stopped_while_memory_is_taken_back_stops(
    cache: Path, config: Path, tmp_path: Path, monkeypatch, capsys, number: int, code: int
):
    """The neurons' memory comes back in a finalizer, where Python drops what a signal raises."""
    took_back, calls = buffers._take_back, []

    def take_back(memory: np.ndarray) -> None:
        took_back(memory)
        calls.append(memory.nbytes)
        if (tmp_path / "run" / "checkpoint.pt").exists() and not stopped:
            stopped.append(number)
            signal.raise_signal(number)

    stopped: list[int] = []
    monkeypatch.setattr(buffers, "_LEAST_BYTES", 1)
    monkeypatch.setattr(buffers, "_take_back", take_back)
    words = ("train", "--config", config, "--cache", cache, "--out", tmp_path / "run", "--schedule.epochs", 50)
    assert run(*words) == code
    assert stopped and calls
    error = capsys.readouterr().err
    assert "stopped after the last complete epoch" in error
    assert "Exception ignored" not in error and "Traceback" not in error
    assert len(read_lines(tmp_path / "run" / "metrics.jsonl")) == 1
