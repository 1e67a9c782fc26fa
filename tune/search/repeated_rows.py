"""Configurations that are run with several seeds: one row each, with mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.runs.result_json import COST_COLUMNS
from tune.stats.summary import summarise

_MEANS = ("validation_accuracy", "firing_rate", *COST_COLUMNS, "epochs")
_UNFINISHED = ("failed", "pruned", "started", "waiting")


def group_rows(rows: Sequence[dict[str, Any]], repeats: int) -> list[dict[str, Any]]:
    """One row for each configuration; it is done, and has means, only if all of its runs are done.

    Args:
        rows: From `tune.trials.results_tables.collect_results`, the runs of a configuration one after another.
        repeats: The number of runs of each configuration; some of the last one may not have been proposed yet.

    Returns:
        Rows with the same columns, in order: means over the runs and the sum of `seconds`, and in addition
        `validation_accuracy_std` (None for a single run) and `runs`, the number of runs that are done. `trial` and
        `seed` are those of the first run. An incomplete configuration has the status of the run that is not done.
    """
    groups = [rows[k : k + repeats] for k in range(0, len(rows), repeats)]
    return [_mean(group) if _is_complete(group, repeats) else _unfinished(group) for group in groups]


def _is_complete(group: Sequence[dict[str, Any]], repeats: int) -> bool:
    return len(group) == repeats and all(row["status"] == "done" for row in group)


def _mean(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {}
    for name in _MEANS:
        known = [row[name] for row in group if row.get(name) is not None]
        summary = summarise(known) if len(known) == len(group) else None
        means[name] = summary and summary.mean
        if name == "validation_accuracy":
            means["validation_accuracy_std"] = summary and summary.std
    seconds = sum(row["seconds"] or 0.0 for row in group)
    return dict(group[0]) | means | {"seconds": seconds, "runs": len(group)}


def _unfinished(group: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A single run as it is; for several runs no value represents all of them."""
    done = sum(row["status"] == "done" for row in group)
    about = dict(group[0]) | {"validation_accuracy_std": None, "runs": done}
    if len(group) == 1 and not done:
        return about
    statuses = {row["status"] for row in group}
    status = next((status for status in _UNFINISHED if status in statuses), "waiting")
    return about | {"status": status} | dict.fromkeys((*_MEANS, "seconds"))
