"""Which trial of a search is best: complete ones by validation accuracy, ties by what costs less."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def complete_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials that were trained to their last epoch and validated."""
    return [row for row in rows if row["status"] == "done" and row["validation_accuracy"] is not None]


def rank(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The complete trials, best validation accuracy first; of equal ones smaller T, then lower firing rate.

    Pruned, failed and unfinished trials are not ranked.
    """
    return sorted(
        complete_rows(rows),
        key=lambda row: (-row["validation_accuracy"], row.get("binning.timesteps") or 0, row["firing_rate"] or 0.0),
    )
