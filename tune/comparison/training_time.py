"""The training time of a run's network, including that of the run from which it continued with another neuron."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.runs.run_folder import Run, open_run
from preprocess.errors import SpikeloomError


def seconds_by_epoch(run: Run) -> list[float] | None:
    """Seconds of each epoch in the run's metrics, including those of the runs that it continues.

    None if a time is missing, because a sum over the others would be too small.
    """
    try:
        seconds = {row["epoch"]: float(row["epoch_s"]) for row in _timings(run)}
        return [seconds[row["epoch"]] for row in run.metrics]
    except (SpikeloomError, KeyError, TypeError, ValueError):
        return None


def training_seconds(run: Run) -> float | None:
    """Seconds of all epochs together; see `seconds_by_epoch`."""
    if run.config.start_from is None:
        # The run's own total is available even if the times of its epochs were not kept.
        result: Mapping[str, Any] = run.result or {}
        return float(result["seconds"])
    seconds = seconds_by_epoch(run)
    return None if seconds is None else math.fsum(seconds)


def _timings(run: Run) -> list[dict[str, Any]]:
    if run.config.start_from is None:
        return run.timings
    return [*_timings(open_run(run.folder.parent / run.config.start_from)), *run.timings]
