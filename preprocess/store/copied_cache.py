"""A frame cache that was copied to a machine without its event store: the store's fingerprint goes with it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from preprocess.binning.binning import Binning
from preprocess.errors import CacheError
from preprocess.store.frame_cache import FrameCache, frames_path, open_frames

FILE = "copied.json"


@dataclass(frozen=True)
class CopiedCache:
    """What a machine knows of the event store that a copied frame cache was made of.

    Attributes:
        fingerprint: The event store's.
        height: In pixels.
        width: In pixels.
    """

    fingerprint: str
    height: int
    width: int

    def write(self, folder: Path) -> None:
        """Write it beside where the event store would be, if it is not there; the folder is."""
        if read_copied(folder) == self:
            return
        # Several processes may write at the same time, each its own file.
        temporary = folder / f".{FILE}.{secrets.token_hex(4)}.tmp"
        try:
            temporary.write_text(json.dumps(asdict(self)))
            temporary.replace(folder / FILE)
        finally:
            temporary.unlink(missing_ok=True)


def read_copied(folder: Path) -> CopiedCache | None:
    """What goes with the copies of a data set's folder; None where it holds none."""
    try:
        return CopiedCache(**json.loads((folder / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def open_copied(cache: Path, name: str, binning: Binning) -> FrameCache | None:
    """A frame cache that was copied here; None where the data set's folder is no copy.

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
            f"{path.parent.parent}: it is copied anew."
        )
    return frames
