"""Accuracy of a run's weights at a number of time steps other than the one it was trained with.

Each sample is binned again into T frames, and never truncated; for the accuracy of the first t time steps see
`pipeline.evaluation.accuracy_over_time`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from pipeline.config.neurons import traits_of
from pipeline.config.run_config import RunConfig, override
from pipeline.evaluation.finished_run import evaluate_test, load_selected, open_run_data
from pipeline.runs.run_folder import Run
from preprocess.errors import ConfigError, RunError
from preprocess.terminal.progress import Progress


def why_bound(config: RunConfig) -> str | None:
    """The reason why the weights of a run only fit one T; None if they fit any."""
    if not traits_of(config.neuron.name).fixed_timesteps:
        return None
    steps = config.binning.timesteps
    return f"'{config.neuron.name}' has weights for each of its {steps} steps, so only T = {steps} can be evaluated"


def refuse_timesteps(config: RunConfig, timesteps: Sequence[int]) -> None:
    """Raise a ConfigError if one of these T cannot be evaluated."""
    if not timesteps:
        return
    wrong = [steps for steps in timesteps if steps < 1]
    if wrong:
        raise ConfigError(f"--timesteps: expected at least 1, found {', '.join(map(str, wrong))}")
    if config.binning.imported:
        raise ConfigError(
            f"--timesteps: expected none, because the frames of {config.dataset.name} were imported and cannot be "
            f"binned into another T, found {', '.join(map(str, timesteps))}. Leave it out."
        )
    if config.binning.varies:
        raise ConfigError(
            f"--timesteps: expected a run with a fixed T, found one whose samples have {config.binning.steps_title}"
        )
    if config.loss.last_steps is not None:
        raise ConfigError(
            "--timesteps: expected a run that predicts from all time steps, found one with loss.last_steps "
            f"{config.loss.last_steps}, which are another part of the sample at another T"
        )
    bound = why_bound(config)
    if bound is not None and set(timesteps) != {config.binning.timesteps}:
        raise ConfigError(f"--timesteps: {bound}")


def accuracy_by_timesteps(
    run: Run,
    cache: Path,
    timesteps: Sequence[int],
    device: torch.device,
    progress: Progress | None = None,
    given: nn.Module | None = None,
) -> dict[int, float]:
    """Accuracy of the selected weights on the test split, as a fraction by T; missing frame caches are built.

    Raises:
        ConfigError: If the weights of a custom network only fit the trained T.
        CacheError: If the data set has no event store.
    """
    accuracies = {}
    for steps in sorted(set(timesteps)):
        # The last two do not change the forward pass in evaluation mode, but would be invalid at another T.
        changes = {"binning.timesteps": steps, "neuron.timesteps": None, "grad_steps": None}
        binned = replace(run, config=override(run.config, changes))
        data = open_run_data(binned, binned.config, cache, progress)
        try:
            network, _ = load_selected(binned, data, device, given)
        except RunError as error:
            raise ConfigError(f"--timesteps: the weights of this run do not fit T = {steps} ({error})") from None
        accuracies[steps] = evaluate_test(binned, network, data, device).accuracy
    return accuracies
