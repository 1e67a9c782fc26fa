"""The folder of all caches, if none is given."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache(cache: Path | None) -> Path:
    """The given cache folder, else $SPIKELOOM_CACHE, else ./cache; absolute."""
    return (cache or Path(os.environ.get("SPIKELOOM_CACHE") or "cache")).expanduser().absolute()
