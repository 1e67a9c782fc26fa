"""How the caches of emulated data sets are named; loads nothing, so that a configuration can ask."""

from __future__ import annotations

PREFIX = "emulated-"


def is_emulated(dataset: str) -> bool:
    """Whether a data set or cache of this name was made by the emulator, and not recorded with a camera."""
    return dataset.startswith(PREFIX)
