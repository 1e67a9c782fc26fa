"""Fixtures for every test: the real recordings, and settings that keep runs small and repeatable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports Ray or starts a thread pool: no telemetry, few threads, no display.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings: $SPIKELOOM_TEST_DATA, else ../shared/data; skips where it is missing."""
    folder = Path(os.environ.get("SPIKELOOM_TEST_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
    if not (folder / "n-mnist").is_dir():
        pytest.skip(f"no real recordings: set SPIKELOOM_TEST_DATA to their folder (looked in {folder})")
    return folder
