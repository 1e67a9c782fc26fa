"""Testing a finished run's selected weights again, from its folder alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pipeline.analysis.energy import EnergyCount
from pipeline.evaluation.describe_run import describe_run, save_predictions
from pipeline.evaluation.evaluate import describe_test, mean_steps
from pipeline.evaluation.finished_run import evaluate_test, load_selected, open_run_data, require_weights
from pipeline.evaluation.nir_export import ReadNetwork, export_nir, refuse_inexpressible
from pipeline.evaluation.other_timesteps import accuracy_by_timesteps, refuse_timesteps
from pipeline.runs.changed_code import KEY, check_code, joined_records
from pipeline.runs.result_json import EvaluationJson
from pipeline.runs.run_folder import Run
from pipeline.runtime.device import compute_device
from preprocess.files import write_json
from preprocess.paths import default_cache
from preprocess.terminal.progress import Progress


def run_cache(there: Run, cache: Path | None) -> Path:
    """Where a run's frames are: the folder given, else the run's own where it still is, else the default."""
    known = there.environment.get("cache")
    if cache is None and known is not None and Path(known).is_dir():
        return Path(known)
    return default_cache(cache)


def evaluate_run(
    there: Run,
    cache: Path | None,
    *,
    timesteps: Sequence[int] = (),
    nir: Path | None = None,
    progress: Progress | None = None,
) -> EvaluationJson:
    """Evaluate a run's ``best.pt`` on the test split; writes ``evaluation.json`` and ``predictions.npz``.

    Args:
        there: The run.
        cache: See `run_cache`.
        timesteps: Other T to evaluate the same weights at.
        nir: A file to write the network to.
        progress: Where to tell of a frame cache that must be made.

    Returns:
        The keys of ``result.json``; `accuracy_by_timesteps` (by T as text, as JSON has keys, the trained T among them)
        and `nir` (see `export_nir`) where asked for.

    Raises:
        RunError: If the run has no selected weights yet, or its data were preprocessed from other files or its own
            neuron or network file changed since.
        ConfigError: If a T or the NIR export is not possible for this run; nothing is written then.
        CacheError: If the data set has no event store.
    """
    config, cache = there.config, run_cache(there, cache)
    refuse_timesteps(config, timesteps)
    if nir is not None:
        refuse_inexpressible(config)
    require_weights(there)
    accepted = joined_records(there.environment.get(KEY, ()), check_code(there))
    data = open_run_data(there, config, cache, progress)
    with compute_device(config) as device:
        network, epoch = load_selected(there, data, device)
        count = EnergyCount(config, network, data.size, data.frames.timesteps, device)
        tested = evaluate_test(there, network, data, device, count.watched)
        result = cast(
            EvaluationJson,
            {**describe_run(config, data, there.metrics, there.timings, epoch), **describe_test(tested)},
        )
        result["micro_batch"] = there.environment.get("micro_batch")
        if accepted:
            result["accepted_changed_code"] = accepted
        result["energy"] = count.energy(tested.input_rates, mean_steps(data, data.splits.test)).describe()
        if timesteps:
            trained = data.frames.timesteps
            others = [steps for steps in timesteps if steps != trained]
            reached = {trained: tested.accuracy} | accuracy_by_timesteps(there, cache, others, device, progress)
            result["accuracy_by_timesteps"] = {str(steps): reached[steps] for steps in sorted(reached)}
        if nir is not None:
            result["nir"] = export_nir(network, data.size, nir)
            # The file is only as good as what it computes when it is read again.
            read = evaluate_test(there, ReadNetwork(nir, device), data, device)
            result["nir"]["same_predictions"] = int((read.predictions == tested.predictions).sum())
    save_predictions(there.folder / "predictions.npz", data, tested)
    write_json(there.folder / "evaluation.json", result)
    return result
