"""Experiment trackers in addition to the run folders: MLflow and Weights & Biases, through Ray's own callbacks.

TensorBoard needs none: every run writes its events, and ``tensorboard --logdir DIR/trials`` shows all of them. The
trackers' own environment variables (MLFLOW_TRACKING_URI, WANDB_MODE, ...) decide where they send data; nothing is sent
unless --log asks for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.run_config import fingerprint, flatten, from_dict
from preprocess.errors import ConfigError

TRACKERS = ("mlflow", "wandb")


def tracker_errors(names: Sequence[str]) -> Iterator[str]:
    """Trackers that do not exist, are not installed, or may not write, a line each."""
    for name in names:
        if name not in TRACKERS:
            yield (
                f"--log: expected one or more of {', '.join(TRACKERS)}, found '{name}'. For TensorBoard no option is "
                "needed: tensorboard --logdir DIR/trials"
            )
        elif importlib.util.find_spec(name) is None:
            yield f"--log {name}: expected the package {name}, found none. Install it: pip install 'spikeloom[{name}]'"
        elif name == "wandb" and not _wandb_may_write():
            yield "--log wandb: expected a W&B login, found no key. Run: wandb login; or set WANDB_MODE=offline"


def _wandb_may_write() -> bool:
    """Whether Ray's callback finds a key or needs none; the callback itself checks only before the first trial."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled"):
        return True
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_SETUP_API_KEY_HOOK"):
        return True
    wandb: Any = importlib.import_module("wandb")
    return bool(wandb.api.api_key)


def tracker_callbacks(names: Sequence[str], project: str, fields: Sequence[str], folder: Path) -> list[Any]:
    """Ray's callbacks, with which each trial is a run named by its fingerprint, with the searched fields.

    Args:
        names: Some of `TRACKERS`.
        project: The name of the experiment in the tracker.
        fields: The searched field paths.
        folder: The folder of the search; W&B keeps its files there until they are sent.

    Raises:
        ConfigError: If a tracker does not exist or is not installed.
    """
    errors = list(tracker_errors(names))
    if errors:
        raise ConfigError(*errors)
    return [_tracker(name, project, (*fields, "seed"), folder) for name in dict.fromkeys(names)]


def _tracker(name: str, project: str, fields: Sequence[str], folder: Path) -> Any:
    if name == "mlflow":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        return _plain(MLflowLoggerCallback, fields)(experiment_name=project)
    from ray.air.integrations.wandb import WandbLoggerCallback

    return _plain(WandbLoggerCallback, fields)(project=project, log_config=True, dir=str(folder))


def _plain(kind: Any, fields: Sequence[str]) -> Any:
    """A callback that sees the searched values as a trial's configuration, and the rows of its epochs as its metrics.

    It sees neither the worker's task nor the columns about machine and time that Ray adds to each row.
    """
    from ray.tune.result import AUTO_RESULT_KEYS, DONE, TRAINING_ITERATION

    class Plain(kind):
        def log_trial_start(self, trial: Any) -> None:
            super().log_trial_start(_Named(trial, fields))

        def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
            metrics = {name: value for name, value in result.items() if isinstance(value, (int, float))}
            metrics = {name: value for name, value in metrics.items() if name not in (*AUTO_RESULT_KEYS, DONE)}
            # Both trackers index rows by this; a trial that resumes from its checkpoint continues at that epoch.
            metrics[TRAINING_ITERATION] = result["epoch"]
            super().log_trial_result(iteration, _Named(trial, fields), metrics)

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            super().log_trial_end(_Named(trial, fields), failed)

    Plain.__name__ = kind.__name__
    return Plain


class _Named:
    """A trial with another name and configuration; as a key it equals the original trial."""

    def __init__(self, trial: Any, fields: Sequence[str]) -> None:
        config = from_dict(trial.config["task"]["config"])
        flat = flatten(config)
        self._trial = trial
        self._name = fingerprint(config)
        self.config = {path: flat[path] for path in fields}
        self.evaluated_params = self.config

    def __str__(self) -> str:
        return self._name

    def __hash__(self) -> int:
        return hash(self._trial)

    def __eq__(self, other: object) -> bool:
        return self._trial == getattr(other, "_trial", other)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)
