"""Runs are whole, selected as they say, and the same bit for bit whether or not they were interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from patience import PATIENCE_S
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import OptimiserConfig, RunConfig, ScheduleConfig, fingerprint, override, to_dict
from pipeline.config.slow_precision import slow_precision
from pipeline.data.run_data import open_data
from pipeline.runs import checkpoint as checkpoints
from pipeline.runs.checkpoint import load_checkpoint
from pipeline.runs.run_folder import find_runs, open_run
from pipeline.training.schedule import learning_rate
from pipeline.training.train_run import train_run
from preprocess.errors import ConfigError, RunError
from preprocess.files import read_lines, write_whole
from preprocess.terminal.progress import Progress

TESTS = Path(__file__).resolve().parent.parent.parent

TRAINER = """
import json, sys
from pathlib import Path
from pipeline.config.run_config import from_dict
from pipeline.training.train_run import train_run
train_run(from_dict(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tiny_cache(tmp_path_factory.mktemp("training"))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path / "checkpoint.pt").network


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("neuron", ["lif", "clif"])
def test_a_run_learns_and_leaves_a_whole_folder(cache: Path, tmp_path: Path, neuron: str):
    config = override(TINY, {"neuron.name": neuron, "schedule.epochs": 6})
    rows: list[dict] = []
    result = train_run(config, tmp_path / "run", cache, on_epoch=lambda row, _: rows.append(row))
    there = open_run(tmp_path / "run")
    assert there.config == config and there.result == result and there.metrics == rows
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert result["test_accuracy"] > 0.6 > 1 / 3
    best = max(rows, key=lambda row: (row["validation_accuracy"], -row["validation_loss"]))
    assert result["epoch"] == best["epoch"] and result["validation_accuracy"] == best["validation_accuracy"]
    assert result["fingerprint"] == fingerprint(config) and result["emulated"] is False
    assert np.sum(result["confusion"]) == result["test_samples"] == 36
    assert 0 < result["firing_rate"] < 1 and all(0 <= rate <= 1 for rate in result["firing_rates"].values())
    timings = there.timings[-1]
    assert timings["epoch_s"] > 0 and 0 <= timings["waiting_share"] <= 1 and timings["peak_memory_mb"] > 10
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith(".tmp")]


def test_half_precision_that_a_cpu_has_no_kernels_for_is_noted_before_training(cache: Path, tmp_path: Path, capsys):
    changes = {"schedule.epochs": 1, "batch_size": 27, "network.width": 0.05, "device": "cpu", "precision": "fp16"}
    config = override(TINY, changes)
    train_run(config, tmp_path / "run", cache, progress=Progress())
    assert "precision: fp16 takes tens of times as long as fp32 on a CPU" in capsys.readouterr().err
    train_run(config, tmp_path / "run", cache, progress=Progress())
    assert "precision" not in capsys.readouterr().err
    assert slow_precision([config], "cuda") is None and slow_precision([TINY], "cpu") is None


def test_predictions_are_the_tests_samples_and_give_its_accuracy(cache: Path, tmp_path: Path):
    result = train_run(TINY, tmp_path / "run", cache)
    with np.load(tmp_path / "run" / "predictions.npz") as file:
        name, label, logits = file["name"], file["label"], file["logits"]
    data = open_data(TINY, cache)
    assert name.tolist() == data.frames.samples.name[data.splits.test].tolist()
    assert np.mean(logits.argmax(1) == label) == result["test_accuracy"]


def test_a_finished_run_is_read_and_not_trained_again(cache: Path, tmp_path: Path):
    def written() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir() if path.name != ".lock"}

    first = train_run(TINY, tmp_path / "run", cache)
    before = written()
    again = train_run(TINY, tmp_path / "run", cache, on_epoch=lambda *_: pytest.fail("an epoch ran"))
    # Nor is it evaluated on the test samples again, which would write its result.
    assert again == first and written() == before


def test_selected_weights_are_on_the_disk_before_the_checkpoint_that_names_them(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    written = []

    def write(path: Path, write_to: Callable[[Path], object]) -> None:
        written.append(path.name)
        write_whole(path, write_to)

    monkeypatch.setattr(checkpoints, "write_whole", write)
    train_run(override(TINY, {"schedule.epochs": 1}), tmp_path / "run", cache)
    assert written == ["best.pt", "checkpoint.pt"]


class Stop(Exception):
    pass


@pytest.mark.parametrize("changes", [{}, {"network.dropout": 0.3, "optimiser.name": "adamw"}, {"selection": "last"}])
def test_an_interrupted_run_goes_on_bit_for_bit(cache: Path, tmp_path: Path, changes: dict):
    config = override(TINY, changes)
    alone = train_run(config, tmp_path / "alone", cache)

    def stop(row: dict, timing: dict) -> None:
        if row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        train_run(config, tmp_path / "broken", cache, on_epoch=stop)
    torch.manual_seed(999)
    rest: list[dict] = []
    resumed = train_run(config, tmp_path / "broken", cache, on_epoch=lambda row, _: rest.append(row))
    assert [row["epoch"] for row in rest] == [3]
    assert read_lines(tmp_path / "broken" / "metrics.jsonl") == read_lines(tmp_path / "alone" / "metrics.jsonl")
    assert same(weights(tmp_path / "broken"), weights(tmp_path / "alone"))
    assert {k: v for k, v in resumed.items() if k != "seconds"} == {k: v for k, v in alone.items() if k != "seconds"}


def test_a_resumed_run_keeps_a_better_epoch_before_the_interruption(cache: Path, tmp_path: Path):
    def stop(row: dict, timing: dict) -> None:
        if row["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        train_run(TINY, tmp_path / "run", cache, on_epoch=stop)
    state = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    best = checkpoints.Best(state.best.epoch, accuracy=1.0, loss=0.0)
    checkpoints.save_checkpoint(tmp_path / "run" / "checkpoint.pt", replace(state, best=best))
    result = train_run(TINY, tmp_path / "run", cache)
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").best == best
    assert result["epoch"] == best.epoch < 3


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_bit_for_bit(cache: Path, tmp_path: Path, share_of):
    config = override(TINY, {"schedule.epochs": 8})
    train_run(config, tmp_path / "alone", cache)
    (tmp_path / "trainer.py").write_text(TRAINER)
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    rng = np.random.default_rng(0)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    for number in range(share_of(50)):
        folder = tmp_path / f"killed{number}"
        words = [sys.executable, str(tmp_path / "trainer.py"), str(tmp_path / "config.json"), str(folder), str(cache)]
        trainer = subprocess.Popen(words, env=environment)
        deadline = time.monotonic() + PATIENCE_S
        while not (folder / "metrics.jsonl").exists():
            assert trainer.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.4))
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
        train_run(config, folder, cache)
        assert read_lines(folder / "metrics.jsonl") == read_lines(tmp_path / "alone" / "metrics.jsonl")
        assert same(weights(folder), weights(tmp_path / "alone"))


def test_the_test_split_stays_closed_where_it_must(cache: Path, tmp_path: Path, monkeypatch):
    result = train_run(TINY, tmp_path / "trial", cache, open_test=False)
    assert not [key for key in result if key.startswith("test")]
    assert not (tmp_path / "trial" / "predictions.npz").exists()
    with pytest.raises(
        ConfigError, match="expected validation or last if the test split is not evaluated, found paper"
    ):
        train_run(replace(TINY, selection="paper"), tmp_path / "paper", cache, open_test=False)
    # Opening it afterwards trains nothing anew.
    opened = train_run(TINY, tmp_path / "trial", cache, on_epoch=lambda *_: pytest.fail("an epoch ran"))
    assert opened["test_samples"] == 36 and opened["epoch"] == result["epoch"]


def test_the_papers_selection_takes_the_best_test_epoch_and_last_the_last(cache: Path, tmp_path: Path):
    paper = train_run(replace(TINY, selection="paper"), tmp_path / "paper", cache)
    rows = read_lines(tmp_path / "paper" / "metrics.jsonl")
    assert paper["test_accuracy"] == max(row["test_accuracy"] for row in rows)
    assert paper["validation_accuracy"] is None
    last = train_run(replace(TINY, selection="last"), tmp_path / "last", cache)
    assert last["epoch"] == 3 and "test_accuracy" not in read_lines(tmp_path / "last" / "metrics.jsonl")[0]


def test_another_configuration_in_the_folder_is_refused(cache: Path, tmp_path: Path):
    train_run(TINY, tmp_path / "run", cache)
    with pytest.raises(RunError, match=r"expected run \w{12}, found run \w{12} of another configuration"):
        train_run(replace(TINY, seed=8), tmp_path / "run", cache)


def test_two_trainers_in_one_folder_are_refused(cache: Path, tmp_path: Path):
    def second(row: dict, timing: dict) -> None:
        with pytest.raises(RunError, match="found one that trains here"):
            train_run(TINY, tmp_path / "run", cache)
        raise Stop

    with pytest.raises(Stop):
        train_run(TINY, tmp_path / "run", cache, on_epoch=second)


def test_a_configuration_that_does_not_fit_leaves_no_folder(cache: Path, tmp_path: Path):
    with pytest.raises(ConfigError):
        train_run(replace(TINY, batch_size=500), tmp_path / "run", cache)
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named_and_runs_no_code(cache: Path, tmp_path: Path):
    import pickle

    def stop(row: dict, timing: dict) -> None:
        raise Stop

    with pytest.raises(Stop):
        train_run(TINY, tmp_path / "run", cache, on_epoch=stop)
    path = tmp_path / "run" / "checkpoint.pt"
    whole = path.read_bytes()
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    for content in (whole[:-100], whole[: len(whole) // 2], b"", pickle.dumps(Evil())):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"checkpoint.pt: expected a checkpoint .* that cannot be used"):
            train_run(TINY, tmp_path / "run", cache)
    assert not marker.exists()


def test_frames_of_other_recordings_stop_a_resumed_run(cache: Path, tmp_path: Path):
    def stop(row: dict, timing: dict) -> None:
        raise Stop

    with pytest.raises(Stop):
        train_run(TINY, tmp_path / "run", cache, on_epoch=stop)
    other = tiny_cache(tmp_path / "other", samples=78)
    with pytest.raises(RunError, match="the data set was preprocessed from other files since"):
        train_run(TINY, tmp_path / "run", other)


def test_a_loss_that_is_no_number_stops_with_step_and_advice(cache: Path, tmp_path: Path):
    config = override(TINY, {"optimiser.learning_rate": 1e30, "optimiser.momentum": 0.0})
    told = r"expected a finite loss, found \w+ at step \d+ of epoch \d+\. First non-finite value: .* Lower optimiser"
    with pytest.raises(RunError, match=told):
        train_run(config, tmp_path / "run", cache)


def test_first_steps_alone_carry_gradient(cache: Path, tmp_path: Path):
    result = train_run(override(TINY, {"grad_steps": 1}), tmp_path / "k1", cache)
    other = train_run(TINY, tmp_path / "all", cache)
    assert result["test_samples"] == 36
    assert not same(weights(tmp_path / "k1"), weights(tmp_path / "all"))
    assert other["fingerprint"] != result["fingerprint"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains(cache: Path, tmp_path: Path, precision: str):
    config = override(TINY, {"precision": precision})
    train_run(config, tmp_path / "run", cache)
    rows = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_learning_rate_is_pytorchs_cosine():
    config = RunConfig(schedule=ScheduleConfig(epochs=7), optimiser=OptimiserConfig(learning_rate=0.4))
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=7)
    for epoch in range(1, 8):
        assert learning_rate(config, epoch) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12)
        optimiser.step()
        schedule.step()


def test_warm_up_rises_to_the_learning_rate_and_constant_keeps_it():
    config = RunConfig(schedule=ScheduleConfig("constant", 8, 3), optimiser=OptimiserConfig(learning_rate=0.4))
    assert [learning_rate(config, epoch) for epoch in (1, 2, 3, 4, 8)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


@pytest.mark.parametrize("umask", [0o007, 0o077])
def test_files_of_caches_and_runs_have_the_permissions_that_the_user_chose(tmp_path: Path, umask: int):
    before = os.umask(umask)
    try:
        cache = tiny_cache(tmp_path / "data")
        train_run(override(TINY, {"schedule.epochs": 1}), tmp_path / "runs" / "one", cache)
    finally:
        os.umask(before)
    made = [path for name in ("data", "runs") for path in (tmp_path / name).rglob("*")]
    assert {"events.h5", "checkpoint.pt", "result.json", ".lock"} <= {path.name for path in made}
    expected = {path: (0o777 if path.is_dir() else 0o666) & ~umask for path in made}
    assert {path: path.stat().st_mode & 0o777 for path in made} == expected


def test_runs_below_a_folder_are_found(cache: Path, tmp_path: Path):
    train_run(TINY, tmp_path / "a" / "one", cache)
    train_run(replace(TINY, seed=8), tmp_path / "two", cache)
    assert find_runs(tmp_path) == [tmp_path / "a" / "one", tmp_path / "two"]
