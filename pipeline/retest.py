"""Testing a finished run's selected weights again, from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.checkpoint import load_weights
from pipeline.data import FrameLoader, open_data
from pipeline.device import computing
from pipeline.evaluation import describe_test, evaluate
from pipeline.networks import build_network
from pipeline.runs import Run, write_json
from pipeline.training import describe_run, save_predictions
from preprocess.command_line import default_cache
from preprocess.errors import RunError
from preprocess.progress import Progress


def run_cache(there: Run, cache: Path | None) -> Path:
    """Where a run's frames are: the folder given, else the run's own where it still is, else the default."""
    known = there.environment.get("cache")
    if cache is None and known is not None and Path(known).is_dir():
        return Path(known)
    return default_cache(cache)


def retest_run(there: Run, cache: Path | None, *, progress: Progress | None = None) -> dict[str, Any]:
    """Evaluate a run's ``best.pt`` on the test split; writes ``evaluation.json`` and ``predictions.npz``.

    Args:
        there: The run.
        cache: See `run_cache`.
        progress: Where to tell of a frame cache that must be made.

    Returns:
        The same keys as ``result.json``.

    Raises:
        RunError: If the run has no selected weights yet, or its data were preprocessed from other files since.
        CacheError: If the data set has no event store.
    """
    config = there.config
    if not (there.folder / "best.pt").is_file():
        raise RunError(
            f"{there.folder}: expected selected weights (best.pt), found none after {len(there.metrics)} epochs. "
            f"Train on: spikeloom train --resume {there.folder}"
        )
    data = open_data(config, run_cache(there, cache), progress)
    trained_on = there.environment.get("data")
    if trained_on not in (None, data.frames.fingerprint):
        raise RunError(
            f"{there.folder}: expected frames {trained_on}, found {data.frames.fingerprint} in {data.frames.path}: the "
            "data set was preprocessed from other files since. Give the run's own --cache."
        )
    with computing(config) as device:
        network = build_network(
            config.network,
            config.neuron,
            channels=2,
            classes=len(data.classes),
            size=data.size,
            timesteps=data.frames.timesteps,
            seed=config.seed,
        )
        epoch = load_weights(there.folder / "best.pt", network)
        loader = FrameLoader(data.frames, data.splits.test, config.batch_size, config.input, device)
        tested = evaluate(network.to(device), loader, config.loss)
    result = describe_run(config, data, there.metrics, there.timings, epoch) | describe_test(tested)
    save_predictions(there.folder / "predictions.npz", data, tested)
    write_json(there.folder / "evaluation.json", result)
    return result
