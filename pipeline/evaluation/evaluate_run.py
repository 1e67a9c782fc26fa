"""Evaluate the selected weights of a run again, from its folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import nn

from pipeline.cost.inference_costs import CostCount
from pipeline.evaluation.evaluate import costs_of, mean_steps
from pipeline.evaluation.finished_run import evaluate_test, load_selected, open_run_data, require_weights
from pipeline.evaluation.nir_export import ReadNetwork, export_nir, refuse_inexpressible
from pipeline.evaluation.other_timesteps import accuracy_by_timesteps, refuse_timesteps
from pipeline.evaluation.result_contents import describe_run, describe_test, save_predictions
from pipeline.runs.changed_code import KEY, check_code, joined_records
from pipeline.runs.result_json import EvaluationJson
from pipeline.runs.run_folder import Run
from pipeline.runtime.device import compute_device
from preprocess.default_cache_folder import default_cache
from preprocess.files import write_json
from preprocess.terminal.progress import Progress


def run_cache(run: Run, cache: Path | None) -> Path:
    """The cache of a run: the given folder, else the run's own if it still exists, else the default."""
    known = run.environment.get("cache")
    if cache is None and known is not None and Path(known).is_dir():
        return Path(known)
    return default_cache(cache)


def evaluate_run(
    run: Run,
    cache: Path | None,
    *,
    timesteps: Sequence[int] = (),
    nir: Path | None = None,
    progress: Progress | None = None,
    given: nn.Module | None = None,
) -> EvaluationJson:
    """Evaluate a run's ``best.pt`` on the test split; writes ``evaluation.json`` and ``predictions.npz``.

    Args:
        run: The run.
        cache: See `run_cache`.
        timesteps: Other T to evaluate the same weights at.
        nir: A file to write the network to.
        progress: Reports the progress of building a missing frame cache.
        given: An object of the network's class to load the weights into, instead of a newly built one.

    Returns:
        The keys of ``result.json``, and if requested `accuracy_by_timesteps` (keys are T as text, including the trained
        T) and `nir` (see `export_nir`).

    Raises:
        RunError: If the run has no selected weights yet, or if since the training its data were preprocessed from other
            files or its custom neuron or network file changed.
        ConfigError: If a T or the NIR export is not possible for this run; nothing is written then.
        CacheError: If the data set has no event store.
    """
    config, cache = run.config, run_cache(run, cache)
    refuse_timesteps(config, timesteps)
    if nir is not None:
        refuse_inexpressible(config)
    require_weights(run)
    accepted = joined_records(run.environment.get(KEY, ()), check_code(run))
    data = open_run_data(run, config, cache, progress)
    with compute_device(config) as device:
        network, epoch = load_selected(run, data, device, given)
        count = CostCount(config, network, data.size, data.frames.timesteps, device)
        tested = evaluate_test(run, network, data, device, count.operations)
        result = cast(
            EvaluationJson,
            {**describe_run(config, data, run.metrics, run.timings, epoch), **describe_test(tested)},
        )
        result["micro_batch"] = run.environment.get("micro_batch")
        if accepted:
            result["accepted_changed_code"] = accepted
        result["energy"] = costs_of(count, network, tested, mean_steps(data, data.splits.test)).describe()
        if timesteps:
            trained = data.frames.timesteps
            others = [steps for steps in timesteps if steps != trained]
            reached = {trained: tested.accuracy} | accuracy_by_timesteps(run, cache, others, device, progress, given)
            result["accuracy_by_timesteps"] = {str(steps): reached[steps] for steps in sorted(reached)}
        if nir is not None:
            result["nir"] = export_nir(network, data.size, nir, channels=config.input.channels)
            # The file is verified by reading it and evaluating the network that it contains.
            read = evaluate_test(run, ReadNetwork(nir, device), data, device)
            result["nir"]["same_predictions"] = int((read.predictions == tested.predictions).sum())
    save_predictions(run.folder / "predictions.npz", data, tested)
    write_json(run.folder / "evaluation.json", result)
    return result
