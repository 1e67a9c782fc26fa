"""The Pareto front: trials that no other trial dominates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OBJECTIVES = {
    "accuracy": ("validation_accuracy", 1.0),
    "energy": ("energy_uj", -1.0),
    "timesteps": ("binning.timesteps", -1.0),
    "firing-rate": ("firing_rate", -1.0),
    # As few spikes as possible, by the name that NeuroBench gives to 1 - firing rate.
    "activation-sparsity": ("firing_rate", -1.0),
    "sparse-energy": ("sparse_energy_uj", -1.0),
    "memory-energy": ("memory_energy_uj", -1.0),
    "effective-macs": ("effective_macs", -1.0),
    "effective-acs": ("effective_acs", -1.0),
    "connection-sparsity": ("connection_sparsity", 1.0),
    "footprint": ("footprint_bytes", -1.0),
}
"""The column of each objective, and its sign: 1 to maximise, -1 to minimise."""


def pareto_front(rows: Sequence[dict[str, Any]], objectives: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows that no other row dominates, in their order.

    A row dominates another if it is at least as good in every objective and better in at least one.

    Args:
        rows: Rows with the columns of the objectives; a row with a missing value is not on the front.
        objectives: Names in `OBJECTIVES`.
    """
    every = [(row, _values(row, objectives)) for row in rows]
    known = [(row, values) for row, values in every if None not in values]
    return [row for row, values in known if not any(_beats(other, values) for _, other in known)]


def _values(row: dict[str, Any], objectives: Sequence[str]) -> list[float | None]:
    """The values of the objectives, with signs such that larger is better."""
    found = [(row.get(OBJECTIVES[name][0]), OBJECTIVES[name][1]) for name in objectives]
    return [None if value is None else sign * value for value, sign in found]


def _beats(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
