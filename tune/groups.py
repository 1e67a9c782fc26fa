"""Configurations that were run with several seeds: one row each, its mean and spread."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

_MEANS = ("validation_accuracy", "firing_rate", "energy_uj", "epochs")


def group_rows(rows: Sequence[dict[str, Any]], repeats: int) -> list[dict[str, Any]]:
    """One row for each configuration of which every run is done; the others have no mean.

    Args:
        rows: Of `tune.results.collect_results`, the runs of a configuration behind each other.
        repeats: How many runs each configuration has.

    Returns:
        Rows of the same columns, in order: means over the runs, `seconds` their sum, and besides
        `validation_accuracy_std` (None for a single run) and `runs`. `trial` and `seed` are the first run's.
    """
    groups = [rows[k : k + repeats] for k in range(0, len(rows), repeats)]
    return [_mean(group) for group in groups if all(row["status"] == "done" for row in group)]


def _mean(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [row["validation_accuracy"] for row in group]
    spread = stdev(accuracies) if len(group) > 1 and None not in accuracies else None
    return (
        dict(group[0])
        | {name: _fmean([row[name] for row in group]) for name in _MEANS}
        | {"seconds": sum(row["seconds"] or 0.0 for row in group)}
        | {"validation_accuracy_std": spread, "runs": len(group)}
    )


def _fmean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None
