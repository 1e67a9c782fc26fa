"""The folder of an objective's search, for commands that only understand searches over a configuration."""

from __future__ import annotations

from pathlib import Path

from preprocess.errors import RunError

FILE = "objective.json"


def refuse_objective(folder: Path) -> None:
    """Raise a RunError if the folder is the search of an objective."""
    if (folder / FILE).exists():
        raise RunError(
            f"{folder}: expected a search or comparison of configurations, found the search of an objective ({FILE}). "
            f"To resume it, call tune.search again in Python. Its trials: spikeloom status {folder}"
        )
