"""A frame cache that was copied to a machine without its event store: the fingerprint of the store is copied too."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from preprocess.binning.binning_config import Binning
from preprocess.errors import CacheError
from preprocess.store.cache_file_names import frames_path
from preprocess.store.frame_cache import FrameCache, open_frames

FILE = "copied.json"


@dataclass(frozen=True)
class CopiedCache:
    """The description of the event store that a copied frame cache was made from.

    Attributes:
        fingerprint: Fingerprint of the event store.
        height: Sensor rows.
        width: Sensor columns.
    """

    fingerprint: str
    height: int
    width: int

    def write(self, folder: Path) -> None:
        """Write it into the existing folder of the data set, unless it is already there."""
        if read_copied(folder) == self:
            return
        # Several processes may write at the same time, each to its own file.
        temporary = folder / f".{FILE}.{secrets.token_hex(4)}.tmp"
        try:
            temporary.write_text(json.dumps(asdict(self)))
            temporary.replace(folder / FILE)
        finally:
            temporary.unlink(missing_ok=True)


def read_copied(folder: Path) -> CopiedCache | None:
    """Read the description in the folder of a data set; None if it has no copied caches."""
    try:
        return CopiedCache(**json.loads((folder / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def open_copied(cache: Path, name: str, binning: Binning) -> FrameCache | None:
    """Open a frame cache that was copied here; None if the folder of the data set is not a copy.

    Raises:
        CacheError: If the frame cache is missing, damaged, or of another event store.
    """
    copied = read_copied(cache / name)
    if copied is None:
        return None
    path = frames_path(cache, name, binning, copied.height, copied.width)
    frames = open_frames(path)
    if frames.fingerprint != copied.fingerprint or frames.binning.plain() != binning.plain():
        raise CacheError(
            f"{path}: expected frames of event store {copied.fingerprint}, found those of {frames.fingerprint}. Delete "
            f"{path.parent.parent}; it is copied again."
        )
    return frames
