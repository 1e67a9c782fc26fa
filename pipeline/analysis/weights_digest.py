"""The digest of a run's weights, by which a report recognises analyses of other weights; does not load torch."""

from __future__ import annotations

import hashlib
from pathlib import Path


def weights_digest(folder: Path) -> str | None:
    """SHA-256 of ``best.pt`` in a run folder; None if there is no such file."""
    try:
        with (folder / "best.pt").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
