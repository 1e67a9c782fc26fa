"""The user's own frame caches, for event stores in read-only folders: ``$SPIKELOOM_CACHE_FRAMES``.

Event stores can be shared by several people and are often read-only. Their frame caches are then written to a folder
of the user, by default ``$XDG_CACHE_HOME/spikeloom/frames`` (``~/.cache/spikeloom/frames``; for a user without a home
folder, as in some containers, one in the folder for temporary files), as ``<fingerprint of the event store>/<key>.h5``.
It may be deleted at any time, because frames are rebuilt from the events.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

EFFECTIVE_IDS = os.access in os.supports_effective_ids
"""Whether `os.access` can use the effective user id, with which files are opened."""


def own_frames_folder() -> Path:
    """The folder of this user's frame caches of read-only event stores."""
    given = os.environ.get("SPIKELOOM_CACHE_FRAMES")
    if given:
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(base).expanduser().absolute() / "spikeloom" / "frames"
    except RuntimeError:
        # A user id without a name, whose $HOME is not set.
        return Path(tempfile.gettempdir()) / f"spikeloom-{os.getuid()}" / "frames"


def own_frames_path(path: Path, fingerprint: str) -> Path:
    """The user's own path for the frame cache ``CACHE/<name>/frames/<key>.h5`` of an event store."""
    return own_frames_folder() / fingerprint / path.name


def can_build(folder: Path) -> bool:
    """Whether this user may build frame caches in a data set's folder: its lock and its frames can be written."""
    present = (path for path in (folder / ".lock", folder / "frames") if path.exists())
    return all(os.access(path, os.W_OK, effective_ids=EFFECTIVE_IDS) for path in (folder, *present))
