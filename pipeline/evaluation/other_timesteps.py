"""Accuracy at another number of time steps than a run was trained with: same weights, samples binned anew.

T always means binning the whole sample into T frames; a sample of the trained T is never cut. What the first t of the
trained steps reach is another question, which `pipeline.evaluation.latency` answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.config.neuron_traits import traits_of
from pipeline.config.run_config import RunConfig, override
from pipeline.evaluation.finished_run import evaluate_test, load_selected, open_run_data
from pipeline.runs.run_folder import Run
from preprocess.errors import ConfigError, RunError
from preprocess.terminal.progress import Progress


def why_bound(config: RunConfig) -> str | None:
    """Why a run's weights fit one T alone, or None where they fit any."""
    if not traits_of(config.neuron.name).fixed_timesteps:
        return None
    steps = config.binning.timesteps
    return f"'{config.neuron.name}' has weights for each of its {steps} steps, so only T = {steps} can be evaluated"


def refuse_timesteps(config: RunConfig, timesteps: Sequence[int]) -> None:
    """Raise a ConfigError where these T cannot be evaluated."""
    if not timesteps:
        return
    wrong = [steps for steps in timesteps if steps < 1]
    if wrong:
        raise ConfigError(f"--timesteps: expected at least 1, found {', '.join(map(str, wrong))}")
    if config.binning.varies:
        raise ConfigError(
            f"--timesteps: expected a run of fixed T, found one whose samples have {config.binning.steps_title}"
        )
    if config.loss.last_steps is not None:
        raise ConfigError(
            "--timesteps: expected a run that answers at all steps, found one with loss.last_steps "
            f"{config.loss.last_steps}, which is another part of the sample at another T"
        )
    bound = why_bound(config)
    if bound is not None and set(timesteps) != {config.binning.timesteps}:
        raise ConfigError(f"--timesteps: {bound}")


def accuracy_by_timesteps(
    there: Run, cache: Path, timesteps: Sequence[int], device: torch.device, progress: Progress | None = None
) -> dict[int, float]:
    """Accuracies of the selected weights on the test split, as fractions by T; missing frame caches are made.

    Raises:
        ConfigError: If a network of one's own fits its trained T alone.
        CacheError: If the data set has no event store.
    """
    accuracies = {}
    for steps in sorted(set(timesteps)):
        # Neither says anything of a forward pass, and both would have to fit the new T.
        changes = {"binning.timesteps": steps, "neuron.timesteps": None, "grad_steps": None}
        binned = replace(there, config=override(there.config, changes))
        data = open_run_data(binned, binned.config, cache, progress)
        try:
            network, _ = load_selected(binned, data, device)
        except RunError as error:
            raise ConfigError(f"--timesteps: the weights of this run do not fit T = {steps} ({error})") from None
        accuracies[steps] = evaluate_test(binned, network, data, device).accuracy
    return accuracies
