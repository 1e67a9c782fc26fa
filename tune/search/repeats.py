"""Configurations that were run with several seeds: one row each, its mean and spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tune.stats.summary import summarise

_MEANS = ("validation_accuracy", "firing_rate", "energy_uj", "epochs")
_UNFINISHED = ("failed", "pruned", "started", "waiting")


def group_rows(rows: Sequence[dict[str, Any]], repeats: int) -> list[dict[str, Any]]:
    """One row for each configuration; only those of which every run is done are done, and have means.

    Args:
        rows: Of `tune.trials.results.collect_results`, the runs of a configuration behind each other.
        repeats: How many runs each configuration has; of the last one some may not be asked for yet.

    Returns:
        Rows of the same columns, in order: means over the runs, `seconds` their sum, and besides
        `validation_accuracy_std` (None for a single run) and `runs`, those that are done. `trial` and `seed` are the
        first run's. A configuration that is not done has the status that keeps it from being so.
    """
    groups = [rows[k : k + repeats] for k in range(0, len(rows), repeats)]
    return [_mean(group) if _is_whole(group, repeats) else _unfinished(group) for group in groups]


def _is_whole(group: Sequence[dict[str, Any]], repeats: int) -> bool:
    return len(group) == repeats and all(row["status"] == "done" for row in group)


def _mean(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {}
    for name in _MEANS:
        known = [row[name] for row in group if row[name] is not None]
        summary = summarise(known) if len(known) == len(group) else None
        means[name] = summary and summary.mean
        if name == "validation_accuracy":
            means["validation_accuracy_std"] = summary and summary.std
    seconds = sum(row["seconds"] or 0.0 for row in group)
    return dict(group[0]) | means | {"seconds": seconds, "runs": len(group)}


def _unfinished(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A single run as it is; of several no number stands for all."""
    done = sum(row["status"] == "done" for row in group)
    about = dict(group[0]) | {"validation_accuracy_std": None, "runs": done}
    if len(group) == 1 and not done:
        return about
    statuses = {row["status"] for row in group}
    status = next((status for status in _UNFINISHED if status in statuses), "waiting")
    return about | {"status": status} | dict.fromkeys((*_MEANS, "seconds"))
