"""Default folders of caches and results."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache(cache: Path | None) -> Path:
    """The given cache folder, else $SPIKELOOM_CACHE, else ./cache; absolute."""
    return (cache or Path(os.environ.get("SPIKELOOM_CACHE") or "cache")).expanduser().absolute()


def default_out(out: Path | None, command: str, name: str) -> Path:
    """The given output folder, else the first free ``./runs/<command>-<name>-<n>``; absolute."""
    if out is not None:
        return out.expanduser().absolute()
    number = 1
    while (folder := Path("runs") / f"{command}-{name}-{number}").exists():
        number += 1
    return folder.absolute()
