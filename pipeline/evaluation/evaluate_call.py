"""The `evaluate` function of the library: evaluate the selected weights of a run folder on its test split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from pipeline.config.given_classes import name_class
from pipeline.config.run_config import override
from pipeline.evaluation.evaluate_run import evaluate_run
from pipeline.evaluation.run_result import RunResult
from pipeline.runs.run_folder import open_run
from preprocess.terminal.progress import Progress


def evaluate(
    folder: Path | str,
    *,
    network: nn.Module | None = None,
    cache: Path | str | None = None,
    timesteps: Sequence[int] | int = (),
    device: str | None = None,
    accept_changed_code: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Evaluate the selected weights of a run on its test split; writes ``evaluation.json`` and ``predictions.npz``.

    The same as ``spikeloom evaluate``. For recordings outside the data set see `pipeline.load_run`.

    Args:
        folder: A run folder, as created by `train`.
        network: An object of the network's class to load the weights into; see `pipeline.load_run`.
        cache: The folder of all caches; the run's own if None.
        timesteps: Other T to evaluate the same weights at.
        device: Where to compute; the run's own device if None.
        accept_changed_code: Whether a run is evaluated although its custom neuron or network file changed.
        progress: Where to report progress; None prints only warnings and notes.

    Raises:
        RunError: If the run has no selected weights yet, or its data or code changed since the training.
        ConfigError: If a T is not possible for this run.
        CacheError: If the data set has no event store.
    """
    run = open_run(Path(folder), accept_changed_code=accept_changed_code)
    if device is not None:
        run = replace(run, config=override(run.config, {"device": device}))
    if isinstance(timesteps, int):
        timesteps = (timesteps,)
    if network is not None:
        name_class(type(network))
    where = None if cache is None else Path(cache)
    return RunResult.of(run.folder, evaluate_run(run, where, timesteps=timesteps, progress=progress, given=network))
