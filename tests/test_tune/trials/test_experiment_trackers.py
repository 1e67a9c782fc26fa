"""Trackers: what is not there is one line, and what is there gets each trial as a run with its values and epochs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pipeline.config.run_config import RunConfig, fingerprint, override, to_dict
from preprocess.errors import ConfigError
from preprocess.terminal.command_line import run_main
from tune.cli import COMMANDS
from tune.trials.experiment_trackers import tracker_callbacks, tracker_errors

pytestmark = pytest.mark.ray

CONFIG = override(RunConfig(), {"neuron.tau": 3.0})


def test_tracker_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert list(tracker_errors(["mlflow", "comet"])) == [
        "--log mlflow: expected the package mlflow, found none. Install it: pip install 'spikeloom[mlflow]'",
        "--log: expected one or more of mlflow, wandb, found 'comet'. For TensorBoard no option is needed: tensorboard "
        "--logdir DIR/trials",
    ]
    with pytest.raises(ConfigError, match="--log wandb: expected the package wandb, found none"):
        tracker_callbacks(["wandb"], "p", [], tmp_path)
    assert run_main(COMMANDS, prog="", description="", argv=["tune", "n-mnist-small", "--log", "mlflow"]) == 2
    assert "pip install 'spikeloom[mlflow]'" in capsys.readouterr().err


def test_tracker_that_wants_a_key_is_one_line_before_anything_starts(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleType(name))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(api=SimpleNamespace(api_key=None)))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_SETUP_API_KEY_HOOK"):
        monkeypatch.delenv(name, raising=False)
    told = "--log wandb: expected a W&B login, found no key. Run: wandb login; or set WANDB_MODE=offline"
    assert list(tracker_errors(["wandb"])) == [told]
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert list(tracker_errors(["wandb"])) == []


class FakeTrial:
    """What the callbacks ask of Ray's trial."""

    trial_id = "1"
    experiment_dir_name = "e"

    def __init__(self, folder: Path) -> None:
        self.config = {"task": {"config": to_dict(CONFIG)}}
        self.local_path = self.path = str(folder)


def test_mlflow_gets_a_run_for_each_trial_with_its_values_and_epochs(tmp_path: Path, monkeypatch):
    """Through Ray's own callback; MLflow itself is played by a recorder of Ray's calls."""
    from ray.air.integrations import mlflow as integration

    calls: list[tuple[str, Any]] = []

    class Recorder:
        def setup_mlflow(self, **words: Any) -> bool:
            calls.append(("setup", words.get("experiment_name")))
            return True

        def start_run(self, run_name: str, **words: Any) -> Any:
            calls.append(("start", run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

        def log_params(self, params_to_log: Any, **words: Any) -> None:
            calls.append(("params", dict(params_to_log)))

        def log_metrics(self, step: int, metrics_to_log: Any, **words: Any) -> None:
            calls.extend([("metrics", dict(metrics_to_log)), ("step", step)])

        def save_artifacts(self, **words: Any) -> None:
            pass

        def end_run(self, **words: Any) -> None:
            calls.append(("end", words.get("status")))

    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleType(name))
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setattr(integration, "_MLflowLoggerUtil", Recorder)
    (callback,) = tracker_callbacks(["mlflow"], "n-mnist-small", ["neuron.tau"], tmp_path)
    callback.setup()
    trial = FakeTrial(tmp_path)
    callback.log_trial_start(trial)
    row = {"epoch": 4, "validation_accuracy": 0.5, "test_loss": None}
    of_ray = {"training_iteration": 1, "timesteps_total": None, "done": False, "pid": 17, "hostname": "n1", "date": "d"}
    callback.log_trial_result(0, trial, row | of_ray | {"time_total_s": 3.0, "config": trial.config})
    callback.log_trial_end(trial)
    words = dict(calls)
    assert words["setup"] == "n-mnist-small"
    assert words["start"] == fingerprint(CONFIG)
    assert words["params"] == {"neuron.tau": 3.0, "seed": 2022}
    assert words["metrics"] == {"epoch": 4, "validation_accuracy": 0.5, "training_iteration": 4}
    assert words["step"] == 4
    assert words["end"] == "FINISHED"


@pytest.mark.slow
def test_wandb_keeps_a_run_for_each_trial_without_a_network(tmp_path: Path, tiny_config: RunConfig, tiny_cache: Path):
    """A real search, with W&B itself."""
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'spikeloom[wandb]'")
    (tmp_path / "c.json").write_text(json.dumps(to_dict(tiny_config)))
    words = ["--config", "c.json", "--cache", str(tiny_cache), "--out", "out", "--space", "neuron.tau=2,3"]
    words += ["--log", "wandb", "--final-seeds", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "tune", "tune", *words],
        cwd=tmp_path,
        env=os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "wandb").glob("offline-run-*/*.wandb"))) == 2
